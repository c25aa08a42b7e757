//! Whether all rows of a key are in one partition of one task.

use std::sync::Arc;

use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::{
    Distribution as Required, ExecutionPlan, ExecutionPlanProperties, Partitioning,
};

use super::{Parts, RowProperties, TaskDistribution, Undistributable};

/// Whether the inputs of an operator are independent of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inputs {
    /// There is one input.
    Alone,
    /// Partitions with the same number are read together, as by a join.
    SideBySide,
}

/// Compares what an operator requires of the partitions of an input, in one process, with how the
/// rows are distributed over tasks.
pub(super) fn meets_requirement(
    plan: &Arc<dyn ExecutionPlan>,
    index: usize,
    input: RowProperties,
    inputs: Inputs,
    parts: Parts,
) -> Result<(), Undistributable> {
    let requirements = plan.input_distribution_requirements();
    let required = requirements.child_distribution(index);
    let Some(required) = required.filter(|r| !matches!(r, Required::UnspecifiedDistribution))
    else {
        return match inputs {
            Inputs::Alone => Ok(()),
            Inputs::SideBySide => {
                Err(Undistributable::because("does not say which rows of its inputs must meet"))
            }
        };
    };
    // Without a key, all rows are those of one key.
    let Some(keys) = keys(required).filter(|keys| !keys.is_empty()) else {
        return Err(Undistributable::because(format!(
            "needs all rows in one place, but each of {parts} has a part of them"
        )));
    };
    let children = plan.children();
    let has_keys = |child: &&Arc<dyn ExecutionPlan>| has_keys(child.as_ref(), required, inputs);
    if input.distribution == TaskDistribution::Hashed && children.get(index).is_some_and(has_keys) {
        return Ok(());
    }
    let keys: Vec<_> = keys.iter().map(ToString::to_string).collect();
    Err(Undistributable::because(format!(
        "needs all rows of a key ({}) in one place, but they may be in any of {parts}",
        keys.join(", ")
    )))
}

/// The keys of a requirement on keys; `None` for other requirements.
#[expect(deprecated, reason = "operators of other crates may still use the old name")]
fn keys(required: &Required) -> Option<&[Arc<dyn PhysicalExpr>]> {
    match required {
        Required::KeyPartitioned(keys) | Required::HashPartitioned(keys) => Some(keys),
        Required::UnspecifiedDistribution | Required::SinglePartition => None,
    }
}

/// Whether the hash partitioning that `child` declares puts all rows of a key into one partition.
/// Inputs that are read side by side must match exactly; others may be partitioned by a part of
/// the key.
fn has_keys(child: &dyn ExecutionPlan, required: &Required, inputs: Inputs) -> bool {
    match child.output_partitioning() {
        Partitioning::Hash(exprs, count) => {
            // With one partition in each task DataFusion would accept any key.
            Partitioning::Hash(exprs.clone(), (*count).max(2))
                .satisfaction(required, child.equivalence_properties(), inputs == Inputs::Alone)
                .is_satisfied()
        }
        _ => false,
    }
}

/// Rows whose keys are where the inputs had them, if the operator still declares them.
pub(super) fn kept_by(plan: &dyn ExecutionPlan, inputs_hashed: bool) -> TaskDistribution {
    match plan.output_partitioning() {
        Partitioning::Hash(..) if inputs_hashed => TaskDistribution::Hashed,
        _ => TaskDistribution::Arbitrary,
    }
}
