//! Rows of a shard in order of their key: what groups and joins by merging stand on. Sorting spills
//! when the memory does not suffice, so that a shard may be larger than it.

use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::compute::SortOptions;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::{Result, internal_datafusion_err};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::sorts::sort::SortExec;

use crate::slice::node::TaskCx;
use crate::slice::{keys, streams};

/// The rows of `input` in order of their first column.
pub(super) fn by_key(
    input: SendableRecordBatchStream,
    cx: &TaskCx,
) -> Result<SendableRecordBatchStream> {
    by_columns(input, 1, keys::ORDER, None, cx)
}

/// The rows of `input` in order of their first `columns` columns; the first `fetch` of them.
/// Within a nested column each leaf is in that order.
pub(super) fn by_columns(
    input: SendableRecordBatchStream,
    columns: usize,
    order: SortOptions,
    fetch: Option<usize>,
    cx: &TaskCx,
) -> Result<SendableRecordBatchStream> {
    let schema = input.schema();
    let nested = schema.fields()[..columns].iter().any(|f| is_nested(f.data_type()));
    if !nested {
        let plan = sort(input, columns, order, fetch)?;
        return plan.execute(0, Arc::clone(&cx.context));
    }
    // Sorting knows no nested columns: their leaves go before the row, and are dropped again.
    let empty = RecordBatch::new_empty(Arc::clone(&schema));
    let leaves = leaves_of(&empty, columns)?;
    let count = leaves.len();
    let fields = leaves
        .iter()
        .enumerate()
        .map(|(n, leaf)| Arc::new(Field::new(format!("leaf {n}"), leaf.data_type().clone(), true)));
    let wide: SchemaRef =
        Arc::new(Schema::new(fields.chain(schema.fields().iter().cloned()).collect::<Vec<_>>()));
    let made = Arc::clone(&wide);
    let widened = streams::each(input, &wide, move |batch| {
        let mut all = leaves_of(&batch, columns)?;
        all.extend(batch.columns().iter().cloned());
        Ok(RecordBatch::try_new(Arc::clone(&made), all)?)
    });
    let sorted = sort(widened, count, order, fetch)?.execute(0, Arc::clone(&cx.context))?;
    let made = Arc::clone(&schema);
    Ok(streams::each(sorted, &schema, move |batch| {
        Ok(RecordBatch::try_new(Arc::clone(&made), batch.columns()[count..].to_vec())?)
    }))
}

fn is_nested(kind: &DataType) -> bool {
    matches!(kind, DataType::Struct(_))
}

fn leaves_of(batch: &RecordBatch, columns: usize) -> Result<Vec<ArrayRef>> {
    let mut found = Vec::new();
    for column in &batch.columns()[..columns] {
        found.extend(keys::leaves(column)?);
    }
    Ok(found)
}

fn sort(
    input: SendableRecordBatchStream,
    columns: usize,
    options: SortOptions,
    fetch: Option<usize>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = input.schema();
    let by = schema.fields()[..columns].iter().enumerate().map(|(n, field)| {
        let column = Arc::new(Column::new(field.name(), n));
        PhysicalSortExpr::new(column, options)
    });
    let order = LexOrdering::new(by)
        .ok_or_else(|| internal_datafusion_err!("rows are sorted by no column"))?;
    Ok(Arc::new(SortExec::new(order, streams::feed(input)).with_fetch(fetch)))
}
