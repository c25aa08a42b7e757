//! The services of a worker's port and the checks in front of them.
//!
//! [`worker_routes`] serves datafusion-distributed's worker service, for SQL, and the Flight
//! service of `task_host`, for runs of slices. A call passes, from the outside in:
//!
//! ```text
//!   gRPC call (I/O runtime)
//!     1. role      who is the caller, may it call this?      -> Unauthenticated, PermissionDenied
//!     2. permit     are fewer than CALLS_MAX open?            -> ResourceExhausted
//!     3. runtime   the handler is a task of the CPU runtime, and so is all that it spawns
//!     4. handler   plans: datafusion-distributed; partition reads: `read`; tasks: `task_host`
//!     5. body      polled by the connection; encodes messages, computes nothing
//! ```
//!
//! Steps 1, 2, 3 and 5 are `admission`. A plan is trusted input, and so is a task: the sender of
//! either may read any file. Only the driver may send them, recognised by the role in its
//! certificate; the certificate and the session are verified before a request arrives here.
//! Operators run on the CPU runtime only: with all its threads busy, the I/O runtime still answers
//! keep-alives and renews leases. A panic in any step is a status.
//!
//! Calls are refused, never queued: all tasks of a query run at once and wait for each other, so a
//! queued call could be the one that the others wait for.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow_flight::FlightData;
use bigslice_cluster::Role;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion_distributed::{Worker, WorkerQueryContext, WorkerSessionBuilder};
use futures::future::BoxFuture;
use tokio::runtime::Handle;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, ServerStreamingService};
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use tower::Service;

use crate::admission::{Admission, Guarded, Permits, method_of};
use crate::limits::{MESSAGE_BYTES_MAX, ROW_BYTES_MAX};
use crate::over::OverMemory;
use crate::read::{ReadRequest, read};
use crate::send_queue::MessageStream;
use crate::task_host::{TaskHost, TaskService};

/// The gRPC name of datafusion-distributed's worker service.
const SERVICE: &str = "worker.WorkerService";
/// Its method that runs and reads partitions of a plan.
const READ: &str = "ExecuteTask";

/// What a worker needs to run stages of plans.
pub struct WorkerService {
    /// Builds the session in which a stage of a plan runs. It must use `distributed_worker`.
    pub session_builder: Arc<dyn WorkerSessionBuilder + Send + Sync>,
    /// Memory, spill files, object stores: shared by all queries on this worker.
    pub runtime: Arc<RuntimeEnv>,
    /// Signals that this process exceeds its memory limit. Partitions then end with an error.
    pub over_memory: Option<OverMemory>,
    /// The runtime of operators. Not the runtime that serves the port.
    pub cpu: Handle,
    /// The answer to a driver that asks for the version.
    pub version: String,
    /// Runs the tasks of slices and stores their shards. Without it this worker serves SQL only.
    pub tasks: Option<Arc<dyn TaskHost>>,
}

impl fmt::Debug for WorkerService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerService").field("version", &self.version).finish_non_exhaustive()
    }
}

/// The routes of a worker's port.
pub fn worker_routes(service: WorkerService) -> Routes {
    let WorkerService { session_builder, runtime, over_memory, cpu, version, tasks } = service;
    let pool = Arc::clone(&runtime.memory_pool);
    let worker = Worker::from_session_builder(move |ctx: WorkerQueryContext| {
        let builder = Arc::clone(&session_builder);
        async move { builder.build_session_state(ctx).await }
    })
    .with_runtime_env(runtime)
    .with_version(version);
    let plans = worker
        .clone()
        .into_worker_server()
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let permits = Permits::new();
    let exchange = Exchange { plans, reader: Reader { worker, over_memory, cpu: cpu.clone() } };
    let routes = Routes::new(Admission::new(exchange, cpu.clone(), permits.clone()));
    match tasks {
        Some(host) => {
            let tasks = TaskService::new(host, pool, cpu.clone());
            routes.add_service(Admission::new(tasks, cpu, permits))
        }
        None => routes,
    }
}

/// datafusion-distributed's service (`P`), with our own partition reads.
#[derive(Clone)]
struct Exchange<P> {
    plans: P,
    reader: Reader,
}

impl<P> NamedService for Exchange<P> {
    const NAME: &'static str = SERVICE;
}

impl<P> Guarded for Exchange<P> {
    fn allows(method: &str, role: Role) -> bool {
        match method {
            // Sends a plan and keeps it alive.
            "CoordinatorChannel" | "GetWorkerInfo" => role == Role::Driver,
            READ => matches!(role, Role::Driver | Role::Worker),
            _ => false,
        }
    }
}

impl<P> Service<http::Request<Body>> for Exchange<P>
where
    P: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    P::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.plans.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if method_of(request.uri().path(), SERVICE) == Some(READ) {
            let reader = self.reader.clone();
            return Box::pin(async move { Ok(reader.respond(request).await) });
        }
        Box::pin(self.plans.call(request))
    }
}

/// The handler of partition reads.
#[derive(Clone)]
struct Reader {
    worker: Worker,
    over_memory: Option<OverMemory>,
    cpu: Handle,
}

impl Reader {
    async fn respond(self, request: http::Request<Body>) -> http::Response<Body> {
        let codec = ProstCodec::<FlightData, ReadRequest>::default();
        Grpc::new(codec)
            // Slightly more than the limit of a message with rows, for its frame and its mark.
            .apply_max_message_size_config(
                Some(MESSAGE_BYTES_MAX),
                Some(ROW_BYTES_MAX + MESSAGE_BYTES_MAX),
            )
            .server_streaming(self, request)
            .await
    }
}

impl ServerStreamingService<ReadRequest> for Reader {
    type Response = FlightData;
    type ResponseStream = MessageStream;
    type Future = BoxFuture<'static, Result<Response<MessageStream>, Status>>;

    fn call(&mut self, request: Request<ReadRequest>) -> Self::Future {
        let Self { worker, over_memory, cpu } = self.clone();
        Box::pin(async move {
            let stream = read(&worker, over_memory.as_ref(), &cpu, request.into_inner()).await?;
            Ok(Response::new(stream))
        })
    }
}
