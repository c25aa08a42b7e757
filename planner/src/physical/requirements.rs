//! Adds the exchanges and sorts that operators require: DataFusion's `EnsureRequirements`, with a
//! limit on how far sorts may move.
//!
//! The last step of that rule pushes sorts towards the scans, and DataFusion 55.2 carries the
//! number of required rows along:
//!
//! - below a limit it makes the sort a top-k of the limit's rows, without the rows that the limit
//!   skips (`(.. LIMIT 4 OFFSET 3) ORDER BY a` returns one row), and below an OFFSET without a
//!   limit the first rows of another order are skipped;
//! - below an operator whose rows are ordered already it requires as many rows as are required
//!   above it, even if that operator drops some (`SELECT DISTINCT .. ORDER BY .. LIMIT`).
//!
//! An earlier step does the same to a sort that is not needed because partitions can be merged in
//! order: its number of rows moves to that merge, below a window function that should see all of
//! them.
//!
//! Moving sorts also makes a sort-merge join claim a false order: by its right input within its
//! left one, as if no key occurred twice. [`EnsureRequirements`] replaces the rule. It calls the
//! same steps, but moves sorts neither into nor out of operators that stop after n rows, nor past
//! sort-merge joins.
//!
//! A sort into one partition that turns out not to be needed is removed together with its gather.
//! An operator further up that needs all rows of a key in one partition, and had them because there
//! was only one, then has several (`SELECT DISTINCT n FROM (.. GROUP BY id ORDER BY id OFFSET 0)
//! ORDER BY n` over empty files). The last step gathers them again.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::enforce_distribution::{
    DistributionContext, PlanWithKeyRequirements, adjust_input_keys_ordering, ensure_distribution,
    reorder_join_keys_to_inputs,
};
use datafusion::physical_optimizer::enforce_sorting::replace_with_order_preserving_variants::{
    OrderPreservationContext, replace_with_order_preserving_variants,
};
use datafusion::physical_optimizer::enforce_sorting::sort_pushdown::{
    SortPushDown, assign_initial_requirements, pushdown_sorts,
};
use datafusion::physical_optimizer::enforce_sorting::{
    PlanWithCorrespondingCoalescePartitions, PlanWithCorrespondingSort, ensure_sorting,
    parallelize_sorts, replace_with_partial_sort,
};
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::joins::SortMergeJoinExec;
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::{
    ChildSatisfactionOptions, Distribution, ExecutionPlan, ExecutionPlanProperties,
};

use super::excluding::{Below, Excluding};
use super::joined_order::without_false_order;
use crate::ordering::gathered;

/// The physical rule; see the [module](self).
#[derive(Debug)]
pub(super) struct EnsureRequirements {
    move_sorts: Excluding,
}

impl EnsureRequirements {
    pub(super) fn new() -> Self {
        let move_sorts = Excluding::new(Arc::new(MoveSorts), Below::Separately, is_fixed);
        Self { move_sorts }
    }
}

impl PhysicalOptimizerRule for EnsureRequirements {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let plan = plan.transform_up(|node| {
            let without = without_false_order(&node, config)?;
            Ok(without.map_or_else(|| Transformed::no(node), Transformed::yes))
        })?;
        let plan = plan.data;
        let plan = if config.optimizer.top_down_join_key_reordering {
            let plan = PlanWithKeyRequirements::new_default(plan);
            plan.transform_down(adjust_input_keys_ordering)?.data.plan
        } else {
            plan.transform_up(|node| Ok(Transformed::yes(reorder_join_keys_to_inputs(node)?)))?.data
        };
        let plan = DistributionContext::new_default(plan)
            .transform_up(|node| ensure_distribution(node, config))?
            .data
            .plan;
        let mut plan =
            PlanWithCorrespondingSort::new_default(plan).transform_up(ensure_sorting)?.data.plan;
        if config.optimizer.repartition_sorts {
            let gathered = PlanWithCorrespondingCoalescePartitions::new_default(plan);
            plan = gathered.transform_up(parallelize_sorts)?.data.plan;
        }
        let plan = plan.transform_up(limited_above)?.data;
        let plan = OrderPreservationContext::new_default(plan)
            .transform_up(|node| replace_with_order_preserving_variants(node, false, true, config))?
            .data
            .plan;
        let plan = plan.transform_up(limited_within)?.data;
        let plan = self.move_sorts.optimize(plan, config)?;
        let plan = plan.transform_up(gathered_again)?.data;
        Ok(plan.transform_up(|node| Ok(Transformed::yes(replace_with_partial_sort(node)?)))?.data)
    }

    fn name(&self) -> &'static str {
        "EnsureRequirements"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

type Plan = Arc<dyn ExecutionPlan>;

/// A sort that stops after n rows as a limit above a full sort.
fn limited_above(node: Plan) -> Result<Transformed<Plan>> {
    let Some((sort, fetch)) = node.downcast_ref::<SortExec>().and_then(|s| Some((s, s.fetch()?)))
    else {
        return Ok(Transformed::no(node));
    };
    let (order, single) = (sort.expr().clone(), node.output_partitioning().partition_count() == 1);
    let whole: Plan = Arc::new(sort.with_fetch(None));
    let limited: Plan = if single {
        let mut limit = GlobalLimitExec::new(whole, 0, Some(fetch));
        limit.set_required_ordering(Some(order));
        Arc::new(limit)
    } else {
        let mut limit = LocalLimitExec::new(whole, fetch);
        limit.set_required_ordering(Some(order));
        Arc::new(limit)
    };
    Ok(Transformed::yes(limited))
}

/// The reverse, if the sort is still there.
fn limited_within(node: Plan) -> Result<Transformed<Plan>> {
    let (input, fetch) = if let Some(limit) = node.downcast_ref::<GlobalLimitExec>() {
        (limit.input(), limit.fetch().filter(|_| limit.skip() == 0))
    } else if let Some(limit) = node.downcast_ref::<LocalLimitExec>() {
        (limit.input(), Some(limit.fetch()))
    } else {
        return Ok(Transformed::no(node));
    };
    match (input.downcast_ref::<SortExec>(), fetch) {
        (Some(sort), Some(fetch)) if sort.fetch().is_none() => {
            Ok(Transformed::yes(Arc::new(sort.with_fetch(Some(fetch)))))
        }
        _ => Ok(Transformed::no(node)),
    }
}

/// Gathers the partitions of inputs that are not distributed as the operator requires.
fn gathered_again(node: Plan) -> Result<Transformed<Plan>> {
    let required = node.input_distribution_requirements();
    let children = node.children();
    let subsets = ChildSatisfactionOptions::new().with_allow_subset(true);
    let mut is_met = true;
    for (index, child) in children.iter().enumerate() {
        is_met &= required.child_satisfaction(index, child.as_ref(), subsets)?.is_satisfied();
    }
    if is_met {
        return Ok(Transformed::no(node));
    }
    // All of them: the inputs of a join must have the same number of partitions.
    let gather = |(index, child): (usize, &Plan)| match required.child_distribution(index) {
        None | Some(Distribution::UnspecifiedDistribution) => Arc::clone(child),
        Some(_) if child.output_partitioning().partition_count() == 1 => Arc::clone(child),
        Some(_) => gathered(Arc::clone(child), None),
    };
    let children = children.into_iter().enumerate().map(gather).collect();
    Ok(Transformed::yes(replace_children_if_necessary(node, children)?))
}

/// True if no sort may move past the operator.
fn is_fixed(node: &dyn ExecutionPlan) -> bool {
    node.fetch().is_some()
        || node.is::<GlobalLimitExec>()
        || node.is::<LocalLimitExec>()
        || node.is::<SortMergeJoinExec>()
}

/// The step that pushes sorts towards the scans.
#[derive(Debug)]
struct MoveSorts;

impl PhysicalOptimizerRule for MoveSorts {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut moving = SortPushDown::new_default(plan);
        assign_initial_requirements(&mut moving);
        Ok(pushdown_sorts(moving)?.plan)
    }

    fn name(&self) -> &'static str {
        "MoveSorts"
    }

    fn schema_check(&self) -> bool {
        true
    }
}
