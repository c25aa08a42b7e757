//! `upper(s) = s`: an expression that equals a part of itself.
//!
//! DataFusion 55.2 takes `s` and `upper(s)` for equal below such a filter, and writes the one for the other wherever rows are
//! ordered. The part within the other is written over as well, or not, and the two never fit: windows that are
//! partitioned by `s`, and orders by it above a join, are refused. Here nothing is learned from such a comparison.

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator};
use datafusion::optimizer::AnalyzerRule;

use super::expressions::rewrite;
use super::simplify::shielded;

/// The analyzer rule that does it.
#[derive(Debug, Default)]
pub(crate) struct SelfEqual;

impl AnalyzerRule for SelfEqual {
    fn name(&self) -> &'static str {
        "self_equal"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite(plan, &|node| Ok(Transformed::no(node)), &|expr, _| {
            expr.transform_up(|part| {
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
        // Those that say that the two differ become the others below a NOT.
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            matches!(op, Eq | NotEq | IsDistinctFrom | IsNotDistinctFrom) && overlap(left, right)
        }
        // One value, or two that are one, and it becomes a comparison.
        Expr::Between(between) => {
            overlap(&between.expr, &between.low) || overlap(&between.expr, &between.high)
        }
        Expr::InList(list) => list.list.iter().any(|value| overlap(&list.expr, value)),
        _ => false,
    }
}

/// Whether one of two expressions stands within the other.
fn overlap(one: &Expr, other: &Expr) -> bool {
    one != other && (has(one, other) || has(other, one))
}

/// Whether `part`, which is no constant, stands within `whole`.
fn has(whole: &Expr, part: &Expr) -> bool {
    !matches!(part, Expr::Literal(..)) && whole.exists(|expr| Ok(expr == part)).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    /// Fails when DataFusion plans the query; then this module can go.
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
