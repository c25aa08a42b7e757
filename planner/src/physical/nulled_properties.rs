//! Drops ordering and constant properties of columns that an operator above makes null.
//!
//! DataFusion 55.2: `WHERE a = 1` makes `a` a constant, and a sorted file makes it sorted. Both
//! properties survive an aggregate whose grouping sets leave `a` out, and an outer join without a
//! match, although `a` is null in those rows. Then a sort by `a` is removed, groups are split, and
//! LIMIT returns other rows. The same holds for columns that are equal below (`x AS y`, join keys)
//! and constants among the groups. [`DropNulledProperties`] adds a projection below such operators,
//! in which those columns are `same_value(a, unknown())`; for grouping sets it computes each
//! grouping expression separately. It runs before the rules that use orders.

use std::sync::Arc;

use datafusion::arrow::datatypes::Schema;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{JoinType, Result};
use datafusion::physical_expr::expressions::{Column, lit};
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::{AggregateExec, PhysicalGroupBy};
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::{
    ChildrenPropertiesMode, ExecutionPlan, ExecutionPlanProperties, ReplaceChildrenOptions,
};

/// The physical rule; see the [module](self).
#[derive(Debug, Default)]
pub(crate) struct DropNulledProperties;

impl PhysicalOptimizerRule for DropNulledProperties {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            if let Some(aggregate) = node.downcast_ref::<AggregateExec>() {
                return sets_apart(aggregate, config).map(|apart| match apart {
                    Some(apart) => Transformed::yes(apart),
                    None => Transformed::no(Arc::clone(&node)),
                });
            }
            let children: Vec<_> = node.children().into_iter().cloned().collect();
            let mut new_children = Vec::with_capacity(children.len());
            let mut changed = false;
            for (index, child) in children.into_iter().enumerate() {
                let columns = nulled_columns(node.as_ref(), index, &child);
                changed |= !columns.is_empty();
                new_children.push(if columns.is_empty() {
                    child
                } else {
                    without_properties(child, &columns, config)?
                });
            }
            if !changed {
                return Ok(Transformed::no(node));
            }
            let recompute = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
            Ok(Transformed::yes(node.replace_children(new_children, recompute)?))
        })
        .data()
    }

    fn name(&self) -> &'static str {
        "drop_nulled_properties"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// An aggregate with grouping sets over a projection of its grouping expressions without
/// properties.
fn sets_apart(
    aggregate: &AggregateExec,
    config: &ConfigOptions,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let groups = aggregate.group_expr();
    if !groups.has_grouping_set() {
        return Ok(None);
    }
    let child = aggregate.input();
    let schema = child.schema();
    let config = Arc::new(config.clone());
    let mut exprs: Vec<ProjectionExpr> = Vec::new();
    for (index, field) in schema.fields().iter().enumerate() {
        let expr = Arc::new(Column::new(field.name(), index));
        exprs.push(ProjectionExpr { expr, alias: field.name().clone() });
    }
    let mut columns: Vec<(Arc<dyn PhysicalExpr>, String)> = Vec::new();
    for (index, (expr, name)) in groups.expr().iter().enumerate() {
        let expr = unknown_value(Arc::clone(expr), Some(index), &schema, &config)?;
        columns.push((Arc::new(Column::new(name, exprs.len())), name.clone()));
        exprs.push(ProjectionExpr { expr, alias: name.clone() });
    }
    let input: Arc<dyn ExecutionPlan> =
        Arc::new(ProjectionExec::try_new(exprs, Arc::clone(child))?);
    let groups = PhysicalGroupBy::new(
        columns,
        groups.null_expr().to_vec(),
        groups.groups().to_vec(),
        groups.has_grouping_set(),
    );
    let input_schema = input.schema();
    let apart = AggregateExec::try_new(
        *aggregate.mode(),
        groups,
        aggregate.aggr_expr().to_vec(),
        aggregate.filter_expr().to_vec(),
        input,
        input_schema,
    )?;
    Ok(Some(Arc::new(apart.with_limit_options(aggregate.limit_options()))))
}

/// `expr` without known properties, and not known to be equal to one of another `number`.
fn unknown_value(
    expr: Arc<dyn PhysicalExpr>,
    number: Option<usize>,
    schema: &Schema,
    config: &Arc<ConfigOptions>,
) -> Result<Arc<dyn PhysicalExpr>> {
    let unknown = ScalarFunctionExpr::try_new(
        bigslice_functions::unknown(),
        Vec::new(),
        schema,
        Arc::clone(config),
    )?;
    let mut args: Vec<Arc<dyn PhysicalExpr>> = vec![expr, Arc::new(unknown)];
    args.extend(number.map(|number| lit(number as u64)));
    let value = ScalarFunctionExpr::try_new(
        bigslice_functions::same_value(),
        args,
        schema,
        Arc::clone(config),
    )?;
    Ok(Arc::new(value))
}

/// The columns of child `index` with known properties that do not hold above `node`.
fn nulled_columns(
    node: &dyn ExecutionPlan,
    index: usize,
    child: &Arc<dyn ExecutionPlan>,
) -> Vec<usize> {
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
    // DataFusion itself drops the order of a null-supplying side.
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

/// `child` under a projection of all its columns that hides the properties of `columns`.
pub(super) fn without_properties(
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
            unknown_value(column, None, &schema, &config)?
        } else {
            column
        };
        exprs.push(ProjectionExpr { expr, alias: field.name().clone() });
    }
    Ok(Arc::new(ProjectionExec::try_new(exprs, child)?))
}
