//! Going through all expressions of a logical plan, subqueries and all, with their schemas.

use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan};

/// Changes each node of the plan by `of_node`, and then each of its expressions by `of_expr`, which is told what the
/// expression is computed from. From the leaves up. Columns keep their names.
pub(super) fn rewrite(
    plan: LogicalPlan,
    of_node: &dyn Fn(LogicalPlan) -> Result<Transformed<LogicalPlan>>,
    of_expr: &dyn Fn(Expr, &DFSchema) -> Result<Transformed<Expr>>,
) -> Result<LogicalPlan> {
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
        if !exprs.transformed {
            return Ok(exprs);
        }
        Ok(Transformed::yes(exprs.data.recompute_schema()?))
    })?;
    Ok(rewritten.data)
}
