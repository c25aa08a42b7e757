//! Strategies to run a query with less memory, each slower than the one before. After an attempt
//! ran out of memory, [`attempt`](crate::query::attempt) chooses one for the next attempt.

use std::sync::Arc;

use bigslice_planner::LargeLimits;
use datafusion::config::ConfigNonZeroUsize;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::{HashJoinExec, SortMergeJoinExec};
use datafusion::physical_plan::sorts::sort::SortExec;

use crate::base::memory::compact_views::CompactViews;

/// The memory strategy of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemoryStrategy {
    /// As fast as possible.
    Usual,
    /// Joins sort and merge both sides, which can spill, instead of building a hash table from one,
    /// which cannot. A sort with a limit sorts all rows instead of keeping the first ones.
    Spilling,
    /// As few partitions as possible, so that each operator may hold more, and small batches, so
    /// that rows in flight take less.
    Least {
        /// True if the query joins: with one partition, DataFusion always plans hash tables.
        joins: bool,
    },
}

/// Rows per batch in [`MemoryStrategy::Least`]: a merge of sorted files holds two batches of each
/// file, and rows may be wide.
const ROWS_LEAST: usize = 128;

impl MemoryStrategy {
    /// A description for the log.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Usual => "as it was",
            Self::Spilling => "with joins and limits that spill",
            Self::Least { .. } => "with fewer partitions and small batches",
        }
    }

    /// Applies the strategy to plans made with `state`.
    pub(crate) fn apply(self, state: &mut SessionState, has_machines: bool) {
        if self == Self::Usual {
            return;
        }
        let id = state.session_id().to_owned();
        *state = SessionStateBuilder::new_from_existing(state.clone())
            .with_session_id(id)
            .with_physical_optimizer_rule(Arc::new(LargeLimits::over(0)))
            .with_physical_optimizer_rule(Arc::new(CompactViews::BelowKeepers))
            .build();
        let options = state.config_mut().options_mut();
        options.optimizer.prefer_hash_join = false;
        if let Self::Least { joins } = self {
            // A plan of one partition cannot be distributed.
            let partitions = if has_machines || joins { 2 } else { 1 };
            options.execution.target_partitions = partitions;
            if let Ok(rows) = ConfigNonZeroUsize::try_new(ROWS_LEAST) {
                options.execution.batch_size = rows;
            }
        }
    }

    /// What may help when `plan`, made with this strategy, has run out of memory.
    pub(crate) fn instead(self, plan: &Arc<dyn ExecutionPlan>) -> Option<Self> {
        let hashes = any(plan, |node| node.is::<HashJoinExec>());
        let limited = any(plan, |node| {
            node.downcast_ref::<SortExec>().is_some_and(|sort| sort.fetch().is_some())
        });
        let joins = hashes || any(plan, |node| node.is::<SortMergeJoinExec>());
        match self {
            Self::Usual if hashes || limited => Some(Self::Spilling),
            Self::Usual | Self::Spilling => Some(Self::Least { joins }),
            Self::Least { .. } => None,
        }
    }
}

/// True if `is` holds for a node of the plan, in any of its stages.
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
