//! Keeps a join from claiming the order of both of its inputs.
//!
//! DataFusion 55.2: a hash join of ordered inputs declares its rows ordered by its right input and,
//! within that, by its left input; a sort-merge join declares the reverse. That is true only if no
//! two rows of the first input are equal in its order, because each returns all of its matches. A
//! sort by both is then left out, and ORDER BY, LIMIT and window functions return other rows.
//! [`without_false_order`] hides from the join the order that it does not keep. That costs a
//! projection if the input is ordered.

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

use super::nulled_properties::without_properties;

/// A join whose second input may be ordered, with that order hidden from it; `None` for other
/// plans.
pub(super) fn without_false_order(
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
        // The join requires the order of its keys, and may declare it.
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
    inputs[second] = without_properties(Arc::clone(&inputs[second]), &columns, config)?;
    Ok(Some(replace_children_if_necessary(Arc::clone(node), inputs)?))
}

/// True if rows are ordered, or will be once operators have the orders that they require.
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
