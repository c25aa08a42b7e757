//! The verb that shows rows to the user's own writer on their way.

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

/// Batches between the task and the writer's thread, in either direction.
const BATCHES_AHEAD_MAX: usize = 2;

/// What a shard that was not read to its end says to its writer when nothing failed.
const NOT_WANTED: &str = "no more of the shard was wanted";

/// Some rows of a shard, in order.
#[derive(Debug)]
pub struct Batch<T: Row> {
    columns: T::Columns,
    rows: RecordBatch,
}

impl<T: Row> Batch<T> {
    /// The rows, one by one.
    pub fn iter(&self) -> impl Iterator<Item = T::View<'_>> {
        (0..self.rows.num_rows()).map(|row| T::get(&self.columns, row))
    }

    /// How many rows they are; never none.
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

/// Is given all rows of one shard: what [`Slice::writer`] makes for each. A closure that takes a
/// [`Batch`] is one.
pub trait BatchWriter<T: Row>: 'static {
    /// Why it cannot go on.
    type Error: fmt::Display;

    /// Takes the next rows.
    ///
    /// # Errors
    /// Whatever ends the run.
    fn write(&mut self, batch: &Batch<T>) -> Result<(), Self::Error>;

    /// Comes to its end: these were all rows of the shard.
    ///
    /// # Errors
    /// Whatever ends the run.
    fn finish(self) -> Result<(), Self::Error>;

    /// The shard was not read to its end: something below failed or was lost, and says so itself, or
    /// no more rows were wanted above. Neither this nor `finish` is called after an error of the writer's own.
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

/// What the writer's thread is sent. A shard that is not read to its end has no `End`.
enum Next {
    Batch(RecordBatch),
    End,
}

impl<T: Row> Slice<T> {
    /// Shows all rows to a writer of the user's on their way: `open` is called with the number of each
    /// shard, and what it returns is given the rows of the shard, batch by batch, and then its end.
    ///
    /// Rows, order, shards and keys stay; rows go on once they were written. Memory is needed for a few
    /// batches. The writer runs on a thread of its own, where it may wait for files or networks.
    ///
    /// An error of `open` or of the writer ends the run with verb, place and shard; it is not tried again.
    /// After a machine was lost a shard may be written again, from its beginning and by a new writer,
    /// although it was written to the end before: a writer must write so that a second time does no harm,
    /// under a name that the shard's number makes, for example. For files that appear all or not at all see
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
                            // Known before the channel closes.
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

/// Gives a writer its shard.
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
