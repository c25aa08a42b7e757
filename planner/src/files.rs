//! Assigns the files of a scan to the tasks of a stage. The engine registers [`spread_files`] with
//! datafusion-distributed, in place of its default handler.
//!
//! The default handler splits every file by byte ranges, even where the format cannot be read from
//! the middle: compressed text, CSV with line breaks inside values, Avro. It also gives up when the
//! files do not divide evenly. This handler asks the file source first, assigns whole files where
//! the source cannot split them, and pads with empty groups.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use datafusion::datasource::memory::DataSourceExec;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig};
use datafusion::error::Result;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use datafusion_distributed::{
    DistributedLeafExec, ScaleUpLeafNodeEvent, ScaleUpLeafNodeEventResponse,
};

/// Splits a file scan into `event.task_count` tasks. Other leaves are left to the next handler.
pub fn spread_files(
    event: ScaleUpLeafNodeEvent<'_>,
) -> Option<Result<ScaleUpLeafNodeEventResponse>> {
    let scan = file_scan(event.plan.as_ref())?;
    if event.task_count <= 1 {
        return Some(Ok(ScaleUpLeafNodeEventResponse::new(Arc::clone(event.plan))));
    }
    Some(spread(event.plan, scan, event.task_count).map(ScaleUpLeafNodeEventResponse::new))
}

/// The file scan of a leaf, if it is one.
pub(crate) fn file_scan(plan: &dyn ExecutionPlan) -> Option<&FileScanConfig> {
    plan.downcast_ref::<DataSourceExec>()?.data_source().downcast_ref::<FileScanConfig>()
}

/// True if the files can be read from the middle.
pub(crate) fn can_split(scan: &FileScanConfig) -> bool {
    // The source answers by splitting; two parts of any size are enough to know.
    split(scan, 2 * scan.file_groups.len().max(1), false).is_some()
}

fn split(scan: &FileScanConfig, groups: usize, ordered: bool) -> Option<Vec<FileGroup>> {
    let order = if ordered { scan.output_ordering.first().cloned() } else { None };
    let split = scan.file_source.repartitioned(groups, 0, order, scan).ok()??;
    Some(split.file_groups)
}

fn spread(
    plan: &Arc<dyn ExecutionPlan>,
    scan: &FileScanConfig,
    tasks: usize,
) -> Result<Arc<dyn ExecutionPlan>> {
    let partitions = plan.output_partitioning().partition_count();
    let ordered = plan.output_ordering().is_some();
    // Files grouped by key stay whole. The grouping is lost anyway, but a file that may be joined
    // to others by position must not be split.
    let keyed = scan.output_partitioning.is_some();
    let groups = match split(scan, partitions * tasks, ordered).filter(|_| !keyed) {
        Some(groups) => groups,
        None if ordered => scan.file_groups.clone(),
        None => whole_files(scan, partitions * tasks),
    };
    let per_task = groups.len().div_ceil(tasks).max(partitions);
    let mut shares: Vec<Vec<FileGroup>> = vec![Vec::with_capacity(per_task); tasks];
    for (index, group) in groups.into_iter().enumerate() {
        shares[index % tasks].push(group);
    }
    let variants = shares.into_iter().map(|mut share| {
        share.resize(per_task, FileGroup::new(Vec::new()));
        let mut scan = scan.clone();
        scan.file_groups = share;
        scan.output_partitioning = None;
        if !ordered {
            // With fewer files in a group, an order could be valid in one task and not in another.
            scan.output_ordering.clear();
        }
        DataSourceExec::from_data_source(scan) as Arc<dyn ExecutionPlan>
    });
    Ok(Arc::new(DistributedLeafExec::try_new(Arc::clone(plan), variants)?))
}

/// All files in `count` groups of about equal size, largest files first.
fn whole_files(scan: &FileScanConfig, count: usize) -> Vec<FileGroup> {
    let mut files: Vec<_> = scan.file_groups.iter().flat_map(FileGroup::iter).cloned().collect();
    files.sort_by_key(|file| Reverse(file.effective_size()));
    let mut groups = vec![Vec::new(); count.max(1)];
    let mut smallest: BinaryHeap<_> = (0..groups.len()).map(|index| Reverse((0, index))).collect();
    for file in files {
        if let Some(Reverse((size, index))) = smallest.pop() {
            smallest.push(Reverse((size + file.effective_size(), index)));
            groups[index].push(file);
        }
    }
    groups.into_iter().map(FileGroup::new).collect()
}
