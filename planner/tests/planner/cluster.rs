//! A session whose plans run on in-process workers, with each guard on or off.

use std::sync::Arc;

use async_trait::async_trait;
use bigslice_planner::{check, guard, prepare, spread_files};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::catalog::Session;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion_distributed::{
    ChannelResolver, DistributedExec, DistributedExt, SessionStateBuilderExt, Worker,
    WorkerChannel, WorkerQueryContext, WorkerResolver, grpc,
};
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;
use tonic::transport::{Endpoint, Server};
use url::Url;

/// Which of the crate's protections a session uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Guards {
    pub(crate) files: bool,
    pub(crate) prepare: bool,
    pub(crate) guard: bool,
    pub(crate) check: bool,
}

impl Guards {
    pub(crate) const ALL: Self = Self { files: true, prepare: true, guard: true, check: true };
    pub(crate) const NONE: Self = Self { files: false, prepare: false, guard: false, check: false };
}

/// How a session is planned.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) workers: usize,
    pub(crate) partitions: usize,
    pub(crate) guards: Guards,
}

impl Shape {
    pub(crate) fn guarded(workers: usize, partitions: usize) -> Self {
        Self { workers, partitions, guards: Guards::ALL }
    }

    pub(crate) fn with(self, guards: Guards) -> Self {
        Self { guards, ..self }
    }
}

/// The workers of one test. They stop when it is dropped.
pub(crate) struct Cluster {
    pipe: Pipe,
    _server: JoinSet<()>,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        let (client, server) = tokio::io::duplex(1024 * 1024);
        let mut client = Some(client);
        let channel = Endpoint::from_static("http://worker").connect_with_connector_lazy(
            tower::service_fn(move |_| {
                let client = client.take();
                async move {
                    client.map(TokioIo::new).ok_or_else(|| std::io::Error::other("pipe is gone"))
                }
            }),
        );
        let pipe = Pipe(grpc::BoxCloneSyncChannel::new(channel));
        let for_workers = pipe.clone();
        let worker = Worker::from_session_builder(move |context: WorkerQueryContext| {
            let pipe = for_workers.clone();
            async move { Ok(context.builder.with_distributed_channel_resolver(pipe).build()) }
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let incoming = tokio_stream::once(Ok::<_, std::io::Error>(server));
            let served = Server::builder()
                .add_service(worker.into_worker_server())
                .serve_with_incoming(incoming)
                .await;
            assert!(served.is_ok(), "the worker server failed: {served:?}");
        });
        Self { pipe, _server: tasks }
    }

    /// A session that splits its plans for `shape`, even for small files.
    pub(crate) fn session(&self, shape: Shape) -> SessionContext {
        let mut builder = SessionStateBuilder::new()
            .with_default_features()
            .with_config(config(shape.partitions))
            .with_query_planner(Arc::new(Before { prepare: shape.guards.prepare }))
            .with_distributed_worker_resolver(Names(shape.workers))
            .with_distributed_channel_resolver(self.pipe.clone())
            .with_distributed_planner()
            .with_distributed_file_scan_config_bytes_per_partition(1)
            .expect("the extension is in the configuration");
        if shape.guards.files {
            builder = builder.with_distributed_scale_up_leaf_node_handler(spread_files);
        }
        let cut = std::mem::take(builder.query_planner()).expect("it was set above");
        let builder = builder.with_query_planner(Arc::new(After { cut, guards: shape.guards }));
        SessionContext::from(builder.build())
    }
}

/// A session of plain DataFusion, whose results are the reference.
pub(crate) fn single_process() -> SessionContext {
    SessionContext::new_with_config(config(2))
}

fn config(partitions: usize) -> SessionConfig {
    let mut config = SessionConfig::new().with_target_partitions(partitions).with_batch_size(64);
    let options = config.options_mut();
    options.execution.enable_file_stream_work_stealing = false;
    // Small files are split between partitions as large ones are.
    options.optimizer.repartition_file_min_size = 1;
    config
}

/// The physical plan of `sql`, as the session would run it.
pub(crate) async fn plan(context: &SessionContext, sql: &str) -> Result<Arc<dyn ExecutionPlan>> {
    context.sql(sql).await?.create_physical_plan().await
}

pub(crate) fn is_cut(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.is::<DistributedExec>() || plan.children().into_iter().any(is_cut)
}

/// The rows of `sql` as text, in the order in which they arrive.
pub(crate) async fn rows(context: &SessionContext, sql: &str) -> Result<Vec<String>> {
    let plan = plan(context, sql).await?;
    Ok(text(&collect(plan, context.task_ctx()).await?))
}

fn text(batches: &[RecordBatch]) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column, &options).expect("it can be printed"))
            .collect();
        for row in 0..batch.num_rows() {
            let cells: Vec<_> = columns.iter().map(|c| c.value(row).to_string()).collect();
            rows.push(cells.join("|"));
        }
    }
    rows
}

/// Plans for one process, then applies the guards before the split.
#[derive(Debug)]
struct Before {
    prepare: bool,
}

#[async_trait]
impl QueryPlanner for Before {
    async fn create_physical_plan(
        &self,
        logical: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let plan = DefaultPhysicalPlanner::default().create_physical_plan(logical, session).await?;
        if !self.prepare {
            return Ok(plan);
        }
        prepare(plan).map_err(external)
    }
}

/// Applies the guards after the split, and the check.
#[derive(Debug)]
struct After {
    cut: Arc<dyn QueryPlanner + Send + Sync>,
    guards: Guards,
}

#[async_trait]
impl QueryPlanner for After {
    async fn create_physical_plan(
        &self,
        logical: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut plan = self.cut.create_physical_plan(logical, session).await?;
        if self.guards.guard {
            plan = guard(plan).map_err(external)?;
        }
        if self.guards.check {
            check(&plan).map_err(external)?;
        }
        Ok(plan)
    }
}

fn external(err: bigslice_planner::Error) -> DataFusionError {
    DataFusionError::External(Box::new(err))
}

/// The channel to all workers, which are one service.
#[derive(Clone)]
struct Pipe(grpc::BoxCloneSyncChannel);

#[async_trait]
impl ChannelResolver for Pipe {
    async fn get_worker_client_for_url(&self, _: &Url) -> Result<Box<dyn WorkerChannel>> {
        Ok(grpc::create_worker_client(self.0.clone()))
    }
}

/// The workers' addresses, in the form that contains the machine's name.
struct Names(usize);

impl WorkerResolver for Names {
    fn get_urls(&self) -> Result<Vec<Url>> {
        let urls = (0..self.0).map(|index| Url::parse(&format!("http://worker:1/m{index}")));
        urls.collect::<Result<_, _>>().map_err(|err| DataFusionError::External(Box::new(err)))
    }
}
