//! Ways to run a query with less memory than usual, each slower than the one before. Chosen by
//! [`attempt`](crate::attempt) when an attempt has run out of memory, for the next one.

use std::sync::Arc;

use datafusion::execution::session_state::SessionState;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::repartition::RepartitionExec;

/// How sparing an attempt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Thrift {
    /// Not at all: as fast as it goes.
    Usual,
    /// Joins sort and merge both sides, which can spill, instead of holding one in a hash table,
    /// which cannot.
    SpillingJoins,
    /// As few partitions as are right, so that each operator may hold more.
    FewPartitions,
}

impl Thrift {
    /// What is done, for a line in the log.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Usual => "as it was",
            Self::SpillingJoins => "with joins that spill",
            Self::FewPartitions => "with fewer partitions",
        }
    }

    /// Plans with `state` will be this sparing.
    pub(crate) fn apply(self, state: &mut SessionState, has_machines: bool) {
        let options = state.config_mut().options_mut();
        match self {
            Self::Usual => {}
            Self::SpillingJoins => options.optimizer.prefer_hash_join = false,
            // Over machines a plan of one partition may not be cut.
            Self::FewPartitions => {
                options.optimizer.prefer_hash_join = false;
                options.execution.target_partitions = if has_machines { 2 } else { 1 };
            }
        }
    }

    /// What may help when `plan`, made with this thrift, has run out of memory.
    pub(crate) fn instead(self, plan: &Arc<dyn ExecutionPlan>) -> Option<Self> {
        let joins = any(plan, |node| node.is::<HashJoinExec>());
        let parts = any(plan, |node| node.is::<RepartitionExec>());
        match self {
            Self::Usual if joins => Some(Self::SpillingJoins),
            Self::Usual | Self::SpillingJoins if parts => Some(Self::FewPartitions),
            _ => None,
        }
    }
}

/// True when a node of the plan, in any of its stages, is what is looked for.
fn any(plan: &Arc<dyn ExecutionPlan>, is: impl Fn(&dyn ExecutionPlan) -> bool) -> bool {
    let mut open = vec![plan];
    while let Some(node) = open.pop() {
        if is(node.as_ref()) {
            return true;
        }
        open.extend(node.children());
    }
    false
}
