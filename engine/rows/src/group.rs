//! Several columns that grow together: the builder of tuples and derived structs, as rows and as
//! struct columns, and of arrays.

use std::sync::Arc;

use arrow::array::{ArrayRef, StructArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::Fields;

use super::nulls::Nulls;

/// The builders of the fields, with what the column above them knows.
#[derive(Debug)]
pub struct Group<B> {
    /// The builders of the fields.
    pub children: B,
    rows: usize,
    nulls: Nulls,
}

impl<B> Group<B> {
    /// A group of empty builders.
    pub fn new(children: B) -> Self {
        Self { children, rows: 0, nulls: Nulls::default() }
    }

    /// Counts a row whose fields were appended.
    #[inline]
    pub fn count(&mut self) {
        self.rows += 1;
    }

    /// Counts a row that is null, whose fields were appended as nulls.
    pub fn count_null(&mut self) {
        self.nulls.push(self.rows);
        self.rows += 1;
    }

    /// Forgets the rows: their arrays become the columns of a batch, which has no nulls itself.
    pub fn reset(&mut self) {
        self.rows = 0;
    }

    /// Makes the arrays of the fields a struct column.
    pub fn finish(&mut self, fields: Fields, arrays: Vec<ArrayRef>) -> ArrayRef {
        Arc::new(StructArray::new(fields, arrays, self.take_nulls()))
    }

    /// Forgets the rows, and tells which of them were null.
    pub(super) fn take_nulls(&mut self) -> Option<NullBuffer> {
        let nulls = self.nulls.finish(self.rows);
        self.reset();
        nulls
    }
}
