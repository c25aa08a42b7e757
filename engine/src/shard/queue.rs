//! The rows of one partition that wait for their block to be full.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::{Result, compact, written};

/// The bytes, before they are compressed, that are a block in any case. Wide tables need them: at a
/// quarter of it a hundred columns are decoded at half the speed.
const BLOCK_BYTES: usize = 1024 * 1024;

/// The bytes that are a block if there are [`BLOCK_ROWS`], too: narrow tables are compressed as well
/// and as fast as in larger blocks, and decoded a third faster, because they stay in the cache.
const BLOCK_BYTES_MIN: usize = 256 * 1024;

/// The rows that an operator gets at a time, so that it need not put blocks together.
const BLOCK_ROWS: usize = 8192;

/// The rows that are a block in any case: those of some schemas take hardly a byte or none.
const BLOCK_ROWS_MAX: usize = 1024 * 1024;

/// True when rows are enough for a block.
pub(super) fn is_block(bytes: usize, rows: usize) -> bool {
    bytes >= BLOCK_BYTES
        || rows >= BLOCK_ROWS_MAX
        || (bytes >= BLOCK_BYTES_MIN && rows >= BLOCK_ROWS)
}

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
        is_block(self.written, self.rows)
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
