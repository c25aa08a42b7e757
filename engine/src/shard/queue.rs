//! The queue of one partition: rows that do not fill a block yet.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::{Result, compact, written};

/// Uncompressed bytes that fill a block in any case. Wide tables need large blocks: with a quarter
/// of it, a hundred columns are decoded at half the speed.
const BLOCK_BYTES: usize = 1024 * 1024;

/// Uncompressed bytes that fill a block of at least [`BLOCK_ROWS`] rows: narrow tables are
/// compressed as well and as fast as in larger blocks, and decoded a third faster, because they
/// stay in the cache.
const BLOCK_BYTES_MIN: usize = 256 * 1024;

/// The batch size of operators, so they need not concatenate blocks.
const BLOCK_ROWS: usize = 8192;

/// Rows that fill a block in any case: those of some schemas take hardly any bytes.
const BLOCK_ROWS_MAX: usize = 1024 * 1024;

/// True if rows fill a block.
pub(super) fn is_block(bytes: usize, rows: usize) -> bool {
    bytes >= BLOCK_BYTES
        || rows >= BLOCK_ROWS_MAX
        || (bytes >= BLOCK_BYTES_MIN && rows >= BLOCK_ROWS)
}

/// Bytes that pieces may hold beyond twice their size, before they are concatenated.
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
    /// The bytes of memory that it keeps alive.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// True if its rows fill a block.
    pub(super) fn is_full(&self) -> bool {
        is_block(self.written, self.rows)
    }

    /// Adds a piece of `bytes` uncompressed bytes. Unless it fills the queue, and so is written
    /// soon, the buffers that it shares with larger batches are copied.
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

    /// Removes all pieces.
    pub(super) fn take(&mut self) -> Vec<RecordBatch> {
        std::mem::take(self).pieces
    }

    fn add(&mut self, piece: RecordBatch, bytes: usize) {
        self.rows += piece.num_rows();
        self.written += bytes;
        self.held += compact::held(&piece);
        self.pieces.push(piece);
    }

    /// Concatenates the pieces: a partition that gets two rows at a time has thousands of pieces
    /// before a block is full, and most of their memory is for the structs of their arrays.
    fn tidy(&mut self, schema: &SchemaRef) -> Result<()> {
        for piece in compact::joined(schema, self.take())? {
            let piece = compact::to_keep(piece)?;
            let bytes = written::of_batch(&piece);
            self.add(piece, bytes);
        }
        Ok(())
    }
}
