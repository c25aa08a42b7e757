//! Rows that the user's own code reads or makes, shard by shard.

use std::fmt;
use std::panic::{AssertUnwindSafe, Location};
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::Result as PlanResult;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use futures::{Stream, StreamExt};

use crate::error::Result;
use crate::metrics::carried;
use crate::pipeline::slice::rows::batch_builder::BatchBuilder;
use crate::pipeline::slice::tree::node::{Op, Resolving, Source, TaskCx};
use crate::pipeline::slice::tree::streams;
use crate::pipeline::slice::tree::typed;
use crate::pipeline::slice::{Slice, UserCode};
use crate::row::Row;

/// Batches that a reader may be ahead of its consumer.
const BATCHES_AHEAD_MAX: usize = 2;

impl<T: Row> Slice<T> {
    /// The rows that `open` gives for each of `shards` shards, an error among which ends the run.
    ///
    /// `open` is given the number of its shard. It and the iterator it returns run on a thread of
    /// their own, where they may wait for files or networks as long as they like, and are some
    /// batches ahead of the consumer at most. Rows keep their order. When no more are wanted, as
    /// after a [`head`](Self::head), the iterator is dropped. After a machine was lost a shard may
    /// be read again, and must be the same rows then.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// let session = Session::builder().build().await?;
    /// let files = ["1\n2\n", "3\nfour\n"];
    /// let numbers = move |shard: usize| files[shard].lines().map(str::parse::<i64>);
    /// let first = session.run(Slice::reader(1, numbers)).await?;
    /// assert_eq!(first.collect().await?, [1, 2]);
    ///
    /// let error = session.run(Slice::reader(2, numbers)).await.unwrap_err();
    /// assert!(error.to_string().ends_with("shard 1: invalid digit found in string"));
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    ///
    /// `shards` must be at least 1: a run of a slice without shards fails.
    #[track_caller]
    pub fn reader<I, E, F>(shards: usize, open: F) -> Self
    where
        I: IntoIterator<Item = Result<T, E>>,
        E: fmt::Display,
        F: Fn(usize) -> I + Send + Sync + 'static,
    {
        let (place, open) = (Location::caller(), Arc::new(open));
        let schema = typed::schema::<T>();
        let opened = move |cx: &TaskCx| {
            let code = UserCode { verb: "reader", place, shard: cx.shard };
            let batch_rows = cx.context.session_config().batch_size().max(1);
            let (open, schema) = (Arc::clone(&open), Arc::clone(&schema));
            let mut stream =
                RecordBatchReceiverStream::builder(Arc::clone(&schema), BATCHES_AHEAD_MAX);
            let sender = stream.tx();
            stream.spawn_blocking(carried(move || {
                code.call(|| {
                    let mut made = BatchBuilder::<T>::new(batch_rows, batch_rows);
                    for row in open(code.shard) {
                        made.push(row.map_err(|e| code.failed(e))?.view());
                        if made.is_full()
                            && let Some(batch) = made.take(&schema)?
                            && sender.blocking_send(Ok(batch)).is_err()
                        {
                            return Ok(());
                        }
                    }
                    if let Some(batch) = made.take(&schema)? {
                        // The consumer is gone and needs no error.
                        drop(sender.blocking_send(Ok(batch)));
                    }
                    Ok(())
                })
            }));
            Ok(stream.build())
        };
        Self::by_code("reader", place, shards, opened)
    }

    /// The batches of rows that `open` gives for each of `shards` shards, for readers that have
    /// columns already. They must have the columns of `T`, by position; other columns, like an
    /// error, end the run.
    ///
    /// Rows keep their order. The task itself polls the stream, which must not block: what waits
    /// for files by blocking is for a [`reader`](Self::reader). No batch is asked for before the
    /// last one was taken. After a machine was lost a shard may be read again, and must be the same
    /// rows then.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use std::sync::Arc;
    ///
    /// use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    /// use bigslice::prelude::*;
    ///
    /// let session = Session::builder().build().await?;
    /// let rows = Slice::<i64>::batches(2, |shard| {
    ///     let column: ArrayRef = Arc::new(Int64Array::from(vec![shard as i64, 10]));
    ///     futures::stream::iter([RecordBatch::try_from_iter([("n", column)])])
    /// });
    /// assert_eq!(session.run(rows).await?.collect().await?, [0, 10, 1, 10]);
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    ///
    /// `shards` must be at least 1: a run of a slice without shards fails.
    #[track_caller]
    pub fn batches<S, E, F>(shards: usize, open: F) -> Self
    where
        S: Stream<Item = Result<RecordBatch, E>> + Send + 'static,
        E: fmt::Display,
        F: Fn(usize) -> S + Send + Sync + 'static,
    {
        let place = Location::caller();
        let schema = typed::schema::<T>();
        let opened = move |cx: &TaskCx| {
            let code = UserCode { verb: "batches", place, shard: cx.shard };
            let made = Arc::clone(&schema);
            let batches = code.call(|| Ok(open(code.shard)))?;
            let batches = AssertUnwindSafe(batches).catch_unwind().map(move |next| {
                let next = next.map_err(|panic| code.panicked(panic.as_ref()))?;
                let batch = next.map_err(|e| code.failed(e))?;
                typed::columns::<T>(&batch, &code)?;
                Ok(RecordBatch::try_new(Arc::clone(&made), batch.columns().to_vec())?)
            });
            Ok(streams::with_schema(Arc::clone(&schema), batches))
        };
        Self::by_code("batches", place, shards, opened)
    }

    pub(super) fn by_code(
        verb: &'static str,
        place: &'static Location<'static>,
        shards: usize,
        open: impl Fn(&TaskCx) -> PlanResult<SendableRecordBatchStream> + Send + Sync + 'static,
    ) -> Self {
        Self::new(verb, place, Op::Source(Arc::new(ByCode { shards, open })))
    }
}

struct ByCode<F> {
    shards: usize,
    open: F,
}

#[async_trait]
impl<F> Source for ByCode<F>
where
    F: Fn(&TaskCx) -> PlanResult<SendableRecordBatchStream> + Send + Sync,
{
    async fn shards(&self, _: &Resolving) -> Result<Vec<Arc<[u8]>>> {
        Ok(vec![Arc::default(); self.shards])
    }

    fn shards_given(&self) -> Option<usize> {
        Some(self.shards)
    }

    fn open(&self, _: &[u8], cx: &TaskCx) -> PlanResult<SendableRecordBatchStream> {
        (self.open)(cx)
    }
}
