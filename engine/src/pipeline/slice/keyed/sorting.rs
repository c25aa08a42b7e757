//! Sorts the rows of a shard by key, for grouping and merge joins. The sort spills, so a shard may
//! be larger than memory.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::compute::SortOptions;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::{Result, internal_datafusion_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::sorts::sort::SortExec;
use futures::{StreamExt, TryStreamExt};

use crate::pipeline::slice::keyed::keys;
use crate::pipeline::slice::rows::batch_builder::BATCH_BYTES;
use crate::pipeline::slice::tree::node::TaskCx;
use crate::pipeline::slice::tree::streams;
use crate::shard::bytes_of;

/// The rows of `input` in order of their first column.
pub(crate) fn by_key(
    input: SendableRecordBatchStream,
    cx: &TaskCx,
) -> Result<SendableRecordBatchStream> {
    by_columns(input, 1, keys::ORDER, None, cx)
}

/// The first `fetch` rows of `input` in order of its first `columns` columns. Nested columns are
/// ordered by their leaves.
pub(crate) fn by_columns(
    input: SendableRecordBatchStream,
    columns: usize,
    order: SortOptions,
    fetch: Option<usize>,
    cx: &TaskCx,
) -> Result<SendableRecordBatchStream> {
    let schema = input.schema();
    if fetch == Some(0) {
        // The operator cannot handle an input without columns.
        return Ok(streams::with_schema(schema, futures::stream::empty()));
    }
    let nested = schema.fields()[..columns].iter().any(|f| is_nested(f.data_type()));
    if !nested {
        return sort(input, columns, order, fetch, cx);
    }
    // The operator cannot sort nested columns: their leaves are added as leading columns, and
    // dropped again.
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
    let sorted = sort(widened, count, order, fetch, cx)?;
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
    mut input: SendableRecordBatchStream,
    columns: usize,
    options: SortOptions,
    fetch: Option<usize>,
    cx: &TaskCx,
) -> Result<SendableRecordBatchStream> {
    let schema = input.schema();
    let by = schema.fields()[..columns].iter().enumerate().map(|(n, field)| {
        let column = Arc::new(Column::new(field.name(), n));
        PhysicalSortExpr::new(column, options)
    });
    let order =
        LexOrdering::new(by).ok_or_else(|| internal_datafusion_err!("no columns to sort by"))?;
    let (of, context) = (Arc::clone(&schema), Arc::clone(&cx.context));
    let sorted = async move {
        let first = input.next().await.transpose()?;
        let context = match &first {
            Some(batch) => with_batches_for(bytes_of(batch) / batch.num_rows().max(1), context),
            None => context,
        };
        let all = futures::stream::iter(first.map(Ok)).chain(input);
        let input = streams::feed(streams::with_schema(of, all));
        SortExec::new(order, input).with_fetch(fetch).execute(0, context)
    };
    Ok(streams::with_schema(schema, futures::stream::once(sorted).try_flatten()))
}

/// The context with smaller batches if rows are so large that batches of the usual number of rows
/// would be large, too: a merge counts rows only, and holds two batches of each run; joins also
/// build batches by rows.
pub(crate) fn with_batches_for(row_bytes: usize, context: Arc<TaskContext>) -> Arc<TaskContext> {
    let rows = (BATCH_BYTES / row_bytes.max(1)).max(1);
    let config = context.session_config();
    if rows >= config.batch_size() {
        return context;
    }
    Arc::new(TaskContext::new(
        context.task_id(),
        context.session_id(),
        config.clone().with_batch_size(rows),
        // Functions are never looked up by name here.
        HashMap::new(),
        HashMap::new(),
        HashMap::new(),
        HashMap::new(),
        context.runtime_env(),
    ))
}
