//! A join does not keep the order of both of its inputs.
//!
//! DataFusion 55.2: a hash join of ordered inputs says that its rows are ordered by its right input and, within
//! that, by its left one; a sort-merge join says so the other way round. That is true only where no two rows
//! of the first are equal in its order: each brings all of its partners. A sort by both is left out, and ORDER BY, LIMIT
//! and window functions give other rows. [`forgotten`] lets the join see nothing of an order
//! that it does not keep. It costs a projection, where that input is ordered.

use std::sync::Arc;

use datafusion::common::{JoinType, Result};
use datafusion::config::ConfigOptions;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::joins::{HashJoinExec, SortMergeJoinExec};
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};

use super::forget::forgetting;

/// A join whose second input may be ordered, with that input's order hidden from it. None for all else.
pub(super) fn forgotten(
    node: &Arc<dyn ExecutionPlan>,
    config: &ConfigOptions,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let mut inputs: Vec<_> = node.children().into_iter().cloned().collect();
    let (second, keys) = if let Some(join) = node.downcast_ref::<HashJoinExec>() {
        if !matches!(join.join_type(), JoinType::Inner | JoinType::Right) {
            return Ok(None);
        }
        (0, Vec::new())
    } else if let Some(join) = node.downcast_ref::<SortMergeJoinExec>() {
        if !matches!(join.join_type(), JoinType::Inner | JoinType::Left) {
            return Ok(None);
        }
        // It needs the order of the keys, and says nothing wrong by that.
        let keys = join.on().iter().filter_map(|(_, key)| key.downcast_ref::<Column>());
        (1, keys.map(Column::index).collect())
    } else {
        return Ok(None);
    };
    if !may_be_ordered(&inputs[second]) {
        return Ok(None);
    }
    let all = 0..inputs[second].schema().fields().len();
    let columns: Vec<usize> = all.filter(|column| !keys.contains(column)).collect();
    if columns.is_empty() {
        return Ok(None);
    }
    inputs[second] = forgetting(Arc::clone(&inputs[second]), &columns, config)?;
    Ok(Some(replace_children_if_necessary(Arc::clone(node), inputs)?))
}

/// Whether rows are ordered, or will be when operators have the orders that they require.
fn may_be_ordered(plan: &Arc<dyn ExecutionPlan>) -> bool {
    if plan.output_ordering().is_some()
        || plan.is::<SortExec>()
        || plan.is::<SortMergeJoinExec>()
        || plan.is::<BoundedWindowAggExec>()
        || plan.is::<WindowAggExec>()
    {
        return true;
    }
    if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
        return may_be_ordered(aggregate.input());
    }
    let kept = plan.maintains_input_order();
    plan.children().into_iter().zip(kept).any(|(input, kept)| kept && may_be_ordered(input))
}
