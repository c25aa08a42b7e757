//! Rules of DataFusion that are kept away from some operators.
//!
//! [`Apart`] runs a rule on a plan in which these operators stand behind a [`Screen`]: the rule sees their columns,
//! orders and partitions, and nothing that it could change. Afterwards the screens are taken off.

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

/// What a rule may do with what is below an operator that it is kept away from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Below {
    /// The rule goes on below it as if the operator were not known to it.
    GoesOn,
    /// The rule runs on each input of the operator by itself.
    ByItself,
}

/// A rule that is kept away from some operators.
#[derive(Debug)]
pub(super) struct Apart {
    rule: Arc<dyn PhysicalOptimizerRule + Send + Sync>,
    below: Below,
    keeps_away: fn(&dyn ExecutionPlan) -> bool,
}

impl Apart {
    /// `rule`, kept away from the operators that `keeps_away` says.
    pub(super) fn new(
        rule: Arc<dyn PhysicalOptimizerRule + Send + Sync>,
        below: Below,
        keeps_away: fn(&dyn ExecutionPlan) -> bool,
    ) -> Self {
        Self { rule, below, keeps_away }
    }

    fn run(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if self.below == Below::ByItself && (self.keeps_away)(plan.as_ref()) {
            return self.inputs(plan, config);
        }
        let mut found = false;
        let screened = plan.map_children(|child| self.screened(child, config, &mut found))?.data;
        let optimized = self.rule.optimize(screened, config)?;
        if found { unscreened(optimized) } else { Ok(optimized) }
    }

    /// The rule on each input of `plan`.
    fn inputs(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(plan.map_children(|input| Ok(Transformed::yes(self.run(input, config)?)))?.data)
    }

    fn screened(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
        found: &mut bool,
    ) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
        if !(self.keeps_away)(plan.as_ref()) {
            return plan.map_children(|child| self.screened(child, config, found));
        }
        *found = true;
        let screen = match self.below {
            Below::ByItself => Screen { plan: self.inputs(plan, config)?, is_leaf: true },
            Below::GoesOn => {
                let plan = plan.map_children(|child| self.screened(child, config, found))?.data;
                Screen { plan, is_leaf: false }
            }
        };
        Ok(Transformed::yes(Arc::new(screen)))
    }
}

/// The plan without its screens.
fn unscreened(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let plain = plan.transform_down(|node| match node.downcast_ref::<Screen>() {
        // What is behind a leaf was unscreened when the rule ran on it.
        Some(screen) if screen.is_leaf => {
            Ok(Transformed::new(Arc::clone(&screen.plan), true, TreeNodeRecursion::Jump))
        }
        Some(screen) => Ok(Transformed::yes(Arc::clone(&screen.plan))),
        None => Ok(Transformed::no(node)),
    })?;
    Ok(plain.data)
}

impl PhysicalOptimizerRule for Apart {
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

/// An operator that a rule does not recognise.
#[derive(Debug)]
struct Screen {
    plan: Arc<dyn ExecutionPlan>,
    /// Nothing is to be seen below it.
    is_leaf: bool,
}

impl DisplayAs for Screen {
    fn fmt_as(&self, kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Screen: ")?;
        self.plan.fmt_as(kind, f)
    }
}

impl ExecutionPlan for Screen {
    fn name(&self) -> &'static str {
        "Screen"
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
        internal_err!("a screen stands in a plan that is run")
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
