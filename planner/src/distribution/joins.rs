//! What joins need of the distribution of their inputs.

use std::sync::Arc;

use datafusion::common::JoinType;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, NestedLoopJoinExec, PartitionMode, SortMergeJoinExec,
    SymmetricHashJoinExec,
};

use super::keys::{Inputs, kept_by, meets_requirement};
use super::{Parts, RowProperties, TaskDistribution, Undistributable};

/// Whether it is a join that holds all rows of its build (left) side while it reads the probe
/// (right) side.
pub fn collects_build_side(plan: &dyn ExecutionPlan) -> bool {
    plan.is::<NestedLoopJoinExec>()
        || plan.is::<CrossJoinExec>()
        || plan
            .downcast_ref::<HashJoinExec>()
            .is_some_and(|join| *join.partition_mode() == PartitionMode::CollectLeft)
}

/// Whether a join that holds all rows of its build side must also read the whole probe side in one
/// task, because its answer about a build row depends on all probe rows.
pub fn needs_whole_probe_side(plan: &dyn ExecutionPlan) -> bool {
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        return join.null_aware || emits_build_rows(*join.join_type());
    }
    plan.downcast_ref::<NestedLoopJoinExec>()
        .is_some_and(|join| emits_build_rows(*join.join_type()))
}

/// Whether rows of the build (left) side that have no match are in the result.
pub(crate) fn emits_build_rows(join: JoinType) -> bool {
    !matches!(
        join,
        JoinType::Inner
            | JoinType::Right
            | JoinType::RightSemi
            | JoinType::RightAnti
            | JoinType::RightMark
    )
}

/// How the rows of a join are distributed; `None` when it is not a join that is known.
pub(super) fn distribution(
    plan: &Arc<dyn ExecutionPlan>,
    inputs: &[RowProperties],
    parts: Parts,
) -> Option<Result<TaskDistribution, Undistributable>> {
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        if join.null_aware {
            return Some(Err(Undistributable::because(
                "asks whether any row at all has a null key, which no single task can know",
            )));
        }
        if *join.partition_mode() == PartitionMode::Auto {
            return Some(Err(Undistributable::because(
                "has not decided how its inputs are partitioned",
            )));
        }
    }
    if collects_build_side(plan.as_ref()) {
        return Some(collecting_join(plan, inputs, parts));
    }
    let partitioned = plan.is::<HashJoinExec>()
        || plan.is::<SortMergeJoinExec>()
        || plan.is::<SymmetricHashJoinExec>();
    partitioned.then(|| partitioned_join(plan, inputs, parts))
}

/// A join in which each task holds the whole left side and a part of the right side.
fn collecting_join(
    plan: &Arc<dyn ExecutionPlan>,
    inputs: &[RowProperties],
    parts: Parts,
) -> Result<TaskDistribution, Undistributable> {
    let [left, right] = inputs else {
        return Err(Undistributable::because("is a join without two inputs"));
    };
    if left.distribution != TaskDistribution::Broadcast {
        return Err(Undistributable::because(format!(
            "needs all rows of its left input, but each of {parts} has a part"
        )));
    }
    if needs_whole_probe_side(plan.as_ref()) {
        return Err(Undistributable::because(format!(
            "would give unmatched rows of its left input again in each of {parts}, because no \
             task knows what the others matched"
        )));
    }
    if right.distribution == TaskDistribution::Broadcast {
        return Err(Undistributable::because(format!(
            "would give the rows of its right input again in each of {parts}"
        )));
    }
    Ok(kept_by(plan.as_ref(), right.distribution == TaskDistribution::Hashed))
}

/// A join of partitions that are read side by side.
fn partitioned_join(
    plan: &Arc<dyn ExecutionPlan>,
    inputs: &[RowProperties],
    parts: Parts,
) -> Result<TaskDistribution, Undistributable> {
    for (index, input) in inputs.iter().enumerate() {
        meets_requirement(plan, index, *input, Inputs::SideBySide, parts)?;
    }
    let children = plan.children();
    let children: Vec<&dyn ExecutionPlan> = children.into_iter().map(AsRef::as_ref).collect();
    let apart = plan
        .input_distribution_requirements()
        .unsatisfied_co_partitioned_children(plan.name(), &children)?;
    if !apart.is_empty() {
        return Err(Undistributable::because(
            "joins inputs that are partitioned differently, so that equal keys do not meet",
        ));
    }
    Ok(kept_by(plan.as_ref(), true))
}
