//! Distributes scans of runs over the tasks of a stage: how many tasks, what each reads, and on
//! which machine. Three handlers for datafusion-distributed.

use std::sync::Arc;

use datafusion::common::{Result, internal_err};
use datafusion::physical_plan::ExecutionPlan;
use datafusion_distributed::{
    DesiredTaskCountEvent, DesiredTaskCountEventResponse, DistributedConfig, DistributedLeafExec,
    NetworkBoundaryExt, RouteTasksEvent, RouteTasksEventResponse, ScaleUpLeafNodeEvent,
    ScaleUpLeafNodeEventResponse, get_distributed_worker_resolver,
};
use url::Url;

use crate::runs::job::table::scan::RunScan;

/// The number of tasks for the bytes of a scan, by the same rule as for a scan of files; at most
/// one partition for each block.
pub(crate) fn run_scan_tasks(
    event: DesiredTaskCountEvent<'_>,
) -> Option<Result<DesiredTaskCountEventResponse>> {
    let scan = event.plan.downcast_ref::<RunScan>()?;
    let Some(bytes) = scan.bytes() else {
        return Some(Ok(DesiredTaskCountEventResponse::maximum(1)));
    };
    let config = DistributedConfig::from_session_config(event.session_config).ok()?;
    let partitions = usize::try_from(bytes)
        .unwrap_or(usize::MAX)
        .div_ceil(config.file_scan_config_bytes_per_partition.max(1))
        .min(scan.blocks());
    let tasks = partitions.div_ceil(event.session_config.target_partitions().max(1));
    Some(Ok(DesiredTaskCountEventResponse::desired(tasks.max(1))))
}

/// Splits a scan of a whole run into one scan for each task.
pub(crate) fn run_scan_scale_up(
    event: ScaleUpLeafNodeEvent<'_>,
) -> Option<Result<ScaleUpLeafNodeEventResponse>> {
    let scan = event.plan.downcast_ref::<RunScan>()?;
    scan.bytes()?;
    Some(split(scan, event.plan, event.task_count))
}

fn split(
    scan: &RunScan,
    plan: &Arc<dyn ExecutionPlan>,
    tasks: usize,
) -> Result<ScaleUpLeafNodeEventResponse> {
    let Some(shares) = scan.split(tasks)? else {
        return internal_err!("a scan of a part of a run cannot be split again");
    };
    let shares = shares.into_iter().map(|share| Arc::new(share) as Arc<dyn ExecutionPlan>);
    let leaf = DistributedLeafExec::try_new(Arc::clone(plan), shares)?;
    Ok(ScaleUpLeafNodeEventResponse::new(Arc::new(leaf)))
}

/// Routes the tasks of a stage that reads a run to the machines of its shards, if the query uses
/// them. `None` for any other stage.
pub(crate) fn run_scan_route(
    event: RouteTasksEvent<'_>,
) -> Option<Result<RouteTasksEventResponse>> {
    let RouteTasksEvent { task_ctx, plan, task_count, .. } = event;
    let homes = homes(plan, task_count)?;
    let machines = get_distributed_worker_resolver(task_ctx.session_config());
    match machines.and_then(|machines| machines.get_urls()) {
        Ok(machines) => Some(Ok(RouteTasksEventResponse::new(placed(&homes, machines)?))),
        Err(error) => Some(Err(error)),
    }
}

/// For each task of the stage, the address of the machine that it should run on.
fn homes(stage: &Arc<dyn ExecutionPlan>, tasks: usize) -> Option<Vec<Option<String>>> {
    let mut open = vec![stage];
    while let Some(node) = open.pop() {
        if let Some(leaf) = node.downcast_ref::<DistributedLeafExec>() {
            let scans = leaf.variants().iter().map(|scan| scan.downcast_ref::<RunScan>());
            let homes = scans.map(|scan| Some(scan?.home().map(str::to_owned)));
            match homes.collect::<Option<Vec<_>>>() {
                Some(homes) if homes.len() == tasks => return Some(homes),
                _ => continue,
            }
        }
        if !node.is_network_boundary() {
            open.extend(node.children());
        }
    }
    None
}

/// A machine for each task: its home if that is among `machines`, another otherwise. `None` if
/// there are no machines.
fn placed(homes: &[Option<String>], machines: Vec<Url>) -> Option<Vec<Url>> {
    let (taken, free): (Vec<_>, Vec<_>) =
        machines.iter().cloned().partition(|url| homes.iter().flatten().any(|h| h == url.as_str()));
    let others = if free.is_empty() { machines } else { free };
    let mut others = others.into_iter().cycle();
    let place = |home: &Option<String>| {
        let own = home.as_ref().and_then(|home| taken.iter().find(|url| url.as_str() == home));
        own.cloned().or_else(|| others.next())
    };
    homes.iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_go_home_if_it_is_there() {
        let url = |n: u16| Url::parse(&format!("https://127.0.0.1:{n}/")).unwrap();
        let home = |n: u16| Some(url(n).to_string());
        let machines = || vec![url(1), url(2), url(3)];
        assert_eq!(placed(&[home(2), home(1)], machines()), Some(vec![url(2), url(1)]));
        assert_eq!(placed(&[home(3), None, None], machines()), Some(vec![url(3), url(1), url(2)]));
        // Its home is gone: the next free machine, or any.
        assert_eq!(placed(&[home(9), home(2)], machines()), Some(vec![url(1), url(2)]));
        assert_eq!(placed(&[home(9), home(1)], vec![url(1)]), Some(vec![url(1), url(1)]));
        assert_eq!(placed(&[home(9)], Vec::new()), None);
    }
}
