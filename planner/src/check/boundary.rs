//! How two stages are connected: an exchange must get the input that it was planned for, and every
//! partition must be read.

use std::sync::Arc;

use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, Partitioning};
use datafusion_distributed::{
    BroadcastExec, NetworkBroadcastExec, NetworkCoalesceExec, NetworkShuffleExec,
};

use super::place::Place;
use crate::distribution::{RowProperties, TaskDistribution};
use crate::error::Result;
use crate::ordering::claims_order;

/// Refuses an exchange that would lose or repeat partitions, or that declares an order that it does
/// not keep.
pub(super) fn check(
    plan: &Arc<dyn ExecutionPlan>,
    input: &Arc<dyn ExecutionPlan>,
    producers: usize,
    place: Place,
) -> Result<()> {
    let read = plan.output_partitioning().partition_count();
    let written = input.output_partitioning().partition_count();
    if plan.is::<NetworkShuffleExec>() {
        if !is_hash(input) {
            return Err(place.refuse(plan.as_ref(), "shuffles rows that were not hashed"));
        }
        if let Some(aggregate) = input.downcast_ref::<AggregateExec>()
            && aggregate.group_expr().has_grouping_set()
        {
            // datafusion-distributed would aggregate each set again for every other set.
            return Err(place.refuse(
                plan.as_ref(),
                "combines the groups of several grouping sets twice (partial_reduce)",
            ));
        }
        if claims_order(plan.equivalence_properties()) {
            return Err(place.refuse(
                plan.as_ref(),
                "declares an order of its rows, but reads the tasks below it as they come",
            ));
        }
        expect_partitions(plan, place, written, read * place.tasks)
    } else if plan.is::<NetworkBroadcastExec>() {
        let consumers =
            input.downcast_ref::<BroadcastExec>().map(BroadcastExec::consumer_task_count);
        if consumers != Some(place.tasks) {
            return Err(place.refuse(
                plan.as_ref(),
                format!("is broadcast to {consumers:?} tasks, but {} read it", place.tasks),
            ));
        }
        expect_partitions(plan, place, written, read * place.tasks)
    } else if plan.is::<NetworkCoalesceExec>() {
        expect_partitions(plan, place, written * producers.div_ceil(place.tasks), read)
    } else {
        Err(place.refuse(plan.as_ref(), "is an exchange of an unknown kind"))
    }
}

fn expect_partitions(
    plan: &Arc<dyn ExecutionPlan>,
    place: Place,
    written: usize,
    read: usize,
) -> Result<()> {
    if written == read {
        return Ok(());
    }
    Err(place.refuse(plan.as_ref(), format!("reads {read} of {written} partitions")))
}

/// Whether it is a hash repartition, alone or below the aggregation that datafusion-distributed may
/// add.
fn is_hash(input: &Arc<dyn ExecutionPlan>) -> bool {
    if let Some(aggregate) = input.downcast_ref::<AggregateExec>() {
        return *aggregate.mode() == AggregateMode::PartialReduce && is_hash(aggregate.input());
    }
    input
        .downcast_ref::<RepartitionExec>()
        .is_some_and(|repartition| matches!(repartition.partitioning(), Partitioning::Hash(..)))
}

/// How the rows are distributed in the stage that reads the exchange.
pub(super) fn rows(
    plan: &Arc<dyn ExecutionPlan>,
    below: RowProperties,
    place: Place,
) -> Result<RowProperties> {
    if place.tasks == 1 {
        return Ok(RowProperties { distribution: TaskDistribution::Single, ..below });
    }
    if plan.is::<NetworkBroadcastExec>() {
        if let Some(limit) = below.pending_limit {
            return Err(place.refuse(
                plan.as_ref(),
                format!(
                    "would broadcast {limit} rows of each part where the query asks for {limit} in all"
                ),
            ));
        }
        return Ok(RowProperties::new(TaskDistribution::Broadcast));
    }
    let distribution = if plan.is::<NetworkShuffleExec>() {
        TaskDistribution::Hashed
    } else {
        TaskDistribution::Arbitrary
    };
    Ok(RowProperties { distribution, ..below })
}
