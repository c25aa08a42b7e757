//! What of a run is there: a [`Job`] holds on to what its tasks have stored, has computed what is missing, and
//! gives up all of it when nobody holds it any more.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Weak};

use bigslice_cluster::{Fleet, Hold};
use futures::StreamExt;
use parking_lot::Mutex;

use crate::base::refusal::Refusal;
use crate::base::wire::{RunId, StoredAt};
use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::pipeline::func::Call;
use crate::runs::job::Runner;
use crate::runs::job::Runs;
use crate::runs::job::evaluation::forget_lost_machines;
use crate::runs::job::recipe::{Lineage, Recipe};
use crate::runs::job::schedule::{Schedule, TaskId};
use crate::runs::task::{Host, Plan, StoredSize};

/// What of a run is done, and stored. Dropping it forgets what it has stored; a [`Recipe`] can make another.
pub(crate) struct Job {
    /// Names its files: another than that of its recipe when this is not the first job of that, or when the first ones
    /// were discarded. Changes only while `progress` is locked.
    files: Mutex<RunId>,
    /// Not held: a table of the session may hold its run.
    session: Weak<Runner>,
    pub(super) recipe: Arc<Recipe>,
    lineage: Arc<Lineage>,
    /// Of each source that is another run, which of its results was read last.
    pub(super) generations: Mutex<HashMap<usize, u64>>,
    /// The last version of what tasks of a stage are told.
    pub(super) version: AtomicU64,
    progress: tokio::sync::Mutex<Schedule>,
    /// Keep the machines on which something of it is stored, by their addresses.
    pub(super) holds: Mutex<BTreeMap<String, Arc<Hold>>>,
}

/// The result of a run, as it is now.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Where each shard is.
    pub(crate) stored: Vec<StoredAt>,
    /// How much there is of each.
    pub(crate) sizes: Vec<StoredSize>,
    /// Another number when shards that were there before do not belong to these.
    pub(crate) generation: u64,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job")
            .field("files", &self.files())
            .field("call", &self.recipe.brief.call)
            .finish_non_exhaustive()
    }
}

impl Job {
    /// Finds the shards of the sources; nothing runs yet. Also the runs that it reads, for the caller to hold
    /// until it is computed: otherwise they are computed again for that.
    pub(crate) async fn new(
        session: &Arc<Runner>,
        plan: Plan,
        call: Option<Call>,
    ) -> Result<(Arc<Self>, Vec<Arc<Self>>)> {
        let id = Runs::number();
        let (recipe, sources) = Recipe::new(session, id, plan, call).await?;
        let lineage = Arc::new(Lineage::of(&sources));
        let job = Self::of(session, &Arc::new(recipe), &lineage, || id);
        session.runs.enter(&job);
        Ok((job, sources))
    }

    /// The job of a recipe: the one that there is, or one that has nothing yet.
    pub(super) fn of(
        session: &Arc<Runner>,
        recipe: &Arc<Recipe>,
        lineage: &Arc<Lineage>,
        id: impl FnOnce() -> RunId,
    ) -> Arc<Self> {
        recipe.job(|| {
            Arc::new(Self {
                files: Mutex::new(id()),
                session: Arc::downgrade(session),
                recipe: Arc::clone(recipe),
                lineage: Arc::clone(lineage),
                generations: Mutex::default(),
                version: AtomicU64::new(0),
                progress: tokio::sync::Mutex::new(recipe.schedule()),
                holds: Mutex::default(),
            })
        })
    }

    /// The number of the run.
    pub(crate) fn id(&self) -> RunId {
        self.recipe.id()
    }

    /// The name of the func that has made its slice, if one has.
    pub(crate) fn name(&self) -> &str {
        self.recipe.brief.call.as_ref().map_or("a slice", |call| &call.name)
    }

    /// What its files are named by.
    pub(super) fn files(&self) -> RunId {
        *self.files.lock()
    }

    pub(super) fn recipe(&self) -> &Arc<Recipe> {
        &self.recipe
    }

    pub(super) fn lineage(&self) -> &Arc<Lineage> {
        &self.lineage
    }

    /// The session, unless it is gone.
    pub(crate) fn session(&self) -> Result<Arc<Runner>> {
        self.session.upgrade().ok_or(Error::Closed)
    }

    /// What the run is called in plans: its number, and the func that it is of.
    pub(crate) fn title(&self) -> String {
        match &self.recipe.brief.call {
            Some(call) => format!("{:?} of {}", self.id(), call.name),
            None => format!("{:?}", self.id()),
        }
    }

    /// How many shards the result has.
    pub(crate) fn shards(&self) -> usize {
        let plan = &self.recipe.plan;
        plan.tasks(plan.root(), self.recipe.source_shards())
    }

    /// How many tasks were begun so far, those that were lost included.
    pub(crate) async fn attempts(&self) -> u64 {
        self.progress.lock().await.attempts()
    }

    /// What its tasks have counted.
    pub(crate) async fn metrics(&self) -> Metrics {
        self.progress.lock().await.metrics()
    }

    /// Has computed whatever of the result is not there; says where each shard is.
    ///
    /// Takes no place among the session's queries: one of them may be what asks for the result.
    pub(crate) async fn ensure(&self) -> Result<Outcome> {
        let session = self.session()?;
        let stored = self.computed(&session).await;
        if session.queries.is_closed() { Err(Error::Closed) } else { stored }
    }

    /// [`ensure`](Self::ensure), in a session that is there.
    pub(super) async fn computed(&self, session: &Arc<Runner>) -> Result<Outcome> {
        let mut schedule = self.progress.lock().await;
        forget_lost_machines(session, &mut schedule);
        // Also when all tasks are done: their rows are about files that may have been taken back since.
        self.recipe.writes.begin(&session.stores).await?;
        if !schedule.is_done() {
            let done = self.evaluate(session, &mut schedule).await;
            let done = done.and_then(|()| match session.queries.is_closed() {
                true => Err(Error::Closed),
                false => Ok(()),
            });
            match done {
                Ok(()) => self.recipe.writes.commit().await?,
                Err(error) => {
                    self.recipe.writes.rollback().await;
                    return Err(error);
                }
            }
        }
        let outcome = self.outcome(&schedule);
        let outcome = outcome.ok_or_else(|| Error::internal("a run without a result"))?;
        // What lies elsewhere is needed again only if something of the result is lost.
        let has_result =
            |url: &String| outcome.stored.iter().any(|at| at.machine.as_ref() == Some(url));
        self.holds.lock().retain(|url, _| has_result(url));
        Ok(outcome)
    }

    /// The result, if it is there and nobody is computing it.
    pub(super) fn there(&self, session: &Runner) -> Option<Outcome> {
        let mut schedule = self.progress.try_lock().ok()?;
        forget_lost_machines(session, &mut schedule);
        self.outcome(&schedule)
    }

    fn outcome(&self, schedule: &Schedule) -> Option<Outcome> {
        let root = self.recipe.plan.root();
        let stored = schedule.stored(root)?;
        // A job that takes the place of one that was dropped may come to another result.
        let differs = self.recipe.differs() || self.lineage.differs();
        let first = if differs { self.files().0 << 32 } else { 0 };
        let generation = first + schedule.generation();
        Some(Outcome { stored, sizes: schedule.sizes(root), generation })
    }

    /// Removes all that it has stored, and returns when the machines have. Whoever asks for the result has it computed
    /// again.
    pub(crate) async fn discard(&self) -> Result<()> {
        let session = self.session()?;
        let mut schedule = self.progress.lock().await;
        // Nothing more is stored under a number that was given up.
        let given_up = std::mem::replace(&mut *self.files.lock(), Runs::number());
        schedule.discard();
        self.holds.lock().clear();
        give_up(&session, given_up).await;
        Ok(())
    }

    /// One shard of the result could not be read: it is made again by the next
    /// [`ensure`](Self::ensure).
    pub(crate) async fn shard_lost(&self, shard: usize, at: &StoredAt) {
        let mut schedule = self.progress.lock().await;
        schedule.output_lost(TaskId { stage: self.recipe.plan.root(), task: shard }, at.attempt);
    }

    /// Whether the rows of a shard are still to be had, as far as its first block tells; yes if the
    /// machine does not answer, for then it is asked about the machine.
    pub(super) async fn can_begin(&self, at: &StoredAt, host: &Arc<Host>) -> bool {
        let schema = &self.recipe.plan.stages[self.recipe.plan.root().0].schema;
        let mut rows = host.read(vec![at.clone()], 0, schema);
        match rows.next().await {
            Some(Err(error)) => !matches!(Refusal::of(&error), Some(Refusal::ShardLost { .. })),
            Some(Ok(_)) | None => true,
        }
    }
}

impl Drop for Job {
    /// Nobody can ask for the result any more.
    fn drop(&mut self) {
        // Tasks that were not heard of yet hold the sinks for a moment longer.
        self.recipe.writes.give_up();
        let Some(session) = self.session.upgrade() else { return };
        let work = give_up(&session, self.files());
        session.cleanup.later("discarding what a run has stored", work);
    }
}

/// Has this process forget what a run has stored, at once, and then the machines.
fn give_up(session: &Runner, run: RunId) -> impl Future<Output = ()> + Send + use<> {
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
