//! The guards after the cut. The engine applies them to what datafusion-distributed returns.
//!
//! A `NetworkShuffleExec` declares the order of its input, but reads the tasks of the stage below
//! as their batches come, and a worker that decodes it does not know of any order. So no order
//! crosses a shuffle: the declaration is taken off, everything above is built again from what is
//! then true, and where an operator cannot work without the order, a sort is put in. An operator
//! with a limit is one of those although it does not say so: LIMIT 10 of ordered rows are the first.
//!
//! A worker that decodes an exchange does not know either that a column has one value in all rows
//! (`WHERE region = 'EU'`, `1 AS k`). DataFusion leaves such a column out of the sort below a window
//! function, and the worker, which builds the window function anew, fails: it is not sorted by that
//! column. So in a plan with window functions no exchange declares a constant.

use std::sync::Arc;

use datafusion::config::ConfigOptions;
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
use crate::lender::Lender;
use crate::ordering::{claims_order, required_orders, sorted_for};

/// Rewrites a cut plan so that no operator trusts an order which a shuffle does not keep.
///
/// A plan that was not cut, or in which no exchange declares what it does not keep, is returned as it is.
/// `config` is the session's; no guard needs it today.
pub fn guard(
    plan: Arc<dyn ExecutionPlan>,
    _config: &ConfigOptions,
) -> Result<Arc<dyn ExecutionPlan>> {
    let windows = has_windows(&plan);
    rewrite(plan, windows)
}

fn has_windows(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.is::<BoundedWindowAggExec>()
        || plan.is::<WindowAggExec>()
        || plan.children().into_iter().any(has_windows)
}

/// `windows` says that there are window functions in the plan, which must not rely on constants. All above an exchange is
/// built again then: an operator may have been told of them before the exchange was put below it.
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
    // What the node relied on when it was planned, before its input is known to lack it.
    let required = orders_relied_on(plan.as_ref());
    let mut sorted = Vec::with_capacity(children.len());
    for (child, required) in children.into_iter().zip(&required) {
        sorted.push(sort_where_needed(child, required.as_ref())?);
    }
    let recompute = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
    Ok(plan.replace_children(sorted, recompute)?)
}

/// The orders of its inputs without which a node is wrong: those that it requires, and for one that
/// stops after some rows those that decide which rows come first.
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

/// Sorts `child` when `required` is not met; below a gathering, where many tasks share the work.
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

/// The same shuffle over `input`, declaring its partitioning and nothing of an order.
fn without_order(
    shuffle: &NetworkShuffleExec,
    input: Arc<dyn ExecutionPlan>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let Stage::Local(stage) = shuffle.input_stage() else {
        return Ok(Arc::new(shuffle.clone()));
    };
    // A hash repartition of nothing declares neither an order nor a constant. This one is never run: it only
    // lends its properties, because a shuffle takes them from its input.
    let partitions = input.output_partitioning().partition_count().max(2);
    let nothing = EmptyExec::new(input.schema()).with_partitions(partitions);
    let partitioning = shuffle.properties().partitioning.clone();
    let lender = RepartitionExec::try_new(Arc::new(nothing), partitioning)?;
    let bare = NetworkShuffleExec::try_new(Arc::new(lender), stage.tasks)?;
    let mut stage = stage.clone();
    stage.plan = input;
    Ok(as_plan(bare.with_input_stage(Stage::Local(stage))?))
}

/// The same gathering over `input`, declaring the order that `input` has now; and no constants, if
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
    // `before` is the partitions of one task times the tasks that one consumer reads.
    let read_by_one = (before / per_task).max(1);
    let consumers = stage.tasks.div_ceil(read_by_one).max(1);
    let lender: Arc<dyn ExecutionPlan> =
        if bare { Arc::new(Lender::without_constants(&input)) } else { Arc::clone(&input) };
    let again = NetworkCoalesceExec::try_new(lender, stage.tasks, consumers)?;
    let mut stage = stage.clone();
    stage.plan = input;
    Ok(as_plan(again.with_input_stage(Stage::Local(stage))?))
}

/// A boundary as a plan node. The crate hands out its trait object, which is also one.
fn as_plan(boundary: Arc<dyn NetworkBoundary>) -> Arc<dyn ExecutionPlan> {
    debug_assert!((boundary.as_ref() as &dyn ExecutionPlan).is_network_boundary());
    boundary
}
