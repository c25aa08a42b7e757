//! The stream of a query's rows, as its reader sees it. Made by [`run`](crate::query::run).

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::error::DataFusionError;
use datafusion::execution::RecordBatchStream;
use futures::Stream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::error::{Error, Result};

/// The rows of a running query, for its reader. Dropping it cancels the query: the task is aborted
/// and drops the plan, which ends its tasks on all machines.
pub(crate) struct Rows {
    schema: SchemaRef,
    receiver: mpsc::Receiver<RecordBatch>,
    task: JoinSet<Result<()>>,
}

impl Rows {
    /// The rows that come from `receiver`; `task` sends them, and returns how it ended.
    pub(crate) fn new(
        schema: SchemaRef,
        receiver: mpsc::Receiver<RecordBatch>,
        task: JoinSet<Result<()>>,
    ) -> Self {
        Self { schema, receiver, task }
    }
}

impl Stream for Rows {
    type Item = Result<RecordBatch, DataFusionError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(batch) = ready!(self.receiver.poll_recv(cx)) {
            return Poll::Ready(Some(named(batch, &self.schema)));
        }
        // No more rows: the task reports whether these are all.
        let outcome = match ready!(self.task.poll_join_next(cx)) {
            None | Some(Ok(Ok(()))) => return Poll::Ready(None),
            Some(Ok(Err(error))) => error,
            Some(Err(join)) => Error::internal(format!("the query's task: {join}")),
        };
        Poll::Ready(Some(Err(outcome.into())))
    }
}

/// The rows with the column names of the statement; in the plan, all names are different.
fn named(batch: RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, DataFusionError> {
    let of_plan = batch.schema();
    let names = || of_plan.fields().iter().zip(schema.fields());
    if names().all(|(field, shown)| field.name() == shown.name()) {
        return Ok(batch);
    }
    let fields: Vec<_> =
        names().map(|(field, shown)| field.as_ref().clone().with_name(shown.name())).collect();
    let shown = Schema::new_with_metadata(fields, of_plan.metadata().clone());
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let (_, columns, _) = batch.into_parts();
    Ok(RecordBatch::try_new_with_options(Arc::new(shown), columns, &options)?)
}

impl RecordBatchStream for Rows {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}
