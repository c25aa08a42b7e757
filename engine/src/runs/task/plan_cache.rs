//! The plan cache of a machine: the plans of runs, and the inputs of their stages. Task requests
//! refer to it; the [`Host`](super::Host) answers with [`TaskError::NotCached`] if something is
//! missing.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bigslice_diagnostics::panic_text;
use bigslice_flight::APP_PAYLOAD_BYTES_MAX;
use parking_lot::Mutex;

use crate::base::task_error::TaskError;
use crate::base::wire::RunId;
use crate::error::Error;
use crate::pipeline::func::registry;
use crate::runs::task::plan::Plan;
use crate::runs::task::request::{RunSpec, StageInputs, TaskRequest};

/// Most runs in the cache.
const RUNS_KEPT_MAX: usize = 64;

/// Plans and stage inputs, by run. The oldest run is evicted first.
#[derive(Default)]
pub(super) struct PlanCache {
    runs: Mutex<VecDeque<(RunId, CachedRun)>>,
}

/// The plan and inputs of one run.
struct CachedRun {
    plan: Arc<Plan>,
    source_shards: Arc<[u32]>,
    /// The latest version of each stage's inputs.
    inputs: HashMap<u32, (u64, Arc<StageInputs>)>,
}

/// The plan and the inputs of one task.
pub(super) struct TaskSpec {
    pub(super) plan: Arc<Plan>,
    pub(super) source_shards: Arc<[u32]>,
    pub(super) inputs: Arc<StageInputs>,
}

impl PlanCache {
    /// The plan and inputs for a request. Calls the func if this is the first task of its run here.
    ///
    /// # Errors
    /// When the request leaves out what is not cached, or its func cannot be called here.
    pub(super) fn task(&self, request: &TaskRequest) -> Result<TaskSpec, TaskError> {
        let TaskRequest { run, stage, version, plan, spec, inputs, .. } = request;
        if let (Some(plan), Some(spec), Some(inputs)) = (plan, spec, inputs) {
            // The driver has the plan in the request itself.
            return Ok(TaskSpec {
                plan: Arc::clone(plan),
                source_shards: Arc::clone(&spec.source_shards),
                inputs: Arc::clone(inputs),
            });
        }
        let mut made = None;
        if !self.contains(*run)
            && let Some(spec) = spec
        {
            // Without the lock: a func may take long.
            made = Some(CachedRun {
                plan: Arc::new(built(spec)?),
                source_shards: Arc::clone(&spec.source_shards),
                inputs: HashMap::new(),
            });
        }
        let mut runs = self.runs.lock();
        let at = runs.iter().position(|(of, _)| of == run);
        let found = match (at, made) {
            (Some(at), _) => runs.get_mut(at),
            (None, Some(made)) => {
                if runs.len() == RUNS_KEPT_MAX {
                    runs.pop_front();
                }
                runs.push_back((*run, made));
                runs.back_mut()
            }
            (None, None) => None,
        };
        let Some((_, cached)) = found else {
            return Err(TaskError::NotCached { spec: true, inputs: inputs.is_none() });
        };
        if let Some(inputs) = inputs {
            cached.inputs.insert(*stage, (*version, Arc::clone(inputs)));
        }
        match cached.inputs.get(stage) {
            Some((of, inputs)) if of == version => Ok(TaskSpec {
                plan: Arc::clone(&cached.plan),
                source_shards: Arc::clone(&cached.source_shards),
                inputs: Arc::clone(inputs),
            }),
            _ => Err(TaskError::NotCached { spec: false, inputs: true }),
        }
    }

    fn contains(&self, run: RunId) -> bool {
        self.runs.lock().iter().any(|(of, _)| *of == run)
    }

    pub(super) fn forget(&self, run: RunId) {
        self.runs.lock().retain(|(of, _)| *of != run);
    }
}

/// Calls the func, and checks that it builds the same slice as on the driver.
fn built(spec: &RunSpec) -> Result<Plan, TaskError> {
    let failed = |message: String| TaskError::Failed(Error::query(message));
    let Some(call) = &spec.call else {
        let alone = "a slice that was not built by a func cannot run on other machines";
        return Err(failed(alone.to_owned()));
    };
    if registry().digest() != spec.registry {
        return Err(TaskError::FuncsDiffer { theirs: first_lines() });
    }
    let name = &call.name;
    let built = catch_unwind(AssertUnwindSafe(|| registry().build(call)));
    let built = built.map_err(|panic| {
        failed(format!("the func \"{name}\" panicked: {}", panic_text(panic.as_ref())))
    })?;
    let built = built.map_err(TaskError::Failed)?;
    if built.steps != spec.steps {
        return Err(failed(format!(
            "the func \"{name}\" built another slice on this machine than on the driver: {}; a func may \
             depend only on its arguments",
            spec.steps.difference(&built.steps)
        )));
    }
    Ok(Plan::of(built))
}

/// The funcs of this program, as far as they fit into an error.
fn first_lines() -> Vec<String> {
    let mut left = APP_PAYLOAD_BYTES_MAX / 2;
    let mut lines = registry().lines();
    let fitting = lines.iter().take_while(|line| {
        left = left.saturating_sub(line.len() + 8);
        left > 0
    });
    lines.truncate(fitting.count());
    lines
}
