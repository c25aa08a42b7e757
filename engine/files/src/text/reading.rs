//! What a reader of a text file has to know of its table.

use datafusion::arrow::datatypes::SchemaRef;

/// The columns to read, and their types.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    /// All columns of the files of the table.
    pub(super) table: SchemaRef,
    /// Those that are read, by their places in `table`.
    pub(super) projection: Vec<usize>,
    /// The columns of `projection`.
    pub(super) schema: SchemaRef,
    /// A user declared the types.
    pub(super) declared: bool,
    /// Rows of a batch.
    pub(super) batch_rows: usize,
}
