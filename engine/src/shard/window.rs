//! The window: the last scattered batches, until their rows are dealt to the queues of their
//! partitions. Dealing many rows together makes larger pieces, which are worth the overhead of
//! their arrays.

use arrow::array::{RecordBatch, UInt32Array};
use arrow::datatypes::SchemaRef;

use super::{Result, compact, written};

/// Rows that are dealt together: 64 for each of 1024 partitions. More are hardly faster; with 8192
/// it takes eight times as long.
pub(super) const WINDOW_ROWS: usize = 64 * 1024;

/// Bytes that are dealt together. There are up to three copies of them meanwhile.
const WINDOW_BYTES: usize = 4 * 1024 * 1024;

/// Batches and the partitions of their rows.
#[derive(Debug, Default)]
pub(super) struct Window {
    batches: Vec<RecordBatch>,
    ids: Vec<u32>,
    written: usize,
    held: usize,
}

impl Window {
    /// The bytes of memory that it keeps alive.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// True if there are enough rows to deal.
    pub(super) fn is_full(&self) -> bool {
        self.ids.len() >= WINDOW_ROWS || self.written >= WINDOW_BYTES
    }

    /// True if `batch` does not fit into the window with the rows in it.
    pub(super) fn would_overflow(&self, batch: &RecordBatch) -> bool {
        !self.batches.is_empty()
            && (self.ids.len() + batch.num_rows() > WINDOW_ROWS
                || self.written + written::of_batch(batch) > WINDOW_BYTES)
    }

    /// Adds a batch of at most [`WINDOW_ROWS`] rows. Unless it fills the window, and so is dealt
    /// soon, the buffers that it shares with larger batches are copied.
    pub(super) fn push(&mut self, ids: &[u32], batch: RecordBatch) -> Result<()> {
        self.written += written::of_batch(&batch);
        self.ids.extend_from_slice(ids);
        let batch = if self.is_full() { batch } else { compact::to_keep(batch)? };
        self.held += compact::held(&batch) + size_of_val(ids);
        self.batches.push(batch);
        Ok(())
    }

    /// Removes all rows, grouped by partition, those of a partition in the order they were added.
    pub(super) fn deal(
        &mut self,
        schema: &SchemaRef,
        partitions: usize,
    ) -> Result<Vec<(usize, RecordBatch)>> {
        let Self { batches, ids, .. } = std::mem::take(self);
        let mut dealt = Vec::new();
        let mut ids = ids.as_slice();
        for batch in compact::joined(schema, batches)? {
            let (these, rest) = ids.split_at(batch.num_rows());
            ids = rest;
            let (rows, ends) = sorted(these, partitions);
            let mut start = 0;
            for (partition, end) in ends.into_iter().enumerate() {
                if end > start {
                    let rows = rows.slice(start, end - start);
                    dealt.push((partition, compact::taken(&batch, &rows)?));
                    start = end;
                }
            }
        }
        Ok(dealt)
    }
}

/// The indexes of the rows sorted by partition, and the end of each partition.
fn sorted(ids: &[u32], partitions: usize) -> (UInt32Array, Vec<usize>) {
    let mut next = vec![0; partitions];
    for id in ids {
        next[*id as usize] += 1;
    }
    let mut start = 0;
    for next in &mut next {
        let n = std::mem::replace(next, start);
        start += n;
    }
    let mut rows = vec![0; ids.len()];
    for (row, id) in ids.iter().enumerate() {
        let next = &mut next[*id as usize];
        rows[*next] = row as u32;
        *next += 1;
    }
    (rows.into(), next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sorted_by_partition_and_keep_their_order() {
        let (rows, ends) = sorted(&[2, 0, 2, 3, 0], 5);
        assert_eq!(rows.values().as_ref(), [1, 4, 0, 2, 3]);
        assert_eq!(ends, [2, 2, 4, 5, 5]);
        let (rows, ends) = sorted(&[], 2);
        assert_eq!((rows.len(), ends), (0, vec![0, 0]));
    }
}
