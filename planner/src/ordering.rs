//! What order a plan node declares, and whether it meets what its parent requires.
//!
//! Used by `prepare` (keep an order when gathering), `guard` (sort again) and `check` (refuse).

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
/// A window function of DataFusion 55.2 accepts two orders: by the columns of PARTITION BY and
/// ORDER BY, or by those of ORDER BY alone. It is planned for the first. The second is enough only
/// if the columns of PARTITION BY are known to be constant, which an exchange does not tell
/// ("Expects PARTITION BY expression to be ordered").
pub(crate) fn required_orders(plan: &dyn ExecutionPlan) -> Vec<Option<OrderingRequirements>> {
    let mut required = plan.required_input_ordering();
    if plan.is::<BoundedWindowAggExec>() || plan.is::<WindowAggExec>() {
        for order in required.iter_mut().flatten() {
            *order = OrderingRequirements::new(order.first().clone());
        }
    }
    required
}

/// True if `child` has one of the orders that its parent requires. A soft requirement is always
/// met.
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

/// `child`, sorted if it does not meet `required`. Each partition is sorted on its own: the
/// requirement is per partition, and merging them is up to another operator.
pub(crate) fn sorted_for(
    child: Arc<dyn ExecutionPlan>,
    required: Option<&OrderingRequirements>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let Some(required) = required else { return Ok(child) };
    if is_met(child.equivalence_properties(), required)? {
        return Ok(child);
    }
    let order = LexOrdering::from(required.first().clone());
    // The existing sort is not sufficient; the new one replaces it.
    let input = match child.downcast_ref::<SortExec>() {
        Some(sort) if sort.fetch().is_none() && sort.preserve_partitioning() => {
            Arc::clone(sort.input())
        }
        _ => child,
    };
    Ok(Arc::new(SortExec::new(order, input).with_preserve_partitioning(true)))
}

/// Gathers all rows of `input` in one partition of one task, in the order that `input` declares, if
/// any.
///
/// datafusion-distributed ends a stage below both operators and runs what is above in one task.
/// This holds even if there is only one partition: it is the tasks that are gathered.
pub(crate) fn gathered(
    input: Arc<dyn ExecutionPlan>,
    fetch: Option<usize>,
) -> Arc<dyn ExecutionPlan> {
    match input.output_ordering().cloned() {
        Some(order) => Arc::new(SortPreservingMergeExec::new(order, input).with_fetch(fetch)),
        None => Arc::new(CoalescePartitionsExec::new(input).with_fetch(fetch)),
    }
}

/// True for the two operators that gather a stage into one task.
pub(crate) fn is_gather(plan: &dyn ExecutionPlan) -> bool {
    plan.is::<CoalescePartitionsExec>() || plan.is::<SortPreservingMergeExec>()
}

/// True if a node declares an order, or that a column is constant in each partition. Neither
/// survives when the streams of several tasks are read as they arrive.
pub(crate) fn claims_order(properties: &EquivalenceProperties) -> bool {
    !properties.oeq_class().is_empty()
        || properties
            .constants()
            .iter()
            .any(|constant| constant.across_partitions == AcrossPartitions::Heterogeneous)
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    use super::*;

    fn window(plan: &Arc<dyn ExecutionPlan>) -> Option<Arc<dyn ExecutionPlan>> {
        match plan.is::<BoundedWindowAggExec>() {
            true => Some(Arc::clone(plan)),
            false => plan.children().into_iter().find_map(window),
        }
    }

    #[tokio::test]
    async fn one_order_of_windows_is_still_needed() {
        let sql = "SELECT row_number() OVER (PARTITION BY k ORDER BY x) \
                   FROM (VALUES (1, 2), (1, 3)) AS t(k, x)";
        let plan = SessionContext::new().sql(sql).await.unwrap().create_physical_plan().await;
        let window = window(&plan.unwrap()).unwrap();
        let orders = |required: Vec<Option<OrderingRequirements>>| {
            required[0].clone().map(|required| required.into_alternatives().0.len())
        };
        let theirs = orders(window.required_input_ordering());
        assert_eq!(theirs, Some(2), "DataFusion requires the order that it plans for now");
        assert_eq!(orders(required_orders(window.as_ref())), Some(1));
    }
}
