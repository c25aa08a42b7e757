//! How a run is computed, apart from its stored shards. A [`Job`] holds files, and is held by their
//! readers: the user's `Run`s, tables, and runs that are being computed from it. A [`Computation`]
//! holds no files. Every job has the computations of all runs that it was made from, directly or
//! not: its [`Lineage`].
//!
//! ```text
//! Run ──► Job (files) ──► Computation ──► plan, RunSpec, how to open sources
//!              └────────► Lineage ──► computations of earlier runs ┄┄► their jobs, while held
//! ```
//!
//! So a chain of runs stores only its last result, and can still compute all of it again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::base::wire::{RunId, number};
use crate::error::{Error, Result};
use crate::pipeline::func::{Call, registry};
use crate::pipeline::slice::Resolving;
use crate::runs::job::Runner;
use crate::runs::job::job::Job;
use crate::runs::job::schedule::{Determinism, Schedule};
use crate::runs::job::slots::SlotAllocator;
use crate::runs::task::{Plan, RunSpec, StageId};
use bigslice_files::sink::Writes;

/// Most earlier runs that a run can compute again, besides the runs that it reads itself. Bounds
/// the memory of a chain of runs in the driver. A loss beyond it is an error that says so.
pub(super) const LINEAGE_RUNS_MAX: usize = 1000;

/// Most bytes of the arguments of their funcs.
const LINEAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How the result of a run is computed.
pub(crate) struct Computation {
    id: RunId,
    pub(super) plan: Arc<Plan>,
    /// The part of it that tasks need.
    pub(super) spec: Arc<RunSpec>,
    /// How to open each shard of each source.
    pub(super) sources: Vec<SourceShards>,
    /// The files of its sinks: written once, however often it is computed again.
    pub(super) writes: Arc<Writes>,
    /// Its stored shards, while they are held.
    job: Mutex<Weak<Job>>,
}

/// The shards of a source.
pub(super) enum SourceShards {
    Open(Vec<Arc<[u8]>>),
    /// The shards of another run.
    Run(RunId),
}

impl Computation {
    /// Finds the shards of the sources of the run `id`. Also returns the runs among the sources.
    pub(super) async fn new(
        session: &Arc<Runner>,
        id: RunId,
        plan: Plan,
        call: Option<Call>,
    ) -> Result<(Self, Vec<Arc<Job>>)> {
        let resolving =
            Resolving { driver: Arc::clone(&session.driver), slots: SlotAllocator::total(session) };
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
        let spec = RunSpec {
            call,
            registry: registry().digest(),
            steps: plan.steps.clone(),
            source_shards: source_shards.into(),
        };
        let writes = Writes::new(plan.sinks(&spec.source_shards), session.cleanup.clone());
        let (plan, spec) = (Arc::new(plan), Arc::new(spec));
        let computation = Self { id, plan, spec, sources, writes, job: Mutex::default() };
        Ok((computation, held))
    }

    /// The number of the run.
    pub(super) fn id(&self) -> RunId {
        self.id
    }

    /// A schedule of all its tasks, none of them done.
    pub(super) fn schedule(&self) -> Schedule {
        Schedule::new(self.plan.stages.iter().enumerate().map(|(id, stage)| {
            let determinism = match stage.pragmas.deterministic {
                Some(true) => Determinism::Deterministic,
                Some(false) => Determinism::Nondeterministic,
                None => Determinism::AsInputs,
            };
            (stage.inputs.clone(), self.plan.tasks(StageId(id), self.source_shards()), determinism)
        }))
    }

    /// The number of shards of each source.
    pub(super) fn source_shards(&self) -> &[u32] {
        &self.spec.source_shards
    }

    /// True if another evaluation may give another result.
    pub(super) fn is_nondeterministic(&self) -> bool {
        self.plan.stages.iter().any(|stage| stage.pragmas.deterministic == Some(false))
    }

    /// The job that holds its shards; `make` makes one if there is none.
    pub(super) fn job(&self, make: impl FnOnce() -> Arc<Job>) -> Arc<Job> {
        let mut job = self.job.lock();
        job.upgrade().unwrap_or_else(|| {
            let made = make();
            *job = Arc::downgrade(&made);
            made
        })
    }

    fn argument_bytes(&self) -> usize {
        self.spec.call.as_ref().map_or(0, |call| call.arguments.len())
    }
}

/// The computations of the runs that a run was made from, in one list: a chain of any length is
/// dropped without recursion.
#[derive(Default)]
pub(super) struct Lineage {
    computations: BTreeMap<RunId, Arc<Computation>>,
}

impl Lineage {
    /// The lineage of a run that reads `sources`: these, and the latest of the runs before them.
    pub(super) fn of(sources: &[Arc<Job>]) -> Self {
        let mut computations = BTreeMap::new();
        for job in sources {
            computations
                .extend(job.lineage().computations.iter().map(|(id, of)| (*id, Arc::clone(of))));
        }
        let read: BTreeSet<RunId> = sources.iter().map(|job| job.computation().id()).collect();
        let (mut runs, mut bytes) = (0, 0);
        // Numbers grow: the sources of a run have smaller ones.
        let mut kept: BTreeMap<_, _> = computations
            .into_iter()
            .rev()
            .filter(|(id, _)| !read.contains(id))
            .take_while(|(_, computation)| {
                runs += 1;
                bytes += computation.argument_bytes();
                runs <= LINEAGE_RUNS_MAX && bytes <= LINEAGE_BYTES_MAX
            })
            .collect();
        let direct =
            sources.iter().map(|job| (job.computation().id(), Arc::clone(job.computation())));
        kept.extend(direct);
        Self { computations: kept }
    }

    /// True if another evaluation of one of them may give another result.
    pub(super) fn is_nondeterministic(&self) -> bool {
        self.computations.values().any(|computation| computation.is_nondeterministic())
    }

    /// The computation of an earlier run.
    ///
    /// # Errors
    /// When too many runs were made from it since.
    pub(super) fn find(&self, run: RunId) -> Result<&Arc<Computation>> {
        self.computations.get(&run).ok_or_else(|| {
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
