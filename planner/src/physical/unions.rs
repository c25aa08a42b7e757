//! Casts the inputs of a union to its types.
//!
//! DataFusion 55.2: if the types of nested lists differ (`List` and `LargeList` below a list), the
//! inputs of a UNION are not cast to one type. In one process every batch keeps its own type.
//! Between machines the rows are read as the type of the union, and the inner lists are empty.
//! [`UnionTypes`] casts the inputs that differ.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{CastExpr, Column};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::union::UnionExec;

/// The physical rule; see the [module](self).
#[derive(Debug)]
pub(super) struct UnionTypes;

impl PhysicalOptimizerRule for UnionTypes {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let cast = plan.transform_up(|node| {
            if !node.is::<UnionExec>() {
                return Ok(Transformed::no(node));
            }
            let mut changed = false;
            let mut inputs = Vec::with_capacity(node.children().len());
            for input in node.children() {
                let cast = cast(input, node.as_ref())?;
                changed |= cast.is_some();
                inputs.push(cast.unwrap_or_else(|| Arc::clone(input)));
            }
            if !changed {
                return Ok(Transformed::no(node));
            }
            Ok(Transformed::yes(replace_children_if_necessary(node, inputs)?))
        })?;
        Ok(cast.data)
    }

    fn name(&self) -> &'static str {
        "union_types"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// `input` cast to the types of `union`; `None` if it has them.
fn cast(
    input: &Arc<dyn ExecutionPlan>,
    union: &dyn ExecutionPlan,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let (from, to) = (input.schema(), union.schema());
    let pairs = from.fields().iter().zip(to.fields());
    if pairs.clone().all(|(from, to)| from.data_type().equals_datatype(to.data_type())) {
        return Ok(None);
    }
    let columns = pairs.enumerate().map(|(index, (from, to))| {
        let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(from.name(), index));
        let expr = if from.data_type().equals_datatype(to.data_type()) {
            column
        } else {
            Arc::new(CastExpr::new(column, to.data_type().clone(), None))
        };
        ProjectionExpr { expr, alias: from.name().clone() }
    });
    Ok(Some(Arc::new(ProjectionExec::try_new(columns, Arc::clone(input))?)))
}
