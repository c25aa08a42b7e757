//! Plans that travel to tasks: what is read of files and by statements. The driver plans once and
//! sends each task the plan of its shard.

use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result as PlanResult, internal_datafusion_err};
use datafusion::dataframe::DataFrame;
use datafusion::datasource::physical_plan::FileScanConfigBuilder;
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::session_state::SessionState;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use datafusion_proto::bytes::{
    physical_plan_from_bytes_with_extension_codec, physical_plan_to_bytes_with_extension_codec,
};

use crate::base::codec::FileCodec;
use crate::base::wire::number;
use crate::error::{Error, Result};
use crate::pipeline::slice::io::source::columns::rows;
use crate::pipeline::slice::tree::node::{Resolving, TaskCx};
use bigslice_files::{SealedScan, file_scan, watch};

/// Bytes of files that one shard has, unless there would be too few shards then: a few seconds of
/// work.
const SHARD_BYTES: u64 = 128 * 1024 * 1024;
/// Shards that files are read in, at most.
const SHARDS_MAX: usize = 4096;
/// Bytes of the plan of a shard, at most: it goes to a machine with the task. A plan is large when
/// it has rows in it.
const SPEC_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A plan of `rows` with a partition for each shard: as many as can run at a time, more of large
/// files.
pub(super) async fn sized(
    rows: &DataFrame,
    resolving: &Resolving,
) -> Result<Arc<dyn ExecutionPlan>> {
    let mut state = resolving.driver.context.state();
    let options = state.config_mut().options_mut();
    options.execution.target_partitions = resolving.slots;
    options.optimizer.enable_round_robin_repartition = false;
    let plan = plan_of(rows, &state).await?;
    let wanted = usize::try_from(bytes_of(&plan) / SHARD_BYTES).unwrap_or(SHARDS_MAX);
    let wanted = wanted.min(SHARDS_MAX);
    if wanted <= resolving.slots {
        return Ok(plan);
    }
    state.config_mut().options_mut().execution.target_partitions = wanted;
    plan_of(rows, &state).await
}

/// Plans without machines: what comes out is cut into shards by its partitions.
pub(super) async fn plan_of(
    rows: &DataFrame,
    state: &SessionState,
) -> Result<Arc<dyn ExecutionPlan>> {
    let plan = state.optimize(rows.logical_plan())?;
    DefaultPhysicalPlanner::default().create_physical_plan(&plan, state).await.map_err(Error::from)
}

/// The bytes of the files that a plan scans.
fn bytes_of(plan: &Arc<dyn ExecutionPlan>) -> u64 {
    let own = file_scan(plan).map_or(0, |scan| {
        let files = scan.file_groups.iter().flat_map(|group| group.iter());
        files.map(|file| file.object_meta.size).sum()
    });
    own + plan.children().into_iter().map(bytes_of).sum::<u64>()
}

/// What a task gets: one partition of the plan, without the files of the others.
pub(super) fn spec(plan: &Arc<dyn ExecutionPlan>, partition: usize) -> Result<Arc<[u8]>> {
    let alone = Arc::clone(plan).transform_up(|node| {
        let sealed = node.downcast_ref::<SealedScan>();
        let Some(scan) = sealed.and_then(SealedScan::scan).or_else(|| file_scan(&node)) else {
            return Ok(Transformed::no(node));
        };
        let mut groups = scan.file_groups.clone();
        for (n, group) in groups.iter_mut().enumerate() {
            if n != partition {
                *group = Vec::new().into();
            }
        }
        let scan = FileScanConfigBuilder::from(scan.clone()).with_file_groups(groups).build();
        let node: Arc<dyn ExecutionPlan> = match sealed {
            Some(sealed) => Arc::new(sealed.with_scan(scan)),
            None => DataSourceExec::from_data_source(scan),
        };
        Ok(Transformed::yes(node))
    });
    encoded(alone?.data, partition)
}

/// A partition of a plan that a task runs as it is.
pub(super) fn encoded(plan: Arc<dyn ExecutionPlan>, partition: usize) -> Result<Arc<[u8]>> {
    let bytes = physical_plan_to_bytes_with_extension_codec(plan, &FileCodec);
    let bytes = bytes?;
    if bytes.len() > SPEC_BYTES_MAX {
        let (mib, most) = (bytes.len() >> 20, SPEC_BYTES_MAX >> 20);
        return Err(Error::query(format!(
            "the plan of a shard has {mib} MiB of rows in it, more than the {most} MiB that go to a \
             machine with a task"
        )));
    }
    let partition = number(partition, "shards")?;
    Ok([&partition.to_le_bytes()[..], &bytes].concat().into())
}

/// The rows of what [`spec`] or [`encoded`] gave; their columns are `schema`.
pub(super) fn open(
    spec: &[u8],
    schema: &SchemaRef,
    cx: &TaskCx,
) -> PlanResult<SendableRecordBatchStream> {
    let Some((partition, plan)) = spec.split_first_chunk::<4>() else {
        return Err(internal_datafusion_err!("the scan of a shard is malformed"));
    };
    let plan = physical_plan_from_bytes_with_extension_codec(plan, &cx.context, &FileCodec)?;
    let plan = watch(plan, &cx.context.runtime_env())?;
    let partition = u32::from_le_bytes(*partition) as usize;
    let scanned = plan.execute(partition, Arc::clone(&cx.context))?;
    Ok(rows(scanned, schema))
}
