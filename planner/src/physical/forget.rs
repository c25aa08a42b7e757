//! What is known of rows below an operator that makes some of their columns null is forgotten there.
//!
//! DataFusion 55.2: `WHERE a = 1` makes `a` a constant, a sorted file makes it sorted, and
//! both stay so above an aggregate whose grouping sets leave `a` out, and above an outer join
//! that has no match, although `a` is null in those rows. A sort by `a` is then dropped, groups are cut apart
//! and LIMIT gives other rows. [`ForgetNulled`] puts a projection below such operators, in which those columns
//! are `same_value(a, unknown())`. It runs before the rules that look at orders.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{JoinType, Result};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::{
    ChildrenPropertiesMode, ExecutionPlan, ExecutionPlanProperties, ReplaceChildrenOptions,
};

/// The rule that puts `same_value(a, unknown())` below what makes `a` null.
#[derive(Debug, Default)]
pub(crate) struct ForgetNulled;

impl PhysicalOptimizerRule for ForgetNulled {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            let children: Vec<_> = node.children().into_iter().cloned().collect();
            let mut forgotten = Vec::with_capacity(children.len());
            let mut changed = false;
            for (index, child) in children.into_iter().enumerate() {
                let columns = nulled_columns(node.as_ref(), index, &child);
                changed |= !columns.is_empty();
                forgotten.push(if columns.is_empty() {
                    child
                } else {
                    forgetting(child, &columns, config)?
                });
            }
            if !changed {
                return Ok(Transformed::no(node));
            }
            let recompute = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
            Ok(Transformed::yes(node.replace_children(forgotten, recompute)?))
        })
        .data()
    }

    fn name(&self) -> &'static str {
        "forget_nulled"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The columns of the child with that `index` of which something is known that does not hold above `node`.
fn nulled_columns(
    node: &dyn ExecutionPlan,
    index: usize,
    child: &Arc<dyn ExecutionPlan>,
) -> Vec<usize> {
    if let Some(aggregate) = node.downcast_ref::<AggregateExec>() {
        return if aggregate.group_expr().has_grouping_set() {
            let groups = aggregate.group_expr().expr().iter().map(|(expr, _)| expr);
            columns_of(groups)
        } else {
            Vec::new()
        };
    }
    let Some(join) = outer_join(node) else { return Vec::new() };
    let nulled = match join {
        JoinType::Left => index == 1,
        JoinType::Right => index == 0,
        JoinType::Full => true,
        _ => false,
    };
    if !nulled {
        return Vec::new();
    }
    // What sorts a null-producing side does not survive the join in DataFusion either.
    let constants = child.equivalence_properties().constants();
    columns_of(constants.iter().map(|constant| &constant.expr))
}

fn outer_join(node: &dyn ExecutionPlan) -> Option<JoinType> {
    if let Some(join) = node.downcast_ref::<HashJoinExec>() {
        return Some(*join.join_type());
    }
    if let Some(join) = node.downcast_ref::<SortMergeJoinExec>() {
        return Some(join.join_type());
    }
    node.downcast_ref::<NestedLoopJoinExec>().map(|join| *join.join_type())
}

/// The columns that the expressions read, in order and once each.
fn columns_of<'a>(exprs: impl Iterator<Item = &'a Arc<dyn PhysicalExpr>>) -> Vec<usize> {
    let mut columns: Vec<usize> =
        exprs.flat_map(collect_columns).map(|column| column.index()).collect();
    columns.sort_unstable();
    columns.dedup();
    columns
}

/// `child` under a projection of all its columns, of which nothing is known of `columns`.
pub(super) fn forgetting(
    child: Arc<dyn ExecutionPlan>,
    columns: &[usize],
    config: &ConfigOptions,
) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = child.schema();
    let config = Arc::new(config.clone());
    let mut exprs = Vec::with_capacity(schema.fields().len());
    for (index, field) in schema.fields().iter().enumerate() {
        let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(field.name(), index));
        let expr = if columns.contains(&index) {
            let unknown: Arc<dyn PhysicalExpr> = Arc::new(ScalarFunctionExpr::try_new(
                bigslice_functions::unknown(),
                Vec::new(),
                &schema,
                Arc::clone(&config),
            )?);
            Arc::new(ScalarFunctionExpr::try_new(
                bigslice_functions::same_value(),
                vec![column, unknown],
                &schema,
                Arc::clone(&config),
            )?)
        } else {
            column
        };
        exprs.push(ProjectionExpr { expr, alias: field.name().clone() });
    }
    Ok(Arc::new(ProjectionExec::try_new(exprs, child)?))
}
