//! Keeps expressions that can fail above the filters that guard them.
//!
//! DataFusion 55.2's `ProjectionPushdown` moves a projection that narrows its rows below a filter:
//! for `SELECT x / y FROM t WHERE y <> 0` the division is then computed for all rows. It also moves
//! expressions over one side out of the condition of a nested loop join. While DataFusion's rule
//! runs, operators with expressions that can fail are wrapped in a [`Shield`], which nothing is
//! moved out of.

use std::fmt::{Debug, Formatter};
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, exec_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::projection_pushdown::ProjectionPushdown;
use datafusion::physical_plan::joins::NestedLoopJoinExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties,
    ReplaceChildrenOptions,
};

use super::fallible::is_fallible;

/// DataFusion's rule, with shields around some operators.
#[derive(Debug)]
pub(super) struct ShieldedProjectionPushdown;

impl PhysicalOptimizerRule for ShieldedProjectionPushdown {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let shielded = plan.transform_up(|node| {
            if !can_fail(&node) {
                return Ok(Transformed::no(node));
            }
            Ok(Transformed::yes(Arc::new(Shield { node }) as Arc<dyn ExecutionPlan>))
        })?;
        let pushed = ProjectionPushdown::new().optimize(shielded.data, config)?;
        if !shielded.transformed {
            return Ok(pushed);
        }
        let bare = pushed.transform_up(|node| {
            let shielded = node.downcast_ref::<Shield>().map(|shield| Arc::clone(&shield.node));
            Ok(shielded.map_or_else(|| Transformed::no(node), Transformed::yes))
        });
        bare.map(|bare| bare.data)
    }

    fn name(&self) -> &'static str {
        "ProjectionPushdown"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn can_fail(node: &Arc<dyn ExecutionPlan>) -> bool {
    if let Some(projection) = node.downcast_ref::<ProjectionExec>() {
        let schema = projection.input().schema();
        return projection.expr().iter().any(|expr| is_fallible(&expr.expr, &schema));
    }
    if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>() {
        return join
            .filter()
            .is_some_and(|filter| is_fallible(filter.expression(), filter.schema()));
    }
    false
}

/// A wrapper that hides an operator from rules. It is only present while the rule above runs.
struct Shield {
    node: Arc<dyn ExecutionPlan>,
}

impl Debug for Shield {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Shield").field(&self.node).finish()
    }
}

impl DisplayAs for Shield {
    fn fmt_as(&self, _kind: DisplayFormatType, f: &mut Formatter) -> std::fmt::Result {
        f.write_str("Shield")
    }
}

impl ExecutionPlan for Shield {
    fn name(&self) -> &'static str {
        "Shield"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.node.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.node.children()
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let node = Arc::clone(&self.node).replace_children(children, options)?;
        Ok(Arc::new(Self { node }))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(
            children,
            ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute),
        )
    }

    fn execute(
        &self,
        _partition: usize,
        _context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        exec_err!("a planner wrapper cannot run")
    }
}
