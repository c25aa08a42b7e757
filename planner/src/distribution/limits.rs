//! Limits that each partition or task applied to its own rows, until a limit sees all rows.

use std::sync::Arc;

use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};

use super::operators::{is_transparent, is_union};
use super::{RowProperties, Undistributable};

/// The limit that is pending above an operator: one of its inputs', unless the operator settles
/// it, or its own. `sees_all` says whether it sees all rows in one partition.
pub(super) fn pending(
    plan: &Arc<dyn ExecutionPlan>,
    inputs: &[RowProperties],
    sees_all: bool,
) -> Result<Option<usize>, Undistributable> {
    let below = inputs.iter().filter_map(|input| input.pending_limit).min();
    if let Some(limit) = below {
        if sees_all && rows_read(plan).is_some_and(|rows| rows <= limit) {
            return Ok(None);
        }
        if !may_follow_limit(plan.as_ref()) {
            return Err(Undistributable::because(limit_is_pending(limit)));
        }
    }
    let own = plan.fetch().filter(|_| !sees_all);
    Ok(below.into_iter().chain(own).min())
}

/// Why nothing else may read rows to which only a limit of each part was applied.
pub(crate) fn limit_is_pending(limit: usize) -> String {
    format!("would see up to {limit} rows of each part where the query asks for {limit} in all")
}

/// Whether an operator may stand between a limit that each part applied by itself and the one that
/// counts: it must give a row for each that it gets. A sort may only if it has a limit, too, for
/// else it would sort rows that were chosen in another order. (Below a window function DataFusion
/// puts limits that leave room for its frame.)
fn may_follow_limit(node: &dyn ExecutionPlan) -> bool {
    is_transparent(node)
        || is_union(node)
        || node.is::<LocalLimitExec>()
        || node.is::<WindowAggExec>()
        || node.is::<BoundedWindowAggExec>()
        || (node.is::<SortExec>() && node.fetch().is_some())
}

/// How many rows of its input an operator needs, when it stops after some.
fn rows_read(plan: &Arc<dyn ExecutionPlan>) -> Option<usize> {
    if let Some(limit) = plan.downcast_ref::<GlobalLimitExec>() {
        return limit.fetch().map(|fetch| fetch.saturating_add(limit.skip()));
    }
    if plan.is::<CoalescePartitionsExec>()
        || plan.is::<SortPreservingMergeExec>()
        || plan.is::<SortExec>()
        || plan.is::<LocalLimitExec>()
        || plan.is::<ProjectionExec>()
    {
        return plan.fetch();
    }
    None
}
