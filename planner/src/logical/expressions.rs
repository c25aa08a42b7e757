//! Rewrites the nodes of a logical plan and their expressions.
//!
//! DataFusion's own walks are generic over the function that they call, and the compiler generates
//! a copy of the walk over all kinds of nodes and expressions for each function. Those here call it
//! through a pointer: one copy for all rules.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan, Union};

/// `Expr::transform_up`: replaces each part of `expr`, the inner ones first.
pub(super) fn transform_parts(
    expr: Expr,
    of_part: &mut dyn FnMut(Expr) -> Result<Transformed<Expr>>,
) -> Result<Transformed<Expr>> {
    expr.transform_up(of_part)
}

/// `LogicalPlan::transform_up_with_subqueries`: replaces each node, the inputs first.
pub(super) fn transform_nodes(
    plan: LogicalPlan,
    of_node: &mut dyn FnMut(LogicalPlan) -> Result<Transformed<LogicalPlan>>,
) -> Result<Transformed<LogicalPlan>> {
    plan.transform_up_with_subqueries(of_node)
}

/// `LogicalPlan::map_expressions`: replaces the expressions of one node.
pub(super) fn map_exprs(
    plan: LogicalPlan,
    of_expr: &mut dyn FnMut(Expr) -> Result<Transformed<Expr>>,
) -> Result<Transformed<LogicalPlan>> {
    plan.map_expressions(of_expr)
}

/// Replaces the expressions of one node, also those in grouping sets; columns keep their names.
pub(super) fn map_named(
    plan: LogicalPlan,
    of_expr: &mut dyn FnMut(Expr) -> Result<Transformed<Expr>>,
) -> Result<Transformed<LogicalPlan>> {
    let names = NamePreserver::new(&plan);
    let mut named = |expr: Expr| {
        let name = names.save(&expr);
        let expr = of_expr(expr)?;
        Ok(if expr.transformed { expr.update_data(|expr| name.restore(expr)) } else { expr })
    };
    map_exprs(plan, &mut |expr| match expr {
        Expr::GroupingSet(_) => map_parts(expr, &mut named),
        _ => named(expr),
    })
}

/// `Expr::map_children`: replaces the direct parts of `expr`.
pub(super) fn map_parts(
    expr: Expr,
    of_part: &mut dyn FnMut(Expr) -> Result<Transformed<Expr>>,
) -> Result<Transformed<Expr>> {
    expr.map_children(of_part)
}

/// Rewrites each node of the plan with `of_node`, and then each of its expressions with `of_expr`,
/// which receives the schema that the expression is computed from. Bottom-up. Columns keep their
/// names.
pub(super) fn rewrite(
    plan: LogicalPlan,
    of_node: &dyn Fn(LogicalPlan) -> Result<Transformed<LogicalPlan>>,
    of_expr: &dyn Fn(Expr, &DFSchema) -> Result<Transformed<Expr>>,
) -> Result<LogicalPlan> {
    let mut is_changed = false;
    let rewritten = transform_nodes(plan, &mut |node| {
        let node = of_node(node)?;
        let exprs = node.transform_data(|node| {
            let schema = match node.inputs().as_slice() {
                [] => node.schema().as_ref().clone(),
                inputs => merge_schema(inputs),
            };
            let names = NamePreserver::new(&node);
            let named = !matches!(node, LogicalPlan::Sort(_));
            map_exprs(node, &mut |expr| {
                let name = names.save(&expr);
                let expr = of_expr(expr, &schema)?;
                if !expr.transformed || !named {
                    return Ok(expr);
                }
                Ok(expr.update_data(|expr| name.restore(expr)))
            })
        })?;
        is_changed |= exprs.transformed;
        // The types of the columns that a node above reads may have changed.
        if !is_changed && !matches!(exprs.data, LogicalPlan::Union(_)) {
            return Ok(exprs);
        }
        Ok(Transformed::yes(with_own_schema(exprs.data)?))
    })?;
    Ok(rewritten.data)
}

/// The node with the schema that its inputs and expressions now give it. `recompute_schema` of
/// DataFusion 55.2 keeps the old schema of a UNION, whose columns may have become nullable.
pub(super) fn with_own_schema(plan: LogicalPlan) -> Result<LogicalPlan> {
    let LogicalPlan::Union(Union { inputs, schema }) = plan else { return plan.recompute_schema() };
    let may_be_null = |n: usize| {
        inputs.iter().any(|input| input.schema().fields().get(n).is_some_and(|f| f.is_nullable()))
    };
    let fields = schema.iter().enumerate().map(|(n, (relation, field))| {
        let nullable = field.is_nullable() || may_be_null(n);
        (relation.cloned(), Arc::new(field.as_ref().clone().with_nullable(nullable)))
    });
    let fields = fields.collect::<Vec<_>>();
    let schema = Arc::new(DFSchema::new_with_metadata(fields, schema.metadata().clone())?);
    Ok(LogicalPlan::Union(Union { inputs, schema }))
}
