//! Rows that the user's own code gives away one by one, for code that cannot be asked for the next.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::Result as PlanResult;
use datafusion::error::DataFusionError;
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use tokio::sync::mpsc::Sender;

use crate::error::Error;
use crate::metrics::carried;
use crate::pipeline::slice::rows::batch_builder::{BATCH_ROWS, BatchBuilder};
use crate::pipeline::slice::tree::node::TaskCx;
use crate::pipeline::slice::tree::typed;
use crate::pipeline::slice::{Slice, UserCode};
use crate::row::Row;

/// Batches that a closure may be ahead of its reader.
const BATCHES_AHEAD_MAX: usize = 2;

/// Where the closure of [`Slice::push_reader`] gives its rows to.
pub struct Sink<T: Row> {
    schema: SchemaRef,
    pushed: BatchBuilder<T>,
    out: Sender<PlanResult<RecordBatch>>,
    /// Why a batch could not be made, for the reader.
    failed: Option<DataFusionError>,
}

/// The pushed rows are not wanted any more: a verb has enough of them, or the run has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no more rows are wanted")]
pub struct Stopped;

impl From<Stopped> for Error {
    fn from(stopped: Stopped) -> Self {
        Self::query(stopped.to_string())
    }
}

impl From<Stopped> for String {
    fn from(stopped: Stopped) -> Self {
        stopped.to_string()
    }
}

impl<T: Row> fmt::Debug for Sink<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink").field("failed", &self.failed).finish_non_exhaustive()
    }
}

impl<T: Row> Sink<T> {
    /// One more row. Waits while the reader is busy with earlier ones.
    ///
    /// # Errors
    /// When no more rows are wanted: the closure should return then, with this error or without.
    pub fn push(&mut self, row: T::View<'_>) -> Result<(), Stopped> {
        if self.failed.is_some() || self.out.is_closed() {
            return Err(Stopped);
        }
        self.pushed.push(row);
        if self.pushed.is_full() { self.send() } else { Ok(()) }
    }

    fn send(&mut self) -> Result<(), Stopped> {
        match self.pushed.take(&self.schema) {
            Ok(None) => Ok(()),
            Ok(Some(batch)) => self.out.blocking_send(Ok(batch)).map_err(|_| Stopped),
            Err(error) => {
                self.failed = Some(error);
                Err(Stopped)
            }
        }
    }

    /// Gives away what is left, after the closure has returned.
    fn end(mut self) -> PlanResult<()> {
        if self.failed.is_none() {
            // The reader is gone and needs no error.
            let _read = self.send();
        }
        self.failed.map_or(Ok(()), Err)
    }
}

impl<T: Row> Slice<T> {
    /// The rows that `push` gives to its [`Sink`], for each of `shards` shards: for code that calls
    /// back for each row, such as a parser, and cannot be made the iterator of a
    /// [`reader`](Self::reader).
    ///
    /// `push` runs on a thread of its own, where it may wait as long as it likes; it is given the
    /// number of its shard, and views of rows, as an [`Emitter`](crate::Emitter) is. It waits in
    /// [`Sink::push`] while some batches are ahead of the reader. Rows keep their order. When no
    /// more are wanted, as after a
    /// [`head`](Self::head) or when the run is given up, pushing is an error, with which it should return; what it
    /// returns then does not matter. Otherwise an error, like a panic, ends the run. After a
    /// machine was lost a shard may be read again, and must be the same rows then.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// /// Code of another crate, which calls back.
    /// fn visit(text: &str, mut seen: impl FnMut(&str) -> Result<(), String>) -> Result<(), String> {
    ///     text.split(' ').try_for_each(|word| seen(word))
    /// }
    ///
    /// let session = Session::builder().build().await?;
    /// let words = Slice::<(u64, String)>::push_reader(2, |shard, sink| {
    ///     let text = ["to be or", "not to be"][shard];
    ///     visit(text, |word| Ok(sink.push((shard as u64, word))?))
    /// });
    /// let words = session.run(words).await?.collect().await?;
    /// assert_eq!(words[3], (1, "not".to_owned()));
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    ///
    /// `shards` must be at least 1: a run of a slice without shards fails.
    #[track_caller]
    pub fn push_reader<E, F>(shards: usize, push: F) -> Self
    where
        E: fmt::Display,
        F: Fn(usize, &mut Sink<T>) -> Result<(), E> + Send + Sync + 'static,
    {
        let (place, push) = (Location::caller(), Arc::new(push));
        let schema = typed::schema::<T>();
        let opened = move |cx: &TaskCx| {
            let code = UserCode { verb: "push_reader", place, shard: cx.shard };
            let mut stream =
                RecordBatchReceiverStream::builder(Arc::clone(&schema), BATCHES_AHEAD_MAX);
            let mut sink = Sink {
                schema: Arc::clone(&schema),
                pushed: BatchBuilder::new(0, BATCH_ROWS),
                out: stream.tx(),
                failed: None,
            };
            let push = Arc::clone(&push);
            stream.spawn_blocking(carried(move || {
                code.call(|| {
                    let pushed = push(code.shard, &mut sink).map_err(|e| code.failed(e));
                    // It was asked to stop; the reason is reported here.
                    if sink.failed.is_none() {
                        pushed?;
                    }
                    sink.end()
                })
            }));
            Ok(stream.build())
        };
        Self::by_code("push_reader", place, shards, opened)
    }
}
