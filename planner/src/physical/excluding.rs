//! Runs a DataFusion rule on a plan while hiding some operators from it.
//!
//! [`Excluding`] runs the rule on a plan in which these operators are wrapped in [`Opaque`]: the
//! rule sees their columns, orders and partitions, but cannot change them. Afterwards they are
//! unwrapped.

use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, Statistics, internal_err};
use datafusion::config::ConfigOptions;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{OrderingRequirements, PhysicalExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::statistics::{ChildStats, StatisticsArgs};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, InputDistributionRequirements, PlanProperties,
};

/// How a rule treats the inputs of an excluded operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Below {
    /// The rule optimizes through the excluded operator, as an operator of unknown type.
    Through,
    /// The rule runs on each input of the operator separately.
    Separately,
}

/// A rule that does not see some operators.
#[derive(Debug)]
pub(super) struct Excluding {
    rule: Arc<dyn PhysicalOptimizerRule + Send + Sync>,
    below: Below,
    excludes: fn(&dyn ExecutionPlan) -> bool,
}

impl Excluding {
    /// `rule`, without the operators for which `excludes` is true.
    pub(super) fn new(
        rule: Arc<dyn PhysicalOptimizerRule + Send + Sync>,
        below: Below,
        excludes: fn(&dyn ExecutionPlan) -> bool,
    ) -> Self {
        Self { rule, below, excludes }
    }

    fn run(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if self.below == Below::Separately && (self.excludes)(plan.as_ref()) {
            return self.inputs(plan, config);
        }
        let mut found = false;
        let wrapped = plan.map_children(|child| self.wrapped(child, config, &mut found))?.data;
        let optimized = self.rule.optimize(wrapped, config)?;
        if found { unwrapped(optimized) } else { Ok(optimized) }
    }

    /// Runs the rule on each input of `plan`.
    fn inputs(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(plan.map_children(|input| Ok(Transformed::yes(self.run(input, config)?)))?.data)
    }

    fn wrapped(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
        found: &mut bool,
    ) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
        if !(self.excludes)(plan.as_ref()) {
            return plan.map_children(|child| self.wrapped(child, config, found));
        }
        *found = true;
        let opaque = match self.below {
            Below::Separately => Opaque { plan: self.inputs(plan, config)?, is_leaf: true },
            Below::Through => {
                let plan = plan.map_children(|child| self.wrapped(child, config, found))?.data;
                Opaque { plan, is_leaf: false }
            }
        };
        Ok(Transformed::yes(Arc::new(opaque)))
    }
}

/// Unwraps the excluded operators.
fn unwrapped(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let plain = plan.transform_down(|node| match node.downcast_ref::<Opaque>() {
        // The operator below a leaf was unwrapped when the rule ran on it.
        Some(opaque) if opaque.is_leaf => {
            Ok(Transformed::new(Arc::clone(&opaque.plan), true, TreeNodeRecursion::Jump))
        }
        Some(opaque) => Ok(Transformed::yes(Arc::clone(&opaque.plan))),
        None => Ok(Transformed::no(node)),
    })?;
    Ok(plain.data)
}

impl PhysicalOptimizerRule for Excluding {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.run(plan, config)
    }

    fn name(&self) -> &str {
        self.rule.name()
    }

    fn schema_check(&self) -> bool {
        self.rule.schema_check()
    }
}

/// A wrapper that hides an operator from a rule.
#[derive(Debug)]
struct Opaque {
    plan: Arc<dyn ExecutionPlan>,
    /// True if the wrapper hides its inputs.
    is_leaf: bool,
}

impl DisplayAs for Opaque {
    fn fmt_as(&self, kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opaque: ")?;
        self.plan.fmt_as(kind, f)
    }
}

impl ExecutionPlan for Opaque {
    fn name(&self) -> &'static str {
        "Opaque"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.plan.properties()
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        if self.is_leaf {
            InputDistributionRequirements::new(Vec::new())
        } else {
            self.plan.input_distribution_requirements()
        }
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        if self.is_leaf { Vec::new() } else { self.plan.required_input_ordering() }
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        if self.is_leaf { Vec::new() } else { self.plan.maintains_input_order() }
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        if self.is_leaf { Vec::new() } else { self.plan.benefits_from_input_partitioning() }
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        if self.is_leaf { Vec::new() } else { self.plan.children() }
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.plan.apply_expressions(visit)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if self.is_leaf {
            return Ok(self);
        }
        let plan = replace_children_if_necessary(Arc::clone(&self.plan), children)?;
        Ok(Arc::new(Self { plan, is_leaf: false }))
    }

    fn execute(
        &self,
        _partition: usize,
        _context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        internal_err!("a planner wrapper cannot run")
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        if self.is_leaf { Vec::new() } else { self.plan.child_stats_requests(partition) }
    }

    fn statistics_from_inputs(
        &self,
        inputs: &[Arc<Statistics>],
        args: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        if self.is_leaf {
            return Ok(Arc::new(Statistics::new_unknown(&self.schema())));
        }
        self.plan.statistics_from_inputs(inputs, args)
    }
}
