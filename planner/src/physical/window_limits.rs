//! Window functions that a limit must not move past.

use std::sync::Arc;

use datafusion::physical_expr::window::{
    PlainAggregateWindowExpr, SlidingAggregateWindowExpr, StandardWindowExpr, WindowExpr,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowUDFExpr};

/// DataFusion 55.2: `LimitPushPastWindows` limits the input of window functions to the rows that
/// they look at. For stacked window functions it uses the larger look-ahead instead of the sum, and
/// it ignores the look-ahead of `lag` with a negative offset and with `IGNORE NULLS`.
pub(super) fn understates_look_ahead(node: &dyn ExecutionPlan) -> bool {
    let Some(window) = node.downcast_ref::<BoundedWindowAggExec>() else { return false };
    is_window_below(window.input()) || !window.window_expr().iter().all(looks_as_far_as_its_frame)
}

fn is_aggregate(function: &Arc<dyn WindowExpr>) -> bool {
    let function = function.as_any();
    function.is::<PlainAggregateWindowExpr>() || function.is::<SlidingAggregateWindowExpr>()
}

fn looks_as_far_as_its_frame(function: &Arc<dyn WindowExpr>) -> bool {
    if is_aggregate(function) {
        return true;
    }
    let Some(standard) = function.as_any().downcast_ref::<StandardWindowExpr>() else {
        return false;
    };
    let function = standard.get_standard_func_expr();
    let function = function.as_any().downcast_ref::<WindowUDFExpr>();
    function.is_some_and(|function| {
        matches!(function.fun().name(), "row_number" | "rank" | "dense_rank")
    })
}

fn is_window_below(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let mut plan = plan;
    loop {
        if plan.is::<BoundedWindowAggExec>() {
            return true;
        }
        let passes_limits = plan.is::<ProjectionExec>()
            || plan.is::<CoalescePartitionsExec>()
            || plan.is::<SortPreservingMergeExec>();
        match plan.children().as_slice() {
            [input] if passes_limits => plan = input,
            _ => return false,
        }
    }
}
