//! A place in a distributed plan, and the error about a node there.

use datafusion::physical_plan::ExecutionPlan;

use crate::distribution::Parts;
use crate::error::Error;
use crate::stage_graph::{DRIVER_STAGE, operator_text};

/// Where a node runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// The number of the stage, for messages.
    pub(super) stage: usize,
    /// How many tasks run the node.
    pub(super) tasks: usize,
}

impl Place {
    /// The driver's own stage.
    pub(super) fn head() -> Self {
        Self { stage: DRIVER_STAGE, tasks: 1 }
    }

    /// The error that `plan` is unsafe here. `reason` completes a sentence that begins with the
    /// operator.
    pub(super) fn refuse(self, plan: &dyn ExecutionPlan, reason: impl Into<String>) -> Error {
        Error::Unsafe { stage: self.stage, operator: operator_text(plan), reason: reason.into() }
    }

    pub(super) fn parts(self) -> Parts {
        Parts::Tasks(self.tasks)
    }
}
