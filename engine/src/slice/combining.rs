//! Pairs with frequent keys are combined before they reach the hash table of [`reducing`](super::reducing).
//!
//! That table takes any keys, a batch at a time and in several passes, and spills. Most pairs of most
//! reductions have one of few keys; for these a small table in the processor's cache does, whose keys are
//! compared as numbers: a key of at most 16 bytes is one, and so is the view of a text of at most 12. What has
//! another key, or finds no room, goes on as it is. Where few pairs find their key, all go on for a while
//! unlooked at, so that a reduction over many keys pays next to nothing.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayData, ArrayRef, AsArray, RecordBatch, UInt32Array};
use datafusion::arrow::compute::take_record_batch;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;

use crate::row::Value;
use crate::slice::{UserCode, streams};

/// The base-two logarithm of the places, of one key each: of a thousand keys nine in ten have one, and what
/// is read of the table is at most 192 KiB, which the second cache of a core holds. Places of several keys
/// would have room for more of them, but which of its keys a pair has is what a processor cannot foresee.
const PLACES_LOG: u32 = 12;

/// What no key is as a number.
const NO_KEY: u128 = u128::MAX;

/// Bytes of a value, at most: more would not stay in the cache.
const VALUE_BYTES_MAX: usize = 32;

/// Pairs after which it is asked whether enough of them found their key.
const WINDOW: usize = 64 * 1024;

/// Pairs that go on unlooked at when too few did: sixteen windows, so that looking costs a sixteenth at most.
const REST: usize = 16 * WINDOW;

/// A text is within its view if it has at most so many bytes.
const VIEW_BYTES: u32 = 12;

/// A table of frequent keys.
struct Combining<K, V, F> {
    /// The key of each place as a number, and as it is, and its value.
    bits: Vec<u128>,
    keys: Vec<Option<K>>,
    values: Vec<Option<V>>,
    combine: Arc<F>,
    code: UserCode,
    /// Pairs of this window, and how many of them found their key.
    seen: usize,
    found: usize,
    /// Pairs that still go on unlooked at.
    resting: usize,
}

/// The pairs of `input`, those with frequent keys combined. Their keys are canonical.
pub(super) fn combined<K, V, F>(
    input: SendableRecordBatchStream,
    combine: &Arc<F>,
    code: UserCode,
) -> SendableRecordBatchStream
where
    K: Value,
    V: Value,
    F: Fn(V, V) -> V + Send + Sync + 'static,
{
    let schema = input.schema();
    if V::HAS_HEAP || size_of::<V>() > VALUE_BYTES_MAX || !has_bits(&K::data_type()) {
        return input;
    }
    let table = Combining::<K, V, F>::new(Arc::clone(combine), code);
    let pairs = futures::stream::try_unfold(Some((input, table)), |state| async move {
        let Some((mut input, mut table)) = state else { return Ok(None) };
        while let Some(batch) = input.next().await.transpose()? {
            // Sources that are always ready would else keep the thread for as long as all is combined.
            tokio::task::coop::consume_budget().await;
            if let Some(rest) = table.add(batch)? {
                return Ok(Some((rest, Some((input, table)))));
            }
        }
        Ok(table.finish(&input)?.map(|last| (last, None)))
    });
    streams::with_schema(schema, pairs)
}

impl<K, V, F> Combining<K, V, F>
where
    K: Value,
    V: Value,
    F: Fn(V, V) -> V,
{
    fn new(combine: Arc<F>, code: UserCode) -> Self {
        let places = 1 << PLACES_LOG;
        Self {
            bits: vec![NO_KEY; places],
            keys: std::iter::repeat_with(|| None).take(places).collect(),
            values: std::iter::repeat_with(|| None).take(places).collect(),
            combine,
            code,
            seen: 0,
            found: 0,
            resting: 0,
        }
    }

    /// Takes pairs; gives back those that go on.
    fn add(&mut self, batch: RecordBatch) -> Result<Option<RecordBatch>> {
        let rows = batch.num_rows();
        if self.resting > 0 {
            self.resting = self.resting.saturating_sub(rows);
            return Ok(Some(batch));
        }
        let keys = batch.column(0);
        if keys.null_count() > 0 {
            return Ok(Some(batch));
        }
        let others = match keys.data_type() {
            DataType::Utf8View => self.texts(keys.as_string_view().views(), &batch),
            DataType::BinaryView => self.texts(keys.as_binary_view().views(), &batch),
            _ => self.numbers(&keys.to_data(), &batch),
        }?;
        self.seen += rows;
        self.found += rows - others.len();
        if self.seen >= WINDOW {
            if self.found < self.seen / 2 {
                self.resting = REST;
            }
            (self.seen, self.found) = (0, 0);
        }
        if others.is_empty() {
            return Ok(None);
        }
        if others.len() == rows {
            return Ok(Some(batch));
        }
        Ok(Some(take_record_batch(&batch, &UInt32Array::from(others))?))
    }

    fn texts(&mut self, views: &[u128], batch: &RecordBatch) -> Result<Vec<u32>> {
        self.look_up(batch, |row| {
            let view = *views.get(row)?;
            // Its lowest four bytes are the length, and what a short text does not fill is zero.
            (view as u32 <= VIEW_BYTES).then_some(view)
        })
    }

    fn numbers(&mut self, keys: &ArrayData, batch: &RecordBatch) -> Result<Vec<u32>> {
        macro_rules! of {
            ($width:ty) => {{
                let keys = keys.buffer::<$width>(0);
                self.look_up(batch, |row| keys.get(row).map(|key| *key as u128))
            }};
        }
        match keys.data_type().primitive_width() {
            Some(1) => of!(u8),
            Some(2) => of!(u16),
            Some(4) => of!(u32),
            Some(8) => of!(u64),
            Some(16) => of!(i128),
            _ => self.look_up(batch, |_| None),
        }
    }

    /// Combines the pairs whose keys are in the table, or find room in it; the rows of the others.
    fn look_up(
        &mut self,
        batch: &RecordBatch,
        bits: impl Fn(usize) -> Option<u128>,
    ) -> Result<Vec<u32>> {
        let code = self.code;
        let mismatch = |e| code.mismatch(&e);
        let keys = K::column(batch.column(0), None).map_err(mismatch)?;
        let values = V::column(batch.column(1), None).map_err(mismatch)?;
        let mut others = Vec::new();
        code.call(|| {
            for row in 0..batch.num_rows() {
                let value = V::to_owned(V::get(&values, row));
                let bits = bits(row).unwrap_or(NO_KEY);
                let place = place_of(bits);
                let (there, held) = (&mut self.bits[place], &mut self.values[place]);
                if bits == NO_KEY {
                    others.push(row as u32);
                } else if *there == bits {
                    *held = held.take().map(|before| (self.combine)(before, value));
                } else if *there == NO_KEY {
                    *there = bits;
                    *held = Some(value);
                    self.keys[place] = Some(K::to_owned(K::get(&keys, row)));
                } else {
                    others.push(row as u32);
                }
            }
            Ok(())
        })?;
        Ok(others)
    }

    /// The pairs of the table.
    fn finish(self, of: &SendableRecordBatchStream) -> Result<Option<RecordBatch>> {
        let rows = self.bits.iter().filter(|bits| **bits != NO_KEY).count();
        if rows == 0 {
            return Ok(None);
        }
        let (mut keys, mut values) = (K::builder(rows), V::builder(rows));
        self.keys.iter().flatten().for_each(|key| K::append(&mut keys, key.view()));
        self.values.iter().flatten().for_each(|value| V::append(&mut values, value.view()));
        let columns: Vec<ArrayRef> = vec![K::finish(&mut keys), V::finish(&mut values)];
        Ok(Some(RecordBatch::try_new(of.schema(), columns)?))
    }
}

/// Whether keys of this type are numbers of at most 16 bytes, or some of them are.
fn has_bits(keys: &DataType) -> bool {
    matches!(keys, DataType::Utf8View | DataType::BinaryView)
        || keys.primitive_width().is_some_and(|bytes| bytes <= 16)
}

/// The place of a key: the upper half of a product depends on all bits of both factors.
#[inline]
fn place_of(bits: u128) -> usize {
    const ODD: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xd6e8_feb8_6659_fd93];
    let (low, high) = (bits as u64, (bits >> 64) as u64);
    let product = u128::from(low ^ ODD[0]) * u128::from(high ^ ODD[1]);
    let mixed = (product as u64) ^ ((product >> 64) as u64);
    (mixed.wrapping_mul(ODD[0]) >> (u64::BITS - PLACES_LOG)) as usize
}
