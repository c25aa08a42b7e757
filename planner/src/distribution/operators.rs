//! What each operator needs when it runs in several parts, and how its own rows are distributed.
//!
//! The lists are the documentation: an operator that is on none of them must run in one task.

use std::sync::Arc;

use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::async_func::AsyncFuncExec;
use datafusion::physical_plan::buffer::BufferExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::partial_sort::PartialSortExec;
use datafusion::physical_plan::sorts::partitioned_topk::PartitionedTopKExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::union::{InterleaveExec, UnionExec};
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion_distributed::BroadcastExec;

use super::keys::{Inputs, kept_by, meets_requirement};
use super::{Parts, RowProperties, TaskDistribution, Undistributable, joins};
use crate::ordering::is_gather;
use crate::union::is_isolating_union;

/// Whether an operator has all of its inputs, each whole, in one task. Shards of the inputs of a
/// union stay apart.
pub(super) fn run_in_one_task(
    node: &dyn ExecutionPlan,
    inputs: &[RowProperties],
    parts: Parts,
) -> bool {
    let is_single = |input: &RowProperties| input.distribution == TaskDistribution::Single;
    parts == Parts::Tasks(1)
        || (!inputs.is_empty() && !is_union(node) && inputs.iter().all(is_single))
}

/// How the rows of an operator are distributed over several parts; an error when an input is not
/// distributed as the operator needs it.
pub(super) fn distribution(
    plan: &Arc<dyn ExecutionPlan>,
    inputs: &[RowProperties],
    parts: Parts,
    row_wise: &[String],
) -> Result<TaskDistribution, Undistributable> {
    let node = plan.as_ref();
    if parts == Parts::Shards && moves_between_partitions(node) {
        return Err(Undistributable::because(
            "moves rows between partitions, and a shard is only one",
        ));
    }
    if is_union(node) {
        return union(plan, inputs, parts);
    }
    if let Some(distribution) = joins::distribution(plan, inputs, parts) {
        return distribution;
    }
    if has_single_input(node) || row_wise.iter().any(|name| name == node.name()) {
        return single_input(plan, inputs, parts);
    }
    Err(Undistributable::because(format!("is not known to be right when it runs in {parts}")))
}

/// Operators with one input that declare all that they need of it.
fn has_single_input(node: &dyn ExecutionPlan) -> bool {
    is_transparent(node)
        || node.is::<FilterExec>()
        || node.is::<UnnestExec>()
        || node.is::<AsyncFuncExec>()
        || node.is::<AggregateExec>()
        || node.is::<WindowAggExec>()
        || node.is::<BoundedWindowAggExec>()
        || node.is::<SortExec>()
        || node.is::<PartialSortExec>()
        || node.is::<PartitionedTopKExec>()
        || node.is::<LocalLimitExec>()
        || node.is::<GlobalLimitExec>()
}

/// Operators that pass every row on, once.
pub(super) fn is_transparent(node: &dyn ExecutionPlan) -> bool {
    node.is::<ProjectionExec>()
        || is_coalesce_batches(node)
        || node.is::<CooperativeExec>()
        || node.is::<BufferExec>()
        || node.is::<RepartitionExec>()
        || node.is::<BroadcastExec>()
        || is_gather(node)
}

#[expect(deprecated, reason = "plans of other crates may still have it")]
fn is_coalesce_batches(node: &dyn ExecutionPlan) -> bool {
    node.is::<datafusion::physical_plan::coalesce_batches::CoalesceBatchesExec>()
}

pub(super) fn is_union(node: &dyn ExecutionPlan) -> bool {
    node.is::<UnionExec>() || node.is::<InterleaveExec>() || is_isolating_union(node)
}

/// Operators whose partitions have rows of several partitions of an input.
fn moves_between_partitions(node: &dyn ExecutionPlan) -> bool {
    node.is::<RepartitionExec>()
        || node.is::<BroadcastExec>()
        || node.is::<InterleaveExec>()
        || is_isolating_union(node)
        || is_gather(node)
}

fn single_input(
    plan: &Arc<dyn ExecutionPlan>,
    inputs: &[RowProperties],
    parts: Parts,
) -> Result<TaskDistribution, Undistributable> {
    let [input] = inputs else {
        return Err(Undistributable::because(format!(
            "has {} inputs instead of one",
            inputs.len()
        )));
    };
    if input.distribution == TaskDistribution::Broadcast {
        // A projection may call random(), a limit may keep other rows in each task.
        if is_gather(plan.as_ref()) && plan.fetch().is_none() {
            return Ok(TaskDistribution::Broadcast);
        }
        return Err(Undistributable::because(format!("would work on all rows in each of {parts}")));
    }
    meets_requirement(plan, 0, *input, Inputs::Alone, parts)?;
    let keeps_keys =
        input.distribution == TaskDistribution::Hashed && !plan.is::<RepartitionExec>();
    Ok(kept_by(plan.as_ref(), keeps_keys))
}

fn union(
    plan: &Arc<dyn ExecutionPlan>,
    inputs: &[RowProperties],
    parts: Parts,
) -> Result<TaskDistribution, Undistributable> {
    if inputs.iter().any(|input| input.distribution == TaskDistribution::Broadcast) {
        return Err(Undistributable::because(format!(
            "would give the rows of an input again in each of {parts}"
        )));
    }
    let keeps_keys = plan.is::<InterleaveExec>()
        && inputs.iter().all(|input| input.distribution == TaskDistribution::Hashed);
    Ok(kept_by(plan.as_ref(), keeps_keys))
}
