//! What a run leaves: the shards of its result, on the machines that computed them.

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

use crate::base::diagnostics;
use crate::base::refusal::Refusal;
use crate::base::wire::StoredAt;
use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::pipeline::func::{Built, Call, Held, Invocation};
use crate::pipeline::slice::{Slice, UserCode};
use crate::row::Row;
use crate::runs::job::argument::Named;
use crate::runs::job::result::{Job, Outcome};
use crate::runs::job::schedule::LOSSES_MAX;
use crate::runs::job::table::table;

/// The result of a run: the rows of a slice, stored on the machines that computed them.
///
/// It can be read, given to the next func as an argument, and registered as a table for SQL. What is
/// lost with a machine is computed again when it is asked for. When the last clone goes, what it has
/// stored is removed. Runs that were made from it keep how it is computed, not its files: what they lose is
/// computed again from whatever of a chain of runs is still held, at most 1000 runs back; a loss that needs
/// more is an error.
///
/// Within a func a run that is an argument is a source for a slice, and nothing else: reading it there is an error.
pub struct Run<T> {
    named: Named,
    /// Set in the driver; within a func a run is only named.
    job: Option<Arc<Job>>,
    row: PhantomData<fn() -> T>,
}

impl<T> Clone for Run<T> {
    fn clone(&self) -> Self {
        Self { named: self.named, job: self.job.clone(), row: PhantomData }
    }
}

impl<T> fmt::Debug for Run<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.named.id.fmt(f)
    }
}

impl<T> Serialize for Run<T> {
    /// As its number: a machine reads its shards from where they are. An error outside of a call of a func.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.named.encode(self.job.as_ref(), serializer)
    }
}

impl<'de, T> Deserialize<'de> for Run<T> {
    /// An argument of a func that this process was asked to call. An error anywhere else.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self { named: Named::decode(deserializer)?, job: None, row: PhantomData })
    }
}

/// What [`Session::run`](crate::Session::run) runs: an [`Invocation`] of a func, or a slice. No other
/// type can implement it.
pub trait Runnable: sealed::Sealed {
    /// What the slice is of.
    type Row: Row;

    /// The func to call, or the slice as it is.
    #[doc(hidden)]
    fn into_work(self) -> Result<Work>;
}

/// What is to be run.
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
        let named = Named { id: job.id(), shards: job.shards() as u64 };
        Self { named, job: Some(job), row: PhantomData }
    }

    /// The result as a slice, for the next pipeline. It has the shards of the result, and keeps order.
    #[track_caller]
    pub fn slice(&self) -> Slice<T> {
        Slice::of_run(self.named.id, Location::caller())
    }

    /// How many shards it has.
    pub fn shards(&self) -> usize {
        self.named.shards as usize
    }

    /// The columns of its rows.
    pub fn schema(&self) -> SchemaRef {
        Arc::new(datafusion::arrow::datatypes::Schema::new(T::fields()))
    }

    /// All rows, shard after shard.
    ///
    /// # Errors
    /// When what was lost cannot be computed again.
    pub async fn collect(&self) -> Result<Vec<T>> {
        rows_of(self.batches().await?)
    }

    /// All rows as batches, shard after shard.
    ///
    /// # Errors
    /// When what was lost cannot be computed again.
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
        let message = format!("the result became another one {LOSSES_MAX} times while it was read");
        Err(Error::lost(message))
    }

    /// The rows of one shard.
    ///
    /// # Errors
    /// When there is no such shard, or what was lost cannot be computed again.
    pub async fn shard(&self, shard: usize) -> Result<Vec<T>> {
        rows_of(self.shard_batches(shard).await?)
    }

    /// The batches of one shard.
    ///
    /// # Errors
    /// When there is no such shard, or what was lost cannot be computed again.
    pub async fn shard_batches(&self, shard: usize) -> Result<Vec<RecordBatch>> {
        let read = self.read(shard, &OnceLock::new()).await?;
        read.ok_or_else(|| Error::internal("a shard of a result of its own"))
    }

    /// The batches of one shard; none if the result is not that of `generation` any more, which is noted
    /// if it was not.
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
                return Err(Error::query(format!("there is no shard {shard} among {shards}")));
            };
            if *generation.get_or_init(|| now) != now {
                return Ok(None);
            }
            let rows = job.session()?.host.read(vec![at.clone()], 0, &self.schema());
            let error = match rows.try_collect().await {
                Ok(batches) => return Ok(Some(batches)),
                Err(error) => loss(error)?,
            };
            losses += 1;
            if losses == LOSSES_MAX {
                return Err(error);
            }
            tell_lost(job, shard, &at).await;
        }
    }

    /// The rows as they are read, shard after shard, in memory for a few batches.
    ///
    /// A shard that is lost before any of its rows was given out is computed again; after that the
    /// stream ends with an error that says so.
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
        let shards =
            futures::stream::iter(0..self.shards()).then(move |shard| {
                let (job, schema) = (Arc::clone(&job), Arc::clone(&of));
                let generation = Arc::clone(&generation);
                async move {
                    begun(job, shard, schema, &generation).await.map_err(DataFusionError::from)
                }
            });
        Box::pin(RecordBatchStreamAdapter::new(schema, shards.try_flatten()))
    }

    /// The number of rows.
    ///
    /// # Errors
    /// When what was lost cannot be computed again.
    pub async fn rows(&self) -> Result<u64> {
        let mut rows = 0;
        let mut stream = self.stream();
        while let Some(batch) = stream.try_next().await? {
            rows += batch.num_rows() as u64;
        }
        Ok(rows)
    }

    /// The result as a table of DataFusion, for its `DataFrame` methods. Rows are computed, where they are
    /// not there yet, and read when the frame is. It holds the result.
    ///
    /// The frame is computed by the driver, and not again when a machine is lost on the way: see
    /// [`Session::context`](crate::Session::context).
    ///
    /// # Errors
    /// When the session is gone, or within a func.
    pub fn to_dataframe(&self) -> Result<DataFrame> {
        let job = self.held()?;
        let table = table(job, &self.schema());
        job.session()?.context.read_table(table).map_err(Error::from)
    }

    /// Removes what is stored of the result, and returns when the machines have removed it: for results that may be
    /// wanted again but not soon. Dropping the last clone does it too, without anybody waiting for it.
    ///
    /// Whoever reads it afterwards, through a clone, a table or a run that was made from it, has it computed again; whoever
    /// is reading it may get an error, as after the loss of a machine. Files that a sink has written stay. Waits for what
    /// is being computed of it.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// let session = Session::builder().build().await?;
    /// let squares = session.run(Slice::const_(2, 0..4u64).map(|n| n * n)).await?;
    /// squares.discard().await?;
    /// assert_eq!(squares.collect().await?, [0, 1, 4, 9]);
    /// assert_eq!(squares.tasks_begun().await, 4);
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// When the session is gone, or within a func.
    pub async fn discard(&self) -> Result<()> {
        self.held()?.discard().await
    }

    /// How many tasks were begun to compute it so far, those that were lost included. None within a func.
    pub async fn tasks_begun(&self) -> u64 {
        match &self.job {
            Some(job) => job.attempts().await,
            None => 0,
        }
    }

    /// What closures have counted while it was computed: see [`metrics`](mod@crate::metrics). Each task counts
    /// once, by the attempt whose rows are used; runs that this one reads have figures of their own.
    ///
    /// A task whose rows were not all asked for, as above [`head`](Slice::head), counts what it came to. Within a func
    /// there are no figures.
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

    /// What computes it.
    pub(crate) fn held(&self) -> Result<&Arc<Job>> {
        self.job.as_ref().ok_or_else(|| Error::Query {
            message: "a run that is an argument of a func cannot be read within the func"
                .to_owned(),
            hint: Some("make a slice of it there, with slice(); the driver can read it".to_owned()),
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

/// The stream of one shard, after its first batch could be read. All that are given one `generation` are of
/// one result.
pub(super) async fn begun(
    job: Arc<Job>,
    shard: usize,
    schema: SchemaRef,
    generation: &OnceLock<u64>,
) -> Result<SendableRecordBatchStream> {
    let mut losses = 0;
    loop {
        let Outcome { stored, generation: now, .. } = job.ensure().await?;
        same_result(generation, now)?;
        let at = stored.get(shard).cloned();
        let at = at.ok_or_else(|| Error::internal(format!("a run without its shard {shard}")))?;
        let mut rows = job.session()?.host.read(vec![at.clone()], 0, &schema);
        let first = match rows.next().await {
            None => return Ok(rows),
            Some(Ok(first)) => first,
            Some(Err(error)) => {
                let error = loss(error)?;
                losses += 1;
                if losses == LOSSES_MAX {
                    return Err(error);
                }
                tell_lost(&job, shard, &at).await;
                continue;
            }
        };
        // Whoever reads on holds the run.
        let held = Arc::clone(&job);
        let rest = rows.map_err(move |error| {
            let _run = &held;
            match loss(error) {
                Ok(error) => {
                    Error::lost(format!("{error}, after rows of the shard had been given out"))
                        .with_hint("read it again: what was lost is computed again")
                        .into()
                }
                Err(error) => error,
            }
        });
        let all = futures::stream::iter([Ok(first)]).chain(rest);
        return Ok(Box::pin(RecordBatchStreamAdapter::new(schema, all)));
    }
}

/// Fails if this is another result than the one that those who share `generation` have read of.
pub(super) fn same_result(generation: &OnceLock<u64>, now: u64) -> Result<()> {
    if *generation.get_or_init(|| now) == now {
        return Ok(());
    }
    let message = "what was lost of a result had to be computed again, and came out as another result \
                   than the one that was being read";
    let hint = "read it again, from its first shard on; a table is to be registered again";
    Err(Error::lost(message).with_hint(hint))
}

/// What the loss of a stored shard means; `Err` has an error that is no loss, as it was.
fn loss(error: DataFusionError) -> Result<Error, DataFusionError> {
    if diagnostics::is_transport(&error) {
        let (message, hint) = diagnostics::describe(&error);
        return Ok(Error::lost(message).hinted(hint).with_source(error));
    }
    let known = diagnostics::find::<Error>(&error).cloned();
    let known = known.or_else(|| Refusal::of(&error).map(Error::from));
    known.filter(Error::is_retryable).ok_or(error)
}

/// Has the machines asked, so that a dead one is known, and the shard made again.
async fn tell_lost(job: &Arc<Job>, shard: usize, at: &StoredAt) {
    if let Ok(session) = job.session()
        && let Some(fleet) = &session.fleet
    {
        fleet.verify().await;
    }
    job.shard_lost(shard, at).await;
}
