//! The guards before the cut. The engine applies them to the plan of one process, right before
//! datafusion-distributed cuts it; the plan stays right for one process.
//!
//! DataFusion leaves out an exchange where its input has one partition anyway. Cut into tasks, that
//! one partition becomes one per task, and the operator above sees a share where it needs all:
//! a global aggregate is computed per task, a LIMIT is applied per task. Each guard puts the
//! exchange back:
//!
//! - **gather**: below an operator that needs all rows (or all rows of a key) in one partition and
//!   has them only because there is a single one;
//! - **limit**: above an operator that stops after n rows of its only partition;
//! - **broadcast**: above a limited build side of a join, so that the limit is applied once and
//!   its result broadcast, not the input broadcast and the limit applied by each consumer;
//! - **repartition**: between a gather and a hash repartition directly below, where
//!   datafusion-distributed would cut for the second and forget the first.
//!
//! A series that is only counted is given its column back ([`whole`]): it would not arrive at a worker.
//!
//! What runs in the driver's own stage (the head) is in one task by construction and left alone.

use std::sync::Arc;

use datafusion::config::ConfigOptions;
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
use crate::ordering::{gathered, is_gather, sorted_for};
use crate::series::whole;

/// Rewrites the plan of one process so that cutting it into tasks cannot change its answer.
///
/// `config` is the session's; the guards need none of it today, but a guard that depends on how
/// joins are broadcast would.
pub fn prepare(
    plan: Arc<dyn ExecutionPlan>,
    _config: &ConfigOptions,
) -> Result<Arc<dyn ExecutionPlan>> {
    rewrite(plan, true)
}

/// `head` says whether `plan` runs in the driver's own stage.
fn rewrite(plan: Arc<dyn ExecutionPlan>, head: bool) -> Result<Arc<dyn ExecutionPlan>> {
    let plan = if head { plan } else { whole(plan)? };
    let orders = plan.required_input_ordering();
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
        // Above a gathering less is known of the rows: `x - x` is one value in a partition, and so sorted.
        if !Arc::ptr_eq(before, &child) {
            child = sorted_for(child, orders.get(index).and_then(Option::as_ref))?;
        }
        children.push(child);
    }
    Ok(replace_children_if_necessary(plan, children)?)
}

/// Whether the child of a node in the head stage is in the head stage, too. Saying no is always
/// safe.
fn stays_in_head(plan: &dyn ExecutionPlan, index: usize) -> bool {
    if is_gather(plan) || is_hash_repartition(plan) || plan.is::<NestedLoopJoinExec>() {
        return false;
    }
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        // The build side may be broadcast; a join that emits unmatched build rows is repartitioned
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

/// Guard *limit*: the only partition of `child` ends after n rows, and nothing above counts again.
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
            // Its input was gathered by the other guard.
            Some(Distribution::SinglePartition)
        );
    if !one_partition || counted_above || is_global {
        return child;
    }
    gathered(child, Some(fetch))
}

/// Guard *gather*: the parent needs one partition, or all rows of a key in one, and gets them only
/// because there is one.
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

/// Guard *repartition*: two cuts where the plan has one node to cut at.
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

/// Guard *broadcast*: datafusion-distributed broadcasts what is below the outermost
/// `CoalescePartitionsExec` of a build side and keeps that one, with its limit, in each consumer.
/// One more without a limit is the one it keeps. Both sides of a nested loop join are covered: it
/// may swap them.
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
