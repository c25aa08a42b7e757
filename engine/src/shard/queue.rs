//! The rows of one partition that wait for their block to be full.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::{Result, compact, written};

/// The bytes of a block before they are compressed.
pub(super) const BLOCK_BYTES: usize = 256 * 1024;

/// The rows of a block, for schemas whose rows take hardly a byte or none.
pub(super) const BLOCK_ROWS: usize = 1024 * 1024;

/// What pieces may hold beyond twice what they are, before they are put together.
const OVERHEAD_BYTES: usize = 64 * 1024;

/// Pieces of the partition, each with at least one row.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pieces: Vec<RecordBatch>,
    rows: usize,
    written: usize,
    held: usize,
}

impl Queue {
    /// The memory that it keeps alive.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// True when there is enough in it for a block.
    pub(super) fn is_full(&self) -> bool {
        self.written >= BLOCK_BYTES || self.rows >= BLOCK_ROWS
    }

    /// Adds a piece that makes `bytes` in the file. Unless it fills the queue, so that it will be
    /// gone soon, it is rid of what it keeps alive besides.
    pub(super) fn push(
        &mut self,
        piece: RecordBatch,
        bytes: usize,
        schema: &SchemaRef,
    ) -> Result<()> {
        self.add(piece, bytes);
        if self.is_full() {
            return Ok(());
        }
        if let Some(piece) = self.pieces.pop() {
            self.held -= compact::held(&piece);
            let piece = compact::to_keep(piece)?;
            self.held += compact::held(&piece);
            self.pieces.push(piece);
        }
        if self.held > 2 * self.written + OVERHEAD_BYTES && self.pieces.len() > 1 {
            self.tidy(schema)?;
        }
        Ok(())
    }

    /// All that is in it, which is nothing afterwards.
    pub(super) fn take(&mut self) -> Vec<RecordBatch> {
        std::mem::take(self).pieces
    }

    fn add(&mut self, piece: RecordBatch, bytes: usize) {
        self.rows += piece.num_rows();
        self.written += bytes;
        self.held += compact::held(&piece);
        self.pieces.push(piece);
    }

    /// Puts small pieces together: a partition that gets two rows at a time has thousands before
    /// a block is full, and then most of the memory is their arrays' own fields.
    fn tidy(&mut self, schema: &SchemaRef) -> Result<()> {
        for piece in compact::joined(schema, self.take())? {
            let piece = compact::to_keep(piece)?;
            let bytes = written::of_batch(&piece);
            self.add(piece, bytes);
        }
        Ok(())
    }
}
