//! The state of an aggregate function: what `#[udf(aggregate)]` implements.

use crate::row::Value;
use crate::row::function::Arguments;

/// The state of an aggregate function, which `#[udf(aggregate)]` implements with the methods of the
/// type. A state is a column value, so that the states of two machines can be merged.
pub trait Aggregate: Value {
    /// The argument columns.
    type Arguments: Arguments;
    /// The type of the result.
    type Output: Value;

    /// True if [`heap_bytes`](Self::heap_bytes) may return more than 0.
    const OWNS_MEMORY: bool;

    /// The state for no rows.
    fn empty() -> Self;

    /// Adds a row.
    ///
    /// # Errors
    /// The function's own error message.
    fn add(&mut self, row: <Self::Arguments as Arguments>::Views<'_>) -> Result<(), String>;

    /// Adds the rows of another state.
    ///
    /// # Errors
    /// The function's own error message.
    fn merge(&mut self, other: Self) -> Result<(), String>;

    /// Appends the result to a column.
    ///
    /// # Errors
    /// The function's own error message.
    fn finish(self, builder: &mut <Self::Output as Value>::Builder) -> Result<(), String>;

    /// The bytes that the state owns on the heap.
    fn heap_bytes(&self) -> usize;
}
