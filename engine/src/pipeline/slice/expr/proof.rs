//! What each operator needs when its input lies in several shards, and how its own rows then lie. The lists
//! are the documentation: an operator that is on none of them must run in one shard.

use std::sync::Arc;

use datafusion::common::JoinType;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, NestedLoopJoinExec, PartitionMode, SortMergeJoinExec,
};
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::partial_sort::PartialSortExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{
    Distribution, ExecutionPlan, ExecutionPlanProperties, Partitioning,
};

use super::cut::Stop;

/// How rows lie across shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lies {
    /// All in the only one.
    Whole,
    /// As the plan's hash partitioning says.
    Keyed,
    /// Each in one of them.
    Split,
}

/// Whether the rows of an operator's inputs lie as it needs them, and how its own lie.
pub(super) fn lies(plan: &Arc<dyn ExecutionPlan>, inputs: &[Lies]) -> Result<Lies, Stop> {
    let unproven = |why: &str| Err(Stop::Unproven(format!("{} {why}", plan.name())));
    if inputs.iter().all(|lies| *lies == Lies::Whole) {
        return Ok(Lies::Whole);
    }
    if collecting_join(plan).is_some() {
        // The left side is whole in each shard.
        let right = inputs.last().copied().unwrap_or(Lies::Split);
        let keyed = right == Lies::Keyed && is_hashed(plan.as_ref());
        return Ok(if keyed { Lies::Keyed } else { Lies::Split });
    }
    if !is_known(plan.as_ref()) {
        return unproven("is not known to be right for each shard by itself");
    }
    let side_by_side = inputs.len() > 1;
    let requirements = plan.input_distribution_requirements();
    let children = plan.children();
    for (n, (lies, child)) in inputs.iter().zip(&children).enumerate() {
        let required = requirements.child_distribution(n);
        let required = required.unwrap_or(&Distribution::UnspecifiedDistribution);
        let met = match required {
            Distribution::UnspecifiedDistribution => !side_by_side,
            Distribution::SinglePartition => *lies == Lies::Whole,
            _ => {
                *lies == Lies::Keyed
                    && is_hashed(child.as_ref())
                    && child
                        .output_partitioning()
                        .satisfaction(required, child.equivalence_properties(), !side_by_side)
                        .is_satisfied()
            }
        };
        if !met {
            return unproven("needs rows together that may be apart");
        }
    }
    let beside: Vec<&dyn ExecutionPlan> = children.into_iter().map(AsRef::as_ref).collect();
    if !requirements.unsatisfied_co_partitioned_children(plan.name(), &beside)?.is_empty() {
        return unproven("joins rows that are split in different ways");
    }
    let keyed = inputs.iter().all(|lies| *lies == Lies::Keyed) && is_hashed(plan.as_ref());
    Ok(if keyed { Lies::Keyed } else { Lies::Split })
}

fn is_hashed(plan: &dyn ExecutionPlan) -> bool {
    matches!(plan.output_partitioning(), Partitioning::Hash(..))
}

/// Operators that work on each partition by itself, and whose needs are all in what they require.
fn is_known(plan: &dyn ExecutionPlan) -> bool {
    let partitioned = |join: &HashJoinExec| *join.partition_mode() == PartitionMode::Partitioned;
    plan.is::<FilterExec>()
        || plan.is::<ProjectionExec>()
        || plan.is::<AggregateExec>()
        || plan.is::<SortExec>()
        || plan.is::<PartialSortExec>()
        || plan.is::<LocalLimitExec>()
        || plan.is::<GlobalLimitExec>()
        || plan.is::<UnnestExec>()
        || plan.is::<WindowAggExec>()
        || plan.is::<BoundedWindowAggExec>()
        || plan.is::<CooperativeExec>()
        || plan.is::<SortMergeJoinExec>()
        || plan.downcast_ref::<HashJoinExec>().is_some_and(partitioned)
}

/// If it is a join that holds all rows of its left side: whether each shard can do it with its own
/// rows of the right side.
pub(super) fn collecting_join(plan: &Arc<dyn ExecutionPlan>) -> Option<bool> {
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        let collects = *join.partition_mode() == PartitionMode::CollectLeft;
        return collects.then(|| !join.null_aware && !gives_unmatched_left(*join.join_type()));
    }
    if let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>() {
        return Some(!gives_unmatched_left(*join.join_type()));
    }
    plan.is::<CrossJoinExec>().then_some(true)
}

/// Whether what becomes of a row of the left side depends on all rows of the right side.
fn gives_unmatched_left(join: JoinType) -> bool {
    !matches!(
        join,
        JoinType::Inner
            | JoinType::Right
            | JoinType::RightSemi
            | JoinType::RightAnti
            | JoinType::RightMark
    )
}
