//! Refuses aggregates in a subquery whose columns are all of an outer query.
//!
//! In SQL, such an aggregate is one of the outer query: `select (select sum(t.a)) from t` is one
//! row, the sum over `t`. DataFusion 55.2 computes it in the subquery, for each row of the outer
//! query.

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;

/// The analyzer rule; see the [module](self). It runs before subqueries become joins, and changes
/// nothing.
#[derive(Debug)]
pub(super) struct OuterAggregates;

impl AnalyzerRule for OuterAggregates {
    fn name(&self) -> &'static str {
        "outer_aggregates"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.apply_with_subqueries(|node| {
            if let LogicalPlan::Aggregate(aggregate) = node {
                aggregate.aggr_expr.iter().try_for_each(check)?;
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(plan)
    }
}

fn check(aggregate: &Expr) -> Result<()> {
    let (mut outer, mut has_inner) = (None, false);
    aggregate.apply(|part| {
        match part {
            Expr::OuterReferenceColumn(_, column) => outer = Some(column.clone()),
            Expr::Column(_) => has_inner = true,
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    let Expr::AggregateFunction(call) = aggregate.clone().unalias() else { return Ok(()) };
    match outer {
        Some(column) if !has_inner => plan_err!(
            "{}(...) in a subquery has only columns of the outer query, such as \"{}\", so it \
             belongs to the outer query: compute it there, or in a subquery of FROM",
            call.func.name(),
            column.name
        ),
        _ => Ok(()),
    }
}
