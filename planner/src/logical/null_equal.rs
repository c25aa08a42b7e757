//! Keeps joins in which nulls are equal apart from joins in which they are not.
//!
//! DataFusion 55.2: `a JOIN b ON a.x IS NOT DISTINCT FROM b.x` becomes a join in which nulls are
//! equal. That is a property of the whole join, for all of its keys, and two rules ignore it:
//!
//! - `extract_equijoin_predicate` adds `a.y = b.y`, from ON or WHERE, to the keys, so that nulls of
//!   `y` become equal, too. [`Keys`] leaves such a condition where it is.
//! - `eliminate_cross_join` merges several joins into one of the kind of the topmost. [`Flattened`]
//!   puts a filter that is always true between joins of different kinds, which the rule does not
//!   look through, and removes it afterwards.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{NullEquality, Result, ScalarValue};
use datafusion::logical_expr::{Expr, Filter, Join, JoinType, LogicalPlan, lit};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use super::expressions::transform_nodes;

type Rule = Arc<dyn OptimizerRule + Send + Sync>;

/// `extract_equijoin_predicate`, except for joins in which nulls are equal.
#[derive(Debug)]
pub(super) struct Keys(pub(super) Rule);

impl OptimizerRule for Keys {
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
        match &plan {
            LogicalPlan::Join(join) if nulls_are_equal(join) => Ok(Transformed::no(plan)),
            _ => self.0.rewrite(plan, config),
        }
    }
}

/// `eliminate_cross_join`, for joins of one kind at a time.
#[derive(Debug)]
pub(super) struct Flattened(pub(super) Rule);

impl OptimizerRule for Flattened {
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
        let mut found = false;
        plan.apply_with_subqueries(|node| {
            found |= matches!(node, LogicalPlan::Join(join) if nulls_are_equal(join));
            Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        if !found {
            return self.0.rewrite(plan, config);
        }
        let apart = transform_nodes(plan, &mut set_apart)?.data;
        let flat = self.0.rewrite(apart, config)?;
        let joined = transform_nodes(flat.data, &mut put_together)?.data;
        // Adding and removing the filter is no change; reporting one needlessly only costs a pass.
        Ok(Transformed::new_transformed(joined, flat.transformed))
    }
}

fn nulls_are_equal(join: &Join) -> bool {
    join.null_equality == NullEquality::NullEqualsNull && !join.on.is_empty()
}

/// For an inner join, whether nulls are equal in it.
fn inner(plan: &LogicalPlan) -> Option<bool> {
    match plan {
        LogicalPlan::Join(join) if join.join_type == JoinType::Inner => Some(nulls_are_equal(join)),
        _ => None,
    }
}

fn set_apart(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    // A condition above a join becomes a key of it.
    let above = match &node {
        LogicalPlan::Filter(_) => Some(false),
        other => inner(other),
    };
    let Some(above) = above else { return Ok(Transformed::no(node)) };
    node.map_children(|input| {
        if inner(&input).is_none_or(|below| below == above) {
            return Ok(Transformed::no(input));
        }
        let between = Filter::try_new(lit(true), Arc::new(input))?;
        Ok(Transformed::yes(LogicalPlan::Filter(between)))
    })
}

fn put_together(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    Ok(match node {
        LogicalPlan::Filter(filter) if is_true(&filter.predicate) => {
            Transformed::yes(Arc::unwrap_or_clone(filter.input))
        }
        other => Transformed::no(other),
    })
}

fn is_true(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(ScalarValue::Boolean(Some(true)), _))
}
