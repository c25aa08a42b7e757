//! A [`Job`]: the stored shards of a run, which it discards when it is dropped.
//!
//! A job holds files, and is held by their readers: the user's `Run`s, tables, and runs that are
//! being computed from it. A [`Computation`] holds no files. Every job has the computations of all
//! runs that it was made from, directly or not: its [`Lineage`].
//!
//! ```text
//! Run ──► Job (files) ──► Origin ──► Computation: plan, RunSpec, how to open sources
//!              └────────► Lineage ──► origins of earlier runs ┄┄► their jobs, while held
//! ```
//!
//! So a chain of runs stores only its last result, and can still compute all of it again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use bigslice_cluster::{Fleet, Hold};
use futures::StreamExt;
use parking_lot::Mutex;

use crate::base::task_error::TaskError;
use crate::base::wire::{RunId, StoredAt};
use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::pipeline::func::Call;
use crate::runs::job::TaskRunner;
use crate::runs::job::computation::Computation;
use crate::runs::job::schedule::{Schedule, TaskId};
use crate::runs::task::{Plan, ShardReader, StoredSize};

/// The number of the next run, for all sessions of this process: a run that is passed to another
/// session is not found there, instead of being taken for another run with the same number.
static NEXT: AtomicU64 = AtomicU64::new(0);

fn new_number() -> RunId {
    RunId(NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Most earlier runs that a run can compute again, besides the runs that it reads itself. Bounds
/// the memory of a chain of runs in the driver. A loss beyond it is an error that says so.
const LINEAGE_RUNS_MAX: usize = 1000;

/// Most bytes of the arguments of their funcs.
const LINEAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How a run is computed, and its stored shards while they are held.
struct Origin {
    computation: Computation,
    job: Mutex<Weak<Job>>,
}

/// The tasks of a run, and their stored shards. Dropping it discards the shards; its
/// [`Computation`] can make another job.
pub(crate) struct Job {
    /// Names its files. Differs from the number of the run if this is not the first job of its
    /// computation, or if its files were discarded. Changes only while `progress` is locked.
    files: Mutex<RunId>,
    /// Weak: a table of the session may hold this job.
    session: Weak<TaskRunner>,
    origin: Arc<Origin>,
    lineage: Arc<Lineage>,
    /// For each source that is a run, the generation of its result that was read last.
    pub(super) generations: Mutex<HashMap<usize, u64>>,
    /// The next version of the inputs of a stage.
    pub(super) version: AtomicU64,
    pub(super) progress: tokio::sync::Mutex<Schedule>,
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
            .field("call", &self.computation().spec.call)
            .finish_non_exhaustive()
    }
}

impl Job {
    /// A job of which nothing runs yet. `read` are the runs among its sources.
    pub(super) async fn new(
        session: &Arc<TaskRunner>,
        plan: Plan,
        call: Option<Call>,
        read: &[Arc<Self>],
    ) -> Result<Arc<Self>> {
        let id = new_number();
        let shards_of = |run| match read.iter().find(|job| job.id() == run) {
            Some(job) => Ok(job.shards()),
            None => Err(Error::internal("a source that is not among the runs that are read")),
        };
        let computation = Computation::new(&session.driver, id, plan, call, shards_of).await?;
        let origin = Arc::new(Origin { computation, job: Mutex::default() });
        Ok(Self::of(session, &origin, &Arc::new(Lineage::of(read)), || id))
    }

    /// The job of `origin`: the existing one, or a new one with no task done.
    fn of(
        session: &Arc<TaskRunner>,
        origin: &Arc<Origin>,
        lineage: &Arc<Lineage>,
        number: impl FnOnce() -> RunId,
    ) -> Arc<Self> {
        let mut held = origin.job.lock();
        held.upgrade().unwrap_or_else(|| {
            let job = Arc::new(Self {
                files: Mutex::new(number()),
                session: Arc::downgrade(session),
                origin: Arc::clone(origin),
                lineage: Arc::clone(lineage),
                generations: Mutex::default(),
                version: AtomicU64::new(0),
                progress: tokio::sync::Mutex::new(origin.computation.schedule()),
                holds: Mutex::default(),
            });
            *held = Arc::downgrade(&job);
            job
        })
    }

    /// A run that this one was made from, directly or not. Its shards may be gone.
    ///
    /// # Errors
    /// When too many runs were made from it since.
    pub(super) fn earlier(&self, session: &Arc<TaskRunner>, run: RunId) -> Result<Arc<Self>> {
        let origin = self.lineage.find(run)?;
        Ok(Self::of(session, origin, &self.lineage, new_number))
    }

    /// The number of the run.
    pub(crate) fn id(&self) -> RunId {
        self.computation().id()
    }

    /// The name of the func that built its slice, or "a slice".
    pub(crate) fn name(&self) -> &str {
        self.computation().spec.call.as_ref().map_or("a slice", |call| &call.name)
    }

    /// The number that its files are named by.
    pub(super) fn files(&self) -> RunId {
        *self.files.lock()
    }

    pub(super) fn computation(&self) -> &Computation {
        &self.origin.computation
    }

    /// The session.
    ///
    /// # Errors
    /// When it is closed.
    pub(crate) fn session(&self) -> Result<Arc<TaskRunner>> {
        self.session.upgrade().ok_or(Error::Closed)
    }

    /// Its name in plans: the number of the run, and the func.
    pub(crate) fn title(&self) -> String {
        match &self.computation().spec.call {
            Some(call) => format!("{:?} of {}", self.id(), call.name),
            None => format!("{:?}", self.id()),
        }
    }

    /// The number of shards of the result.
    pub(crate) fn shards(&self) -> usize {
        let plan = &self.computation().plan;
        plan.tasks(plan.root(), self.computation().source_shards())
    }

    /// The number of tasks started so far, lost ones included.
    pub(crate) async fn attempts(&self) -> u64 {
        self.progress.lock().await.attempts()
    }

    /// The metrics of its tasks.
    pub(crate) async fn metrics(&self) -> Metrics {
        self.progress.lock().await.metrics()
    }

    /// The result, if it is complete and not being computed.
    pub(super) fn there(&self, session: &TaskRunner) -> Option<Outcome> {
        let mut schedule = self.progress.try_lock().ok()?;
        forget_lost_machines(session, &mut schedule);
        self.outcome(&schedule)
    }

    /// The result, if it is complete.
    pub(super) fn outcome(&self, schedule: &Schedule) -> Option<Outcome> {
        let root = self.computation().plan.root();
        let stored = schedule.stored(root)?;
        // A job that replaces a dropped one may get another result.
        let varies = self.computation().is_nondeterministic() || self.lineage.is_nondeterministic();
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
        let discarded = std::mem::replace(&mut *self.files.lock(), new_number());
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
            .output_lost(TaskId { stage: self.computation().plan.root(), task: shard }, at.attempt);
    }

    /// True if a shard can be read, as far as its first block tells. Also true if the machine does
    /// not answer: the fleet finds out about that.
    pub(super) async fn can_begin(&self, at: &StoredAt, reader: &Arc<ShardReader>) -> bool {
        let schema = &self.computation().plan.stages[self.computation().plan.root().0].schema;
        let mut rows = reader.read(vec![at.clone()], 0, schema);
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
        self.computation().writes.give_up();
        let Some(session) = self.session.upgrade() else { return };
        let work = discard(&session, self.files());
        session.cleanup.later("discarding the shards of a run", work);
    }
}

/// Discards the shards of a run: at once in this process, then on the machines.
fn discard(session: &TaskRunner, run: RunId) -> impl Future<Output = ()> + Send + use<> {
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

/// Forgets the shards that were stored on lost machines.
pub(super) fn forget_lost_machines(session: &TaskRunner, schedule: &mut Schedule) {
    let Some(fleet) = &session.fleet else { return };
    let alive: Vec<String> = fleet.urls().iter().map(ToString::to_string).collect();
    schedule.keep_only(&alive);
}

/// The computations of the runs that a run was made from, in one list: a chain of any length is
/// dropped without recursion.
#[derive(Default)]
struct Lineage {
    origins: BTreeMap<RunId, Arc<Origin>>,
}

impl Lineage {
    /// The lineage of a run that reads `sources`: these, and the latest of the runs before them.
    fn of(sources: &[Arc<Job>]) -> Self {
        let mut origins = BTreeMap::new();
        for job in sources {
            origins.extend(job.lineage.origins.iter().map(|(id, of)| (*id, Arc::clone(of))));
        }
        let read: BTreeSet<RunId> = sources.iter().map(|job| job.id()).collect();
        let (mut runs, mut bytes) = (0, 0);
        // Numbers grow: the sources of a run have smaller ones.
        let mut kept: BTreeMap<_, _> = origins
            .into_iter()
            .rev()
            .filter(|(id, _)| !read.contains(id))
            .take_while(|(_, origin)| {
                runs += 1;
                bytes += origin.computation.argument_bytes();
                runs <= LINEAGE_RUNS_MAX && bytes <= LINEAGE_BYTES_MAX
            })
            .collect();
        kept.extend(sources.iter().map(|job| (job.id(), Arc::clone(&job.origin))));
        Self { origins: kept }
    }

    /// True if another evaluation of one of them may give another result.
    fn is_nondeterministic(&self) -> bool {
        self.origins.values().any(|origin| origin.computation.is_nondeterministic())
    }

    /// The computation of an earlier run.
    ///
    /// # Errors
    /// When too many runs were made from it since.
    fn find(&self, run: RunId) -> Result<&Arc<Origin>> {
        self.origins.get(&run).ok_or_else(|| {
            Error::lost(format!(
                "lost shards cannot be computed again: they depend on {run:?}, of which too long a chain \
                 of runs was made since (at most {LINEAGE_RUNS_MAX} runs are computed again)"
            ))
            .with_hint(
                "in a long iteration, hold the `Run` of every hundredth step: a run that is held is not \
                 computed again",
            )
        })
    }
}
