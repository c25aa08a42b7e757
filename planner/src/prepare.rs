//! Guards before the split into stages. The engine applies them to the single-process plan, right
//! before datafusion-distributed splits it; the plan stays correct for one process.
//!
//! DataFusion leaves out an exchange where its input has only one partition. Split into tasks, that
//! one partition becomes one per task, and the operator above sees a share where it needs all rows:
//! a global aggregate is computed per task, a LIMIT is applied per task. Each guard puts an
//! exchange back:
//!
//! - **gather**: below an operator that needs all rows (or all rows of a key) in one partition and
//!   has them only because there is a single one;
//! - **limit**: above an operator that stops after n rows of its only partition;
//! - **broadcast**: above a build side with a limit, so that the limit is applied once and its
//!   result is broadcast; otherwise the input is broadcast and each consumer applies the limit;
//! - **repartition**: between a gather and a hash repartition directly below it, where
//!   datafusion-distributed would add an exchange for the second and lose the first.
//!
//! A scan of a series becomes one that survives serialization to a worker
//! ([`series::sendable`]), and is sorted where a parent requires it.
//!
//! The driver's own stage (the head) always runs in one task and is otherwise left alone.

use std::sync::Arc;

use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, NestedLoopJoinExec, PartitionMode,
};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{
    Distribution, ExecutionPlan, ExecutionPlanProperties, Partitioning,
};

use crate::distribution::{collects_build_side, emits_build_rows};
use crate::error::Result;
use crate::ordering::{gathered, is_gather, required_orders, sorted_for};
use crate::series;

/// Rewrites the single-process plan so that splitting it into tasks cannot change its result.
pub fn prepare(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    rewrite(plan, true)
}

/// `head` is true if `plan` runs in the driver's own stage.
fn rewrite(plan: Arc<dyn ExecutionPlan>, head: bool) -> Result<Arc<dyn ExecutionPlan>> {
    // In the head, too: the branches of a UNION may leave it.
    let plan = series::sendable(plan)?;
    let orders = required_orders(plan.as_ref());
    let mut children = Vec::with_capacity(plan.children().len());
    for (index, before) in plan.children().into_iter().enumerate() {
        let child_head = head && stays_in_head(plan.as_ref(), index);
        let mut child = rewrite(Arc::clone(before), child_head)?;
        if !child_head {
            child = limited_once(plan.as_ref(), child);
            child = gathered_for(plan.as_ref(), index, child);
        }
        child = cut_twice(plan.as_ref(), child);
        child = broadcast_whole(plan.as_ref(), index, child);
        // Above a gather less is known of the rows: `x - x` is constant, and so sorted, per
        // partition.
        if !Arc::ptr_eq(before, &child) {
            child = sorted_for(child, orders.get(index).and_then(Option::as_ref))?;
        }
        children.push(child);
    }
    Ok(replace_children_if_necessary(plan, children)?)
}

/// True if the child of a node in the head stage is in the head stage, too. False is always safe.
fn stays_in_head(plan: &dyn ExecutionPlan, index: usize) -> bool {
    if is_gather(plan) || is_hash_repartition(plan) || plan.is::<NestedLoopJoinExec>() {
        return false;
    }
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        // The build side may be broadcast. A join that emits unmatched build rows is repartitioned
        // on both sides.
        return *join.partition_mode() == PartitionMode::Partitioned
            || (index == 1 && !emits_build_rows(*join.join_type()));
    }
    !(plan.is::<CrossJoinExec>() && index == 0)
}

fn is_hash_repartition(plan: &dyn ExecutionPlan) -> bool {
    plan.downcast_ref::<RepartitionExec>()
        .is_some_and(|repartition| matches!(repartition.partitioning(), Partitioning::Hash(..)))
}

/// Guard *limit*: the only partition of `child` ends after n rows, and no operator above limits
/// again.
fn limited_once(
    parent: &dyn ExecutionPlan,
    child: Arc<dyn ExecutionPlan>,
) -> Arc<dyn ExecutionPlan> {
    let Some(fetch) = child.fetch() else { return child };
    let one_partition = child.output_partitioning().partition_count() == 1;
    let counted_above = is_gather(parent) && parent.fetch().is_some_and(|above| above <= fetch);
    let is_global = is_gather(child.as_ref())
        || matches!(
            child.input_distribution_requirements().child_distribution(0),
            // The other guard has gathered its input.
            Some(Distribution::SinglePartition)
        );
    if !one_partition || counted_above || is_global {
        return child;
    }
    gathered(child, Some(fetch))
}

/// Guard *gather*: the parent needs one partition, or all rows of a key in one, and has them only
/// because there is a single partition.
fn gathered_for(
    parent: &dyn ExecutionPlan,
    index: usize,
    child: Arc<dyn ExecutionPlan>,
) -> Arc<dyn ExecutionPlan> {
    if is_gather(child.as_ref())
        || child.output_partitioning().partition_count() != 1
        || is_hash_repartition(child.as_ref())
        || (index == 0 && collects_build_side(parent))
    {
        return child;
    }
    match parent.input_distribution_requirements().child_distribution(index) {
        None | Some(Distribution::UnspecifiedDistribution) => child,
        Some(_) => gathered(child, None),
    }
}

/// Guard *repartition*: two exchanges are needed where the plan has one node to put them at.
fn cut_twice(parent: &dyn ExecutionPlan, child: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    if !is_hash_repartition(child.as_ref()) {
        return child;
    }
    if let Some(merge) = parent.downcast_ref::<SortPreservingMergeExec>() {
        return Arc::new(SortPreservingMergeExec::new(merge.expr().clone(), child));
    }
    if parent.is::<CoalescePartitionsExec>() {
        return Arc::new(CoalescePartitionsExec::new(child));
    }
    child
}

/// Guard *broadcast*: datafusion-distributed broadcasts the input of the outermost
/// `CoalescePartitionsExec` of a build side, and each consumer applies that node with its limit.
/// The guard adds one without a limit as the outermost. Both sides of a nested loop join are
/// covered, because the join may swap them.
fn broadcast_whole(
    parent: &dyn ExecutionPlan,
    index: usize,
    child: Arc<dyn ExecutionPlan>,
) -> Arc<dyn ExecutionPlan> {
    let may_be_broadcast =
        collects_build_side(parent) && (index == 0 || parent.is::<NestedLoopJoinExec>());
    let limited = child.is::<CoalescePartitionsExec>() && child.fetch().is_some();
    if may_be_broadcast && limited { Arc::new(CoalescePartitionsExec::new(child)) } else { child }
}
