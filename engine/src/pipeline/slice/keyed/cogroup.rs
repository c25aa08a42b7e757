//! Groups up to four slices by key, by merging shards that are sorted by key.

use std::panic::Location;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, ListArray, StructArray, new_empty_array};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::compute::{concat, interleave};
use datafusion::arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::arrow::row::{OwnedRow, RowConverter, Rows, SortField};
use datafusion::common::{Result, internal_datafusion_err, resources_datafusion_err};
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use futures::StreamExt;

use crate::base::diagnostics::describe;
use crate::error::Error;
use crate::pipeline::slice::keyed::keys;
use crate::pipeline::slice::keyed::sorting;
use crate::pipeline::slice::rows::batch_builder::{BATCH_BYTES, BATCH_ROWS};
use crate::pipeline::slice::tree::node::{Shards, TaskCx, Wide};
use crate::pipeline::slice::tree::streams;
use crate::pipeline::slice::tree::typed;
use crate::pipeline::slice::{Slice, UserCode};
use crate::row::Value;
use crate::shard::bytes_of;

/// The number of values per output batch, unless one key has more.
const BATCH_VALUES: usize = 64 * 1024;

/// The maximum number of values in a batch, and so of one key: lists have 32-bit offsets.
const VALUES_MAX: usize = i32::MAX as usize;

impl<K: Value, A: Value> Slice<(K, A)> {
    /// One row per key of either slice, with all of its values in each slice; a slice without the
    /// key has an empty list.
    ///
    /// All rows move. The number of shards is the larger of both, each sorted by key; values are in
    /// no fixed order. The sort spills; the values of one key must fit into memory, or the run ends
    /// with an error.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// let session = Session::builder().build().await?;
    /// let sold = Slice::const_(1, [(1, 10), (2, 20), (2, 21)]);
    /// let returned = Slice::const_(1, [(2, 5), (3, 6)]);
    /// let mut rows = session.run(sold.cogroup(returned)).await?.collect().await?;
    /// rows[1].1.0.sort();
    /// let right = [(1, (vec![10], vec![])), (2, (vec![20, 21], vec![5])), (3, (vec![], vec![6]))];
    /// assert_eq!(rows, right);
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn cogroup<B: Value>(self, other: Slice<(K, B)>) -> Slice<(K, (Vec<A>, Vec<B>))> {
        self.cogroup_at("cogroup", Location::caller(), other)
    }

    /// [`cogroup`](Self::cogroup), also used by other operators.
    pub(crate) fn cogroup_at<B: Value>(
        self,
        verb: &'static str,
        place: &'static Location<'static>,
        other: Slice<(K, B)>,
    ) -> Slice<(K, (Vec<A>, Vec<B>))> {
        let inputs = vec![self.by_key(), other.by_key()];
        let schema = typed::schema::<(K, (Vec<A>, Vec<B>))>();
        Slice::wide(verb, place, inputs, Shards::Most, Cogroup { verb, place, schema })
    }

    /// [`cogroup`](Self::cogroup) with two others. The number of shards is the largest of all.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// let session = Session::builder().build().await?;
    /// let of = |pairs: [(u64, i64); 1]| Slice::const_(1, pairs);
    /// let rows = of([(1, 10)]).cogroup3(of([(2, 20)]), of([(1, 30)]));
    /// let rows = session.run(rows).await?.collect().await?;
    /// assert_eq!(rows, [(1, (vec![10], vec![], vec![30])), (2, (vec![], vec![20], vec![]))]);
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn cogroup3<B: Value, C: Value>(
        self,
        second: Slice<(K, B)>,
        third: Slice<(K, C)>,
    ) -> Slice<(K, (Vec<A>, Vec<B>, Vec<C>))> {
        let (verb, place) = ("cogroup3", Location::caller());
        let inputs = vec![self.by_key(), second.by_key(), third.by_key()];
        let schema = typed::schema::<(K, (Vec<A>, Vec<B>, Vec<C>))>();
        Slice::wide(verb, place, inputs, Shards::Most, Cogroup { verb, place, schema })
    }

    /// [`cogroup`](Self::cogroup) with three others. The number of shards is the largest of all.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// let session = Session::builder().build().await?;
    /// let of = |pairs: [(Option<u64>, i64); 1]| Slice::const_(1, pairs);
    /// let (second, third) = (of([(None, 20)]), of([(Some(1), 30)]));
    /// let rows = of([(Some(1), 10)]).cogroup4(second, third, of([(None, 40)]));
    /// let rows = session.run(rows).await?.collect().await?;
    /// assert_eq!(rows[0], (None, (vec![], vec![20], vec![], vec![40])));
    /// assert_eq!(rows[1], (Some(1), (vec![10], vec![], vec![30], vec![])));
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn cogroup4<B: Value, C: Value, D: Value>(
        self,
        second: Slice<(K, B)>,
        third: Slice<(K, C)>,
        fourth: Slice<(K, D)>,
    ) -> Slice<(K, (Vec<A>, Vec<B>, Vec<C>, Vec<D>))> {
        let (verb, place) = ("cogroup4", Location::caller());
        let inputs = vec![self.by_key(), second.by_key(), third.by_key(), fourth.by_key()];
        let schema = typed::schema::<(K, (Vec<A>, Vec<B>, Vec<C>, Vec<D>))>();
        Slice::wide(verb, place, inputs, Shards::Most, Cogroup { verb, place, schema })
    }
}

/// Sorts each input by key and merges them.
pub(crate) struct Cogroup {
    pub(crate) verb: &'static str,
    pub(crate) place: &'static Location<'static>,
    /// The schema of the result: a key, and a list of values for each input.
    pub(crate) schema: SchemaRef,
}

impl Wide for Cogroup {
    fn run(
        &self,
        inputs: Vec<SendableRecordBatchStream>,
        cx: &TaskCx,
    ) -> Result<SendableRecordBatchStream> {
        let sides = inputs.into_iter().map(|input| Side::new(input, cx));
        let merge = Merge {
            sides: sides.collect::<Result<Vec<_>>>()?,
            schema: Arc::clone(&self.schema),
            key_arrays: Vec::new(),
            key_places: Vec::new(),
            values: 0,
            bytes: 0,
            memory: MemoryConsumer::new("grouping by key").register(cx.context.memory_pool()),
            code: UserCode { verb: self.verb, place: self.place, shard: cx.shard },
        };
        let rows = futures::stream::try_unfold(merge, |mut merge| async move {
            Ok(merge.next().await?.map(|batch| (batch, merge)))
        });
        Ok(streams::with_schema(Arc::clone(&self.schema), rows))
    }
}

/// One sorted input.
struct Side {
    input: SendableRecordBatchStream,
    converter: RowConverter,
    /// The current batch, its keys in comparable form, and the position in it.
    now: Option<(RecordBatch, Rows)>,
    position: usize,
    /// The values of the groups that are not output yet, as slices of batches.
    pieces: Vec<ArrayRef>,
    /// The number of values of each of these groups.
    counts: Vec<usize>,
    /// The estimated size of a row of the current batch, in bytes.
    row_bytes: usize,
}

impl Side {
    fn new(input: SendableRecordBatchStream, cx: &TaskCx) -> Result<Self> {
        let empty = RecordBatch::new_empty(input.schema());
        let leaves = keys::leaves(empty.column(0))?;
        let fields = leaves
            .iter()
            .map(|leaf| SortField::new_with_options(leaf.data_type().clone(), keys::ORDER));
        Ok(Self {
            converter: RowConverter::new(fields.collect())?,
            input: sorting::by_key(input, cx)?,
            now: None,
            position: 0,
            pieces: Vec::new(),
            counts: Vec::new(),
            row_bytes: 0,
        })
    }

    /// Reads a batch if there is no current row, unless the input has ended. Returns the bytes of a
    /// new batch.
    async fn fill(&mut self) -> Result<usize> {
        let read = |(batch, _): &(RecordBatch, Rows)| self.position >= batch.num_rows();
        if !self.now.as_ref().is_none_or(read) {
            return Ok(0);
        }
        self.now = None;
        self.position = 0;
        while let Some(batch) = self.input.next().await.transpose()? {
            if batch.num_rows() > 0 {
                let rows = self.converter.convert_columns(&keys::leaves(batch.column(0))?)?;
                let bytes = batch.get_array_memory_size() + rows.size();
                self.row_bytes = bytes_of(&batch) / batch.num_rows();
                self.now = Some((batch, rows));
                return Ok(bytes);
            }
        }
        Ok(0)
    }

    /// The key of the current row.
    fn key(&self) -> Option<datafusion::arrow::row::Row<'_>> {
        self.now.as_ref().map(|(_, rows)| rows.row(self.position))
    }

    /// Takes the values of `key` in this batch and adds their bytes to `taken`; true if that
    /// reaches the end of the batch.
    fn take(&mut self, key: &OwnedRow, taken: &mut usize) -> bool {
        let Some((batch, rows)) = &self.now else { return false };
        let begin = self.position;
        while self.position < batch.num_rows() && rows.row(self.position) == key.row() {
            self.position += 1;
        }
        if self.position > begin {
            self.pieces.push(batch.column(1).slice(begin, self.position - begin));
            if let Some(count) = self.counts.last_mut() {
                *count += self.position - begin;
            }
            *taken += (self.position - begin) * self.row_bytes;
        }
        self.position >= batch.num_rows()
    }

    /// The lists of the finished groups.
    fn lists(&mut self, field: &Field) -> Result<ArrayRef> {
        let DataType::List(item) = field.data_type() else {
            return Err(internal_datafusion_err!("\"{}\" is not a list", field.name()));
        };
        let pieces: Vec<&dyn Array> = self.pieces.iter().map(AsRef::as_ref).collect();
        let values = match pieces.is_empty() {
            true => new_empty_array(item.data_type()),
            false => concat(&pieces)?,
        };
        let offsets = OffsetBuffer::from_lengths(self.counts.drain(..));
        self.pieces.clear();
        Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, values, None)?))
    }
}

struct Merge {
    sides: Vec<Side>,
    schema: SchemaRef,
    /// The key columns of the finished groups, by batch and row.
    key_arrays: Vec<ArrayRef>,
    key_places: Vec<(usize, usize)>,
    values: usize,
    bytes: usize,
    /// The reservation for the batches that groups are read from, and for the output batch.
    memory: MemoryReservation,
    code: UserCode,
}

impl Merge {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        // A request for the next batch means that the last one is no longer used.
        self.memory.try_resize(self.held())?;
        while self.key_places.len() < BATCH_ROWS
            && self.values < BATCH_VALUES
            && self.bytes < BATCH_BYTES
        {
            if !self.group().await? {
                break;
            }
        }
        if self.key_places.is_empty() { Ok(None) } else { self.give().map(Some) }
    }

    /// Reads one group; false if there is none.
    async fn group(&mut self) -> Result<bool> {
        for side in &mut self.sides {
            let bytes = side.fill().await?;
            self.memory.try_grow(bytes).map_err(|e| too_large(&self.code, &e))?;
        }
        let least = self.sides.iter().enumerate().filter_map(|(n, side)| Some((side.key()?, n)));
        let Some((key, n)) = least.min() else { return Ok(false) };
        let key = key.owned();
        if let Some((batch, _)) = &self.sides[n].now {
            let array = batch.column(0);
            // Groups are read in order: usually the array is the last one.
            if !self.key_arrays.last().is_some_and(|last| Arc::ptr_eq(last, array)) {
                self.key_arrays.push(Arc::clone(array));
            }
            self.key_places.push((self.key_arrays.len() - 1, self.sides[n].position));
        }
        for side in &mut self.sides {
            side.counts.push(0);
            while side.take(&key, &mut self.bytes) {
                let bytes = side.fill().await?;
                self.memory.try_grow(bytes).map_err(|e| too_large(&self.code, &e))?;
            }
            self.values += side.counts.last().copied().unwrap_or(0);
            if self.values > VALUES_MAX {
                let error = resources_datafusion_err!("a list holds at most {VALUES_MAX} values");
                return Err(too_large(&self.code, &error));
            }
        }
        Ok(true)
    }

    /// The bytes of the batches that are being read.
    fn held(&self) -> usize {
        let held = self.sides.iter().filter_map(|side| side.now.as_ref());
        held.map(|(batch, rows)| batch.get_array_memory_size() + rows.size()).sum()
    }

    fn give(&mut self) -> Result<RecordBatch> {
        // Values are copied into one list while their source is still in memory.
        match self.bytes {
            0..BATCH_BYTES => self.memory.grow(self.bytes),
            _ => self.memory.try_grow(self.bytes).map_err(|e| too_large(&self.code, &e))?,
        }
        let arrays: Vec<&dyn Array> = self.key_arrays.iter().map(AsRef::as_ref).collect();
        let keys = interleave(&arrays, &self.key_places)?;
        let (values, code) = (self.schema.field(1), self.code);
        // The text of one key may exceed the offsets of a column.
        let too_large = |e: DataFusionError| too_large(&code, &e);
        let values = match (self.sides.as_mut_slice(), values.data_type()) {
            ([side], _) => side.lists(values).map_err(too_large)?,
            (sides, DataType::Struct(fields)) => {
                let lists = sides.iter_mut().zip(fields).map(|(side, field)| side.lists(field));
                let lists = lists.collect::<Result<Vec<_>>>().map_err(too_large)?;
                Arc::new(StructArray::try_new(fields.clone(), lists, None)?)
            }
            _ => return Err(internal_datafusion_err!("the values of a key have one column")),
        };
        self.key_arrays.clear();
        self.key_places.clear();
        // What remains is the batches that are being read, and the output batch.
        self.memory.try_resize(self.held() + self.bytes)?;
        (self.values, self.bytes) = (0, 0);
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), vec![keys, values])?)
    }
}

/// Explains an out-of-memory error: the sort has spilled all it could, so a group does not fit.
fn too_large(code: &UserCode, error: &DataFusionError) -> DataFusionError {
    let UserCode { verb, place, shard } = code;
    let (cause, _) = describe(error);
    Error::memory(format!(
        "{verb} at {place}, shard {shard}: the values of one key do not fit into memory: {cause}"
    ))
    .with_hint(
        "combine them with \"fold\" or \"reduce\", which keep one value for each key, or raise \
         the memory limit",
    )
    .into()
}
