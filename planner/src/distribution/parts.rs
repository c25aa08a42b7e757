//! The parts that a plan is cut into, and what they are called in messages.

use std::fmt;
use std::sync::Arc;

use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};

use super::TaskDistribution;

/// What an operator runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parts {
    /// Tasks of a stage of a query. Each runs all partitions of the operator.
    Tasks(usize),
    /// Shards of a slice, whose number is not known yet. Each runs one partition of the operator.
    Shards,
}

impl Parts {
    /// Whether the operator sees all rows of the query in one partition.
    pub(super) fn see_all(
        self,
        plan: &Arc<dyn ExecutionPlan>,
        distribution: TaskDistribution,
    ) -> bool {
        let single = distribution == TaskDistribution::Single;
        match self {
            Self::Tasks(_) => single && plan.output_partitioning().partition_count() == 1,
            Self::Shards => single,
        }
    }
}

impl fmt::Display for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tasks(count) => write!(f, "{count} tasks"),
            Self::Shards => f.write_str("several shards"),
        }
    }
}
