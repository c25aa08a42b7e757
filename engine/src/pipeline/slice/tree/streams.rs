//! Streams of batches: how verbs change them, and how DataFusion's operators are fed from them.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_datafusion_err, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::{Stream, StreamExt, TryStreamExt};
use parking_lot::Mutex;

use crate::metrics;

/// A stream with its schema.
pub(crate) fn with_schema(
    schema: SchemaRef,
    stream: impl Stream<Item = Result<RecordBatch>> + Send + 'static,
) -> SendableRecordBatchStream {
    Box::pin(RecordBatchStreamAdapter::new(schema, stream))
}

/// Each batch changed; batches that come out empty are left out.
pub(crate) fn each(
    input: SendableRecordBatchStream,
    schema: &SchemaRef,
    mut change: impl FnMut(RecordBatch) -> Result<RecordBatch> + Send + 'static,
) -> SendableRecordBatchStream {
    let changed = input
        .map(move |batch| batch.and_then(&mut change))
        .try_filter(|batch| std::future::ready(batch.num_rows() > 0));
    with_schema(Arc::clone(schema), changed)
}

/// Each batch made several, which are made as they are asked for: `open` begins with a batch, `next` gives
/// what is made of it, until nothing is.
pub(crate) fn each_in_parts<O: Send + 'static>(
    input: SendableRecordBatchStream,
    schema: &SchemaRef,
    open: impl FnMut(RecordBatch) -> Result<O> + Send + 'static,
    next: impl FnMut(&mut O) -> Result<Option<RecordBatch>> + Send + 'static,
) -> SendableRecordBatchStream {
    let state = (input, open, next, None);
    let made = futures::stream::try_unfold(
        state,
        |(mut input, mut open, mut next, mut opened)| async move {
            loop {
                if let Some(of) = &mut opened
                    && let Some(made) = next(of)?
                {
                    return Ok(Some((made, (input, open, next, opened))));
                }
                let Some(batch) = input.next().await.transpose()? else { return Ok(None) };
                opened = Some(open(batch)?);
            }
        },
    );
    with_schema(Arc::clone(schema), made)
}

/// A plan of one partition that gives the rows of `stream`, once: for an operator to stand on. Some poll
/// their input on threads of their own.
pub(crate) fn feed(stream: SendableRecordBatchStream) -> Arc<dyn ExecutionPlan> {
    let known = EquivalenceProperties::new(stream.schema());
    feed_as(stream, known)
}

/// [`feed`], of rows of which this is known.
pub(crate) fn feed_as(
    stream: SendableRecordBatchStream,
    known: EquivalenceProperties,
) -> Arc<dyn ExecutionPlan> {
    let stream = with_schema(stream.schema(), metrics::carried_stream(stream));
    let properties = PlanProperties::new(
        known,
        Partitioning::UnknownPartitioning(1),
        EmissionType::Incremental,
        Boundedness::Bounded,
    );
    Arc::new(Feed { stream: Mutex::new(Some(stream)), properties: Arc::new(properties) })
}

struct Feed {
    stream: Mutex<Option<SendableRecordBatchStream>>,
    properties: Arc<PlanProperties>,
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Feed")
    }
}

impl DisplayAs for Feed {
    fn fmt_as(&self, _kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Feed")
    }
}

impl ExecutionPlan for Feed {
    fn name(&self) -> &'static str {
        "Feed"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![]
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if children.is_empty() { Ok(self) } else { internal_err!("a feed has no children") }
    }

    fn execute(
        &self,
        _partition: usize,
        _context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let stream = self.stream.lock().take();
        stream.ok_or_else(|| internal_datafusion_err!("a feed was read twice"))
    }
}
