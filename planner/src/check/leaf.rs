//! The check of leaves: each task must read its own part, the parts together must be the whole, and
//! every part must have the order that the leaf declares.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::datasource::physical_plan::{CsvSource, FileScanConfig};
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use datafusion_distributed::DistributedLeafExec;

use super::place::Place;
use crate::distribution::TaskDistribution;
use crate::error::Result;
use crate::files::{can_split, file_scan};

/// The leaf before it was divided among tasks; any other node is returned as it is.
pub(super) fn original(plan: &Arc<dyn ExecutionPlan>) -> &Arc<dyn ExecutionPlan> {
    plan.downcast_ref::<DistributedLeafExec>().map_or(plan, DistributedLeafExec::original)
}

/// How the rows of a leaf are distributed over the tasks.
pub(super) fn distribution(
    plan: &Arc<dyn ExecutionPlan>,
    place: Place,
    trusted: &[String],
) -> Result<TaskDistribution> {
    if place.tasks == 1 {
        return Ok(TaskDistribution::Single);
    }
    if let Some(leaf) = plan.downcast_ref::<DistributedLeafExec>() {
        shares(leaf, plan, place)?;
        return Ok(TaskDistribution::Arbitrary);
    }
    if plan.is::<EmptyExec>() || trusted.iter().any(|name| name == plan.name()) {
        return Ok(TaskDistribution::Arbitrary);
    }
    Err(place.refuse(
        plan.as_ref(),
        format!("would read all of its rows in each of {} tasks", place.tasks),
    ))
}

/// The `Debug` text of the adapter that every worker gives to the scans it receives. It is the only
/// adapter that need not be sent.
const ADAPTER_OF_WORKERS: &str = "Adapters";

/// Refuses a scan of files that a worker would read differently than the driver planned, because
/// DataFusion leaves some settings out of an encoded plan. (Whether a JSON file is one array is
/// another such setting, but a scan does not tell; a worker fails on such a file.)
pub(super) fn travels(plan: &Arc<dyn ExecutionPlan>, place: Place) -> Result<()> {
    let Some(scan) = file_scan(original(plan).as_ref()) else { return Ok(()) };
    let source = &scan.file_source;
    let lost = if scan.file_compression_type.is_compressed() {
        "how its files are compressed"
    } else if scan
        .expr_adapter_factory
        .as_ref()
        .is_some_and(|adapter| format!("{adapter:?}") != ADAPTER_OF_WORKERS)
    {
        "how its files differ from the table's columns"
    } else if source.file_type() == "arrow_stream" {
        "that its files are Arrow streams"
    } else if source.downcast_ref::<CsvSource>().is_some_and(|csv| csv.terminator().is_some()) {
        "how the lines of its files end"
    } else {
        return Ok(());
    };
    Err(place.refuse(plan.as_ref(), format!("cannot tell a worker {lost}")))
}

fn shares(leaf: &DistributedLeafExec, plan: &Arc<dyn ExecutionPlan>, place: Place) -> Result<()> {
    let variants = leaf.variants();
    if variants.len() != place.tasks {
        return Err(place.refuse(
            plan.as_ref(),
            format!("was divided among {} tasks, but {} run it", variants.len(), place.tasks),
        ));
    }
    let declared = plan.equivalence_properties();
    for variant in variants {
        let actual = variant.equivalence_properties();
        for order in declared.oeq_class().iter() {
            if !actual.ordering_satisfy(order.clone())? {
                return Err(place.refuse(
                    plan.as_ref(),
                    "declares an order of its rows that the part of one task does not have",
                ));
            }
        }
    }
    match file_scan(leaf.original().as_ref()) {
        Some(whole) => files(whole, variants, plan, place),
        None => Ok(()),
    }
}

/// The parts of a file scan must cover its files once, and split only files that can be split.
fn files(
    whole: &FileScanConfig,
    variants: &[Arc<dyn ExecutionPlan>],
    plan: &Arc<dyn ExecutionPlan>,
    place: Place,
) -> Result<()> {
    let parts: Vec<_> = variants.iter().filter_map(|variant| file_scan(variant.as_ref())).collect();
    if parts.len() != variants.len() {
        return Ok(());
    }
    let wanted = bytes(whole);
    let read: u64 = parts.iter().map(|part| bytes(part)).sum();
    if wanted != read {
        return Err(place.refuse(
            plan.as_ref(),
            format!("was divided so that its tasks read {read} bytes of {wanted}"),
        ));
    }
    let before = pieces(whole);
    let cut = parts.iter().any(|part| !pieces(part).is_subset(&before));
    if cut && !can_split(whole) {
        return Err(place.refuse(
            plan.as_ref(),
            "was divided by splitting files that can only be read from the start",
        ));
    }
    Ok(())
}

fn bytes(scan: &FileScanConfig) -> u64 {
    let files = scan.file_groups.iter().flat_map(|group| group.iter());
    files.map(|file| file.effective_size()).sum()
}

/// The files, each with the byte range that is read.
fn pieces(scan: &FileScanConfig) -> HashSet<(String, u64, u64)> {
    let files = scan.file_groups.iter().flat_map(|group| group.iter());
    files
        .map(|file| {
            let (start, end) = file.range();
            (file.object_meta.location.to_string(), start, end)
        })
        .collect()
}
