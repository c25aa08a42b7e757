//! What each operator needs when its stage has several tasks, and how its own rows then lie.
//!
//! The whitelists are the documentation: an operator that is on none of them must run in one task.

use std::sync::Arc;

use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::async_func::AsyncFuncExec;
use datafusion::physical_plan::buffer::BufferExec;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, NestedLoopJoinExec, PartitionMode, SortMergeJoinExec,
    SymmetricHashJoinExec,
};
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::partial_sort::PartialSortExec;
use datafusion::physical_plan::sorts::partitioned_topk::PartitionedTopKExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::union::{InterleaveExec, UnionExec};
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{Distribution, ExecutionPlan};
use datafusion_distributed::BroadcastExec;

use super::spread::{Rows, Spread, declares_hash, has_keys, keys};
use super::walk::Place;
use crate::error::Result;
use crate::ordering::is_gather;
use crate::prepare::emits_build_rows;
use crate::union::is_isolating_union;

/// How the rows of an operator lie across several tasks; an error when an input does not lie as
/// the operator needs it.
pub(super) fn spread(
    plan: &Arc<dyn ExecutionPlan>,
    inputs: &[Rows],
    place: Place,
    trusted: &[String],
) -> Result<Spread> {
    let node = plan.as_ref();
    if is_union(node) {
        return union(plan, inputs, place);
    }
    if let Some(join) = node.downcast_ref::<HashJoinExec>() {
        return hash_join(plan, join, inputs, place);
    }
    if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>() {
        let safe = !emits_build_rows(*join.join_type());
        return collecting_join(plan, safe, inputs, place);
    }
    if node.is::<CrossJoinExec>() {
        return collecting_join(plan, true, inputs, place);
    }
    if node.is::<SortMergeJoinExec>() || node.is::<SymmetricHashJoinExec>() {
        return keyed_join(plan, inputs, place);
    }
    if is_single_input(node) || trusted.iter().any(|name| name == node.name()) {
        return single_input(plan, inputs, place);
    }
    Err(place.refuse(
        node,
        format!("is not known to be right when {} tasks each run it on a part", place.tasks),
    ))
}

/// Operators with one input whose needs are all in their declared requirements.
fn is_single_input(node: &dyn ExecutionPlan) -> bool {
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
fn is_transparent(node: &dyn ExecutionPlan) -> bool {
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

fn is_union(node: &dyn ExecutionPlan) -> bool {
    node.is::<UnionExec>() || node.is::<InterleaveExec>() || is_isolating_union(node)
}

fn single_input(plan: &Arc<dyn ExecutionPlan>, inputs: &[Rows], place: Place) -> Result<Spread> {
    let Some(input) = inputs.first() else {
        return Err(place.refuse(plan.as_ref(), "has no input"));
    };
    if input.spread == Spread::Copied {
        // A projection may call random(), a limit may keep other rows in each task.
        if is_gather(plan.as_ref()) && plan.fetch().is_none() {
            return Ok(Spread::Copied);
        }
        return Err(place.refuse(
            plan.as_ref(),
            format!("would work on all rows in each of {} tasks", place.tasks),
        ));
    }
    input_as_required(plan, 0, *input, place, false)?;
    let keeps_key = input.spread == Spread::Keyed
        && !plan.is::<RepartitionExec>()
        && declares_hash(plan.as_ref());
    Ok(if keeps_key { Spread::Keyed } else { Spread::Split })
}

/// Compares a requirement that is declared for the partitions of one process with how the rows
/// lie across tasks.
fn input_as_required(
    plan: &Arc<dyn ExecutionPlan>,
    index: usize,
    rows: Rows,
    place: Place,
    side_by_side: bool,
) -> Result<()> {
    let requirements = plan.input_distribution_requirements();
    let Some(required) = requirements.child_distribution(index) else { return Ok(()) };
    if matches!(required, Distribution::UnspecifiedDistribution) {
        return Ok(());
    }
    let tasks = place.tasks;
    let Some(keys) = keys(required).filter(|keys| !keys.is_empty()) else {
        return Err(place.refuse(
            plan.as_ref(),
            format!("needs all rows in one place, but each of {tasks} tasks has a part of them"),
        ));
    };
    let children = plan.children();
    let met = rows.spread == Spread::Keyed
        && children
            .get(index)
            .is_some_and(|child| has_keys(child.as_ref(), required, side_by_side));
    if met {
        return Ok(());
    }
    let keys: Vec<_> = keys.iter().map(ToString::to_string).collect();
    Err(place.refuse(
        plan.as_ref(),
        format!(
            "needs all rows of a key ({}) in one place, but they may lie in any of {tasks} tasks",
            keys.join(", ")
        ),
    ))
}

fn union(plan: &Arc<dyn ExecutionPlan>, inputs: &[Rows], place: Place) -> Result<Spread> {
    if inputs.iter().any(|rows| rows.spread == Spread::Copied) {
        return Err(place.refuse(
            plan.as_ref(),
            format!("would give the rows of an input {} times, once in each task", place.tasks),
        ));
    }
    let keyed = plan.is::<InterleaveExec>()
        && declares_hash(plan.as_ref())
        && inputs.iter().all(|rows| rows.spread == Spread::Keyed);
    Ok(if keyed { Spread::Keyed } else { Spread::Split })
}

fn hash_join(
    plan: &Arc<dyn ExecutionPlan>,
    join: &HashJoinExec,
    inputs: &[Rows],
    place: Place,
) -> Result<Spread> {
    if join.null_aware {
        return Err(place.refuse(
            plan.as_ref(),
            "asks whether any row at all has a null key, which no single task can know",
        ));
    }
    match join.partition_mode() {
        PartitionMode::Partitioned => keyed_join(plan, inputs, place),
        PartitionMode::CollectLeft => {
            collecting_join(plan, !emits_build_rows(*join.join_type()), inputs, place)
        }
        PartitionMode::Auto => {
            Err(place.refuse(plan.as_ref(), "has not decided how its inputs are partitioned"))
        }
    }
}

/// A join in which each task holds the whole left side and a part of the right side.
fn collecting_join(
    plan: &Arc<dyn ExecutionPlan>,
    safe: bool,
    inputs: &[Rows],
    place: Place,
) -> Result<Spread> {
    let [left, right] = inputs else {
        return Err(place.refuse(plan.as_ref(), "is a join without two inputs"));
    };
    let tasks = place.tasks;
    if left.spread != Spread::Copied {
        return Err(place.refuse(
            plan.as_ref(),
            format!("needs all rows of its left input, but each of {tasks} tasks has a part"),
        ));
    }
    if !safe {
        return Err(place.refuse(
            plan.as_ref(),
            format!(
                "would give each unmatched row of its left input up to {tasks} times, because no \
                 task knows what the others matched"
            ),
        ));
    }
    if right.spread == Spread::Copied {
        return Err(place.refuse(
            plan.as_ref(),
            format!("would give the rows of its right input {tasks} times, once in each task"),
        ));
    }
    let keyed = right.spread == Spread::Keyed && declares_hash(plan.as_ref());
    Ok(if keyed { Spread::Keyed } else { Spread::Split })
}

/// A join of partitions that lie side by side.
fn keyed_join(plan: &Arc<dyn ExecutionPlan>, inputs: &[Rows], place: Place) -> Result<Spread> {
    for (index, rows) in inputs.iter().enumerate() {
        input_as_required(plan, index, *rows, place, true)?;
    }
    let children = plan.children();
    let children: Vec<&dyn ExecutionPlan> = children.into_iter().map(AsRef::as_ref).collect();
    let apart = plan
        .input_distribution_requirements()
        .unsatisfied_co_partitioned_children(plan.name(), &children)?;
    if !apart.is_empty() {
        return Err(place.refuse(
            plan.as_ref(),
            "joins inputs that are cut differently, so that equal keys do not meet",
        ));
    }
    Ok(if declares_hash(plan.as_ref()) { Spread::Keyed } else { Spread::Split })
}

/// Whether an operator may stand between a limit that each part applied by itself and the one that
/// counts: it must give a row for each that it gets. A sort may only if it has a limit, too, for
/// else it would sort rows that were chosen in another order. (Below a window function DataFusion
/// puts limits that leave room for its frame.)
pub(super) fn may_follow_limit(node: &dyn ExecutionPlan) -> bool {
    is_transparent(node)
        || is_union(node)
        || node.is::<LocalLimitExec>()
        || node.is::<WindowAggExec>()
        || node.is::<BoundedWindowAggExec>()
        || (node.is::<SortExec>() && node.fetch().is_some())
}

/// How many rows of its input an operator needs, when it stops after some.
pub(super) fn rows_read(plan: &Arc<dyn ExecutionPlan>) -> Option<usize> {
    if let Some(limit) = plan.downcast_ref::<GlobalLimitExec>() {
        return limit.fetch().map(|fetch| fetch.saturating_add(limit.skip()));
    }
    if plan.is::<CoalescePartitionsExec>()
        || plan.is::<SortPreservingMergeExec>()
        || plan.is::<SortExec>()
        || plan.is::<LocalLimitExec>()
        || plan.is::<ProjectionExec>()
    {
        return plan.fetch();
    }
    None
}
