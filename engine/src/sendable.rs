//! Whether a plan can be sent to machines at all. A table of the embedding program may scan by a
//! node that only this process knows, and a table that was made here may be too large to travel
//! with each task's plan; such a plan runs here, uncut. Asked by [`cut`](crate::cut).

use std::sync::Arc;

use datafusion::datasource::memory::{DataSourceExec, MemorySourceConfig};
use datafusion::physical_plan::ExecutionPlan;
use datafusion_distributed::{DistributedExec, DistributedLeafExec, NetworkBoundaryExt};
use datafusion_proto::bytes::physical_plan_to_bytes_with_extension_codec;

use crate::codec::PlanCodec;

/// Bytes of a table in this process's memory that may travel with a plan: a message holds 64 MiB,
/// and each task of a broadcast gets its own copy.
const TABLE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Why a cut plan cannot be sent, if it cannot.
pub(crate) fn obstacle(plan: &Arc<dyn ExecutionPlan>) -> Option<String> {
    let mut open = vec![(plan, false)];
    while let Some((node, sent)) = open.pop() {
        let children = node.children();
        if sent && children.is_empty() {
            if let Some(obstacle) = obstacle_of_leaf(node) {
                return Some(obstacle);
            }
            continue;
        }
        let sent = sent || node.is_network_boundary();
        open.extend(children.into_iter().map(|child| (child, sent)));
    }
    None
}

fn obstacle_of_leaf(leaf: &Arc<dyn ExecutionPlan>) -> Option<String> {
    // Its parts are scans that the cut has split, which it does to those it knows how to send.
    if leaf.is::<DistributedLeafExec>()
        || leaf.is::<DistributedExec>()
        || leaf.is_network_boundary()
    {
        return None;
    }
    if let Some(scan) = leaf.downcast_ref::<DataSourceExec>() {
        let table = scan.data_source().downcast_ref::<MemorySourceConfig>()?;
        let batches = table.partitions().iter().flatten();
        let bytes: usize = batches.map(|batch| batch.get_array_memory_size()).sum();
        return (bytes > TABLE_BYTES_MAX).then(|| {
            format!("a table of {} MiB is in the memory of this process alone", bytes >> 20)
        });
    }
    let encoded =
        physical_plan_to_bytes_with_extension_codec(Arc::clone(leaf), &PlanCodec::default());
    encoded.err().map(|_| format!("\"{}\" is known to this process alone", leaf.name()))
}
