//! What a session needs to distribute queries over machines, on the driver's and on a worker's
//! side.

use bigslice_cluster::Fleet;
use datafusion::common::Result;
use datafusion::execution::SessionStateBuilder;
use datafusion_distributed::{
    CompressionType, DistributedExt, SessionStateBuilderExt, WorkerPlanRewriteEvent,
    WorkerPlanRewriteEventResponse,
};
use http::HeaderMap;

use crate::panic_guard::guard_task;
use crate::{Channels, Members};

/// The fewest partitions of a distributed plan. A plan of one partition has no exchange below a
/// global aggregate or a collected build side, and datafusion-distributed 4.0.0 then gives each
/// task its share of an input that must be whole: wrong rows.
const PARTITIONS_MIN: usize = 2;

/// The compression of rows between machines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// None. Over loopback and fast networks compression costs as much as it saves: TPC-H takes the
    /// same time with either, and this way the cores are left to the operators.
    #[default]
    None,
    /// LZ4: for links of a few Gbit/s and less.
    Lz4,
    /// Zstandard: for links where every byte counts.
    Zstd,
}

/// How a session uses its machines.
#[derive(Clone, Debug)]
pub struct ExchangeOptions {
    /// The compression of rows.
    pub compression: Compression,
    /// If true, workers report the metrics of their operators, for `EXPLAIN ANALYZE`. Costs a
    /// message per task at the end of a query.
    pub metrics_collected: bool,
    /// If true, the small side of a join is broadcast to each machine instead of splitting both
    /// sides by key. On TPC-H it takes the same time and less than half of the bytes.
    pub broadcast_joins: bool,
    /// The bytes of a file that one partition scans before the scan is spread over another task. 16
    /// MiB of Parquet take a fraction of a second: less is not worth a task.
    pub bytes_per_partition: usize,
    /// The most tasks of a stage. A shuffle has tasks x tasks x partitions streams, with buffers
    /// for each: on 60 machines they alone fill the memory. 0: as many as there are machines.
    pub tasks_per_stage_max: usize,
    /// The most unread bytes of one stream from another machine before the reader stops reading. A
    /// task has one stream for each task that it reads from; they count in its memory pool.
    pub stream_buffer_bytes: usize,
    /// Headers that are sent with each plan to each worker's session builder.
    pub headers: HeaderMap,
}

impl Default for ExchangeOptions {
    fn default() -> Self {
        Self {
            compression: Compression::None,
            metrics_collected: true,
            broadcast_joins: true,
            bytes_per_partition: 16 * 1024 * 1024,
            tasks_per_stage_max: 32,
            stream_buffer_bytes: 16 * 1024 * 1024,
            headers: HeaderMap::new(),
        }
    }
}

/// Prepares the driver's session to distribute queries and run them on the machines of `fleet`.
///
/// A query planner of your own must be set before; the distributing planner wraps it.
pub fn distributed_driver(
    builder: SessionStateBuilder,
    fleet: &Fleet,
    options: ExchangeOptions,
) -> Result<SessionStateBuilder> {
    let compression = match options.compression {
        Compression::None => None,
        Compression::Lz4 => Some(CompressionType::LZ4_FRAME),
        Compression::Zstd => Some(CompressionType::ZSTD),
    };
    let mut builder = builder
        .with_distributed_worker_resolver(Members::new(fleet.clone()))
        .with_distributed_channel_resolver(Channels::new(fleet.connector()))
        .with_distributed_compression(compression)?
        .with_distributed_metrics_collection(options.metrics_collected)?
        .with_distributed_broadcast_joins(options.broadcast_joins)?
        .with_distributed_file_scan_config_bytes_per_partition(options.bytes_per_partition)?
        .with_distributed_max_tasks_per_stage(options.tasks_per_stage_max)?
        .with_distributed_worker_connection_buffer_budget_bytes(options.stream_buffer_bytes)?
        .with_distributed_passthrough_headers(options.headers)?
        .with_distributed_planner();
    let config = builder.config().get_or_insert_default().options_mut();
    config.execution.target_partitions = config.execution.target_partitions.max(PARTITIONS_MIN);
    Ok(without_stealing(builder))
}

/// Prepares a worker's session to read from other machines, and guards the plans that it receives.
/// Call it in the session builder of its `WorkerService`.
pub fn distributed_worker(
    builder: SessionStateBuilder,
    channels: &Channels,
) -> SessionStateBuilder {
    let builder = builder
        .with_distributed_channel_resolver(channels.clone())
        .with_distributed_worker_plan_rewrite_handler(|event: WorkerPlanRewriteEvent<'_>| {
            Ok(WorkerPlanRewriteEventResponse::new(guard_task(event.plan)?))
        });
    without_stealing(builder)
}

/// Idle partitions of a scan take files from other partitions. On machines each task has its own
/// copy of the list and must run its own part only.
fn without_stealing(mut builder: SessionStateBuilder) -> SessionStateBuilder {
    let config = builder.config().get_or_insert_default().options_mut();
    config.execution.enable_file_stream_work_stealing = false;
    builder
}
