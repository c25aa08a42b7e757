//! The columns of a row among those of a table: found by their names, and cast to the types of the
//! row where nothing can be lost by it. [`files`](super::files) and [`provider`](super::provider)
//! read tables.

use std::sync::Arc;

use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::Column;
use datafusion::dataframe::DataFrame;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::{Expr, cast};

use crate::error::{Error, Result};
use crate::pipeline::slice::tree::lossless::holds;
use crate::pipeline::slice::tree::streams;

/// Of a table that is called `name`, the columns of `row`.
pub(super) fn columns_of(row: &SchemaRef, name: &str, table: DataFrame) -> Result<DataFrame> {
    let found = table.schema();
    let mut columns = Vec::new();
    for field in row.fields() {
        let column_name = field.name();
        let Ok(there) = found.field_with_unqualified_name(column_name) else {
            let names = found.fields().iter().map(|f| f.name().as_str());
            return Err(Error::Query {
                message: format!("{name} has no column \"{column_name}\""),
                hint: bigslice_diagnostics::did_you_mean(column_name, names),
                source: None,
            });
        };
        let column = Expr::Column(Column::from_name(column_name));
        let (from, to) = (there.data_type(), field.data_type());
        columns.push(if from == to {
            column
        } else if holds(to, from) {
            cast(column, to.clone()).alias(column_name)
        } else {
            return Err(Error::query(format!(
                "the column \"{column_name}\" of {name} is {from}, but the row has {to}"
            )));
        });
    }
    table.select(columns).map_err(Error::from)
}

/// The rows of a scan with the schema of the row.
pub(super) fn rows(
    scanned: SendableRecordBatchStream,
    row: &SchemaRef,
) -> SendableRecordBatchStream {
    let made = Arc::clone(row);
    streams::each(scanned, row, move |batch| {
        Ok(RecordBatch::try_new(nullable_as_found(&made, &batch), batch.columns().to_vec())?)
    })
}

/// The row's schema, except that a column with nulls may have them: the row says better what is
/// wrong.
fn nullable_as_found(schema: &SchemaRef, batch: &RecordBatch) -> SchemaRef {
    let has_nulls = batch.columns().iter().any(|column| column.null_count() > 0);
    if !has_nulls {
        return Arc::clone(schema);
    }
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
