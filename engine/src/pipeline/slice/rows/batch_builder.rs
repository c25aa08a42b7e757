//! Batches that are built row by row. They end at a number of rows, or of bytes where rows are large: whoever
//! comes next holds several of them, and asks nobody how large they are.

use std::ops::{ControlFlow, Range};

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::Result;

use crate::pipeline::slice::UserCode;
use crate::pipeline::slice::rows::choosing::{Stop, visit};
use crate::pipeline::slice::tree::chosen::Chosen;
use crate::pipeline::slice::tree::node::Select;
use crate::pipeline::slice::tree::typed;
use crate::row::{Row, Value};

/// Rows of a batch.
pub(crate) const BATCH_ROWS: usize = 8192;

/// Bytes of a batch, which the last row may exceed: those of a block of a shard. [`BATCH_ROWS`] rows of 128
/// bytes have as many; fewer would make batches of common rows small, and each costs its arrays.
pub(crate) const BATCH_BYTES: usize = 1024 * 1024;

/// A batch that is being built.
#[derive(Debug)]
pub(crate) struct Building<T: Row> {
    builder: T::Builder,
    rows: usize,
    /// About, where rows differ in size.
    bytes: usize,
    /// Rows that are enough.
    most: usize,
}

impl<T: Row> Building<T> {
    /// Batches of at most `rows` rows, with room for `capacity` at first.
    pub(crate) fn new(capacity: usize, rows: usize) -> Self {
        let most = rows.min(BATCH_BYTES / size_of::<T>().max(1)).max(1);
        Self { builder: T::builder(capacity.min(most)), rows: 0, bytes: 0, most }
    }

    /// Says that rows are likely to have values of `arrays` as they are.
    pub(crate) fn lend(&mut self, arrays: &[ArrayRef]) {
        T::lend(&mut self.builder, arrays);
    }

    /// One more row.
    #[inline(always)]
    pub(crate) fn push(&mut self, row: T::View<'_>) {
        if T::HAS_HEAP {
            self.bytes += size_of::<T>() + T::heap_bytes(row);
        }
        T::append(&mut self.builder, row);
        self.rows += 1;
    }

    /// Whether the batch has enough rows, or bytes.
    #[inline(always)]
    pub(crate) fn is_full(&self) -> bool {
        self.rows >= self.most || self.is_heavy()
    }

    /// Whether the batch has enough bytes; never, where all rows are of one size.
    #[inline(always)]
    pub(crate) fn is_heavy(&self) -> bool {
        T::HAS_HEAP && self.bytes >= BATCH_BYTES
    }

    /// Rows that it has room for.
    pub(crate) fn room(&self) -> usize {
        self.most - self.rows.min(self.most)
    }

    /// The batch, unless it has no rows. The next one begins.
    pub(crate) fn take(&mut self, schema: &SchemaRef) -> Result<Option<RecordBatch>> {
        if self.rows == 0 {
            return Ok(None);
        }
        (self.rows, self.bytes) = (0, 0);
        typed::batch::<T>(schema, &mut self.builder).map(Some)
    }
}

/// A batch that is read row by row, with pauses: what is made of its rows may be many batches.
pub(crate) struct Reading<T: Row> {
    columns: T::Columns,
    /// The rows that are read; without it all are.
    chosen: Option<Chosen>,
    next: usize,
    rows: usize,
}

impl<T: Row> Reading<T> {
    /// Opens `batch` for reading the rows that `select` chooses.
    pub(crate) fn new(
        batch: &RecordBatch,
        select: Option<&dyn Select>,
        code: &UserCode,
    ) -> Result<Self> {
        let columns = typed::columns::<T>(batch, code)?;
        let chosen = select.map(|select| select.select(batch, code.shard)).transpose()?;
        Ok(Self { columns, chosen, next: 0, rows: batch.num_rows() })
    }

    /// Whether all rows were read.
    pub(crate) fn is_done(&self) -> bool {
        self.next == self.rows
    }

    /// Gives `each` row of the next `most` ones, until it says why not.
    pub(crate) fn read(
        &mut self,
        most: usize,
        code: &UserCode,
        each: impl FnMut(T::View<'_>) -> ControlFlow<Stop>,
    ) -> Result<()> {
        let rows = self.next..self.rows.min(self.next.saturating_add(most));
        self.next = rows.end;
        let stopped =
            code.call(|| Ok(visit::<T>(&self.columns, self.chosen.as_ref(), rows, each)))?;
        if let Some((row, stop)) = stopped {
            self.next = row + 1;
            if let Stop::Failed(error) = stop {
                return Err(*error);
            }
        }
        Ok(())
    }
}

/// The values that `value` makes of the rows from `next` to `rows`, in one array: of all of them, or of as
/// many as make a batch where values are large. Also which rows these are; `next` is where they end.
pub(crate) fn part_of_column<V: Value>(
    next: &mut usize,
    rows: usize,
    code: &UserCode,
    mut value: impl FnMut(usize) -> V,
) -> Result<Option<(ArrayRef, Range<usize>)>> {
    let begin = *next;
    if begin >= rows {
        return Ok(None);
    }
    let mut builder = V::builder(rows - begin);
    let end = code.call(|| {
        let mut heap = 0;
        for row in begin..rows {
            let made = value(row);
            if V::HAS_HEAP {
                heap += V::heap_bytes(made.view());
            }
            V::append(&mut builder, made.view());
            if V::HAS_HEAP && heap >= BATCH_BYTES {
                return Ok(row + 1);
            }
        }
        Ok(rows)
    })?;
    *next = end;
    Ok(Some((V::finish(&mut builder), begin..end)))
}
