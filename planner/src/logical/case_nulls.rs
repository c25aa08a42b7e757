//! Makes columns like `CASE WHEN a <> b THEN a ELSE 1 END` nullable.
//!
//! DataFusion 55.2 infers in the logical plan that `a` is not null where its branch is taken, but
//! not in the physical plan. The two schemas differ, and an aggregate over the column is refused
//! with an internal error. This rule makes such a column nullable from the start.

use bigslice_functions::nullable;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;

use super::expressions::{map_named, transform_nodes, transform_parts, with_own_schema};

/// The analyzer rule; see the [module](self).
#[derive(Debug, Default)]
pub(crate) struct CaseNulls;

impl AnalyzerRule for CaseNulls {
    fn name(&self) -> &'static str {
        "case_nulls"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(transform_nodes(plan, &mut with_nullable_cases)?.data)
    }
}

/// Makes each such CASE among the columns of the node nullable.
fn with_nullable_cases(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    if matches!(plan, LogicalPlan::Filter(_) | LogicalPlan::Join(_)) {
        // These nodes produce no columns, and DataFusion's rules can simplify a CASE there.
        return Ok(Transformed::yes(plan.recompute_schema()?));
    }
    let schema = merge_schema(&plan.inputs());
    map_named(plan, &mut |expr| transform_parts(expr, &mut |part| with_nulls(part, &schema)))?
        .map_data(with_own_schema)
}

fn with_nulls(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match &expr {
        // The conditions are not simplified yet, so any branch may be taken.
        Expr::Case(case) => {
            // A subquery without rows is null, even if its column is not nullable.
            let is_query = |part: &Expr| matches!(part, Expr::ScalarSubquery(_));
            let may = |branch: &Expr| {
                branch.nullable(schema).unwrap_or(true)
                    || branch.exists(|part| Ok(is_query(part))).unwrap_or(true)
            };
            let mut branches = case.when_then_expr.iter().map(|(_, then)| then);
            // The other branch may turn out not null: `length('')` becomes a constant.
            let depends = case.else_expr.is_some() && branches.any(|then| may(then));
            Ok(match depends {
                true => Transformed::yes(nullable(false).call(vec![expr])),
                false => Transformed::no(expr),
            })
        }
        // Keeps the result of an earlier pass.
        Expr::ScalarFunction(outer) => Ok(match outer.args.as_slice() {
            [inner @ Expr::ScalarFunction(call)] if is_nullable(outer) && is_nullable(call) => {
                Transformed::yes(inner.clone())
            }
            _ => Transformed::no(expr),
        }),
        _ => Ok(Transformed::no(expr)),
    }
}

fn is_nullable(call: &ScalarFunction) -> bool {
    call.func.name() == "nullable"
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    /// Fails once DataFusion plans the query; then this module can go.
    #[tokio::test]
    async fn nulls_of_branches_are_still_needed() {
        let query = "SELECT count(x) FROM (SELECT CASE WHEN b <> a THEN a ELSE 1 END AS x \
                     FROM (VALUES (1, 2), (NULL, 3)) AS v(a, b)) AS t";
        let refused = match SessionContext::new().sql(query).await {
            Ok(frame) => frame.collect().await.err(),
            Err(error) => Some(error),
        };
        let refused = refused.expect("DataFusion plans it").to_string();
        assert!(refused.contains("schema"), "{refused}");
    }
}
