//! Pre-aggregation for `reduce`, fused with the closure that produces the pairs: values of equal
//! keys are combined in a small hash table before they become columns. As long as most pairs find
//! their key there, a pair costs as much as in a plain loop with a hash table; with many distinct
//! keys the table gives up, and the aggregation behind it does all the work.

use std::hash::BuildHasher;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::Result;
use datafusion::common::hash_utils::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::IntoIter;

use crate::pipeline::slice::UserCode;
use crate::pipeline::slice::keyed::heap_bytes::taken;
use crate::pipeline::slice::rows::batch_builder::{BATCH_BYTES, BATCH_ROWS, BatchBuilder};
use crate::pipeline::slice::rows::fused_map::RowSink;
use crate::row::{Row, Value};

/// The maximum number of keys in a table; fewer if they are large, so that it has at most
/// [`BATCH_BYTES`] and as much again on the heap. A larger table would not fit into a core's own
/// cache.
const KEYS_MAX: usize = 16 * 1024;

/// The minimum number of pairs per key in a full table that makes the next table worthwhile.
/// Inserting a key and removing it again costs about as much as ten pairs cost the aggregation
/// behind.
const PAIRS_PER_KEY_MIN: usize = 16;

/// The seed of the table's hashes, different from that of the partitioning and of DataFusion's
/// tables.
const SEED: u64 = 0xb165_11ce_0000_0002;

/// Combines the values of equal keys with the closure of `code`.
pub(crate) struct PreAggregation<K: Value, V: Value, F> {
    /// A value is only missing while it is being combined.
    table: HashTable<(K, Option<V>)>,
    hashes: RandomState,
    /// The number of keys at which the table is full.
    most: usize,
    /// The bytes that keys and values own on the heap.
    heap: usize,
    /// The pairs consumed since the table was empty.
    pairs: usize,
    /// The rest of a table that is being output.
    given: Option<IntoIter<(K, Option<V>)>>,
    built: BatchBuilder<(K, V)>,
    gives_up: bool,
    combine: Arc<F>,
    is_combining: bool,
    code: UserCode,
    schema: SchemaRef,
}

impl<K: Value, V: Value, F> PreAggregation<K, V, F> {
    /// A table of pairs with this schema.
    pub(crate) fn new(combine: Arc<F>, schema: SchemaRef, code: UserCode) -> Self {
        Self {
            table: HashTable::new(),
            hashes: RandomState::with_seed(SEED),
            most: KEYS_MAX.min(BATCH_BYTES / size_of::<(K, Option<V>)>()).max(1),
            heap: 0,
            pairs: 0,
            given: None,
            built: BatchBuilder::new(0, BATCH_ROWS),
            gives_up: false,
            combine,
            is_combining: false,
            code,
            schema,
        }
    }

    #[inline]
    fn is_full(&self) -> bool {
        self.table.len() >= self.most || self.heap >= BATCH_BYTES
    }

    #[cold]
    fn insert(&mut self, hash: u64, key: K, value: V) {
        self.heap += taken::<K>(&key) + taken::<V>(&value);
        let hashes = &self.hashes;
        let rehash = |(key, _): &(K, Option<V>)| hash_of::<K>(hashes, key.view());
        self.table.insert_unique(hash, (key, Some(value)), rehash);
    }
}

#[inline]
fn hash_of<K: Value>(hashes: &RandomState, key: K::View<'_>) -> u64 {
    let mut hasher = hashes.build_hasher();
    K::hash_key(key, &mut hasher);
    std::hash::Hasher::finish(&hasher)
}

impl<K, V, F> RowSink<(K, V)> for PreAggregation<K, V, F>
where
    K: Value,
    V: Value,
    F: Fn(V, V) -> V + Send + Sync,
{
    fn take(&mut self, (key, value): <(K, V) as Row>::View<'_>) -> bool {
        self.pairs += 1;
        let hash = hash_of::<K>(&self.hashes, key);
        let found = self.table.find_mut(hash, |(held, _)| K::same_key(held.view(), key));
        match found.map(|(_, place)| (place.take(), place)) {
            Some((Some(before), place)) => {
                self.heap -= taken::<V>(&before);
                self.is_combining = true;
                let value = (self.combine)(before, V::to_owned(value));
                self.is_combining = false;
                self.heap += taken::<V>(&value);
                *place = Some(value);
            }
            Some((None, place)) => *place = Some(V::to_owned(value)),
            None => self.insert(hash, K::to_owned(key), V::to_owned(value)),
        }
        self.is_full()
    }

    fn give(&mut self) -> Result<Option<RecordBatch>> {
        if self.given.is_none() {
            self.gives_up |= self.is_full() && self.pairs < PAIRS_PER_KEY_MIN * self.table.len();
            (self.pairs, self.heap) = (0, 0);
        }
        let given = self.given.get_or_insert_with(|| std::mem::take(&mut self.table).into_iter());
        for (key, value) in given {
            // Only a panic leaves a key without its value, and then nothing is output.
            let Some(value) = value else { continue };
            self.built.push((key.view(), value.view()));
            if self.built.is_full() {
                break;
            }
        }
        let batch = self.built.take(&self.schema)?;
        if batch.is_none() {
            self.given = None;
        }
        Ok(batch)
    }

    fn gives_up(&self) -> bool {
        self.gives_up
    }

    fn running_closure(&self) -> Option<UserCode> {
        self.is_combining.then_some(self.code)
    }
}
