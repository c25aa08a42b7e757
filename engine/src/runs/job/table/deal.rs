//! Scans of runs over the tasks of a stage: how many tasks they are worth, what each of them reads, and on which
//! machine. Three handlers of the exchange.

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

/// As many tasks as the bytes of the scan are worth, by the same rule as a scan of files; no more than it has
/// blocks.
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
        return internal_err!("a scan of a part of a run cannot be split over tasks again");
    };
    let shares = shares.into_iter().map(|share| Arc::new(share) as Arc<dyn ExecutionPlan>);
    let leaf = DistributedLeafExec::try_new(Arc::clone(plan), shares)?;
    Ok(ScaleUpLeafNodeEventResponse::new(Arc::new(leaf)))
}

/// Sends the tasks of a stage that reads a run to the machines where its shards are, as far as the query works on
/// them. Nothing about any other stage.
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

/// For each task of the stage the address of the machine that it had best run on.
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

/// A machine for each task: its home if that is still there, any other otherwise; none without machines.
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
        // It is gone: the next who is free, or anyone.
        assert_eq!(placed(&[home(9), home(2)], machines()), Some(vec![url(1), url(2)]));
        assert_eq!(placed(&[home(9), home(1)], vec![url(1)]), Some(vec![url(1), url(1)]));
        assert_eq!(placed(&[home(9)], Vec::new()), None);
    }
}
