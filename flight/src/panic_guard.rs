//! A panic in an operator is an error of the query. It never ends a worker, and rows are never
//! missing.
//!
//! Malformed files make readers panic, and so do users' functions. A panic can take three ways,
//! from the sources of DataFusion 55.2 and datafusion-distributed 4.0.0:
//! * in `execute` or `poll_next` of an operator that the caller polls: it unwinds into the caller;
//! * in a task that an operator has spawned: receiver streams resume the unwinding in their reader,
//!   `RepartitionExec` sends a "Join Error" to all its outputs;
//! * in the task of a `BroadcastExec`: **it is never joined.** The queue closes, and all consumers
//!   see a normal end of the build side: wrong rows without an error. So [`guard_task`] puts the
//!   guard *below* the head of a task, where the panic is still on the stack of the spawned task.
//!
//! A [`PanicGuard`] catches panics that unwind into it. It acts as the node that it wraps in every
//! respect (name, properties, children, metrics, downcasts), because datafusion-distributed matches
//! metrics to nodes by their position in the plan.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bigslice_diagnostics::panic_text;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties,
    ReplaceChildrenOptions,
};
use datafusion_distributed::BroadcastExec;
use futures::Stream;

use crate::Error;

/// Wraps a plan so that a panic in it ends its stream with [`Error::Panic`].
struct PanicGuard {
    inner: Arc<dyn ExecutionPlan>,
}

impl PanicGuard {
    /// Guards `inner`.
    fn new(inner: Arc<dyn ExecutionPlan>) -> Self {
        Self { inner }
    }
}

/// Guards the plan of one task that a worker has received.
///
/// The head of a task is removed and rebuilt for each reader (`ProducerHead::insert`), so the guard
/// goes below a head that splits or copies rows, and around any other head.
pub(crate) fn guard_task(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    if !plan.is::<RepartitionExec>() && !plan.is::<BroadcastExec>() {
        return Ok(Arc::new(PanicGuard::new(plan)));
    }
    let children = plan
        .children()
        .into_iter()
        .map(|child| Arc::new(PanicGuard::new(Arc::clone(child))) as Arc<dyn ExecutionPlan>)
        .collect();
    plan.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
}

/// Guards a stream that has already started.
pub fn guard_stream(stream: SendableRecordBatchStream) -> SendableRecordBatchStream {
    Box::pin(GuardedStream { schema: stream.schema(), inner: Some(stream) })
}

impl fmt::Debug for PanicGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PanicGuard({:?})", self.inner)
    }
}

impl DisplayAs for PanicGuard {
    fn fmt_as(&self, t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_as(t, f)
    }
}

impl ExecutionPlan for PanicGuard {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn downcast_delegate(&self) -> Option<&dyn ExecutionPlan> {
        Some(self.inner.as_ref())
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.inner.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.inner.children()
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.inner.apply_expressions(f)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
        let inner = Arc::clone(&self.inner).replace_children(children, options)?;
        Ok(Arc::new(Self { inner }))
    }

    fn reset_state(self: Arc<Self>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self { inner: Arc::clone(&self.inner).reset_state()? }))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        match catch_unwind(AssertUnwindSafe(|| self.inner.execute(partition, context))) {
            Ok(stream) => stream.map(guard_stream),
            Err(payload) => {
                Err(Error::Panic { text: panic_text(payload.as_ref()).to_owned() }.into())
            }
        }
    }

    fn metrics(&self) -> Option<MetricsSet> {
        self.inner.metrics()
    }

    fn fetch(&self) -> Option<usize> {
        self.inner.fetch()
    }
}

/// A stream that ends with an error if it panics.
struct GuardedStream {
    schema: SchemaRef,
    /// Dropped at the first panic: a stream that unwound must not be polled again.
    inner: Option<SendableRecordBatchStream>,
}

impl Stream for GuardedStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(inner) = self.inner.as_mut() else {
            return Poll::Ready(None);
        };
        match catch_unwind(AssertUnwindSafe(|| inner.as_mut().poll_next(cx))) {
            Ok(poll) => poll,
            Err(payload) => {
                // A destructor that panics as well must not escape the guard.
                let broken = self.inner.take();
                if catch_unwind(AssertUnwindSafe(|| drop(broken))).is_err() {
                    tracing::warn!("a stream panicked again while it was dropped");
                }
                let text = panic_text(payload.as_ref()).to_owned();
                Poll::Ready(Some(Err(Error::Panic { text }.into())))
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.inner.as_ref().map_or((0, Some(0)), |inner| inner.size_hint())
    }
}

impl RecordBatchStream for GuardedStream {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::Schema;
    use datafusion::physical_expr::EquivalenceProperties;
    use datafusion::physical_plan::Partitioning;
    use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
    use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
    use futures::StreamExt;

    use super::*;

    #[derive(Debug)]
    struct Panics(Arc<PlanProperties>);

    impl Panics {
        fn new() -> Self {
            let properties = EquivalenceProperties::new(Arc::new(Schema::empty()));
            Self(Arc::new(PlanProperties::new(
                properties,
                Partitioning::UnknownPartitioning(1),
                EmissionType::Incremental,
                Boundedness::Bounded,
            )))
        }
    }

    impl DisplayAs for Panics {
        fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Panics")
        }
    }

    impl ExecutionPlan for Panics {
        fn name(&self) -> &str {
            "Panics"
        }

        fn properties(&self) -> &Arc<PlanProperties> {
            &self.0
        }

        fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
            Vec::new()
        }

        fn apply_expressions(
            &self,
            _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
        ) -> Result<TreeNodeRecursion> {
            Ok(TreeNodeRecursion::Continue)
        }

        fn with_new_children(
            self: Arc<Self>,
            _: Vec<Arc<dyn ExecutionPlan>>,
        ) -> Result<Arc<dyn ExecutionPlan>> {
            Ok(self)
        }

        fn execute(&self, _: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
            let rows = futures::stream::poll_fn(|_| panic!("in an operator"));
            Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
        }
    }

    #[tokio::test]
    async fn guards_below_a_broadcast_are_still_needed() {
        for guarded in [false, true] {
            let panics = Arc::new(Panics::new());
            let mut plan: Arc<dyn ExecutionPlan> = Arc::new(BroadcastExec::new(panics, 1));
            if guarded {
                plan = guard_task(plan).unwrap();
            }
            let mut rows = plan.execute(0, Arc::default()).unwrap();
            let first = rows.next().await;
            let failed = first.is_some_and(|first| first.is_err());
            assert_eq!(failed, guarded, "datafusion-distributed passes panics on now");
        }
    }
}
