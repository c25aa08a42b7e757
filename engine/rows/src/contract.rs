//! The two traits: [`Value`], one column, and [`Row`], what a slice is of. The verbs call `Row`,
//! rows call `Value` for each of their columns.

use std::fmt::Debug;
use std::hash::Hasher;

use arrow::array::ArrayRef;
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Fields};

use super::Mismatch;

/// A value of one column.
///
/// Reading has two steps so that a row costs nothing that a batch can pay: [`column`] checks an
/// array once, [`get`] then reads any of its rows without a downcast or a check for null.
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
    /// What a closure sees of a value: itself if it is small, else a borrow of the column.
    type View<'a>: Copy + Debug;
    /// Typed access to one array, whose buffers it shares.
    type Column: Debug + Send + Sync + 'static;
    /// Collects values into one array.
    type Builder: Debug + Send + 'static;

    /// Whether a value may be null; true for `Option` and newtypes of it.
    const NULLABLE: bool;

    /// Whether a value may refer to more than it is itself: text, bytes and lists do.
    const HAS_HEAP: bool = false;

    /// The only type of array that [`Value::column`] reads and [`Value::finish`] makes. Names and
    /// nullability of the fields within may differ when reading.
    fn data_type() -> DataType;

    /// Opens an array for reading.
    ///
    /// `outer` says in which rows the parent is valid; without it all are. In the others anything
    /// may be stored and nothing is read.
    ///
    /// # Errors
    ///
    /// The array has another type, or a row holds what this type cannot express, such as null.
    fn column(array: &ArrayRef, outer: Option<&NullBuffer>) -> Result<Self::Column, Mismatch>;

    /// The number of rows of a column.
    fn rows(column: &Self::Column) -> usize;

    /// The value at a row.
    ///
    /// A row past the end gives some value, not a panic: without a way to panic, reading a column
    /// that nobody looks at is dead code, also where the compiler does not know the length.
    /// [`Row::get`] checks the row, once for all columns.
    fn get(column: &Self::Column, row: usize) -> Self::View<'_>;

    /// The value of a view.
    fn to_owned(view: Self::View<'_>) -> Self;

    /// The view of a value.
    fn view(&self) -> Self::View<'_>;

    /// Feeds a hash with what tells a value from others as a key: values for which
    /// [`same_key`](Self::same_key) is true feed it the same.
    fn hash_key<State: Hasher>(view: Self::View<'_>, state: &mut State);

    /// Whether two values are one key: as they are equal, but every NaN is the same, and so are the two zeros.
    fn same_key(a: Self::View<'_>, b: Self::View<'_>) -> bool;

    /// The bytes of what a value refers to: what an owned value takes besides its own size, and about what it
    /// adds to a column besides a fixed width. None where [`HAS_HEAP`](Self::HAS_HEAP) is false.
    #[inline]
    fn heap_bytes(view: Self::View<'_>) -> usize {
        let _ = view;
        0
    }

    /// A builder with room for `capacity` values.
    fn builder(capacity: usize) -> Self::Builder;

    /// Adds a value.
    fn append(builder: &mut Self::Builder, view: Self::View<'_>);

    /// Says that views which are added from now on are likely to be of one of `arrays`, which makes
    /// that cheaper. The builder must be empty.
    fn lend(builder: &mut Self::Builder, arrays: &[ArrayRef]) {
        let _ = (builder, arrays);
    }

    /// Adds a null: the null of an `Option`, or what stands below a parent that is null.
    fn append_null(builder: &mut Self::Builder);

    /// The array of what was added; the builder is empty afterwards and may be used again.
    fn finish(builder: &mut Self::Builder) -> ArrayRef;
}

/// A row: what a slice is of. It has one or more columns.
///
/// Every [`Value`] is also a row, of one column with the name `value`; tuples and derived structs
/// have one column for each field. Like `Value`, it is implemented by `#[derive(Row)]` and not by hand.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a row",
    label = "not a row",
    note = "add `#[derive(bigslice::row::Row)]` to a type of your own; single values and tuples \
            of up to 12 values are rows too"
)]
pub trait Row: Sized + Send + Sync + 'static {
    /// What a closure sees of a row.
    type View<'a>: Copy + Debug;
    /// Typed access to the arrays of one batch, whose buffers it shares.
    type Columns: Debug + Send + Sync + 'static;
    /// Collects rows into one array for each column.
    type Builder: Debug + Send + 'static;

    /// Whether a row may refer to more than it is itself: [`Value::HAS_HEAP`] of any of its columns.
    const HAS_HEAP: bool;

    /// The names and types of the columns.
    fn fields() -> Fields;

    /// Opens the arrays of a batch for reading, by position, in the order of [`Row::fields`].
    ///
    /// # Errors
    ///
    /// There is another number of arrays, or one of them has the wrong type or holds what its
    /// column cannot express, such as null.
    fn columns(arrays: &[ArrayRef]) -> Result<Self::Columns, Mismatch>;

    /// Whether every column has so many rows. Who asserts that before a loop spares [`get`](Self::get) its checks
    /// there.
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

    /// The bytes of what a row refers to: [`Value::heap_bytes`] of all of its columns.
    fn heap_bytes(view: Self::View<'_>) -> usize;

    /// A builder with room for `capacity` rows.
    fn builder(capacity: usize) -> Self::Builder;

    /// Adds a row.
    fn append(builder: &mut Self::Builder, view: Self::View<'_>);

    /// Says that rows which are added from now on are likely to have values of `arrays` as they are,
    /// which makes that cheaper. The builder must be empty.
    fn lend(builder: &mut Self::Builder, arrays: &[ArrayRef]) {
        let _ = (builder, arrays);
    }

    /// One array for each column; the builder is empty afterwards and may be used again.
    fn finish(builder: &mut Self::Builder) -> Vec<ArrayRef>;
}
