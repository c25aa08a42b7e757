//! The operator that also passes rows to the user's writer.

use std::fmt;
use std::panic::Location;
use std::sync::{Arc, OnceLock};

use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::Result as PlanResult;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use futures::StreamExt;
use tokio::sync::mpsc::{Receiver, Sender};

use crate::error::Result;
use crate::metrics::{carried, carried_future};
use crate::pipeline::slice::tree::node::TaskCx;
use crate::pipeline::slice::tree::typed;
use crate::pipeline::slice::{Slice, UserCode};
use crate::row::Row;

/// The number of batches queued between the task and the writer's thread, per direction.
const BATCHES_AHEAD_MAX: usize = 2;

/// The reason given to a writer whose shard was not read to the end although nothing failed.
const NOT_WANTED: &str = "the rest of the shard was not needed";

/// Some rows of a shard, in order.
#[derive(Debug)]
pub struct Batch<T: Row> {
    columns: T::Columns,
    rows: RecordBatch,
}

impl<T: Row> Batch<T> {
    /// An iterator over the rows.
    pub fn iter(&self) -> impl Iterator<Item = T::View<'_>> {
        (0..self.rows.num_rows()).map(|row| T::get(&self.columns, row))
    }

    /// The number of rows; never 0.
    #[expect(
        clippy::len_without_is_empty,
        reason = "a batch without rows is not given to a writer"
    )]
    pub fn len(&self) -> usize {
        self.rows.num_rows()
    }

    /// The rows as columns.
    pub fn record_batch(&self) -> &RecordBatch {
        &self.rows
    }
}

/// A writer for the rows of one shard, which [`Slice::writer`] opens for each shard. A closure that
/// takes a [`Batch`] is a writer.
pub trait BatchWriter<T: Row>: 'static {
    /// The error that ends the run.
    type Error: fmt::Display;

    /// Writes the next rows.
    ///
    /// # Errors
    /// Any error ends the run.
    fn write(&mut self, batch: &Batch<T>) -> Result<(), Self::Error>;

    /// Finishes the shard: there are no more rows.
    ///
    /// # Errors
    /// Any error ends the run.
    fn finish(self) -> Result<(), Self::Error>;

    /// Gives up a shard that was not read to the end: an earlier operator failed or was lost, and
    /// reports that itself, or later operators need no more rows. Neither this nor `finish` is
    /// called after an error of the writer itself.
    fn abandon(self, why: &str)
    where
        Self: Sized,
    {
        let _ = why;
    }
}

impl<T, E, F> BatchWriter<T> for F
where
    T: Row,
    E: fmt::Display,
    F: FnMut(&Batch<T>) -> Result<(), E> + 'static,
{
    type Error = E;

    fn write(&mut self, batch: &Batch<T>) -> Result<(), E> {
        self(batch)
    }

    fn finish(self) -> Result<(), E> {
        Ok(())
    }
}

/// A message to the writer's thread. A shard that is not read to the end has no `End`.
enum Next {
    Batch(RecordBatch),
    End,
}

impl<T: Row> Slice<T> {
    /// Also passes all rows to a writer: calls `open` with the number of each shard, and passes the
    /// rows of the shard to the writer it returns, batch by batch.
    ///
    /// Keeps rows, order, shards and keys; rows are passed on once they are written. Memory is
    /// needed for a few batches. The writer runs on a separate thread, where it may block on files
    /// or networks.
    ///
    /// An error of `open` or of the writer ends the run with operator, call site and shard; it is
    /// not retried. If a machine is lost, a shard may be written again, from its beginning and by a
    /// new writer, even if it was finished before. So writing must be idempotent, for example to a
    /// name derived from the shard number. For files that appear all or not at all, see
    /// [`write_parquet`](Self::write_parquet).
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use std::fs::File;
    /// use std::io::{BufWriter, Write};
    ///
    /// use bigslice::prelude::*;
    /// use bigslice::{Batch, BatchWriter};
    ///
    /// struct Lines(BufWriter<File>);
    ///
    /// impl BatchWriter<String> for Lines {
    ///     type Error = std::io::Error;
    ///
    ///     fn write(&mut self, batch: &Batch<String>) -> std::io::Result<()> {
    ///         batch.iter().try_for_each(|line| writeln!(self.0, "{line}"))
    ///     }
    ///
    ///     fn finish(mut self) -> std::io::Result<()> {
    ///         self.0.flush()
    ///     }
    /// }
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let folder = folder.path().to_owned();
    /// # let of = folder.clone();
    /// let fruits = ["apple", "pear", "plum"].map(str::to_owned);
    /// let fruits = Slice::const_(2, fruits)
    ///     .writer(move |shard| {
    ///         let file = File::create(folder.join(format!("{shard}.txt")))?;
    ///         Ok::<_, std::io::Error>(Lines(BufWriter::new(file)))
    ///     })
    ///     .filter(|fruit| fruit.starts_with('p'));
    /// let session = Session::builder().build().await?;
    /// assert_eq!(session.run(fruits).await?.collect().await?, ["pear", "plum"]);
    /// # let folder = of;
    /// assert_eq!(std::fs::read_to_string(folder.join("0.txt")).unwrap(), "apple\npear\n");
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn writer<W, E, F>(self, open: F) -> Self
    where
        W: BatchWriter<T>,
        E: fmt::Display,
        F: Fn(usize) -> Result<W, E> + Send + Sync + 'static,
    {
        let (verb, place, open) = ("writer", Location::caller(), Arc::new(open));
        let schema = typed::schema::<T>();
        self.narrow(verb, place, move |mut input: SendableRecordBatchStream, cx: &TaskCx| {
            let code = UserCode { verb, place, shard: cx.shard };
            let open = Arc::clone(&open);
            let mut passed =
                RecordBatchReceiverStream::builder(Arc::clone(&schema), BATCHES_AHEAD_MAX);
            let (sender, batches) = tokio::sync::mpsc::channel(BATCHES_AHEAD_MAX);
            let out = passed.tx();
            let failure = Arc::new(OnceLock::new());
            let failed = Arc::clone(&failure);
            passed.spawn(carried_future(async move {
                while let Some(next) = input.next().await {
                    let sent = match next {
                        Ok(batch) if batch.num_rows() == 0 => continue,
                        Ok(batch) => sender.send(Next::Batch(batch)).await,
                        Err(error) => {
                            // Set before the channel closes.
                            let _first = failed.set(error.to_string());
                            return Err(error);
                        }
                    };
                    if sent.is_err() {
                        return Ok(());
                    }
                }
                drop(sender.send(Next::End).await);
                Ok(())
            }));
            passed.spawn_blocking(carried(move || {
                code.call(|| {
                    let writer = open(code.shard).map_err(|e| code.failed(e))?;
                    let why = || failure.get().map_or(NOT_WANTED, String::as_str);
                    drive(writer, batches, &out, &code, why)
                })
            }));
            Ok(passed.build())
        })
    }
}

/// Passes a shard to a writer.
fn drive<'a, T: Row, W: BatchWriter<T>>(
    mut writer: W,
    mut batches: Receiver<Next>,
    out: &Sender<PlanResult<RecordBatch>>,
    code: &UserCode,
    why: impl Fn() -> &'a str,
) -> PlanResult<()> {
    loop {
        match batches.blocking_recv() {
            Some(Next::Batch(rows)) => {
                let columns = typed::columns::<T>(&rows, code)?;
                let batch = Batch { columns, rows };
                writer.write(&batch).map_err(|e| code.failed(e))?;
                if out.blocking_send(Ok(batch.rows)).is_err() {
                    writer.abandon(why());
                    return Ok(());
                }
            }
            Some(Next::End) => return writer.finish().map_err(|e| code.failed(e)),
            None => {
                writer.abandon(why());
                return Ok(());
            }
        }
    }
}
