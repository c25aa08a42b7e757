//! A worker of a session: its memory, its threads, and the service that runs tasks.
//!
//! [`worker_main`] turns a process into a worker. The in-process system serves the same
//! [`services`].

use std::process::ExitCode;
use std::sync::Arc;

use async_trait::async_trait;
use bigslice_cluster::{BoxError, ServiceFactory, WorkerContext, WorkerMain};
use bigslice_flight::{Channels, WorkerService, distributed_worker, worker_routes};
use bytes::Bytes;
use datafusion::error::DataFusionError;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion_distributed::{
    DistributedExt, WorkerPlanRewriteEvent, WorkerPlanRewriteEventResponse, WorkerQueryContext,
    WorkerSessionBuilder,
};
use serde::{Deserialize, Serialize};
use tonic::service::Routes;

use crate::base::cpu::Cpu;
use crate::base::cpu::cores;
use crate::base::memory::Budget;
use crate::base::settings;
use crate::error::{Error, Result};
use crate::pipeline::udf;
use crate::runs::job::PlanCodec;
use crate::runs::task::{Host, HostParts, HostService, Store};
use bigslice_files::{Stores, watch};

/// The version that workers report: driver and worker are one binary.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The settings of a worker when it starts. Settings that change later travel with each query.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct WorkerSettings {
    /// Threads that compute; by default the cores of the machine.
    pub(crate) cores: Option<usize>,
    /// Memory; by default that of the machine.
    pub(crate) budget: Option<Budget>,
}

impl WorkerSettings {
    /// The settings as bytes, for the fleet to send.
    pub(crate) fn encode(&self) -> Result<Bytes> {
        postcard::to_allocvec(self)
            .map(Bytes::from)
            .map_err(|e| Error::internal(format!("the settings of a worker: {e}")))
    }

    fn decode(bytes: &[u8]) -> Result<Self> {
        postcard::from_bytes(bytes)
            .map_err(|e| Error::internal(format!("the settings of this worker: {e}")))
    }
}

/// Runs this process as a worker, if it was started as one, and returns the exit code at its end.
/// Every program whose sessions have machines must call this first in `main`, before it reads its
/// arguments:
///
/// ```no_run
/// fn main() -> std::process::ExitCode {
///     if let Some(code) = bigslice::worker_main() {
///         return code;
///     }
///     std::process::ExitCode::SUCCESS // from here on it is the driver
/// }
/// ```
pub fn worker_main() -> Option<ExitCode> {
    if !bigslice_cluster::is_worker() {
        return None;
    }
    Some(bigslice_cluster::run_worker(WorkerMain { services: services() }))
}

/// The services of a worker, in this process or in its own.
pub(crate) fn services() -> ServiceFactory {
    Arc::new(|context| Box::pin(async move { serve(&context).map_err(BoxError::from) }))
}

fn serve(context: &WorkerContext) -> Result<Routes> {
    let settings = WorkerSettings::decode(&context.settings)?;
    let stores = Stores::on_worker();
    let budget = settings.budget.map_or_else(|| Budget::split(None, 1, false), Ok)?;
    let cpu = Cpu::new(settings.cores.unwrap_or_else(cores), budget.limited)?;
    let gauge = budget.gauge();
    let over_memory = gauge.as_ref().map(|gauge| gauge.over());
    let runtime = budget.runtime(gauge, context.scratch.clone(), &stores)?;
    let handle = cpu.handle().clone();
    let channels = Channels::new(context.connector.clone());
    let state =
        SessionStateBuilder::new().with_default_features().with_runtime_env(Arc::clone(&runtime));
    let state = udf::register(bigslice_planner::install(state)).build();
    let host = Host::new(HostParts {
        store: Store::within(context.scratch.clone()),
        channels: Some(channels.clone()),
        me: Some(context.url.to_string()),
        stores: Arc::clone(&stores),
        contexts: Box::new(move |settings| {
            let mut state = state.clone();
            settings::apply_travelled(state.config_mut(), settings)?;
            Ok(state.task_ctx())
        }),
    });
    // The threads must live as long as the service that runs on them.
    let codec = Arc::new(PlanCodec::reading_by(Arc::clone(host.reader())));
    let env = Arc::clone(&runtime);
    let sessions = TaskSessions { channels, stores, codec, runtime: env, _cpu: cpu };
    Ok(worker_routes(WorkerService {
        session_builder: Arc::new(sessions),
        runtime,
        over_memory,
        cpu: handle,
        version: VERSION.to_owned(),
        tasks: Some(Arc::new(HostService(host))),
    }))
}

/// Builds the session state to decode and run a task with.
struct TaskSessions {
    channels: Channels,
    stores: Arc<Stores>,
    codec: Arc<PlanCodec>,
    runtime: Arc<RuntimeEnv>,
    _cpu: Cpu,
}

#[async_trait]
impl WorkerSessionBuilder for TaskSessions {
    async fn build_session_state(
        &self,
        context: WorkerQueryContext,
    ) -> Result<SessionState, DataFusionError> {
        let WorkerQueryContext { mut builder, headers } = context;
        self.stores.apply(settings::read_stores(&headers)?);
        settings::apply_headers(builder.config().get_or_insert_default(), &headers)?;
        let mut builder = bigslice_planner::install(builder);
        builder.aggregate_functions().get_or_insert_default().push(bigslice_planner::one_row());
        let codec = Arc::clone(&self.codec);
        let runtime = Arc::clone(&self.runtime);
        let builder = udf::register(builder)
            .with_distributed_user_codec_arc(codec)
            .with_distributed_worker_plan_rewrite_handler(
                move |event: WorkerPlanRewriteEvent<'_>| {
                    Ok(WorkerPlanRewriteEventResponse::new(watch(event.plan, &runtime)?))
                },
            );
        Ok(distributed_worker(builder, &self.channels).build())
    }
}
