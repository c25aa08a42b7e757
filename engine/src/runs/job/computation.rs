//! How a run is computed, apart from its stored shards.

use std::sync::Arc;

use crate::base::driver::Driver;
use crate::base::wire::{RunId, number};
use crate::error::Result;
use crate::pipeline::func::{Call, registry};
use crate::pipeline::slice::Resolving;
use crate::runs::job::schedule::{Determinism, Schedule};
use crate::runs::job::slots::SlotAllocator;
use crate::runs::task::{Plan, RunSpec, StageId};
use bigslice_files::sink::Writes;

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
}

/// The shards of a source.
pub(super) enum SourceShards {
    Open(Vec<Arc<[u8]>>),
    /// The shards of another run.
    Run(RunId),
}

impl Computation {
    /// Finds the shards of the sources of the run `id`. `shards_of` is the number of shards of each
    /// source that is a run.
    pub(super) async fn new(
        driver: &Arc<Driver>,
        id: RunId,
        plan: Plan,
        call: Option<Call>,
        shards_of: impl Fn(RunId) -> Result<usize>,
    ) -> Result<Self> {
        let slots = SlotAllocator::total(driver);
        let resolving = Resolving { driver: Arc::clone(driver), slots };
        let mut sources = Vec::new();
        let mut source_shards = Vec::new();
        for source in &plan.sources {
            let (shards, found) = match source.run() {
                Some(run) => (shards_of(run)?, SourceShards::Run(run)),
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
        let writes = Writes::new(plan.sinks(&spec.source_shards), driver.cleanup.clone());
        let (plan, spec) = (Arc::new(plan), Arc::new(spec));
        Ok(Self { id, plan, spec, sources, writes })
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

    /// The size of the arguments of its func.
    pub(super) fn argument_bytes(&self) -> usize {
        self.spec.call.as_ref().map_or(0, |call| call.arguments.len())
    }
}
