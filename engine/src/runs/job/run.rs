//! A [`Run`]: the user's handle on the result of a run, whose shards are stored on the machines
//! that computed them.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::{Arc, OnceLock};

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::dataframe::DataFrame;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::pipeline::func::{Built, Call, Held, Invocation};
use crate::pipeline::slice::{Slice, UserCode};
use crate::row::Row;
use crate::runs::job::argument::RunRef;
use crate::runs::job::job::{Job, Outcome};
use crate::runs::job::reading::{open_shard, recover};
use crate::runs::job::scheduler::LOSSES_MAX;
use crate::runs::job::table::table;

/// The result of a run: the rows of a slice, stored on the machines that computed them.
///
/// It can be read, passed to the next func as an argument, and registered as a table for SQL.
/// Shards that are lost with a machine are computed again when they are read. Its files are removed
/// when the last clone is dropped. Runs that were made from it keep how it is computed, not its
/// files: they recompute lost shards from the runs of the chain that are still held, at most 1000
/// runs back. A loss that needs more is an error.
///
/// Within a func, a run that is an argument can only be the source of a slice: reading it there is
/// an error.
pub struct Run<T> {
    reference: RunRef,
    /// `None` within a func, where a run is only a name.
    job: Option<Arc<Job>>,
    row: PhantomData<fn() -> T>,
}

impl<T> Clone for Run<T> {
    fn clone(&self) -> Self {
        Self { reference: self.reference, job: self.job.clone(), row: PhantomData }
    }
}

impl<T> fmt::Debug for Run<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reference.id.fmt(f)
    }
}

impl<T> Serialize for Run<T> {
    /// Encodes its number: machines read its shards from where they are. An error outside of the
    /// arguments of a func.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.reference.encode(self.job.as_ref(), serializer)
    }
}

impl<'de, T> Deserialize<'de> for Run<T> {
    /// Decodes an argument of a func that this process calls. An error anywhere else.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self { reference: RunRef::decode(deserializer)?, job: None, row: PhantomData })
    }
}

/// The argument of [`Session::run`](crate::Session::run): an [`Invocation`] of a func, or a slice.
/// No other type can implement it.
pub trait Runnable: sealed::Sealed {
    /// The type of the rows.
    type Row: Row;

    /// The func to call, or the slice.
    #[doc(hidden)]
    fn into_work(self) -> Result<Work>;
}

/// A func to call, or a slice to run as it is.
#[derive(Debug)]
pub enum Work {
    #[doc(hidden)]
    #[expect(private_interfaces, reason = "only this crate looks inside")]
    Call(Call, Vec<Held>),
    #[doc(hidden)]
    Built(Built),
}

mod sealed {
    pub trait Sealed {}
    impl<T> Sealed for super::Invocation<T> {}
    impl<T> Sealed for super::Slice<T> {}
}

impl<T: Row> Runnable for Invocation<T> {
    type Row = T;

    fn into_work(self) -> Result<Work> {
        self.into_parts().map(|(call, held)| Work::Call(call, held))
    }
}

impl<T: Row> Runnable for Slice<T> {
    type Row = T;

    fn into_work(self) -> Result<Work> {
        Ok(Work::Built(Built::of(self)))
    }
}

impl<T: Row> Run<T> {
    pub(crate) fn new(job: Arc<Job>) -> Self {
        let reference = RunRef { id: job.id(), shards: job.shards() as u64 };
        Self { reference, job: Some(job), row: PhantomData }
    }

    /// The result as a slice, for the next pipeline. It has the shards of the result, in their
    /// order.
    #[track_caller]
    pub fn slice(&self) -> Slice<T> {
        Slice::of_run(self.reference.id, Location::caller())
    }

    /// The number of shards.
    pub fn shards(&self) -> usize {
        self.reference.shards as usize
    }

    /// The schema of its rows.
    pub fn schema(&self) -> SchemaRef {
        Arc::new(datafusion::arrow::datatypes::Schema::new(T::fields()))
    }

    /// All rows, shard after shard.
    ///
    /// # Errors
    /// When lost shards cannot be computed again.
    pub async fn collect(&self) -> Result<Vec<T>> {
        rows_of(self.batches().await?)
    }

    /// All rows as batches, shard after shard.
    ///
    /// # Errors
    /// When lost shards cannot be computed again.
    pub async fn batches(&self) -> Result<Vec<RecordBatch>> {
        for _ in 0..LOSSES_MAX {
            let generation = OnceLock::new();
            let mut batches = Vec::new();
            for shard in 0..self.shards() {
                let Some(more) = self.read(shard, &generation).await? else { break };
                batches.push(more);
            }
            if batches.len() == self.shards() {
                return Ok(batches.concat());
            }
        }
        Err(Error::lost(format!(
            "gave up after {LOSSES_MAX} tries: the result changed while it was being read"
        )))
    }

    /// The rows of one shard.
    ///
    /// # Errors
    /// When there is no such shard, or lost shards cannot be computed again.
    pub async fn shard(&self, shard: usize) -> Result<Vec<T>> {
        rows_of(self.shard_batches(shard).await?)
    }

    /// The batches of one shard.
    ///
    /// # Errors
    /// When there is no such shard, or lost shards cannot be computed again.
    pub async fn shard_batches(&self, shard: usize) -> Result<Vec<RecordBatch>> {
        let read = self.read(shard, &OnceLock::new()).await?;
        read.ok_or_else(|| Error::internal("a shard of another generation"))
    }

    /// The batches of one shard. `None` if the result is of another `generation` than the one in
    /// there, which this sets if it is empty.
    async fn read(
        &self,
        shard: usize,
        generation: &OnceLock<u64>,
    ) -> Result<Option<Vec<RecordBatch>>> {
        let job = self.held()?;
        let mut losses = 0;
        loop {
            let Outcome { stored, generation: now, .. } = job.ensure().await?;
            let Some(at) = stored.get(shard).cloned() else {
                let shards = stored.len();
                return Err(Error::query(format!(
                    "there is no shard {shard}: the run has {shards}"
                )));
            };
            if *generation.get_or_init(|| now) != now {
                return Ok(None);
            }
            let rows = job.session()?.host.reader().read(vec![at.clone()], 0, &self.schema());
            match rows.try_collect().await {
                Ok(batches) => return Ok(Some(batches)),
                Err(error) => recover(job, shard, &at, error, &mut losses).await?,
            }
        }
    }

    /// A stream of all rows, shard after shard. Holds a few batches in memory.
    ///
    /// A shard that is lost before its first rows were read is computed again. A shard that is lost
    /// later ends the stream with an error.
    pub fn stream(&self) -> SendableRecordBatchStream {
        let schema = self.schema();
        let job = match self.held() {
            Ok(job) => Arc::clone(job),
            Err(error) => {
                let error = futures::stream::iter([Err(DataFusionError::from(error))]);
                return Box::pin(RecordBatchStreamAdapter::new(schema, error));
            }
        };
        let (of, generation) = (Arc::clone(&schema), Arc::default());
        let shards = futures::stream::iter(0..self.shards()).then(move |shard| {
            let (job, schema) = (Arc::clone(&job), Arc::clone(&of));
            let generation = Arc::clone(&generation);
            async move {
                open_shard(job, shard, schema, &generation).await.map_err(DataFusionError::from)
            }
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, shards.try_flatten()))
    }

    /// The number of rows.
    ///
    /// # Errors
    /// When lost shards cannot be computed again.
    pub async fn rows(&self) -> Result<u64> {
        let mut rows = 0;
        let mut stream = self.stream();
        while let Some(batch) = stream.try_next().await? {
            rows += batch.num_rows() as u64;
        }
        Ok(rows)
    }

    /// The result as a DataFusion `DataFrame`, which holds this run. Missing shards are computed
    /// when the frame is.
    ///
    /// The driver computes the frame, and does not retry when a machine is lost meanwhile: see
    /// [`Session::context`](crate::Session::context).
    ///
    /// # Errors
    /// When the session is closed, or within a func.
    pub fn to_dataframe(&self) -> Result<DataFrame> {
        let job = self.held()?;
        let table = table(job, &self.schema());
        job.session()?.context.read_table(table).map_err(Error::from)
    }

    /// Removes the stored shards of the result, and returns when the machines have removed them:
    /// for results that may be wanted again, but not soon. Dropping the last clone removes them
    /// too, in the background.
    ///
    /// A later reader, through a clone, a table or a run that was made from it, has it computed
    /// again. A concurrent reader may get an error, as after the loss of a machine. Files written
    /// by sinks stay. Waits for an evaluation in progress.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// let session = Session::builder().build().await?;
    /// let squares = session.run(Slice::const_(2, 0..4u64).map(|n| n * n)).await?;
    /// squares.discard().await?;
    /// assert_eq!(squares.collect().await?, [0, 1, 4, 9]);
    /// assert_eq!(squares.tasks_started().await, 4);
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// When the session is closed, or within a func.
    pub async fn discard(&self) -> Result<()> {
        self.held()?.discard().await
    }

    /// The number of tasks started to compute it so far, lost ones included. 0 within a func.
    pub async fn tasks_started(&self) -> u64 {
        match &self.job {
            Some(job) => job.attempts().await,
            None => 0,
        }
    }

    /// The metrics that closures recorded while it was computed: see
    /// [`metrics`](mod@crate::metrics). Each task counts once, by the attempt whose rows are used.
    /// Runs that this one reads have metrics of their own.
    ///
    /// A task that stopped early, such as one above [`head`](Slice::head), counts as far as it
    /// came. Empty within a func.
    pub async fn metrics(&self) -> Metrics {
        match &self.job {
            Some(job) => job.metrics().await,
            None => Metrics::default(),
        }
    }

    /// The counters among the [`metrics`](Self::metrics), by name.
    pub async fn counters(&self) -> BTreeMap<String, u64> {
        let metrics = self.metrics().await;
        metrics.counters().map(|(name, n)| (name.to_owned(), n)).collect()
    }

    /// Its job.
    pub(crate) fn held(&self) -> Result<&Arc<Job>> {
        self.job.as_ref().ok_or_else(|| Error::Query {
            message: "a run that is an argument of a func cannot be read within the func"
                .to_owned(),
            hint: Some("use its slice() there, and read it in the driver".to_owned()),
            source: None,
        })
    }
}

fn rows_of<T: Row>(batches: Vec<RecordBatch>) -> Result<Vec<T>> {
    let code = UserCode { verb: "collect", place: Location::caller(), shard: 0 };
    let mut rows = Vec::with_capacity(batches.iter().map(RecordBatch::num_rows).sum());
    for batch in batches {
        let columns = T::columns(batch.columns());
        let columns = columns.map_err(|e| code.mismatch(&e))?;
        rows.extend((0..batch.num_rows()).map(|row| T::to_owned(T::get(&columns, row))));
    }
    Ok(rows)
}
