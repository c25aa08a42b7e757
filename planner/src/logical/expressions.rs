//! Rewrites all expressions of a logical plan with their input schemas, subqueries included.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan, Union};

/// Rewrites each node of the plan with `of_node`, and then each of its expressions with `of_expr`,
/// which receives the schema that the expression is computed from. Bottom-up. Columns keep their
/// names.
pub(super) fn rewrite(
    plan: LogicalPlan,
    of_node: &dyn Fn(LogicalPlan) -> Result<Transformed<LogicalPlan>>,
    of_expr: &dyn Fn(Expr, &DFSchema) -> Result<Transformed<Expr>>,
) -> Result<LogicalPlan> {
    let mut is_changed = false;
    let rewritten = plan.transform_up_with_subqueries(|node| {
        let node = of_node(node)?;
        let exprs = node.transform_data(|node| {
            let schema = match node.inputs().as_slice() {
                [] => node.schema().as_ref().clone(),
                inputs => merge_schema(inputs),
            };
            let names = NamePreserver::new(&node);
            let named = !matches!(node, LogicalPlan::Sort(_));
            node.map_expressions(|expr| {
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
