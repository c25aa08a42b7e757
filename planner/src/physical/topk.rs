//! `GROUP BY k ORDER BY max(v) LIMIT n`: limits the aggregation to the best n groups.
//!
//! DataFusion 55.2: `TopKAggregation` looks for the aggregation below a sort *by the name* of the
//! sort column, through every operator that keeps the number of rows. So a window function does not
//! see all groups (`count(*) OVER ()` returns n), and a computed column is taken for the key of the
//! same name (`SELECT abs(k) AS k .. ORDER BY k`). [`TopKAggregation`] replaces it: it follows the
//! column by position, through operators that only pass rows on.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::{
    AggregateExec, AggregateMode, LimitOptions, topk_types_supported,
};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;

/// The physical rule; see the [module](self).
#[derive(Debug)]
pub(super) struct TopKAggregation;

impl PhysicalOptimizerRule for TopKAggregation {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if !config.optimizer.enable_topk_aggregation {
            return Ok(plan);
        }
        let limited = plan.transform_down(|node| {
            Ok(match limited_sort(&node)? {
                Some(limited) => Transformed::yes(limited),
                None => Transformed::no(node),
            })
        })?;
        Ok(limited.data)
    }

    fn name(&self) -> &'static str {
        "LimitAggregation"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The groups that a sort requires.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    groups: usize,
    descending: bool,
    nulls_first: bool,
}

fn limited_sort(node: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(sort) = node.downcast_ref::<SortExec>() else { return Ok(None) };
    let (Some(groups), [order]) = (sort.fetch(), &sort.expr()[..]) else { return Ok(None) };
    let Some(column) = order.expr.downcast_ref::<Column>() else { return Ok(None) };
    let (descending, nulls_first) = (order.options.descending, order.options.nulls_first);
    let wanted = Wanted { groups, descending, nulls_first };
    match limited(sort.input(), column.index(), wanted)? {
        Some(input) => Ok(Some(replace_children_if_necessary(Arc::clone(node), vec![input])?)),
        None => Ok(None),
    }
}

/// Limits the aggregation of `plan`, which is ordered by column number `at`.
fn limited(
    plan: &Arc<dyn ExecutionPlan>,
    at: usize,
    wanted: Wanted,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let (input, below) = if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
        let Some(limited) = limited_aggregate(aggregate, at, wanted) else { return Ok(None) };
        let limited: Arc<dyn ExecutionPlan> = Arc::new(limited);
        // This aggregation may combine partial aggregates, which have the same columns.
        let combines =
            matches!(aggregate.mode(), AggregateMode::Final | AggregateMode::FinalPartitioned);
        return match if combines { self::limited(aggregate.input(), at, wanted)? } else { None } {
            Some(input) => Ok(Some(replace_children_if_necessary(limited, vec![input])?)),
            None => Ok(Some(limited)),
        };
    } else if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        let origin = projection.expr().get(at).map(|projected| &projected.expr);
        let Some(origin) = origin.and_then(|origin| origin.downcast_ref::<Column>()) else {
            return Ok(None);
        };
        (projection.input(), origin.index())
    } else if passes_rows_on(plan.as_ref()) {
        (plan.children()[0], at)
    } else {
        return Ok(None);
    };
    match limited(input, below, wanted)? {
        Some(input) => Ok(Some(replace_children_if_necessary(Arc::clone(plan), vec![input])?)),
        None => Ok(None),
    }
}

fn passes_rows_on(plan: &dyn ExecutionPlan) -> bool {
    plan.fetch().is_none()
        && (plan.is::<CoalescePartitionsExec>()
            || plan.is::<SortPreservingMergeExec>()
            || plan.is::<RepartitionExec>()
            || plan.is::<CooperativeExec>())
}

/// The conditions are DataFusion's.
fn limited_aggregate(
    aggregate: &AggregateExec,
    at: usize,
    wanted: Wanted,
) -> Option<AggregateExec> {
    let keys = aggregate.group_expr();
    let [(key, _)] = keys.expr() else { return None };
    if keys.has_grouping_set() || aggregate.filter_expr().iter().any(Option::is_some) {
        return None;
    }
    let key_type = key.data_type(&aggregate.input().schema()).ok()?;
    let best = aggregate.get_minmax_desc();
    let value_type = best.as_ref().map_or(&key_type, |(field, _)| field.data_type());
    if !topk_types_supported(&key_type, value_type) {
        return None;
    }
    if let Some((_, descending)) = best {
        let [function] = aggregate.aggr_expr() else { return None };
        let arguments = function.expressions();
        let [argument] = arguments.as_slice() else { return None };
        // A group is null until its first value arrives, which can only improve it.
        let may_get_worse =
            wanted.nulls_first && argument.nullable(aggregate.input_schema().as_ref()).ok()?;
        if at != 1 || descending != wanted.descending || may_get_worse {
            return None;
        }
    } else if at != 0 || !aggregate.aggr_expr().is_empty() {
        return None;
    }
    let limit = LimitOptions::new_with_order(wanted.groups, wanted.descending);
    Some(aggregate.with_new_limit_options(Some(limit)))
}
