//! The rows of a batch that closures have chosen.

use datafusion::arrow::array::BooleanArray;
use datafusion::arrow::buffer::{BooleanBuffer, Buffer};

/// Which rows of a batch are chosen: a bit for each, the first in the lowest bit of the first word,
/// none beyond the last.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) words: Vec<u64>,
    pub(crate) rows: usize,
}

impl Chosen {
    /// The same for Arrow's kernels.
    pub(crate) fn into_mask(self) -> BooleanArray {
        let words: Vec<u64> = self.words.into_iter().map(u64::to_le).collect();
        BooleanArray::new(BooleanBuffer::new(Buffer::from_vec(words), 0, self.rows), None)
    }
}
