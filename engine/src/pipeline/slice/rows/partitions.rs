//! Verbs that hand a whole shard to the user's code: on a thread of its own, as iterators.

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
use crate::pipeline::slice::rows::building::Building;
use crate::pipeline::slice::tree::node::TaskCx;
use crate::pipeline::slice::tree::order_sensitivity::order_sensitive;
use crate::pipeline::slice::tree::typed;
use crate::pipeline::slice::{Slice, UserCode};
use crate::row::Row;

/// Batches between the task and the user's thread, in either direction.
const BATCHES_AHEAD_MAX: usize = 2;

/// The rows of a shard, one by one. They end where the shard ends. Where it cannot be read on, the call
/// that they were given to is unwound: nobody takes a part of a shard for all of it.
#[derive(Debug)]
pub struct Rows<T: Row> {
    /// Closed without `Next::End` where the shard cannot be read on.
    batches: Receiver<Next>,
    now: Option<(T::Columns, usize)>,
    row: usize,
    ended: bool,
    code: UserCode,
    kind: PhantomData<fn() -> T>,
}

/// What the thread of the user's code is sent.
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
            // The batches of a slice of `T` were checked when they were made.
            self.now = Some((typed::columns::<T>(&batch, &self.code).ok()?, batch.num_rows()));
        }
    }
}

impl<T: Row> Slice<T> {
    /// Makes the rows of each shard others, by one call for each shard with the number of the shard and all of its
    /// rows.
    ///
    /// Shards stay; order is what `f` makes of it. `f` runs on a thread of its own, where it may wait for what
    /// it likes; its rows go on while it runs, a few batches ahead of whoever takes them. Memory is needed for
    /// what `f` itself keeps; it need not read to the end. It is called again for a shard that is lost.
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

    /// Calls `f` for each shard with its number and all of its rows; the slice is what it returned, one row for
    /// each shard. An error ends the run.
    ///
    /// For what is to be done with rows outside: writing a file, sending a request. `f` runs on a thread of its
    /// own. After a machine was lost it may be called again for a shard that it was called for before: it must not
    /// matter whether that is done once or twice. Shards stay. Rows come a batch at a time, in the order that they
    /// have.
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
                    // Told before the channel closes.
                    let batch = checked.inspect_err(|_| of.store(true, Ordering::Release))?;
                    if sender.send(Next::Batch(batch)).await.is_err() {
                        return Ok(()); // It wants no more.
                    }
                }
                // Nobody waits for the end: then it was not wanted.
                drop(sender.send(Next::End).await);
                Ok(())
            }));
            made.spawn_blocking(carried(move || {
                let rows =
                    Rows { batches, now: None, row: 0, ended: false, code, kind: PhantomData };
                let mut building = Building::<U>::new(0, batch_rows);
                let mut give = |row: &U| {
                    building.push(row.view());
                    if building.is_full()
                        && let Some(batch) = building.take(&schema)?
                    {
                        // Nobody reads any more: then nobody misses it.
                        drop(out.blocking_send(Ok(batch)));
                    }
                    Ok(())
                };
                match code.call(|| f(code.shard, rows, &code, &mut give)) {
                    // What broke it says so itself.
                    Err(_) if broken.load(Ordering::Acquire) => return Ok(()),
                    outcome => outcome?,
                }
                if let Some(batch) = building.take(&schema)? {
                    drop(out.blocking_send(Ok(batch)));
                }
                Ok(())
            }));
            Ok(made.build())
        };
        // What the closure gives may depend on which rows come first.
        self.narrow(verb, place, order_sensitive(work))
    }
}
