//! What a plan node says about the order of its rows, and whether that meets what its parent needs.
//!
//! Shared by `prepare` (keep an order when gathering), `guard` (sort again) and `check` (refuse).

use std::sync::Arc;

use datafusion::physical_expr::{
    AcrossPartitions, EquivalenceProperties, LexOrdering, OrderingRequirements,
};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};

use crate::error::Result;

/// The orders that `plan` requires of its inputs.
///
/// A window function of DataFusion 55.2 offers two: by the columns of PARTITION BY and ORDER BY, or by those of ORDER BY
/// alone. It was planned for the first one; the second meets it only where a column of PARTITION BY is known to be
/// constant, which an exchange does not tell ("Expects PARTITION BY expression to be ordered").
pub(crate) fn required_orders(plan: &dyn ExecutionPlan) -> Vec<Option<OrderingRequirements>> {
    let mut required = plan.required_input_ordering();
    if plan.is::<BoundedWindowAggExec>() || plan.is::<WindowAggExec>() {
        for order in required.iter_mut().flatten() {
            *order = OrderingRequirements::new(order.first().clone());
        }
    }
    required
}

/// Whether `child` delivers one of the orders that its parent cannot work without. A soft
/// requirement is a wish, and always met.
pub(crate) fn is_met(
    child: &EquivalenceProperties,
    required: &OrderingRequirements,
) -> Result<bool> {
    let (alternatives, soft) = required.clone().into_alternatives();
    if soft {
        return Ok(true);
    }
    for alternative in alternatives {
        if child.ordering_satisfy_requirement(alternative)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// `child` with a sort above it when it does not meet `required`. Every partition is sorted by
/// itself: the requirement is on partitions, and what joins them is another operator's business.
pub(crate) fn sorted_for(
    child: Arc<dyn ExecutionPlan>,
    required: Option<&OrderingRequirements>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let Some(required) = required else { return Ok(child) };
    if is_met(child.equivalence_properties(), required)? {
        return Ok(child);
    }
    let order = LexOrdering::from(required.first().clone());
    // A sort that is not enough is in vain.
    let input = match child.downcast_ref::<SortExec>() {
        Some(sort) if sort.fetch().is_none() && sort.preserve_partitioning() => {
            Arc::clone(sort.input())
        }
        _ => child,
    };
    Ok(Arc::new(SortExec::new(order, input).with_preserve_partitioning(true)))
}

/// All rows of `input` in one partition of one task, in the order that `input` declares, if any.
///
/// datafusion-distributed cuts below both operators and runs what is above in one task. The
/// partition count need not be greater than one: it is the tasks that are gathered.
pub(crate) fn gathered(
    input: Arc<dyn ExecutionPlan>,
    fetch: Option<usize>,
) -> Arc<dyn ExecutionPlan> {
    match input.output_ordering().cloned() {
        Some(order) => Arc::new(SortPreservingMergeExec::new(order, input).with_fetch(fetch)),
        None => Arc::new(CoalescePartitionsExec::new(input).with_fetch(fetch)),
    }
}

/// Whether the plan is one of the two operators under which a stage ends in one task.
pub(crate) fn is_gather(plan: &dyn ExecutionPlan) -> bool {
    plan.is::<CoalescePartitionsExec>() || plan.is::<SortPreservingMergeExec>()
}

/// Whether a node declares an order, or that a column has one value in each partition. Neither
/// survives when streams of several tasks are read as they come.
pub(crate) fn claims_order(properties: &EquivalenceProperties) -> bool {
    !properties.oeq_class().is_empty()
        || properties
            .constants()
            .iter()
            .any(|constant| constant.across_partitions == AcrossPartitions::Heterogeneous)
}
