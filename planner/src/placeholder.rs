//! A placeholder node that only supplies plan properties and never runs: an exchange copies the
//! properties of its input when it is built.

use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};

/// The placeholder; see the [module](self).
#[derive(Debug)]
pub(crate) struct Placeholder(Arc<PlanProperties>);

impl Placeholder {
    /// The partitioning and orders of `plan`, without its constant columns.
    pub(crate) fn without_constants(plan: &Arc<dyn ExecutionPlan>) -> Self {
        let known = plan.properties().equivalence_properties();
        let orders = known.oeq_class().iter().cloned();
        let bare = EquivalenceProperties::new_with_orderings(plan.schema(), orders);
        let mut properties = PlanProperties::clone(plan.properties());
        properties.set_eq_properties(bare);
        Self(Arc::new(properties))
    }
}

impl DisplayAs for Placeholder {
    fn fmt_as(&self, _kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Placeholder")
    }
}

impl ExecutionPlan for Placeholder {
    fn name(&self) -> &'static str {
        "Placeholder"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.0
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(
        &self,
        _partition: usize,
        _context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        internal_err!("a placeholder for plan properties cannot run")
    }
}
