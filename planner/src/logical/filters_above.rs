//! Keeps filters without columns and volatile filters above aggregates and windows.
//!
//! DataFusion 55.2 moves a condition below an aggregate if all of its columns are grouping columns,
//! which includes conditions without any column. But an aggregate without groups returns a row for
//! no input: below it, the condition `(SELECT ..) > 3` changes a count instead of removing the row.
//! And a volatile condition (`random() < 0.5`) that selects groups, or rows of a window's result,
//! would select the rows that these are computed from.
//!
//! The rule also drops conditions that others imply, and takes `x = 5` and `5 = x` for a
//! contradiction, and `5 < x` for less strict than `x >= 5`. Conditions of joins are not simplified
//! before, and those that it derives from them for the other side have their form. So comparisons
//! get their literal on the right.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{BinaryExpr, Expr, Filter, LogicalPlan, Operator};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use super::simplify::compares;

/// `push_down_filter` without those conditions.
#[derive(Debug)]
pub(super) struct FiltersAbove(pub(super) Arc<dyn OptimizerRule + Send + Sync>);

impl OptimizerRule for FiltersAbove {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        let plan = with_literals_right(plan);
        let LogicalPlan::Filter(filter) = plan else { return self.0.rewrite(plan, config) };
        let stays: fn(&Expr) -> bool = match filter.input.as_ref() {
            LogicalPlan::Aggregate(_) => |expr| !expr.any_column_refs() || expr.is_volatile(),
            LogicalPlan::Window(_) => Expr::is_volatile,
            _ => return self.0.rewrite(LogicalPlan::Filter(filter), config),
        };
        let conditions = split_conjunction_owned(filter.predicate.clone());
        let (above, others): (Vec<Expr>, Vec<Expr>) = conditions.into_iter().partition(stays);
        let Some(above) = conjunction(above) else {
            return self.0.rewrite(LogicalPlan::Filter(filter), config);
        };
        let Some(others) = conjunction(others) else {
            return Ok(Transformed::no(LogicalPlan::Filter(filter)));
        };
        let moved =
            self.0.rewrite(LogicalPlan::Filter(Filter::new(others, filter.input)), config)?;
        moved.map_data(|plan| {
            // Conditions that were not moved stay in one filter with this one: of two filters, the
            // rule would merge them and look again.
            let (above, input) = match plan {
                LogicalPlan::Filter(kept) => (kept.predicate.and(above), kept.input),
                plan => (above, Arc::new(plan)),
            };
            Ok(LogicalPlan::Filter(Filter::try_new(above, input)?))
        })
    }
}

/// The plan with the literal on the right in each comparison of its condition, and of the condition
/// of a join directly below a filter, which the rule looks at as well.
fn with_literals_right(mut plan: LogicalPlan) -> LogicalPlan {
    match &mut plan {
        LogicalPlan::Filter(filter) => {
            literals_right(&mut filter.predicate);
            if matches!(*filter.input, LogicalPlan::Filter(_) | LogicalPlan::Join(_)) {
                let input = Arc::unwrap_or_clone(std::mem::take(&mut filter.input));
                filter.input = Arc::new(with_literals_right(input));
            }
        }
        LogicalPlan::Join(join) => join.filter.iter_mut().for_each(literals_right),
        _ => {}
    }
    plan
}

fn literals_right(condition: &mut Expr) {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else { return };
    if *op == Operator::And {
        literals_right(left);
        literals_right(right);
    } else if compares(*op)
        && let (Expr::Literal(..), Expr::Column(_)) = (left.as_ref(), right.as_ref())
        && let Some(swapped) = op.swap()
    {
        std::mem::swap(left, right);
        *op = swapped;
    }
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    /// Fails once DataFusion returns no row, as it should; then the first half of this module can
    /// go.
    #[tokio::test]
    async fn it_is_still_needed() -> Result<(), Box<dyn std::error::Error>> {
        let query = "SELECT count(*) FROM (SELECT sum(x) AS s FROM (VALUES (1), (2)) AS v(x)) AS a \
                     WHERE (SELECT max(y) FROM (VALUES (1)) AS w(y)) = 3";
        let batches = SessionContext::new().sql(query).await?.collect().await?;
        let rows = datafusion::arrow::util::pretty::pretty_format_batches(&batches)?.to_string();
        assert!(rows.contains("| 1 "), "DataFusion keeps the condition above: {rows}");
        Ok(())
    }
}
