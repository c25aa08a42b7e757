//! How a run is computed, apart from what of it is stored. A [`Job`] holds files, and is held by whoever reads
//! them: the user's `Run`s, tables, and runs that are computed from it now. A [`Recipe`] holds none, and
//! every job has those of the runs that it was made from, and that these were made from: its [`Lineage`].
//!
//! ```text
//! Run ──► Job (files) ──► Recipe ──► plan, call, how to open sources
//!              └────────► Lineage ──► recipes of earlier runs ┄┄► their jobs, while somebody holds them
//! ```
//!
//! So a chain of runs stores no more than its last result, and can still compute all of it again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::base::wire::{RunId, number};
use crate::error::{Error, Result};
use crate::pipeline::func::{Call, registry};
use crate::pipeline::slice::Resolving;
use crate::runs::job::Runner;
use crate::runs::job::crew::Crew;
use crate::runs::job::result::Job;
use crate::runs::job::schedule::{Repeats, Schedule};
use crate::runs::task::{Brief, Plan, StageId};
use bigslice_files::sink::Writes;

/// Earlier runs that a run can compute again, without those that it reads itself: what a chain of runs takes
/// in the driver is bounded by it. A loss beyond it is an error that says so.
pub(super) const LINEAGE_RUNS_MAX: usize = 1000;

/// Bytes of the arguments of their funcs.
const LINEAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How the result of a run is computed.
pub(crate) struct Recipe {
    id: RunId,
    pub(super) plan: Arc<Plan>,
    /// What of it tasks are told.
    pub(super) brief: Arc<Brief>,
    /// How to open each shard of each source.
    pub(super) sources: Vec<SourceShards>,
    /// What its sinks write: once, however often it is computed again.
    pub(super) writes: Arc<Writes>,
    /// What is stored of it, while somebody holds that.
    job: Mutex<Weak<Job>>,
}

/// The shards of a source.
pub(super) enum SourceShards {
    Open(Vec<Arc<[u8]>>),
    /// Those of another run, by the number of its recipe.
    Run(RunId),
}

impl Recipe {
    /// Finds the shards of the sources of a run that gets this number; also the runs among them.
    pub(super) async fn new(
        session: &Arc<Runner>,
        id: RunId,
        plan: Plan,
        call: Option<Call>,
    ) -> Result<(Self, Vec<Arc<Job>>)> {
        let resolving =
            Resolving { driver: Arc::clone(&session.driver), slots: Crew::slots(session) };
        let mut sources = Vec::new();
        let mut source_shards = Vec::new();
        let mut held = Vec::new();
        for source in &plan.sources {
            let (shards, found) = match source.run() {
                Some(run) => {
                    let job = session.runs.find(run)?;
                    let shards = job.shards();
                    held.push(job);
                    (shards, SourceShards::Run(run))
                }
                None => {
                    let found = source.shards(&resolving).await?;
                    (found.len(), SourceShards::Open(found))
                }
            };
            source_shards.push(number(shards, "shards")?);
            sources.push(found);
        }
        let brief = Brief {
            call,
            registry: registry().digest(),
            steps: plan.steps.clone(),
            source_shards: source_shards.into(),
        };
        let writes = Writes::new(plan.sinks(&brief.source_shards), session.cleanup.clone());
        let (plan, brief) = (Arc::new(plan), Arc::new(brief));
        let recipe = Self { id, plan, brief, sources, writes, job: Mutex::default() };
        Ok((recipe, held))
    }

    /// The number of the run.
    pub(super) fn id(&self) -> RunId {
        self.id
    }

    /// All of its tasks, none of which is done.
    pub(super) fn schedule(&self) -> Schedule {
        Schedule::new(self.plan.stages.iter().enumerate().map(|(id, stage)| {
            let repeats = match stage.asks.deterministic {
                Some(true) => Repeats::Same,
                Some(false) => Repeats::Differs,
                None => Repeats::AsItsInputs,
            };
            (stage.inputs.clone(), self.plan.tasks(StageId(id), self.source_shards()), repeats)
        }))
    }

    /// How many shards each source has.
    pub(super) fn source_shards(&self) -> &[u32] {
        &self.brief.source_shards
    }

    /// Whether it may come to another result when it is computed again.
    pub(super) fn differs(&self) -> bool {
        self.plan.stages.iter().any(|stage| stage.asks.deterministic == Some(false))
    }

    /// The job that has what is stored; `make` makes one when nothing is.
    pub(super) fn job(&self, make: impl FnOnce() -> Arc<Job>) -> Arc<Job> {
        let mut job = self.job.lock();
        job.upgrade().unwrap_or_else(|| {
            let made = make();
            *job = Arc::downgrade(&made);
            made
        })
    }

    fn argument_bytes(&self) -> usize {
        self.brief.call.as_ref().map_or(0, |call| call.arguments.len())
    }
}

/// The recipes of the runs that a run was made from, in one list: a chain of any length is let go of without
/// recursion.
#[derive(Default)]
pub(super) struct Lineage {
    recipes: BTreeMap<RunId, Arc<Recipe>>,
}

impl Lineage {
    /// Of a run that reads these: they, and of those before them the latest.
    pub(super) fn of(sources: &[Arc<Job>]) -> Self {
        let mut recipes = BTreeMap::new();
        for job in sources {
            recipes.extend(job.lineage().recipes.iter().map(|(id, of)| (*id, Arc::clone(of))));
        }
        let read: BTreeSet<RunId> = sources.iter().map(|job| job.recipe().id()).collect();
        let (mut runs, mut bytes) = (0, 0);
        // Numbers grow: what a run reads has a smaller one.
        let mut kept: BTreeMap<_, _> = recipes
            .into_iter()
            .rev()
            .filter(|(id, _)| !read.contains(id))
            .take_while(|(_, recipe)| {
                runs += 1;
                bytes += recipe.argument_bytes();
                runs <= LINEAGE_RUNS_MAX && bytes <= LINEAGE_BYTES_MAX
            })
            .collect();
        let direct = sources.iter().map(|job| (job.recipe().id(), Arc::clone(job.recipe())));
        kept.extend(direct);
        Self { recipes: kept }
    }

    /// Whether one of them may come to another result when it is computed again.
    pub(super) fn differs(&self) -> bool {
        self.recipes.values().any(|recipe| recipe.differs())
    }

    /// How to compute an earlier run.
    pub(super) fn find(&self, run: RunId) -> Result<&Arc<Recipe>> {
        self.recipes.get(&run).ok_or_else(|| Error::Lost {
            message: format!(
                "what was lost cannot be computed again: it was made from {run:?}, of which too long a \
                 chain of runs was made since (at most {LINEAGE_RUNS_MAX} runs are computed again)"
            ),
            hint: Some(
                "in a long iteration hold the `Run` of every hundredth step: what is held is not computed \
                 again"
                    .to_owned(),
            ),
            source: None,
        })
    }
}
