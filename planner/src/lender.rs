//! A node that is never run: it lends its properties to an exchange, which takes them from its input
//! when it is made.

use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};

/// The node.
#[derive(Debug)]
pub(crate) struct Lender(Arc<PlanProperties>);

impl Lender {
    /// The partitions and orders of `plan`, and nothing of its columns that have one value.
    pub(crate) fn without_constants(plan: &Arc<dyn ExecutionPlan>) -> Self {
        let known = plan.properties().equivalence_properties();
        let orders = known.oeq_class().iter().cloned();
        let bare = EquivalenceProperties::new_with_orderings(plan.schema(), orders);
        let mut properties = PlanProperties::clone(plan.properties());
        properties.set_eq_properties(bare);
        Self(Arc::new(properties))
    }
}

impl DisplayAs for Lender {
    fn fmt_as(&self, _kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lender")
    }
}

impl ExecutionPlan for Lender {
    fn name(&self) -> &'static str {
        "Lender"
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
        internal_err!("a lender stands in a plan that is run")
    }
}
