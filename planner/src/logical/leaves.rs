//! Keeps DataFusion from pushing `struct['field']` down past a volatile expression.
//!
//! DataFusion 55.2: the rules copy the struct's expression to each place where one of its fields is
//! read. A `random()` in it is then computed once per field: `SELECT s['a'], s FROM (SELECT
//! named_struct('a', random()) AS s ..)` shows two values.

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

/// A rule of DataFusion's that skips plans with volatile expressions.
#[derive(Debug)]
pub(crate) struct UnlessVolatile<R>(pub(crate) R);

impl<R: OptimizerRule + std::fmt::Debug> OptimizerRule for UnlessVolatile<R> {
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
        // A rule that is called for each node only acts on projections.
        let idle = self.0.apply_order().is_some() && !matches!(plan, LogicalPlan::Projection(_));
        if idle || has_volatile(&plan)? {
            Ok(Transformed::no(plan))
        } else {
            self.0.rewrite(plan, config)
        }
    }
}

/// True if the plan or one of its subqueries contains a volatile expression.
fn has_volatile(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found = found || is_volatile(node)?;
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// True if the node itself contains a volatile expression.
pub(super) fn is_volatile(node: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    node.apply_expressions(|expr| {
        found = found || expr.is_volatile();
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}
