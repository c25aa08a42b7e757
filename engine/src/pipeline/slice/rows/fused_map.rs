//! Rows that closures make one by one, and who takes them: batches that are built of them, or the verb that
//! comes next, if it can do with rows as they are made ([`combining`](crate::pipeline::slice::keyed::combining)).

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
use crate::pipeline::slice::rows::building::{BATCH_ROWS, Building, Reading};
use crate::pipeline::slice::rows::choosing::Stop;
use crate::pipeline::slice::tree::node::{Narrow, Select, TaskCx};
use crate::pipeline::slice::tree::streams;
use crate::pipeline::slice::tree::typed;
use crate::row::Row;

/// Makes rows of those of an input, one by one.
pub(crate) trait Makes<U: Row>: Send + Sync {
    /// The batches that `taker` makes of the rows that are made of one shard of `input`, which is what the verb
    /// itself reads.
    fn make(
        &self,
        input: SendableRecordBatchStream,
        taker: Box<dyn Take<U>>,
        cx: &TaskCx,
    ) -> SendableRecordBatchStream;
}

/// Takes rows as they are made, and gives batches.
pub(crate) trait Take<U: Row>: Send {
    /// Takes a row. Whether it wants to give batches before more are made.
    fn take(&mut self, row: U::View<'_>) -> bool;

    /// The next batch of what it has taken, until there is none.
    fn give(&mut self) -> Result<Option<RecordBatch>>;

    /// Whether rows had better be made batches of as they come: then it is left, when it has given all that it has.
    fn gives_up(&self) -> bool;

    /// The closure that it is within, when it ends by a panic.
    fn within(&self) -> Option<UserCode>;
}

/// Takes the rows that a closure makes of one row.
pub struct Emitter<U: Row> {
    to: To<U>,
}

enum To<U: Row> {
    Batch(Building<U>),
    Taker { taker: Box<dyn Take<U>>, is_full: bool },
}

impl<U: Row> Emitter<U> {
    /// One more row.
    #[inline]
    pub fn push(&mut self, row: U::View<'_>) {
        match &mut self.to {
            To::Batch(batch) => batch.push(row),
            To::Taker { taker, is_full } => *is_full = taker.take(row),
        }
    }

    #[inline]
    fn is_full(&self) -> bool {
        match &self.to {
            To::Batch(batch) => batch.is_full(),
            To::Taker { is_full, .. } => *is_full,
        }
    }

    /// Gets ready for the rows that are made of `batch`.
    fn open(&mut self, batch: &RecordBatch) {
        if let To::Taker { taker, .. } = &self.to
            && !taker.gives_up()
        {
            return;
        }
        let mut built = Building::new(batch.num_rows(), BATCH_ROWS);
        built.lend(batch.columns());
        self.to = To::Batch(built);
    }

    /// What is full, and what there is when the rows of a batch, or of all batches, have been read.
    fn give(
        &mut self,
        schema: &SchemaRef,
        of_batch: bool,
        of_all: bool,
    ) -> Result<Option<RecordBatch>> {
        match &mut self.to {
            To::Batch(batch) if of_batch || batch.is_full() => batch.take(schema),
            // One that gives up gives what is left before it goes.
            To::Taker { taker, is_full }
                if of_all || *is_full || (of_batch && taker.gives_up()) =>
            {
                let given = taker.give()?;
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

/// A verb whose closure makes rows of each row that was chosen before.
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
            reading: None,
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
        Ok(self.rows(input, To::Batch(Building::new(0, BATCH_ROWS)), cx))
    }
}

impl<T, U, F> Makes<U> for Emit<T, U, F>
where
    T: Row,
    U: Row,
    F: for<'a> Fn(T::View<'a>, &mut Emitter<U>, &UserCode) -> Result<()> + Send + Sync + 'static,
{
    fn make(
        &self,
        input: SendableRecordBatchStream,
        taker: Box<dyn Take<U>>,
        cx: &TaskCx,
    ) -> SendableRecordBatchStream {
        self.rows(input, To::Taker { taker, is_full: false }, cx)
    }
}

/// One shard on its way through a closure.
struct Emitting<T: Row, U: Row, F> {
    input: SendableRecordBatchStream,
    /// The batch that is read.
    reading: Option<Reading<T>>,
    /// Whether the input has ended.
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
            let is_read = self.reading.as_ref().is_none_or(Reading::is_done);
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
                    self.reading = Some(Reading::new(&batch, self.before.as_deref(), &self.code)?);
                    self.emitter.open(&batch);
                }
                None => self.is_over = true,
            }
        }
    }

    /// Makes rows until all of the batch is read, or they have to be given first.
    fn read(&mut self) -> Result<()> {
        let Self { reading: Some(reading), emitter, f, code, .. } = self else { return Ok(()) };
        let read = reading.read(usize::MAX, code, |row| match f(row, emitter, code) {
            Ok(()) => Stop::when(emitter.is_full()),
            Err(error) => Stop::failed(error),
        });
        read.map_err(|error| match &emitter.to {
            To::Taker { taker, .. } => match taker.within() {
                Some(guilty) => guilty.of(error),
                None => error,
            },
            To::Batch(_) => error,
        })
    }
}
