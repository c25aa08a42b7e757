//! The check of a distributed plan: what each operator requires of its input must hold across the
//! tasks of its stage. The engine calls it on every plan before it runs.
//!
//! [`walk`] goes bottom-up and derives how the rows of each node are distributed over the tasks
//! ([`row_properties`](crate::row_properties)). It knows the leaves and the exchanges: [`leaf`]
//! checks how a scan was divided among the tasks, [`boundary`] how stages are joined, and [`order`]
//! that every operator gets its rows in the order it was planned on.

mod boundary;
mod leaf;
mod order;
mod place;
mod walk;

use std::sync::Arc;

use datafusion::physical_plan::ExecutionPlan;
use datafusion_distributed::DistributedExec;

use crate::error::Result;
use place::Place;
use walk::{Walk, contains_boundary};

/// Operators of other crates that may run in several tasks, by their `ExecutionPlan::name`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trusted {
    /// Operators with one input that treat every row, or every batch, by itself. Their
    /// `input_distribution_requirements` are checked all the same.
    pub row_wise: Vec<String>,
    /// Leaves that read a different part in each task, chosen by the `DistributedTaskContext`,
    /// without a `DistributedLeafExec` around them.
    pub leaves: Vec<String>,
}

/// Refuses a distributed plan whose answer could depend on how it was distributed.
///
/// A plan that is not distributed passes.
///
/// # Errors
/// [`Error::Unsafe`](crate::Error::Unsafe), which names the stage, the operator and the reason.
pub fn check(plan: &Arc<dyn ExecutionPlan>) -> Result<()> {
    check_with(plan, &Trusted::default())
}

/// Like [`check`], with operators that the caller vouches for.
pub fn check_with(plan: &Arc<dyn ExecutionPlan>, trusted: &Trusted) -> Result<()> {
    for cut in cut_plans(plan) {
        if !contains_boundary(cut) {
            return Err(Place::head().refuse(
                cut.as_ref(),
                "is cut while it runs (dynamic_task_count), so that it cannot be checked",
            ));
        }
        Walk::new(trusted).whole(cut, Place::head())?;
    }
    Ok(())
}

/// The distributed plans in `plan`: itself, or below EXPLAIN ANALYZE or a sink.
fn cut_plans(plan: &Arc<dyn ExecutionPlan>) -> Vec<&Arc<dyn ExecutionPlan>> {
    if plan.is::<DistributedExec>() {
        return plan.children();
    }
    plan.children().into_iter().flat_map(cut_plans).collect()
}
