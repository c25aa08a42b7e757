//! How many tasks a [`Scan`] is worth, and its share for each of them: the two questions that the
//! distributed planner asks about a leaf it does not know.

use std::sync::Arc;

use datafusion::{
    common::{Result, internal_err},
    physical_plan::ExecutionPlan,
};
use datafusion_distributed::{
    DesiredTaskCountEvent, DesiredTaskCountEventResponse, DistributedConfig, DistributedLeafExec,
    ScaleUpLeafNodeEvent, ScaleUpLeafNodeEventResponse,
};

use super::scan::Scan;

/// The number of tasks a scan wants, by the same rule as a scan of files: bytes, divided by what a
/// partition should read, divided by the partitions of a task.
pub(crate) fn desired_task_count(
    event: DesiredTaskCountEvent<'_>,
) -> Option<Result<DesiredTaskCountEventResponse>> {
    let scan = event.plan.downcast_ref::<Scan>()?;
    let config = DistributedConfig::from_session_config(event.session_config).ok()?;
    let partitions = scan
        .byte_count()
        .div_ceil(config.file_scan_config_bytes_per_partition.max(1))
        .min(scan.partition_count_max());
    let tasks = partitions.div_ceil(event.session_config.target_partitions().max(1));
    Some(Ok(DesiredTaskCountEventResponse::desired(tasks.max(1))))
}

/// Splits a scan of a whole table into one scan for each task.
pub(crate) fn scale_up_leaf(
    event: ScaleUpLeafNodeEvent<'_>,
) -> Option<Result<ScaleUpLeafNodeEventResponse>> {
    let scan = event.plan.downcast_ref::<Scan>()?;
    Some(split(scan, event.plan, event.task_count))
}

fn split(
    scan: &Scan,
    plan: &Arc<dyn ExecutionPlan>,
    task_count: usize,
) -> Result<ScaleUpLeafNodeEventResponse> {
    let Some(shares) = scan.split(task_count)? else {
        return internal_err!("a scan of a part of a table cannot be split over tasks again");
    };
    let shares = shares.into_iter().map(|share| Arc::new(share) as Arc<dyn ExecutionPlan>);
    let leaf = DistributedLeafExec::try_new(Arc::clone(plan), shares)?;
    Ok(ScaleUpLeafNodeEventResponse::new(Arc::new(leaf)))
}
