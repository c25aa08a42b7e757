//! What the tasks of an evaluation are told, above all where the shards are of the runs that they read.
//! These runs are held until the evaluation ends; one that nobody held any more is computed again.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use datafusion::common::runtime::SpawnedTask;
use futures::future::BoxFuture;

use crate::base::wire::{RunId, StoredAt};
use crate::error::{Error, Result};
use crate::runs::job::Runner;
use crate::runs::job::Runs;
use crate::runs::job::recipe::SourceShards;
use crate::runs::job::result::{Job, Outcome};
use crate::runs::job::schedule::Schedule;
use crate::runs::task::{Inputs, StageId};
use bigslice_files::WorkerStores;

/// What every task of an evaluation is told.
pub(super) struct Given {
    pub(super) stores: WorkerStores,
    /// What all tasks of a stage are told: as of which change of the schedule, and which version.
    pub(super) inputs: HashMap<StageId, (u64, u64, Arc<Inputs>)>,
    /// Where the shards of the sources are that are other runs, as far as that was asked.
    stored: HashMap<usize, Vec<StoredAt>>,
    /// These runs.
    runs: HashMap<usize, Arc<Job>>,
}

impl Given {
    /// Nothing is known yet about other runs.
    pub(super) async fn new(session: &Runner) -> Result<Self> {
        let stores = session.stores.for_workers().await?;
        Ok(Self { stores, inputs: HashMap::new(), stored: HashMap::new(), runs: HashMap::new() })
    }

    /// Asks where the shards are of those runs that the tasks of `job` which may start now read. What is not
    /// there is made again. Returns the stages that read a run whose result is another one than before; `None`
    /// when there was nothing to ask.
    pub(super) async fn find(
        &mut self,
        session: &Arc<Runner>,
        job: &Job,
        schedule: &Schedule,
    ) -> Result<Option<Vec<StageId>>> {
        let recipe = job.recipe();
        let (mut asked, mut changed) = (false, Vec::new());
        let stages: BTreeSet<usize> = schedule.ready().iter().map(|id| id.stage.0).collect();
        for source in stages.into_iter().flat_map(|id| &recipe.plan.stages[id].sources) {
            let SourceShards::Run(run) = recipe.sources[*source] else { continue };
            if self.stored.contains_key(source) {
                continue;
            }
            let read = match self.runs.entry(*source) {
                Entry::Occupied(held) => held.into_mut(),
                Entry::Vacant(place) => place.insert(job.earlier(session, run)?),
            };
            let Outcome { stored, generation, .. } = computed_apart(read, session).await?;
            self.stored.insert(*source, stored);
            asked = true;
            let before = job.generations.lock().insert(*source, generation);
            if before.is_some_and(|before| before != generation) {
                let stages = recipe.plan.stages.iter().enumerate();
                let readers = stages.filter(|(_, stage)| stage.sources.contains(source));
                changed.extend(readers.map(|(stage, _)| StageId(stage)));
            }
        }
        Ok(asked.then_some(changed))
    }

    /// Where a shard is of a source that is another run.
    pub(super) fn stored(&self, source: usize, shard: usize) -> Result<StoredAt> {
        let stored = self.stored.get(&source).and_then(|run| run.get(shard));
        stored.cloned().ok_or_else(|| Error::internal("a run has no such shard"))
    }

    /// What was stored may be gone.
    pub(super) fn ask_again(&mut self) {
        self.stored.clear();
    }

    /// A shard of another run could not be read: that run is asked again, and makes it again.
    pub(super) async fn lost(&mut self, lost: &StoredAt) {
        for job in self.runs.values().filter(|job| job.files() == lost.run) {
            job.shard_lost(lost.task as usize, lost).await;
        }
        self.ask_again();
    }
}

impl Job {
    /// A run that this one was made from, directly or not. What it had stored may be gone.
    fn earlier(&self, session: &Arc<Runner>, run: RunId) -> Result<Arc<Self>> {
        let recipe = self.lineage().find(run)?;
        Ok(Self::of(session, recipe, self.lineage(), Runs::number))
    }
}

/// Has the result of a run computed on a task of its own, which ends with whoever waits for it: a chain of
/// runs that is computed again from its beginning does not make the stack any deeper.
fn computed_apart(job: &Arc<Job>, session: &Arc<Runner>) -> BoxFuture<'static, Result<Outcome>> {
    let (job, session) = (Arc::clone(job), Arc::clone(session));
    Box::pin(async move {
        let done = SpawnedTask::spawn(async move { job.computed(&session).await }).await;
        done.map_err(|e| Error::internal(format!("computing a run again: {e}")))?
    })
}
