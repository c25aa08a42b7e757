//! Streams of batches: how verbs change them, and how DataFusion's operators are fed from them.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::{Result, internal_datafusion_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayFormatType, ExecutionPlan};
use futures::{Stream, StreamExt, TryStreamExt};
use parking_lot::Mutex;

use crate::leaf_plan::{LeafPlan, LeafSource, Rows};
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

/// Each batch made several, which are made as they are asked for: `open` begins with a batch,
/// `next` gives what is made of it, until nothing is.
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

/// A plan of one partition that gives the rows of `stream`, once: for an operator to stand on. Some
/// poll their input on threads of their own.
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
    Arc::new(LeafPlan::of(Feed(Mutex::new(Some(stream))), known, 1))
}

/// The rows of a stream, to be read once.
struct Feed(Mutex<Option<SendableRecordBatchStream>>);

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::NAME)
    }
}

impl LeafSource for Feed {
    const NAME: &'static str = "Feed";

    fn describe(
        &self,
        _schema: &Schema,
        _format: DisplayFormatType,
        f: &mut fmt::Formatter<'_>,
    ) -> fmt::Result {
        f.write_str(Self::NAME)
    }

    fn open(&self, _partition: usize, _schema: &SchemaRef, _context: &TaskContext) -> Result<Rows> {
        let stream = self.0.lock().take();
        Ok(stream.ok_or_else(|| internal_datafusion_err!("a feed was read twice"))?.boxed())
    }
}
