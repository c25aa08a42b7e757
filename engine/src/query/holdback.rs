//! The head of a result: the first rows of a query on machines, held back until the query has
//! ended or enough of them are there. As long as nothing was given out, a query may be run again
//! from its beginning and nobody can tell. Used by [`attempt`](crate::query::attempt).

use datafusion::arrow::record_batch::RecordBatch;

/// The rows that are held back.
#[derive(Debug)]
pub(crate) struct Head {
    held: Vec<RecordBatch>,
    bytes: usize,
    bytes_max: usize,
    released: bool,
}

impl Head {
    /// Holds at least `bytes_max` bytes before it lets go; with none it holds nothing.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { held: Vec::new(), bytes: 0, bytes_max, released: false }
    }

    /// True when rows were given out.
    pub(crate) fn released(&self) -> bool {
        self.released
    }

    /// Takes the next rows; gives those that may go out now.
    pub(crate) fn push(&mut self, batch: RecordBatch) -> Vec<RecordBatch> {
        if self.released {
            return vec![batch];
        }
        self.bytes += batch.get_array_memory_size();
        self.held.push(batch);
        if self.bytes > self.bytes_max { self.release() } else { Vec::new() }
    }

    /// Gives all that is held: the query has ended well, or the head is full.
    pub(crate) fn release(&mut self) -> Vec<RecordBatch> {
        self.bytes = 0;
        let held = std::mem::take(&mut self.held);
        // Rows count, not batches: an empty batch tells nobody anything.
        self.released |= held.iter().any(|batch| batch.num_rows() > 0);
        held
    }

    /// Forgets what is held: the query runs again.
    pub(crate) fn clear(&mut self) {
        self.held.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{ArrayRef, Int64Array};

    use super::*;

    fn batch(rows: i64) -> RecordBatch {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
        RecordBatch::try_from_iter([("a", column)]).unwrap()
    }

    #[test]
    fn rows_are_held_until_the_head_is_full() {
        let mut head = Head::new(batch(100).get_array_memory_size() * 2);
        assert!(head.push(batch(100)).is_empty());
        assert!(head.push(batch(100)).is_empty());
        assert!(!head.released());
        assert_eq!(head.push(batch(100)).len(), 3);
        assert!(head.released());
        assert_eq!(head.push(batch(1)).len(), 1);
    }

    #[test]
    fn a_head_that_was_cleared_begins_anew() {
        let mut head = Head::new(usize::MAX);
        head.push(batch(5));
        head.clear();
        head.push(batch(7));
        let rows: usize = head.release().iter().map(RecordBatch::num_rows).sum();
        assert_eq!(rows, 7);
    }

    #[test]
    fn without_machines_nothing_is_held() {
        assert_eq!(Head::new(0).push(batch(1)).len(), 1);
    }
}
