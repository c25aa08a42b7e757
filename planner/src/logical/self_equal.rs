//! Keeps DataFusion from learning from comparisons like `upper(s) = s`, of an expression with a
//! part of itself.
//!
//! DataFusion 55.2 takes `s` and `upper(s)` for equal above such a filter, and replaces the one by
//! the other wherever rows are ordered. The inner part may or may not be replaced as well, and the
//! results never match: windows partitioned by `s`, and orders by it above a join, are refused.

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator};
use datafusion::optimizer::AnalyzerRule;

use super::expressions::{rewrite, transform_parts};
use super::same_value::shielded;

/// The analyzer rule; see the [module](self).
#[derive(Debug, Default)]
pub(crate) struct SelfEqual;

impl AnalyzerRule for SelfEqual {
    fn name(&self) -> &'static str {
        "self_equal"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite(plan, &|node| Ok(Transformed::no(node)), &|expr, _| {
            transform_parts(expr, &mut |part| {
                Ok(match equals_its_part(&part) {
                    true => Transformed::yes(shielded(part)),
                    false => Transformed::no(part),
                })
            })
        })
    }
}

fn equals_its_part(expr: &Expr) -> bool {
    use Operator::{Eq, IsDistinctFrom, IsNotDistinctFrom, NotEq};
    match expr {
        // Inequalities become equalities below a NOT.
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            matches!(op, Eq | NotEq | IsDistinctFrom | IsNotDistinctFrom) && overlap(left, right)
        }
        // A range of one value, or of two that turn out equal, becomes a comparison.
        Expr::Between(between) => {
            overlap(&between.expr, &between.low) || overlap(&between.expr, &between.high)
        }
        Expr::InList(list) => list.list.iter().any(|value| overlap(&list.expr, value)),
        _ => false,
    }
}

/// True if one of two expressions contains the other.
fn overlap(one: &Expr, other: &Expr) -> bool {
    one != other && (has(one, other) || has(other, one))
}

/// True if `whole` contains `part` and `part` is not constant.
fn has(whole: &Expr, part: &Expr) -> bool {
    !matches!(part, Expr::Literal(..)) && whole.exists(|expr| Ok(expr == part)).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    /// Fails once DataFusion plans the query; then this module can go.
    #[tokio::test]
    async fn it_is_still_needed() -> Result<(), Box<dyn std::error::Error>> {
        let context = SessionContext::new();
        let table =
            "CREATE TABLE t AS SELECT value AS i, value % 3 AS k FROM generate_series(1, 9)";
        context.sql(table).await?.collect().await?;
        let query = "SELECT lag(i) OVER (PARTITION BY k ORDER BY i) FROM t WHERE abs(k) = k";
        let plan = context.sql(query).await?;
        let refused = plan.collect().await.expect_err("DataFusion plans it");
        assert!(refused.to_string().contains("ordered"), "{refused}");
        Ok(())
    }
}
