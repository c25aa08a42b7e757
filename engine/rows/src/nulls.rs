//! Nulls of a column: checked once per batch by the columns, collected by the builders.

use arrow::array::{Array, BooleanBufferBuilder};
use arrow::buffer::NullBuffer;

use super::mismatch::{Mismatch, Problem};

/// Checks that no row is null where the parent is valid.
pub(super) fn check(array: &dyn Array, outer: Option<&NullBuffer>) -> Result<(), Mismatch> {
    let Some(nulls) = array.logical_nulls().filter(|nulls| nulls.null_count() > 0) else {
        return Ok(());
    };
    let masked = |row| outer.is_some_and(|outer| outer.is_null(row));
    if outer.is_some_and(|outer| outer.contains(&nulls)) {
        return Ok(());
    }
    match (0..nulls.len()).find(|&row| nulls.is_null(row) && !masked(row)) {
        Some(row) => Err(Mismatch::new(Problem::Null { row })),
        None => Ok(()),
    }
}

/// Where the parents and the array itself are valid: the outer nulls of what is inside.
pub(super) fn inner(array: &dyn Array, outer: Option<&NullBuffer>) -> Option<NullBuffer> {
    let own = array.logical_nulls();
    NullBuffer::union(outer, own.as_ref()).filter(|nulls| nulls.null_count() > 0)
}

/// The nulls of a builder. A value costs nothing: only a null is written, after catching up with
/// the values before it.
#[derive(Debug, Default)]
pub(super) struct Nulls {
    valid: Option<BooleanBufferBuilder>,
}

impl Nulls {
    /// Marks a row as null; rows must come in order.
    pub(super) fn push(&mut self, row: usize) {
        let valid = self.valid.get_or_insert_with(|| BooleanBufferBuilder::new(row + 1));
        valid.append_n(row - valid.len(), true);
        valid.append(false);
    }

    /// The nulls among `rows` rows.
    pub(super) fn finish(&mut self, rows: usize) -> Option<NullBuffer> {
        let mut valid = self.valid.take()?;
        valid.append_n(rows - valid.len(), true);
        Some(NullBuffer::new(valid.build()))
    }
}
