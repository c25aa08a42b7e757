//! The head of a result: the first rows of a query, held back until the query ends or the head is
//! full. Until rows are returned, a query can run again from its start without the reader noticing.
//! Used by [`run`](crate::query::run).

use datafusion::arrow::record_batch::RecordBatch;
use tokio::sync::mpsc;

/// Sends the rows of a query to its reader, through a [`Head`].
#[derive(Debug)]
pub(crate) struct ResultWriter<'a> {
    head: Head,
    out: &'a mpsc::Sender<RecordBatch>,
}

/// The reader of the result is gone.
#[derive(Debug)]
pub(crate) struct Gone;

impl<'a> ResultWriter<'a> {
    pub(crate) fn new(head: Head, out: &'a mpsc::Sender<RecordBatch>) -> Self {
        Self { head, out }
    }

    /// Sends the next rows, or holds them back.
    pub(crate) async fn push(&mut self, batch: RecordBatch) -> Result<(), Gone> {
        let batches = self.head.push(batch);
        self.send(batches).await
    }

    /// Sends all rows that are held back: the query has ended.
    pub(crate) async fn finish(&mut self) -> Result<(), Gone> {
        let batches = self.head.release();
        self.send(batches).await
    }

    async fn send(&self, batches: Vec<RecordBatch>) -> Result<(), Gone> {
        for batch in batches {
            self.out.send(batch).await.map_err(|_| Gone)?;
        }
        Ok(())
    }

    /// Discards the rows that are held back: the query runs again.
    pub(crate) fn restart(&mut self) {
        self.head.clear();
    }

    /// True if rows were sent, so that the query cannot run again.
    pub(crate) fn has_sent(&self) -> bool {
        self.head.released()
    }

    /// Returns when the reader is gone.
    pub(crate) async fn closed(&self) {
        self.out.closed().await;
    }
}

/// The rows that are held back.
#[derive(Debug)]
pub(crate) struct Head {
    held: Vec<RecordBatch>,
    bytes: usize,
    bytes_max: usize,
    released: bool,
}

impl Head {
    /// Holds at least `bytes_max` bytes before it releases them; 0 holds nothing.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { held: Vec::new(), bytes: 0, bytes_max, released: false }
    }

    /// True if rows were released.
    fn released(&self) -> bool {
        self.released
    }

    /// Adds the next rows; returns those to send now.
    fn push(&mut self, batch: RecordBatch) -> Vec<RecordBatch> {
        if self.released {
            return vec![batch];
        }
        self.bytes += batch.get_array_memory_size();
        self.held.push(batch);
        if self.bytes > self.bytes_max { self.release() } else { Vec::new() }
    }

    /// Returns all rows that are held: the query has ended, or the head is full.
    fn release(&mut self) -> Vec<RecordBatch> {
        self.bytes = 0;
        let held = std::mem::take(&mut self.held);
        // An empty batch reveals nothing of the result.
        self.released |= held.iter().any(|batch| batch.num_rows() > 0);
        held
    }

    /// Discards the rows that are held.
    fn clear(&mut self) {
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
    fn a_cleared_head_starts_again() {
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
