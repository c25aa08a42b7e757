//! Builds one hash table for all partitions where that is cheaper than repartitioning both sides of
//! a join.
//!
//! DataFusion 55.2 collects a build side of up to 1 MiB or 131,072 rows, and otherwise repartitions
//! both sides by the key: each row of both is hashed, and its columns are copied twice. It also
//! divides the density of integer keys by the number of partitions, and tables with dense keys,
//! which need no hashing, become hash tables.
//!
//! Collecting builds the table on one core while the others wait. With `n` partitions that costs
//! `(n - 1) / n` of the time to insert the build side; it saves `1 / n` of the time to repartition
//! both sides. To insert a row costs about as much as to repartition one, or several times as much
//! if texts are gathered with it. So the rule collects if `build * (n - 1) <= build + probe`, with
//! build rows with texts counted [`TEXT_COST`] times, and if the build side fits into
//! `planner.collect_build_bytes`, because a hash table cannot spill.
//!
//! On machines the rule is off: a collected build side is sent to every machine.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{JoinType, Result};
use datafusion::config::ConfigOptions;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::statistics::StatisticsContext;
use datafusion::physical_plan::{ExecutionPlan, StatisticsArgs};

use crate::settings::PlannerSettings;

/// The assumed size of a variable-length value, with its view.
const VALUE_BYTES: usize = 32;

/// The cost of a build row with texts, in build rows without. On TPC-H SF 10, query 18 collects 15
/// million names for 60 million probe rows, and takes 1.4 times as long.
const TEXT_COST: usize = 8;

/// Bytes of a row in a hash table: its hash, its position, and the chain.
const ENTRY_BYTES: usize = 24;

/// The physical rule; see the [module](self). It runs after the sides of joins are chosen, and
/// before exchanges are added.
#[derive(Debug)]
pub(super) struct CollectedBuilds;

impl PhysicalOptimizerRule for CollectedBuilds {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let bytes_max = PlannerSettings::collect_build_bytes(config);
        let partitions = config.execution.target_partitions;
        if bytes_max == 0 || partitions < 2 {
            return Ok(plan);
        }
        let collected = plan.transform_up(|node| match node.downcast_ref::<HashJoinExec>() {
            Some(join) if pays(join, partitions, bytes_max)? => {
                let join =
                    join.builder().with_partition_mode(PartitionMode::CollectLeft).build()?;
                Ok(Transformed::yes(Arc::new(join)))
            }
            _ => Ok(Transformed::no(node)),
        })?;
        Ok(collected.data)
    }

    fn name(&self) -> &'static str {
        "collected_builds"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// True if the join repartitions both sides, and collecting its build side is cheaper.
fn pays(join: &HashJoinExec, partitions: usize, bytes_max: usize) -> Result<bool> {
    let emits_build_rows = !matches!(
        join.join_type(),
        JoinType::Inner | JoinType::LeftSemi | JoinType::RightSemi | JoinType::RightAnti
    );
    if *join.partition_mode() != PartitionMode::Partitioned || emits_build_rows {
        return Ok(false);
    }
    let (Some(build), Some(probe)) = (rows(join.left())?, rows(join.right())?) else {
        return Ok(false);
    };
    let schema = join.left().schema();
    let bytes = build.saturating_mul(row_bytes(&schema));
    let has_texts = schema.fields().iter().any(|field| !field.data_type().is_primitive());
    let cost = build.saturating_mul(if has_texts { TEXT_COST } else { 1 });
    Ok(bytes <= bytes_max && cost.saturating_mul(partitions - 1) <= build.saturating_add(probe))
}

/// The estimated number of rows.
fn rows(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<usize>> {
    let statistics = StatisticsContext::new().compute(plan.as_ref(), &StatisticsArgs::new())?;
    Ok(statistics.num_rows.get_value().copied())
}

fn row_bytes(schema: &Schema) -> usize {
    let of = |kind: &DataType| kind.primitive_width().unwrap_or(VALUE_BYTES);
    schema.fields().iter().map(|field| of(field.data_type())).sum::<usize>() + ENTRY_BYTES
}
