//! Operators that pass a whole shard to the user's code, as an iterator on a separate thread.

use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::Result as PlanResult;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use futures::StreamExt;
use tokio::sync::mpsc::Receiver;

use crate::metrics::{carried, carried_future};
use crate::pipeline::slice::rows::batch_builder::BatchBuilder;
use crate::pipeline::slice::tree::declared_order::order_sensitive;
use crate::pipeline::slice::tree::node::TaskCx;
use crate::pipeline::slice::tree::typed;
use crate::pipeline::slice::{Slice, UserCode};
use crate::row::Row;

/// The number of batches queued between the task and the user's thread, per direction.
const BATCHES_AHEAD_MAX: usize = 2;

/// The rows of a shard, one by one. The iterator ends with the shard. If the rest of the shard
/// cannot be read, the closure that holds the iterator is unwound, so that it cannot mistake a part
/// of the shard for all of it.
#[derive(Debug)]
pub struct Rows<T: Row> {
    /// Closed without `Next::End` if the rest of the shard cannot be read.
    batches: Receiver<Next>,
    now: Option<(T::Columns, usize)>,
    row: usize,
    ended: bool,
    code: UserCode,
    kind: PhantomData<fn() -> T>,
}

/// A message to the thread of the user's code.
#[derive(Debug)]
enum Next {
    Batch(RecordBatch),
    End,
}

impl<T: Row> Iterator for Rows<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        loop {
            if let Some((columns, rows)) = &self.now
                && self.row < *rows
            {
                self.row += 1;
                return Some(T::to_owned(T::get(columns, self.row - 1)));
            }
            let batch = match self.batches.blocking_recv() {
                Some(Next::Batch(batch)) => batch,
                Some(Next::End) => {
                    self.ended = true;
                    return None;
                }
                None if self.ended => return None,
                None => std::panic::resume_unwind(Box::new("the shard cannot be read on")),
            };
            self.row = 0;
            // The batches of a slice of `T` were checked when they were created.
            self.now = Some((typed::columns::<T>(&batch, &self.code).ok()?, batch.num_rows()));
        }
    }
}

impl<T: Row> Slice<T> {
    /// Replaces the rows of each shard: calls `f` once per shard, with its number and an iterator
    /// over all of its rows.
    ///
    /// Keeps shards; `f` determines the order. `f` runs on a separate thread, where it may block;
    /// its rows are passed on while it runs, at most a few batches ahead of the consumer. Memory is
    /// needed for what `f` itself keeps; it need not read to the end. It is called again for a
    /// shard that is lost.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// let session = Session::builder().build().await?;
    /// let totals = Slice::const_(2, [1i64, 2, 3, 10, 20, 30]).map_partitions(|_, rows| {
    ///     rows.scan(0, |total, n| {
    ///         *total += n;
    ///         Some(*total)
    ///     })
    /// });
    /// assert_eq!(session.run(totals).await?.collect().await?, [1, 3, 6, 10, 30, 60]);
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn map_partitions<U, I, F>(self, f: F) -> Slice<U>
    where
        U: Row,
        I: IntoIterator<Item = U>,
        F: Fn(usize, Rows<T>) -> I + Send + Sync + 'static,
    {
        self.by_shard("map_partitions", Location::caller(), move |shard, rows, _, give| {
            f(shard, rows).into_iter().try_for_each(|row| give(&row))
        })
    }

    /// Calls `f` for each shard with its number and an iterator over all of its rows; the slice has
    /// the return values, one row per shard. An error ends the run.
    ///
    /// For side effects, such as writing a file or sending a request. `f` runs on a separate
    /// thread. If a machine is lost, it may be called again for a shard, so its side effects must
    /// be idempotent. Keeps shards. Rows arrive a batch at a time, in order.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let folder = folder.path().to_owned();
    /// let session = Session::builder().build().await?;
    /// let to = folder.clone();
    /// let names = Slice::const_(2, [1, 2, 3]).for_each_shard(move |shard, rows| {
    ///     let name = format!("{shard}.txt"); // of the shard: done twice it is the same file
    ///     let text: String = rows.map(|n| format!("{n}\n")).collect();
    ///     std::fs::write(to.join(&name), text).map(|()| name)
    /// });
    /// assert_eq!(session.run(names).await?.collect().await?, ["0.txt", "1.txt"]);
    /// assert_eq!(std::fs::read_to_string(folder.join("0.txt")).unwrap(), "1\n2\n");
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn for_each_shard<U, E, F>(self, f: F) -> Slice<U>
    where
        U: Row,
        E: fmt::Display,
        F: Fn(usize, Rows<T>) -> Result<U, E> + Send + Sync + 'static,
    {
        self.by_shard("for_each_shard", Location::caller(), move |shard, rows, code, give| {
            give(&f(shard, rows).map_err(|e| code.failed(e))?)
        })
    }

    fn by_shard<U, F>(self, verb: &'static str, place: &'static Location<'static>, f: F) -> Slice<U>
    where
        U: Row,
        F: Fn(usize, Rows<T>, &UserCode, &mut dyn FnMut(&U) -> PlanResult<()>) -> PlanResult<()>
            + Send
            + Sync
            + 'static,
    {
        let (f, schema) = (Arc::new(f), typed::schema::<U>());
        let work = move |mut input: SendableRecordBatchStream, cx: &TaskCx| {
            let code = UserCode { verb, place, shard: cx.shard };
            let batch_rows = cx.context.session_config().batch_size().max(1);
            let (f, schema) = (Arc::clone(&f), Arc::clone(&schema));
            let mut made =
                RecordBatchReceiverStream::builder(Arc::clone(&schema), BATCHES_AHEAD_MAX);
            let (sender, batches) = tokio::sync::mpsc::channel(BATCHES_AHEAD_MAX);
            let out = made.tx();
            let broken = Arc::new(AtomicBool::new(false));
            let of = Arc::clone(&broken);
            made.spawn(carried_future(async move {
                while let Some(next) = input.next().await {
                    let checked = next.and_then(|batch| {
                        typed::columns::<T>(&batch, &code)?;
                        Ok(batch)
                    });
                    // Set before the channel closes.
                    let batch = checked.inspect_err(|_| of.store(true, Ordering::Release))?;
                    if sender.send(Next::Batch(batch)).await.is_err() {
                        return Ok(()); // It wants no more.
                    }
                }
                // If the receiver is gone, the end is not needed.
                drop(sender.send(Next::End).await);
                Ok(())
            }));
            made.spawn_blocking(carried(move || {
                let rows =
                    Rows { batches, now: None, row: 0, ended: false, code, kind: PhantomData };
                let mut builder = BatchBuilder::<U>::new(0, batch_rows);
                let mut give = |row: &U| {
                    builder.push(row.view());
                    if builder.is_full()
                        && let Some(batch) = builder.take(&schema)?
                    {
                        // If the receiver is gone, the batch is not needed.
                        drop(out.blocking_send(Ok(batch)));
                    }
                    Ok(())
                };
                match code.call(|| f(code.shard, rows, &code, &mut give)) {
                    // The reading side reports its own error.
                    Err(_) if broken.load(Ordering::Acquire) => return Ok(()),
                    outcome => outcome?,
                }
                if let Some(batch) = builder.take(&schema)? {
                    drop(out.blocking_send(Ok(batch)));
                }
                Ok(())
            }));
            Ok(made.build())
        };
        // The closure's output may depend on the order of rows.
        self.narrow(verb, place, order_sensitive(work))
    }
}
