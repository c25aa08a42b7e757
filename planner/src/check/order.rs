//! Whether every operator that works on ordered rows gets them in that order.
//!
//! Orders hold per partition, so the number of tasks does not matter. Only an exchange can break
//! an order, and `boundary` refuses one that declares an order it does not keep. What remains is a
//! node that was planned on an order that its input no longer declares.

use std::sync::Arc;

use datafusion::physical_expr::LexOrdering;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::sorts::partial_sort::PartialSortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, ExecutionPlan, ExecutionPlanProperties, InputOrderMode,
    ReplaceChildrenOptions,
};
use datafusion_distributed::{NetworkBoundaryExt, NetworkCoalesceExec};

use super::place::Place;
use crate::error::Result;
use crate::ordering::{claims_order, is_met};

/// Refuses a node whose input lacks the order that the node was planned on.
pub(super) fn check(plan: &Arc<dyn ExecutionPlan>, place: Place) -> Result<()> {
    for child in plan.children() {
        exchange_order_is_used_well(plan, child, place)?;
    }
    let required = plan.required_input_ordering();
    for (child, required) in plan.children().into_iter().zip(&required) {
        let Some(required) = required else { continue };
        if !is_met(child.equivalence_properties(), required)? {
            return Err(place.refuse(
                plan.as_ref(),
                format!(
                    "needs its rows ordered by {}, and they are not",
                    LexOrdering::from(required.first().clone())
                ),
            ));
        }
    }
    if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
        check_aggregate(plan, aggregate, place)?;
    }
    if let Some(sort) = plan.downcast_ref::<PartialSortExec>() {
        let prefix = sort.expr().iter().take(sort.common_prefix_length()).cloned();
        if !sort.input().equivalence_properties().ordering_satisfy(prefix)? {
            return Err(
                place.refuse(plan.as_ref(), "continues a sort that its input does not have")
            );
        }
    }
    Ok(())
}

/// A worker is not sent the order that an exchange declares, and a broadcast does not keep one.
/// Only operators that merge partitions are right all the same: they drop the order or restore it.
fn exchange_order_is_used_well(
    plan: &Arc<dyn ExecutionPlan>,
    child: &Arc<dyn ExecutionPlan>,
    place: Place,
) -> Result<()> {
    if !child.is_network_boundary() || !claims_order(child.equivalence_properties()) {
        return Ok(());
    }
    let merges = plan.is::<SortPreservingMergeExec>() && child.is::<NetworkCoalesceExec>();
    if merges || plan.is::<CoalescePartitionsExec>() {
        return Ok(());
    }
    Err(place
        .refuse(plan.as_ref(), "relies on an order that an exchange declares and may not keep"))
}

/// An aggregation that closes a group at the next key declares no requirement. Build it again over
/// its input and compare.
fn check_aggregate(
    plan: &Arc<dyn ExecutionPlan>,
    aggregate: &AggregateExec,
    place: Place,
) -> Result<()> {
    if *aggregate.input_order_mode() == InputOrderMode::Linear {
        return Ok(());
    }
    let again = Arc::clone(plan).replace_children(
        vec![Arc::clone(aggregate.input())],
        ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute),
    )?;
    let same = again
        .downcast_ref::<AggregateExec>()
        .is_some_and(|again| again.input_order_mode() == aggregate.input_order_mode());
    if same {
        return Ok(());
    }
    Err(place.refuse(plan.as_ref(), "relies on rows that come group by group, and they do not"))
}
