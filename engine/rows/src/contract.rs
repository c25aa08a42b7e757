//! The two traits: [`Value`] is one column, [`Row`] a row of a slice. The operators of slices call
//! `Row`; rows call `Value` for each of their columns.

use std::fmt::Debug;
use std::hash::Hasher;

use arrow::array::ArrayRef;
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Fields};

use super::Mismatch;

/// A value of one column.
///
/// Reading has two steps, so that work is done once a batch and not once a row: [`column`] checks
/// an array once, [`get`] then reads any of its rows without a downcast or a check for null.
///
/// Types of your own implement it by `#[derive(Row)]`. The items are for the derive macro and for
/// Bigslice: they change with any release, so do not implement them by hand.
///
/// [`column`]: Value::column
/// [`get`]: Value::get
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a value of a column",
    label = "no column holds this type",
    note = "columns hold booleans, numbers, strings, `Bytes`, dates and times of chrono, \
            `Decimal`, and options, vectors, arrays, tuples and `#[derive(Row)]` types of these"
)]
pub trait Value: Sized + Send + Sync + 'static {
    /// The form of a value that closures get: itself if it is small, else a borrow of the column.
    type View<'a>: Copy + Debug;
    /// Typed access to one array, whose buffers it shares.
    type Column: Debug + Send + Sync + 'static;
    /// Collects values into one array.
    type Builder: Debug + Send + 'static;

    /// Whether a value may be null; true for `Option` and newtypes of it.
    const NULLABLE: bool;

    /// Whether a value may own memory on the heap: true for text, bytes and lists.
    const HAS_HEAP: bool = false;

    /// The only type of array that [`Value::column`] reads and [`Value::finish`] makes. Names and
    /// nullability of the fields within may differ when reading.
    fn data_type() -> DataType;

    /// Opens an array for reading.
    ///
    /// `outer` marks the rows in which the parent is valid; `None` means all. The other rows may
    /// hold anything and are not read.
    ///
    /// # Errors
    ///
    /// The array has another type, or a row holds what this type cannot express, such as null.
    fn column(array: &ArrayRef, outer: Option<&NullBuffer>) -> Result<Self::Column, Mismatch>;

    /// The number of rows of a column.
    fn rows(column: &Self::Column) -> usize;

    /// The value at a row.
    ///
    /// A row past the end gives an arbitrary value, not a panic: without a way to panic, reading an
    /// unused column is dead code, even if the compiler does not know the length.
    /// [`Row::get`] checks the row, once for all columns.
    fn get(column: &Self::Column, row: usize) -> Self::View<'_>;

    /// The value of a view.
    fn to_owned(view: Self::View<'_>) -> Self;

    /// The view of a value.
    fn view(&self) -> Self::View<'_>;

    /// Hashes a value as a key: two values for which [`same_key`](Self::same_key) is true have the
    /// same hash.
    fn hash_key<State: Hasher>(view: Self::View<'_>, state: &mut State);

    /// Whether two values are the same key. That is equality, except that all NaNs are one key.
    fn same_key(a: Self::View<'_>, b: Self::View<'_>) -> bool;

    /// The bytes of heap memory of an owned value, which is about what it adds to a column besides
    /// a fixed width. Zero where [`HAS_HEAP`](Self::HAS_HEAP) is false.
    #[inline]
    fn heap_bytes(view: Self::View<'_>) -> usize {
        let _ = view;
        0
    }

    /// A builder with room for `capacity` values.
    fn builder(capacity: usize) -> Self::Builder;

    /// Adds a value.
    fn append(builder: &mut Self::Builder, view: Self::View<'_>);

    /// Announces that the next views are likely to borrow from `arrays`, which makes appending them
    /// cheaper. The builder must be empty.
    fn lend(builder: &mut Self::Builder, arrays: &[ArrayRef]) {
        let _ = (builder, arrays);
    }

    /// Adds a null: the null of an `Option`, or a placeholder below a parent that is null.
    fn append_null(builder: &mut Self::Builder);

    /// Finishes the array. The builder is empty afterwards and may be used again.
    fn finish(builder: &mut Self::Builder) -> ArrayRef;
}

/// A row of a slice. It has one or more columns.
///
/// Every [`Value`] is also a row, of one column with the name `value`; tuples and derived structs
/// have one column for each field. Like `Value`, it is implemented by `#[derive(Row)]` and not by
/// hand.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a row",
    label = "not a row",
    note = "add `#[derive(bigslice::row::Row)]` to a type of your own; single values and tuples \
            of up to 12 values are rows too"
)]
pub trait Row: Sized + Send + Sync + 'static {
    /// The form of a row that closures get.
    type View<'a>: Copy + Debug;
    /// Typed access to the arrays of one batch, whose buffers it shares.
    type Columns: Debug + Send + Sync + 'static;
    /// Collects rows into one array for each column.
    type Builder: Debug + Send + 'static;

    /// Whether a row may own memory on the heap: [`Value::HAS_HEAP`] of any of its columns.
    const HAS_HEAP: bool;

    /// The names and types of the columns.
    fn fields() -> Fields;

    /// Opens the arrays of a batch for reading, by position, in the order of [`Row::fields`].
    ///
    /// # Errors
    ///
    /// The number of arrays is wrong, or one of them has the wrong type or holds a value that its
    /// column cannot express, such as null.
    fn columns(arrays: &[ArrayRef]) -> Result<Self::Columns, Mismatch>;

    /// Whether every column has at least `rows` rows. Asserting that before a loop lets the
    /// compiler drop the checks of [`get`](Self::get) in it.
    fn has_rows(columns: &Self::Columns, rows: usize) -> bool;

    /// A row of the batch.
    ///
    /// # Panics
    ///
    /// The batch has no such row.
    fn get(columns: &Self::Columns, row: usize) -> Self::View<'_>;

    /// The row of a view.
    fn to_owned(view: Self::View<'_>) -> Self;

    /// The view of a row.
    fn view(&self) -> Self::View<'_>;

    /// The bytes of heap memory of a row: [`Value::heap_bytes`] of all of its columns.
    fn heap_bytes(view: Self::View<'_>) -> usize;

    /// A builder with room for `capacity` rows.
    fn builder(capacity: usize) -> Self::Builder;

    /// Adds a row.
    fn append(builder: &mut Self::Builder, view: Self::View<'_>);

    /// Announces that the next rows are likely to borrow from `arrays`, which makes appending them
    /// cheaper. The builder must be empty.
    fn lend(builder: &mut Self::Builder, arrays: &[ArrayRef]) {
        let _ = (builder, arrays);
    }

    /// Finishes one array for each column. The builder is empty afterwards and may be used again.
    fn finish(builder: &mut Self::Builder) -> Vec<ArrayRef>;
}
