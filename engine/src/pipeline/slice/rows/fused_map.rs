//! Map fusion: rows that closures produce one by one, and their consumers: a batch builder, or the
//! next operator if it can consume single rows
//! ([`pre_aggregation`](crate::pipeline::slice::keyed::pre_aggregation)).

use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::Result;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;

use crate::pipeline::slice::UserCode;
use crate::pipeline::slice::rows::batch_builder::{BATCH_ROWS, BatchBuilder, BatchCursor};
use crate::pipeline::slice::rows::selection::Stop;
use crate::pipeline::slice::tree::node::{Narrow, Select, TaskCx};
use crate::pipeline::slice::tree::streams;
use crate::pipeline::slice::tree::typed;
use crate::row::Row;

/// Produces rows one by one from the rows of an input.
pub(crate) trait RowSource<U: Row>: Send + Sync {
    /// The batches that `sink` builds of the rows produced from one shard of `input`, which is the
    /// input of the operator itself.
    fn send_to(
        &self,
        input: SendableRecordBatchStream,
        sink: Box<dyn RowSink<U>>,
        cx: &TaskCx,
    ) -> SendableRecordBatchStream;
}

/// Consumes single rows and produces batches.
pub(crate) trait RowSink<U: Row>: Send {
    /// Consumes a row. True if batches must be taken with `give` before the next row.
    fn take(&mut self, row: U::View<'_>) -> bool;

    /// The next batch of the consumed rows, until there is none.
    fn give(&mut self) -> Result<Option<RecordBatch>>;

    /// True if the rows should become batches instead. Then the sink is dropped once it has given
    /// all.
    fn gives_up(&self) -> bool;

    /// The closure that was running, for an error message after a panic.
    fn running_closure(&self) -> Option<UserCode>;
}

/// Receives the rows that a closure produces from one row.
pub struct Emitter<U: Row> {
    to: To<U>,
}

enum To<U: Row> {
    Batch(BatchBuilder<U>),
    Sink { sink: Box<dyn RowSink<U>>, is_full: bool },
}

impl<U: Row> Emitter<U> {
    /// Emits a row.
    #[inline]
    pub fn push(&mut self, row: U::View<'_>) {
        match &mut self.to {
            To::Batch(batch) => batch.push(row),
            To::Sink { sink, is_full } => *is_full = sink.take(row),
        }
    }

    #[inline]
    fn is_full(&self) -> bool {
        match &self.to {
            To::Batch(batch) => batch.is_full(),
            To::Sink { is_full, .. } => *is_full,
        }
    }

    /// Prepares for the rows produced from `batch`.
    fn open(&mut self, batch: &RecordBatch) {
        if let To::Sink { sink, .. } = &self.to
            && !sink.gives_up()
        {
            return;
        }
        let mut built = BatchBuilder::new(batch.num_rows(), BATCH_ROWS);
        built.lend(batch.columns());
        self.to = To::Batch(built);
    }

    /// Takes full batches, and the remaining rows at the end of a batch or of all batches.
    fn give(
        &mut self,
        schema: &SchemaRef,
        of_batch: bool,
        of_all: bool,
    ) -> Result<Option<RecordBatch>> {
        match &mut self.to {
            To::Batch(batch) if of_batch || batch.is_full() => batch.take(schema),
            // A sink that gives up first gives its remaining rows.
            To::Sink { sink, is_full } if of_all || *is_full || (of_batch && sink.gives_up()) => {
                let given = sink.give()?;
                *is_full = given.is_some();
                Ok(given)
            }
            _ => Ok(None),
        }
    }
}

impl<U: Row> fmt::Debug for Emitter<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emitter").finish_non_exhaustive()
    }
}

/// An operator whose closure produces rows from each selected row.
pub(crate) struct Emit<T, U, F> {
    pub(crate) f: Arc<F>,
    pub(crate) before: Option<Arc<dyn Select>>,
    pub(crate) verb: &'static str,
    pub(crate) place: &'static Location<'static>,
    pub(crate) kind: PhantomData<fn(T) -> U>,
}

impl<T, U, F> Emit<T, U, F>
where
    T: Row,
    U: Row,
    F: for<'a> Fn(T::View<'a>, &mut Emitter<U>, &UserCode) -> Result<()> + Send + Sync + 'static,
{
    fn rows(
        &self,
        input: SendableRecordBatchStream,
        to: To<U>,
        cx: &TaskCx,
    ) -> SendableRecordBatchStream {
        let schema = typed::schema::<U>();
        let emitting = Emitting::<T, U, F> {
            input,
            cursor: None,
            is_over: false,
            emitter: Emitter { to },
            f: Arc::clone(&self.f),
            before: self.before.clone(),
            code: UserCode { verb: self.verb, place: self.place, shard: cx.shard },
            schema: Arc::clone(&schema),
        };
        let rows = futures::stream::try_unfold(emitting, |mut emitting| async move {
            Ok(emitting.next().await?.map(|batch| (batch, emitting)))
        });
        streams::with_schema(schema, rows)
    }
}

impl<T, U, F> Narrow for Emit<T, U, F>
where
    T: Row,
    U: Row,
    F: for<'a> Fn(T::View<'a>, &mut Emitter<U>, &UserCode) -> Result<()> + Send + Sync + 'static,
{
    fn run(
        &self,
        input: SendableRecordBatchStream,
        cx: &TaskCx,
    ) -> Result<SendableRecordBatchStream> {
        Ok(self.rows(input, To::Batch(BatchBuilder::new(0, BATCH_ROWS)), cx))
    }
}

impl<T, U, F> RowSource<U> for Emit<T, U, F>
where
    T: Row,
    U: Row,
    F: for<'a> Fn(T::View<'a>, &mut Emitter<U>, &UserCode) -> Result<()> + Send + Sync + 'static,
{
    fn send_to(
        &self,
        input: SendableRecordBatchStream,
        sink: Box<dyn RowSink<U>>,
        cx: &TaskCx,
    ) -> SendableRecordBatchStream {
        self.rows(input, To::Sink { sink, is_full: false }, cx)
    }
}

/// One shard on its way through a closure.
struct Emitting<T: Row, U: Row, F> {
    input: SendableRecordBatchStream,
    /// The current batch.
    cursor: Option<BatchCursor<T>>,
    /// True if the input has ended.
    is_over: bool,
    emitter: Emitter<U>,
    f: Arc<F>,
    before: Option<Arc<dyn Select>>,
    code: UserCode,
    schema: SchemaRef,
}

impl<T, U, F> Emitting<T, U, F>
where
    T: Row,
    U: Row,
    F: for<'a> Fn(T::View<'a>, &mut Emitter<U>, &UserCode) -> Result<()>,
{
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            let is_read = self.cursor.as_ref().is_none_or(BatchCursor::is_done);
            if let Some(batch) = self.emitter.give(&self.schema, is_read, self.is_over)? {
                return Ok(Some(batch));
            }
            if self.is_over {
                return Ok(None);
            }
            if !is_read {
                self.read()?;
                continue;
            }
            match self.input.next().await.transpose()? {
                Some(batch) => {
                    self.cursor =
                        Some(BatchCursor::new(&batch, self.before.as_deref(), &self.code)?);
                    self.emitter.open(&batch);
                }
                None => self.is_over = true,
            }
        }
    }

    /// Produces rows until the batch is read, or the output is full.
    fn read(&mut self) -> Result<()> {
        let Self { cursor: Some(cursor), emitter, f, code, .. } = self else { return Ok(()) };
        let read = cursor.read(usize::MAX, code, |row| match f(row, emitter, code) {
            Ok(()) => Stop::when(emitter.is_full()),
            Err(error) => Stop::failed(error),
        });
        read.map_err(|error| match &emitter.to {
            To::Sink { sink, .. } => match sink.running_closure() {
                Some(guilty) => guilty.of(error),
                None => error,
            },
            To::Batch(_) => error,
        })
    }
}
