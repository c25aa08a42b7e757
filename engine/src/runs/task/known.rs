//! What a machine has been told about runs: the plan of each, and the inputs of its stages. Requests refer
//! to it; the [`Host`](super::Host) asks for what is not here, or not any more.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bigslice_flight::{APP_PAYLOAD_BYTES_MAX, panic_text};
use parking_lot::Mutex;

use crate::base::refusal::Refusal;
use crate::base::wire::RunId;
use crate::error::Error;
use crate::pipeline::func::registry;
use crate::runs::task::plan::Plan;
use crate::runs::task::request::{Brief, Inputs, TaskRequest};

/// Runs of which something is kept for their next task.
const RUNS_KEPT_MAX: usize = 64;

/// What tasks have been told.
#[derive(Default)]
pub(super) struct Known {
    runs: Mutex<VecDeque<(RunId, KnownRun)>>,
}

/// What is known of one run.
struct KnownRun {
    plan: Arc<Plan>,
    source_shards: Arc<[u32]>,
    /// The last version of each stage's inputs.
    inputs: HashMap<u32, (u64, Arc<Inputs>)>,
}

/// What one task is told.
pub(super) struct Told {
    pub(super) plan: Arc<Plan>,
    pub(super) source_shards: Arc<[u32]>,
    pub(super) inputs: Arc<Inputs>,
}

impl Known {
    /// What a task is to know; the func is called when this is its first task here.
    pub(super) fn told(&self, request: &TaskRequest) -> Result<Told, Refusal> {
        let TaskRequest { run, stage, version, plan, brief, inputs, .. } = request;
        if let (Some(plan), Some(brief), Some(inputs)) = (plan, brief, inputs) {
            // The process that has the plan knows all, and keeps it itself.
            return Ok(Told {
                plan: Arc::clone(plan),
                source_shards: Arc::clone(&brief.source_shards),
                inputs: Arc::clone(inputs),
            });
        }
        let mut made = None;
        if !self.knows(*run)
            && let Some(brief) = brief
        {
            // Not while others wait: a func may take its time.
            made = Some(KnownRun {
                plan: Arc::new(built(brief)?),
                source_shards: Arc::clone(&brief.source_shards),
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
        let Some((_, known)) = found else {
            return Err(Refusal::NotTold { brief: true, inputs: inputs.is_none() });
        };
        if let Some(inputs) = inputs {
            known.inputs.insert(*stage, (*version, Arc::clone(inputs)));
        }
        match known.inputs.get(stage) {
            Some((of, inputs)) if of == version => Ok(Told {
                plan: Arc::clone(&known.plan),
                source_shards: Arc::clone(&known.source_shards),
                inputs: Arc::clone(inputs),
            }),
            _ => Err(Refusal::NotTold { brief: false, inputs: true }),
        }
    }

    fn knows(&self, run: RunId) -> bool {
        self.runs.lock().iter().any(|(of, _)| *of == run)
    }

    pub(super) fn forget(&self, run: RunId) {
        self.runs.lock().retain(|(of, _)| *of != run);
    }
}

/// Calls the func, and sees that it built what it built for the driver.
fn built(brief: &Brief) -> Result<Plan, Refusal> {
    let failed = |message: String| Refusal::Failed(Error::query(message));
    let Some(call) = &brief.call else {
        let alone = "a slice that was not built by a func is in its process alone";
        return Err(failed(alone.to_owned()));
    };
    if registry().digest() != brief.registry {
        return Err(Refusal::FuncsDiffer { theirs: first_lines() });
    }
    let name = &call.name;
    let built = catch_unwind(AssertUnwindSafe(|| registry().build(call)));
    let built = built.map_err(|panic| {
        failed(format!("the func \"{name}\" panicked: {}", panic_text(panic.as_ref())))
    })?;
    let built = built.map_err(Refusal::Failed)?;
    if built.steps != brief.steps {
        return Err(failed(format!(
            "the func \"{name}\" built another slice on this machine than on the driver: {}; a func may \
             depend on nothing but its arguments",
            brief.steps.difference(&built.steps)
        )));
    }
    Ok(Plan::of(built))
}

/// The funcs of this program, as many as fit into an error.
fn first_lines() -> Vec<String> {
    let mut room = APP_PAYLOAD_BYTES_MAX / 2;
    let mut lines = registry().lines();
    let fitting = lines.iter().take_while(|line| {
        room = room.saturating_sub(line.len() + 8);
        room > 0
    });
    lines.truncate(fitting.count());
    lines
}
