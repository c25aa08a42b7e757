//! Guards after the split into stages. The engine applies them to the plan that
//! datafusion-distributed returns.
//!
//! *Order.* A `NetworkShuffleExec` declares the order of its input, but it reads the tasks of the
//! stage below as their batches arrive, and a worker that decodes it knows of no order. So no order
//! survives a shuffle: the declaration is removed, the operators above are rebuilt from what then
//! holds, and a sort is added where an operator requires the order. An operator with a limit
//! requires it too, although it does not say so: LIMIT 10 of ordered rows returns the first ten.
//!
//! *Constants.* A worker that decodes an exchange does not know that a column has one value in all
//! rows (`WHERE region = 'EU'`, `1 AS k`). DataFusion leaves such a column out of the sort below a
//! window function. The worker rebuilds the window function and fails, because its input is not
//! sorted by that column. So in plans with window functions no exchange declares a constant.

use std::sync::Arc;

use datafusion::physical_expr::OrderingRequirements;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::limit::GlobalLimitExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{
    ChildrenPropertiesMode, ExecutionPlan, ExecutionPlanProperties, ReplaceChildrenOptions,
};
use datafusion_distributed::{
    NetworkBoundary, NetworkBoundaryExt, NetworkCoalesceExec, NetworkShuffleExec, Stage,
};

use crate::error::Result;
use crate::ordering::{claims_order, required_orders, sorted_for};
use crate::placeholder::Placeholder;

/// Rewrites a distributed plan so that no operator relies on an order that a shuffle does not keep.
///
/// Returns the plan unchanged if it is not distributed, or if its exchanges declare nothing that
/// they do not keep.
pub fn guard(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let windows = has_windows(&plan);
    rewrite(plan, windows)
}

fn has_windows(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.is::<BoundedWindowAggExec>()
        || plan.is::<WindowAggExec>()
        || plan.children().into_iter().any(has_windows)
}

/// `windows` is true if the plan has window functions, which must not rely on constants. Then
/// everything above an exchange is rebuilt: an operator may have seen the constants before the
/// exchange was put below it.
fn rewrite(plan: Arc<dyn ExecutionPlan>, windows: bool) -> Result<Arc<dyn ExecutionPlan>> {
    let mut changed = false;
    let mut children = Vec::with_capacity(plan.children().len());
    for child in plan.children() {
        let rewritten = rewrite(Arc::clone(child), windows)?;
        changed |= !Arc::ptr_eq(child, &rewritten);
        children.push(rewritten);
    }
    if let Some(shuffle) = plan.downcast_ref::<NetworkShuffleExec>() {
        let claims = claims_order(shuffle.properties().equivalence_properties());
        if !changed && !claims && !windows {
            return Ok(plan);
        }
        return match children.pop() {
            Some(input) => Ok(without_order(shuffle, input)?),
            None => Ok(plan),
        };
    }
    if let Some(coalesce) = plan.downcast_ref::<NetworkCoalesceExec>() {
        if !changed && !windows {
            return Ok(plan);
        }
        return match children.pop() {
            Some(input) => Ok(coalesce_again(coalesce, input, windows)?),
            None => Ok(plan),
        };
    }
    if !changed {
        return Ok(plan);
    }
    // What the node relied on when it was planned, before its input was found to lack it.
    let required = orders_relied_on(plan.as_ref());
    let mut sorted = Vec::with_capacity(children.len());
    for (child, required) in children.into_iter().zip(&required) {
        sorted.push(sort_where_needed(child, required.as_ref())?);
    }
    let recompute = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
    Ok(plan.replace_children(sorted, recompute)?)
}

/// The orders of its inputs that a node needs for a correct result: those it requires and, for a
/// node that stops after n rows, those that decide which rows come first.
fn orders_relied_on(plan: &dyn ExecutionPlan) -> Vec<Option<OrderingRequirements>> {
    let mut required = required_orders(plan);
    if plan.fetch().is_none() && !plan.is::<GlobalLimitExec>() {
        return required;
    }
    let kept = plan.maintains_input_order();
    for (index, child) in plan.children().into_iter().enumerate() {
        if required[index].is_none() && kept[index] {
            required[index] = child.output_ordering().cloned().map(OrderingRequirements::from);
        }
    }
    required
}

/// Sorts `child` if it does not meet `required`; below a gather, so that many tasks share the work.
fn sort_where_needed(
    child: Arc<dyn ExecutionPlan>,
    required: Option<&OrderingRequirements>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let Some(coalesce) = child.downcast_ref::<NetworkCoalesceExec>() else {
        return sorted_for(child, required);
    };
    let Some(input) = coalesce.input_stage().local_plan() else { return Ok(child) };
    let sorted = sorted_for(Arc::clone(input), required)?;
    if Arc::ptr_eq(&sorted, input) { Ok(child) } else { coalesce_again(coalesce, sorted, false) }
}

/// The same shuffle over `input`, declaring its partitioning but no order.
fn without_order(
    shuffle: &NetworkShuffleExec,
    input: Arc<dyn ExecutionPlan>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let Stage::Local(stage) = shuffle.input_stage() else {
        return Ok(Arc::new(shuffle.clone()));
    };
    // A hash repartition without columns declares neither an order nor a constant. This node never
    // runs: a shuffle takes its properties from its input, and this input only supplies them.
    let partitions = input.output_partitioning().partition_count().max(2);
    let nothing = EmptyExec::new(input.schema()).with_partitions(partitions);
    let partitioning = shuffle.properties().partitioning.clone();
    let placeholder = RepartitionExec::try_new(Arc::new(nothing), partitioning)?;
    let bare = NetworkShuffleExec::try_new(Arc::new(placeholder), stage.tasks)?;
    let mut stage = stage.clone();
    stage.plan = input;
    Ok(as_plan(bare.with_input_stage(Stage::Local(stage))?))
}

/// The same gather over `input`, declaring the order of the new `input`, and no constants if
/// `bare`.
fn coalesce_again(
    coalesce: &NetworkCoalesceExec,
    input: Arc<dyn ExecutionPlan>,
    bare: bool,
) -> Result<Arc<dyn ExecutionPlan>> {
    let Stage::Local(stage) = coalesce.input_stage() else {
        return Ok(Arc::new(coalesce.clone()));
    };
    let before = coalesce.properties().partitioning.partition_count();
    let per_task = input.output_partitioning().partition_count().max(1);
    // `before` is the partitions of one task times the number of tasks that one consumer reads.
    let read_by_one = (before / per_task).max(1);
    let consumers = stage.tasks.div_ceil(read_by_one).max(1);
    let placeholder: Arc<dyn ExecutionPlan> =
        if bare { Arc::new(Placeholder::without_constants(&input)) } else { Arc::clone(&input) };
    let again = NetworkCoalesceExec::try_new(placeholder, stage.tasks, consumers)?;
    let mut stage = stage.clone();
    stage.plan = input;
    Ok(as_plan(again.with_input_stage(Stage::Local(stage))?))
}

/// A boundary as a plan node. datafusion-distributed returns its trait object, which is also a
/// node.
fn as_plan(boundary: Arc<dyn NetworkBoundary>) -> Arc<dyn ExecutionPlan> {
    debug_assert!((boundary.as_ref() as &dyn ExecutionPlan).is_network_boundary());
    boundary
}
