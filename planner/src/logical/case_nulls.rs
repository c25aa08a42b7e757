//! `CASE WHEN a <> b THEN a ELSE 1 END` as a column.
//!
//! DataFusion 55.2 knows in the logical plan that `a` is not null where its branch is taken, and does not know it in the plan of
//! operators. The two schemas differ, and an aggregate over the column is refused with an internal error. Here such a
//! column may be null from the start.

use bigslice_functions::nullable;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;

use super::expressions::rewrite;

/// The analyzer rule that does it.
#[derive(Debug, Default)]
pub(crate) struct CaseNulls;

impl AnalyzerRule for CaseNulls {
    fn name(&self) -> &'static str {
        "case_nulls"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite(plan, &|node| Ok(Transformed::no(node)), &|expr, schema| {
            expr.transform_up(|part| with_nulls(part, schema))
        })
    }
}

fn with_nulls(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match &expr {
        Expr::Case(case) => {
            let mut branches = case.when_then_expr.iter().map(|(_, then)| then);
            let differs = branches.any(|then| then.nullable(schema).unwrap_or(false))
                && !expr.nullable(schema)?;
            Ok(match differs {
                true => Transformed::yes(nullable(false).call(vec![expr])),
                false => Transformed::no(expr),
            })
        }
        // What was found before is found again.
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

    /// Fails when DataFusion plans the query; then this module can go.
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
