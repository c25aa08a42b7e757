//! Scans of files over the tasks of a stage: how many tasks they are worth, and the files of each.
//! Two handlers of the exchange, for all scans of files, sealed or not.
//!
//! The exchange's own rule cuts files that cannot be cut, and fails where the parts do not come out
//! even.

use std::sync::Arc;

use datafusion::datasource::physical_plan::{FileGroup, FileGroupPartitioner, FileScanConfig};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use datafusion_distributed::{
    DesiredTaskCountEvent, DesiredTaskCountEventResponse, DistributedConfig, DistributedLeafExec,
    ScaleUpLeafNodeEvent, ScaleUpLeafNodeEventResponse,
};

use crate::scan::file_scan;
use crate::scan::sealed::SealedScan;

/// How many tasks a scan is worth. One that is sealed: as many as its bytes, but not more than its
/// files where these are read whole. One that has taken over the whole limit of a query: one, or
/// each task would give as many rows as all of them may. Any other: what the exchange says.
pub fn sealed_scan_tasks(
    event: DesiredTaskCountEvent<'_>,
) -> Option<Result<DesiredTaskCountEventResponse>> {
    let sealed = event.plan.downcast_ref::<SealedScan>();
    let scan = match sealed {
        Some(sealed) => sealed.scan()?,
        None => file_scan(event.plan)?,
    };
    if scan.limit.is_some() && event.plan.output_partitioning().partition_count() <= 1 {
        return Some(Ok(DesiredTaskCountEventResponse::maximum(1)));
    }
    let whole = sealed?.is_whole();
    let config = DistributedConfig::from_session_config(event.session_config).ok()?;
    let files: Vec<u64> = scan.file_groups.iter().flat_map(|g| g.iter()).map(bytes).collect();
    let partitions = usize::try_from(files.iter().sum::<u64>())
        .unwrap_or(usize::MAX)
        .div_ceil(config.file_scan_config_bytes_per_partition.max(1))
        .min(if whole { files.len() } else { usize::MAX });
    let tasks = partitions.div_ceil(event.session_config.target_partitions().max(1)).max(1);
    Some(Ok(DesiredTaskCountEventResponse::desired(tasks)))
}

/// Deals the files of any scan out to tasks.
pub fn sealed_scan_scale_up(
    event: ScaleUpLeafNodeEvent<'_>,
) -> Option<Result<ScaleUpLeafNodeEventResponse>> {
    let sealed = event.plan.downcast_ref::<SealedScan>();
    let scan = match sealed {
        Some(sealed) => sealed.scan()?,
        None => file_scan(event.plan)?,
    };
    if scan.output_partitioning.is_some() {
        // Which file is in which partition has a meaning that only the exchange's rule keeps.
        return None;
    }
    let partitions = event.plan.output_partitioning().partition_count().max(1);
    let shares =
        shares(scan, sealed.is_some_and(SealedScan::is_whole), partitions, event.task_count.max(1));
    let plans = shares.into_iter().map(|file_groups| -> Arc<dyn ExecutionPlan> {
        let mut share = scan.clone();
        share.file_groups = file_groups;
        match sealed {
            Some(sealed) => Arc::new(sealed.with_scan(share)),
            None => DataSourceExec::from_data_source(share),
        }
    });
    let leaf = DistributedLeafExec::try_new(Arc::clone(event.plan), plans);
    Some(leaf.map(|leaf| ScaleUpLeafNodeEventResponse::new(Arc::new(leaf))))
}

/// The groups of files of each task: as many groups for one task as for another.
fn shares(
    scan: &FileScanConfig,
    whole: bool,
    partitions: usize,
    tasks: usize,
) -> Vec<Vec<FileGroup>> {
    let ordered = !scan.output_ordering.is_empty();
    let groups = if whole || !scan.file_source().supports_repartitioning() {
        dealt(scan, ordered, partitions * tasks)
    } else {
        FileGroupPartitioner::new()
            .with_target_partitions(partitions * tasks)
            .with_repartition_file_min_size(0)
            .with_preserve_order_within_groups(ordered)
            .repartition_file_groups(&scan.file_groups)
            .unwrap_or_else(|| scan.file_groups.clone())
    };
    let each = groups.len().div_ceil(tasks).max(1);
    let mut shares: Vec<Vec<FileGroup>> = vec![Vec::with_capacity(each); tasks];
    for (at, group) in groups.into_iter().enumerate() {
        shares[at % tasks].push(group);
    }
    for share in &mut shares {
        share.resize_with(each, FileGroup::default);
    }
    shares
}

/// Whole files in groups of about the same size. Where an order was declared the groups stay.
fn dealt(scan: &FileScanConfig, ordered: bool, target: usize) -> Vec<FileGroup> {
    if ordered {
        return scan.file_groups.clone();
    }
    let mut files: Vec<_> = scan.file_groups.iter().flat_map(|g| g.iter()).cloned().collect();
    files.sort_by_key(|file| std::cmp::Reverse(bytes(file)));
    let mut groups: Vec<(u64, FileGroup)> = vec![(0, FileGroup::default()); target.max(1)];
    for file in files {
        if let Some((size, group)) = groups.iter_mut().min_by_key(|(size, _)| *size) {
            *size += bytes(&file);
            group.push(file);
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

fn bytes(file: &datafusion::datasource::listing::PartitionedFile) -> u64 {
    file.effective_size()
}
