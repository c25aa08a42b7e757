//! Between batches and rows: reads the rows of a batch as views, builds batches of rows.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, StructArray};
use datafusion::arrow::datatypes::{DataType, Fields, Schema, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::Result;

use crate::pipeline::slice::UserCode;
use crate::row::{Row, Value};

/// The schema of rows of type `T`.
pub(crate) fn schema<T: Row>() -> SchemaRef {
    Arc::new(Schema::new(T::fields()))
}

/// The columns of `batch`, to be read row by row.
pub(crate) fn columns<T: Row>(batch: &RecordBatch, code: &UserCode) -> Result<T::Columns> {
    T::columns(batch.columns()).map_err(|e| code.mismatch(&e))
}

/// The batch of the rows in `builder`, which is empty afterwards.
pub(crate) fn batch<T: Row>(schema: &SchemaRef, builder: &mut T::Builder) -> Result<RecordBatch> {
    let columns: Vec<ArrayRef> = T::finish(builder);
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

/// The columns of `batch`, rows of type `T`, as the one column that such a row is within another.
pub(crate) fn nested<T: Value>(batch: &RecordBatch) -> Result<ArrayRef> {
    match T::data_type() {
        DataType::Struct(fields)
            if batch.num_columns() == fields.len() && is_row(batch, &fields) =>
        {
            Ok(Arc::new(StructArray::try_new(fields, batch.columns().to_vec(), None)?))
        }
        _ => Ok(Arc::clone(batch.column(0))),
    }
}

/// A struct that is itself the one column of a row has that row's column, not its own fields.
fn is_row(batch: &RecordBatch, fields: &Fields) -> bool {
    batch
        .columns()
        .iter()
        .zip(fields)
        .all(|(column, field)| column.data_type() == field.data_type())
}

/// The batch of rows that [`nested`] made a column of.
pub(crate) fn unnested(schema: &SchemaRef, column: &ArrayRef) -> Result<RecordBatch> {
    let columns = match column.data_type() {
        DataType::Struct(fields) if fields == schema.fields() => {
            column.as_struct().columns().to_vec()
        }
        _ => vec![Arc::clone(column)],
    };
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}
