//! A [`Job`]: the stored shards of a run. It computes the missing ones, and discards all of them
//! when it is dropped.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Weak};

use bigslice_cluster::{Fleet, Hold};
use futures::StreamExt;
use parking_lot::Mutex;

use crate::base::task_error::TaskError;
use crate::base::wire::{RunId, StoredAt};
use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::pipeline::func::Call;
use crate::runs::job::Runner;
use crate::runs::job::Runs;
use crate::runs::job::evaluation::forget_lost_machines;
use crate::runs::job::lineage::{Computation, Lineage};
use crate::runs::job::schedule::{Schedule, TaskId};
use crate::runs::task::{Host, Plan, StoredSize};

/// The tasks of a run, and their stored shards. Dropping it discards the shards; its
/// [`Computation`] can make another job.
pub(crate) struct Job {
    /// Names its files. Differs from the number of the run if this is not the first job of its
    /// computation, or if its files were discarded. Changes only while `progress` is locked.
    files: Mutex<RunId>,
    /// Weak: a table of the session may hold this job.
    session: Weak<Runner>,
    pub(super) computation: Arc<Computation>,
    lineage: Arc<Lineage>,
    /// For each source that is a run, the generation of its result that was read last.
    pub(super) generations: Mutex<HashMap<usize, u64>>,
    /// The next version of the inputs of a stage.
    pub(super) version: AtomicU64,
    progress: tokio::sync::Mutex<Schedule>,
    /// Keep the machines that store its shards, by address.
    pub(super) holds: Mutex<BTreeMap<String, Arc<Hold>>>,
}

/// The result of a run as it is stored now.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Where each shard is.
    pub(crate) stored: Vec<StoredAt>,
    /// The size of each shard.
    pub(crate) sizes: Vec<StoredSize>,
    /// Changes when earlier shards of the result do not match these.
    pub(crate) generation: u64,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job")
            .field("files", &self.files())
            .field("call", &self.computation.spec.call)
            .finish_non_exhaustive()
    }
}

impl Job {
    /// Finds the shards of the sources; nothing runs yet. Also returns the runs that it reads, for
    /// the caller to hold until the job is computed: otherwise they would be computed again for it.
    pub(crate) async fn new(
        session: &Arc<Runner>,
        plan: Plan,
        call: Option<Call>,
    ) -> Result<(Arc<Self>, Vec<Arc<Self>>)> {
        let id = Runs::number();
        let (computation, sources) = Computation::new(session, id, plan, call).await?;
        let lineage = Arc::new(Lineage::of(&sources));
        let job = Self::of(session, &Arc::new(computation), &lineage, || id);
        session.runs.enter(&job);
        Ok((job, sources))
    }

    /// The job of a computation: the existing one, or a new one with no task done.
    pub(super) fn of(
        session: &Arc<Runner>,
        computation: &Arc<Computation>,
        lineage: &Arc<Lineage>,
        id: impl FnOnce() -> RunId,
    ) -> Arc<Self> {
        computation.job(|| {
            Arc::new(Self {
                files: Mutex::new(id()),
                session: Arc::downgrade(session),
                computation: Arc::clone(computation),
                lineage: Arc::clone(lineage),
                generations: Mutex::default(),
                version: AtomicU64::new(0),
                progress: tokio::sync::Mutex::new(computation.schedule()),
                holds: Mutex::default(),
            })
        })
    }

    /// The number of the run.
    pub(crate) fn id(&self) -> RunId {
        self.computation.id()
    }

    /// The name of the func that built its slice, or "a slice".
    pub(crate) fn name(&self) -> &str {
        self.computation.spec.call.as_ref().map_or("a slice", |call| &call.name)
    }

    /// The number that its files are named by.
    pub(super) fn files(&self) -> RunId {
        *self.files.lock()
    }

    pub(super) fn computation(&self) -> &Arc<Computation> {
        &self.computation
    }

    pub(super) fn lineage(&self) -> &Arc<Lineage> {
        &self.lineage
    }

    /// The session.
    ///
    /// # Errors
    /// When it is closed.
    pub(crate) fn session(&self) -> Result<Arc<Runner>> {
        self.session.upgrade().ok_or(Error::Closed)
    }

    /// Its name in plans: the number of the run, and the func.
    pub(crate) fn title(&self) -> String {
        match &self.computation.spec.call {
            Some(call) => format!("{:?} of {}", self.id(), call.name),
            None => format!("{:?}", self.id()),
        }
    }

    /// The number of shards of the result.
    pub(crate) fn shards(&self) -> usize {
        let plan = &self.computation.plan;
        plan.tasks(plan.root(), self.computation.source_shards())
    }

    /// The number of tasks started so far, lost ones included.
    pub(crate) async fn attempts(&self) -> u64 {
        self.progress.lock().await.attempts()
    }

    /// The metrics of its tasks.
    pub(crate) async fn metrics(&self) -> Metrics {
        self.progress.lock().await.metrics()
    }

    /// Computes the missing shards of the result; returns where all shards are.
    ///
    /// Does not count as a running query of the session: the caller may be one.
    pub(crate) async fn ensure(&self) -> Result<Outcome> {
        let session = self.session()?;
        let stored = self.computed(&session).await;
        if session.queries.is_closed() { Err(Error::Closed) } else { stored }
    }

    /// [`ensure`](Self::ensure), with the session at hand.
    pub(super) async fn computed(&self, session: &Arc<Runner>) -> Result<Outcome> {
        let mut schedule = self.progress.lock().await;
        forget_lost_machines(session, &mut schedule);
        // Also when all tasks are done: the files of sinks may have been rolled back since.
        self.computation.writes.begin(&session.stores).await?;
        if !schedule.is_done() {
            let done = self.evaluate(session, &mut schedule).await;
            let done = done.and_then(|()| match session.queries.is_closed() {
                true => Err(Error::Closed),
                false => Ok(()),
            });
            match done {
                Ok(()) => self.computation.writes.commit().await?,
                Err(error) => {
                    self.computation.writes.rollback().await;
                    return Err(error);
                }
            }
        }
        let outcome = self.outcome(&schedule);
        let outcome = outcome.ok_or_else(|| Error::internal("a run without a result"))?;
        // Shards of other stages are needed again only if a shard of the result is lost.
        let has_result =
            |url: &String| outcome.stored.iter().any(|at| at.machine.as_ref() == Some(url));
        self.holds.lock().retain(|url, _| has_result(url));
        Ok(outcome)
    }

    /// The result, if it is complete and not being computed.
    pub(super) fn there(&self, session: &Runner) -> Option<Outcome> {
        let mut schedule = self.progress.try_lock().ok()?;
        forget_lost_machines(session, &mut schedule);
        self.outcome(&schedule)
    }

    fn outcome(&self, schedule: &Schedule) -> Option<Outcome> {
        let root = self.computation.plan.root();
        let stored = schedule.stored(root)?;
        // A job that replaces a dropped one may get another result.
        let varies = self.computation.is_nondeterministic() || self.lineage.is_nondeterministic();
        let first = if varies { self.files().0 << 32 } else { 0 };
        let generation = first + schedule.generation();
        Some(Outcome { stored, sizes: schedule.sizes(root), generation })
    }

    /// Removes all stored shards, and returns when the machines have done so. The next
    /// [`ensure`](Self::ensure) computes them again.
    pub(crate) async fn discard(&self) -> Result<()> {
        let session = self.session()?;
        let mut schedule = self.progress.lock().await;
        // Nothing is stored under the old number from here on.
        let discarded = std::mem::replace(&mut *self.files.lock(), Runs::number());
        schedule.discard();
        self.holds.lock().clear();
        discard(&session, discarded).await;
        Ok(())
    }

    /// A shard of the result could not be read: the next [`ensure`](Self::ensure) computes it
    /// again.
    pub(crate) async fn shard_lost(&self, shard: usize, at: &StoredAt) {
        let mut schedule = self.progress.lock().await;
        schedule
            .output_lost(TaskId { stage: self.computation.plan.root(), task: shard }, at.attempt);
    }

    /// True if a shard can be read, as far as its first block tells. Also true if the machine does
    /// not answer: the fleet finds out about that.
    pub(super) async fn can_begin(&self, at: &StoredAt, host: &Arc<Host>) -> bool {
        let schema = &self.computation.plan.stages[self.computation.plan.root().0].schema;
        let mut rows = host.read(vec![at.clone()], 0, schema);
        match rows.next().await {
            Some(Err(error)) => !matches!(TaskError::of(&error), Some(TaskError::ShardLost { .. })),
            Some(Ok(_)) | None => true,
        }
    }
}

impl Drop for Job {
    /// The result cannot be asked for any more.
    fn drop(&mut self) {
        // Tasks that still run hold the sinks for a moment longer.
        self.computation.writes.give_up();
        let Some(session) = self.session.upgrade() else { return };
        let work = discard(&session, self.files());
        session.cleanup.later("discarding the shards of a run", work);
    }
}

/// Discards the shards of a run: at once in this process, then on the machines.
fn discard(session: &Runner, run: RunId) -> impl Future<Output = ()> + Send + use<> {
    session.host.forget(run);
    let channels = session.channels.clone();
    let urls = session.fleet.as_ref().map(Fleet::urls).unwrap_or_default();
    async move {
        let (Some(channels), Ok(request)) = (channels, crate::base::wire::encode(&run)) else {
            return;
        };
        for url in urls {
            if let Err(error) = channels.discard_shards(&url, request.clone()).await {
                tracing::debug!(%error, %url, "could not discard a run's shards");
            }
        }
    }
}
