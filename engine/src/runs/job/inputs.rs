//! Inputs of the tasks of one evaluation: the stores, and where the shards are of the runs that
//! they read. These runs are held until the evaluation ends; a run that was not held any more is
//! computed again.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use futures::future::BoxFuture;

use crate::base::wire::StoredAt;
use crate::error::{Error, Result};
use crate::runs::job::TaskRunner;
use crate::runs::job::computation::SourceShards;
use crate::runs::job::job::{Job, Outcome};
use crate::runs::job::schedule::Schedule;
use crate::runs::task::{StageId, StageInputs};
use bigslice_files::WorkerStores;

/// Computes the result of a run that others read.
type Compute = fn(&Arc<Job>, &Arc<TaskRunner>) -> BoxFuture<'static, Result<Outcome>>;

/// What the tasks of an evaluation need besides their plan.
pub(super) struct EvaluationInputs {
    pub(super) stores: WorkerStores,
    /// The inputs of each stage, as of this change of the schedule, and their version.
    pub(super) by_stage: HashMap<StageId, (u64, u64, Arc<StageInputs>)>,
    /// For each source that is a run and was asked for: where its shards are.
    stored: HashMap<usize, Vec<StoredAt>>,
    /// These runs.
    runs: HashMap<usize, Arc<Job>>,
    compute: Compute,
}

impl EvaluationInputs {
    /// Inputs without any runs yet. `compute` computes those that the tasks read.
    pub(super) async fn new(session: &TaskRunner, compute: Compute) -> Result<Self> {
        let stores = session.stores.for_workers().await?;
        let (stored, runs) = (HashMap::new(), HashMap::new());
        Ok(Self { stores, by_stage: HashMap::new(), stored, runs, compute })
    }

    /// Finds the shards of the runs that the ready tasks of `job` read, and computes the missing
    /// ones. Returns the stages that read a run whose result has changed; `None` if all was known
    /// already.
    pub(super) async fn find(
        &mut self,
        session: &Arc<TaskRunner>,
        job: &Job,
        schedule: &Schedule,
    ) -> Result<Option<Vec<StageId>>> {
        let computation = job.computation();
        let (mut asked, mut changed) = (false, Vec::new());
        let stages: BTreeSet<usize> = schedule.ready().iter().map(|id| id.stage.0).collect();
        for source in stages.into_iter().flat_map(|id| &computation.plan.stages[id].sources) {
            let SourceShards::Run(run) = computation.sources[*source] else { continue };
            if self.stored.contains_key(source) {
                continue;
            }
            let read = match self.runs.entry(*source) {
                Entry::Occupied(held) => held.into_mut(),
                Entry::Vacant(entry) => entry.insert(job.earlier(session, run)?),
            };
            let Outcome { stored, generation, .. } = (self.compute)(read, session).await?;
            self.stored.insert(*source, stored);
            asked = true;
            let before = job.generations.lock().insert(*source, generation);
            if before.is_some_and(|before| before != generation) {
                let stages = computation.plan.stages.iter().enumerate();
                let readers = stages.filter(|(_, stage)| stage.sources.contains(source));
                changed.extend(readers.map(|(stage, _)| StageId(stage)));
            }
        }
        Ok(asked.then_some(changed))
    }

    /// Where a shard is of a source that is a run.
    pub(super) fn stored(&self, source: usize, shard: usize) -> Result<StoredAt> {
        let stored = self.stored.get(&source).and_then(|run| run.get(shard));
        stored.cloned().ok_or_else(|| Error::internal("a run has no such shard"))
    }

    /// Has all runs asked again: their shards may have been lost.
    pub(super) fn ask_again(&mut self) {
        self.stored.clear();
    }

    /// Has a shard of a run computed again that could not be read.
    pub(super) async fn lost(&mut self, lost: &StoredAt) {
        for job in self.runs.values().filter(|job| job.files() == lost.run) {
            job.shard_lost(lost.task as usize, lost).await;
        }
        self.ask_again();
    }
}
