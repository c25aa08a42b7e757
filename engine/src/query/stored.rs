//! Rows of a query that are kept in a table of this process. Used by [`run`](crate::query::run) and
//! [`command`](crate::query::command).

use std::sync::Arc;

use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::catalog::MemTable;
use datafusion::datasource::provider_as_source;
use datafusion::error::Result;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};

/// The columns of a table made from a query's rows: rows inserted later may have nulls even if
/// these have none.
pub(crate) fn nullable(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    let fields: Vec<_> = fields.collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// A scan of `batches`, with the names and types of `schema`.
pub(crate) fn table_of(batches: Vec<RecordBatch>, schema: &SchemaRef) -> Result<LogicalPlan> {
    let table = MemTable::try_new(Arc::clone(schema), vec![with_schema(batches, schema)?])?;
    LogicalPlanBuilder::scan("rows", provider_as_source(Arc::new(table)), None)?.build()
}

/// The batches with the schema of their plan: that of an operator may lack metadata, or that a
/// column has no nulls.
pub(crate) fn with_schema(
    batches: Vec<RecordBatch>,
    schema: &SchemaRef,
) -> Result<Vec<RecordBatch>> {
    let batches = batches.into_iter().map(|batch| {
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let columns = batch.columns().to_vec();
        Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
    });
    batches.collect()
}
