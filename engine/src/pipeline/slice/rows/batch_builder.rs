//! Builds batches row by row. A batch is limited by its number of rows, and by its bytes if rows
//! are large: consumers hold several batches without asking for their size.

use std::ops::{ControlFlow, Range};

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::Result;

use crate::pipeline::slice::UserCode;
use crate::pipeline::slice::rows::selection::{Stop, visit};
use crate::pipeline::slice::tree::chosen::Chosen;
use crate::pipeline::slice::tree::node::Select;
use crate::pipeline::slice::tree::typed;
use crate::row::{Row, Value};

/// The maximum number of rows in a batch.
pub(crate) const BATCH_ROWS: usize = 8192;

/// The size at which a batch ends, in bytes, which its last row may exceed: the size of a block of
/// a shard. [`BATCH_ROWS`] rows of 128 bytes have this size; a smaller limit would make batches of
/// common rows small, and each batch has the overhead of its arrays.
pub(crate) const BATCH_BYTES: usize = 1024 * 1024;

/// A batch under construction.
#[derive(Debug)]
pub(crate) struct BatchBuilder<T: Row> {
    builder: T::Builder,
    rows: usize,
    /// The estimated size, if rows differ in size.
    bytes: usize,
    /// The maximum number of rows.
    most: usize,
}

impl<T: Row> BatchBuilder<T> {
    /// A builder for batches of at most `rows` rows, with an initial capacity.
    pub(crate) fn new(capacity: usize, rows: usize) -> Self {
        let most = rows.min(BATCH_BYTES / size_of::<T>().max(1)).max(1);
        Self { builder: T::builder(capacity.min(most)), rows: 0, bytes: 0, most }
    }

    /// Hints that rows are likely to contain values of `arrays` unchanged.
    pub(crate) fn lend(&mut self, arrays: &[ArrayRef]) {
        T::lend(&mut self.builder, arrays);
    }

    /// Appends a row.
    #[inline(always)]
    pub(crate) fn push(&mut self, row: T::View<'_>) {
        if T::HAS_HEAP {
            self.bytes += size_of::<T>() + T::heap_bytes(row);
        }
        T::append(&mut self.builder, row);
        self.rows += 1;
    }

    /// True if the batch has enough rows, or bytes.
    #[inline(always)]
    pub(crate) fn is_full(&self) -> bool {
        self.rows >= self.most || self.is_heavy()
    }

    /// True if the batch has enough bytes; never if all rows have the same size.
    #[inline(always)]
    pub(crate) fn is_heavy(&self) -> bool {
        T::HAS_HEAP && self.bytes >= BATCH_BYTES
    }

    /// The number of rows that still fit.
    pub(crate) fn room(&self) -> usize {
        self.most - self.rows.min(self.most)
    }

    /// Returns the batch, or `None` if it is empty, and starts the next one.
    pub(crate) fn take(&mut self, schema: &SchemaRef) -> Result<Option<RecordBatch>> {
        if self.rows == 0 {
            return Ok(None);
        }
        (self.rows, self.bytes) = (0, 0);
        typed::batch::<T>(schema, &mut self.builder).map(Some)
    }
}

/// A cursor over the rows of a batch. Reading can pause, because its rows may produce many batches.
pub(crate) struct BatchCursor<T: Row> {
    columns: T::Columns,
    /// The selected rows; `None` for all.
    chosen: Option<Chosen>,
    next: usize,
    rows: usize,
}

impl<T: Row> BatchCursor<T> {
    /// Opens `batch` to read the rows that `select` selects.
    pub(crate) fn new(
        batch: &RecordBatch,
        select: Option<&dyn Select>,
        code: &UserCode,
    ) -> Result<Self> {
        let columns = typed::columns::<T>(batch, code)?;
        let chosen = select.map(|select| select.select(batch, code.shard)).transpose()?;
        Ok(Self { columns, chosen, next: 0, rows: batch.num_rows() })
    }

    /// True if all rows were read.
    pub(crate) fn is_done(&self) -> bool {
        self.next == self.rows
    }

    /// Passes up to `most` further rows to `each`, until it stops.
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

/// Applies `value` to the rows from `next` to `rows` and collects the values in one array, or as
/// many as fit into a batch if values are large. Returns also the range of these rows; `next` is
/// moved to its end.
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
