//! A worker's face to the session: who may call what, where the work runs, what it may cost.
//!
//! [`worker_routes`] hosts datafusion-distributed's worker service. A call passes, outside in:
//!
//! ```text
//!   gRPC call (I/O runtime)
//!     1. role      who is the caller, may it call this?      -> Unauthenticated, PermissionDenied
//!     2. place     are fewer than CALLS_MAX open?            -> ResourceExhausted
//!     3. runtime   the handler is a task of the CPU runtime, and so is all that it spawns
//!     4. handler   plans: datafusion-distributed; partition reads: `read`
//!     5. body      polled by the connection; encodes messages, computes nothing
//! ```
//!
//! A plan is trusted input: whoever may send one may read any file. That is the driver, known by
//! the role in its certificate; the certificate is verified, and the session with it, before a
//! request comes here. Operators run on the CPU runtime only: with all its threads busy, the I/O
//! runtime still answers keep-alives and renews leases. A panic in any of the steps is a status.
//!
//! Calls are refused, never queued: all tasks of a query run at once and wait for each other, so
//! that a call in a queue could be the one that the others wait for.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow_flight::FlightData;
use bigslice_cluster::{Peer, Role};
use bytes::Bytes;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion_distributed::{Worker, WorkerQueryContext, WorkerSessionBuilder};
use futures::future::BoxFuture;
use http_body::{Frame, SizeHint};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinHandle};
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, ServerStreamingService};
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use tower::Service;

use crate::read::{ReadRequest, ReadStream, read};
use crate::{Error, panic_text, wire};

/// The largest message, in either direction: a plan, or rows. Rows are cut to an eighth of it, so
/// only a single row, or a plan over thousands of files, can reach it.
pub(crate) const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Calls that a worker has open at a time. A query has one for each task on it and one for each
/// partition that is read from it.
const CALLS_MAX: usize = 16 * 1024;

/// The gRPC name of datafusion-distributed's worker service.
const SERVICE: &str = "worker.WorkerService";

/// What a worker needs to run pieces of plans.
pub struct WorkerService {
    /// Builds the session in which a piece of a plan runs; `distributed_worker` belongs in it.
    pub session_builder: Arc<dyn WorkerSessionBuilder + Send + Sync>,
    /// Memory, spill files, object stores: shared by all queries on this worker.
    pub runtime: Arc<RuntimeEnv>,
    /// Where operators run. Not the runtime that serves the port.
    pub cpu: Handle,
    /// What a driver is told that asks for the version.
    pub version: String,
}

impl fmt::Debug for WorkerService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerService").field("version", &self.version).finish_non_exhaustive()
    }
}

/// The routes of a worker's port.
pub fn worker_routes(service: WorkerService) -> Routes {
    let WorkerService { session_builder, runtime, cpu, version } = service;
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
    Routes::new(Gate { plans, worker, cpu, places: Arc::new(Semaphore::new(CALLS_MAX)) })
}

/// What a caller may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    /// `CoordinatorChannel`: sends a plan, and keeps it alive.
    Plan,
    /// `ExecuteTask`: runs and reads partitions of a plan that is here.
    Read,
    /// `GetWorkerInfo`.
    Info,
}

impl Method {
    fn of(path: &str) -> Option<Self> {
        match path.strip_prefix('/')?.strip_prefix(SERVICE)? {
            "/CoordinatorChannel" => Some(Self::Plan),
            "/ExecuteTask" => Some(Self::Read),
            "/GetWorkerInfo" => Some(Self::Info),
            _ => None,
        }
    }

    fn allows(self, role: Role) -> bool {
        match self {
            Self::Plan | Self::Info => role == Role::Driver,
            Self::Read => matches!(role, Role::Driver | Role::Worker),
        }
    }
}

/// Stands before datafusion-distributed's service (`S`) and in place of its partition reads.
#[derive(Clone)]
struct Gate<S> {
    plans: S,
    worker: Worker,
    cpu: Handle,
    places: Arc<Semaphore>,
}

impl<S> NamedService for Gate<S> {
    const NAME: &'static str = SERVICE;
}

impl<S> Gate<S> {
    fn admit(
        &self,
        request: &http::Request<Body>,
    ) -> Result<(Method, OwnedSemaphorePermit), Status> {
        let Some(peer) = request.extensions().get::<Peer>() else {
            return Err(Status::unauthenticated("the caller has shown no certificate"));
        };
        let path = request.uri().path();
        let method =
            Method::of(path).filter(|method| method.allows(peer.role)).ok_or_else(|| {
                tracing::warn!(%peer, path, "refused a call");
                Status::permission_denied(format!("a {} may not call \"{path}\"", peer.role))
            })?;
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            Status::resource_exhausted(format!("{CALLS_MAX} calls are open on this machine"))
        })?;
        Ok((method, place))
    }
}

impl<S> Service<http::Request<Body>> for Gate<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.plans.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let (method, place) = match self.admit(&request) {
            Ok(admitted) => admitted,
            Err(status) => return Box::pin(async move { Ok(status.into_http()) }),
        };
        let handler: BoxFuture<'static, http::Response<Body>> = match method {
            Method::Read => {
                let reader = Reader { worker: self.worker.clone(), cpu: self.cpu.clone() };
                Box::pin(reader.respond(request))
            }
            Method::Plan | Method::Info => {
                let call = self.plans.call(request);
                Box::pin(async move {
                    match call.await {
                        Ok(response) => response,
                        Err(never) => match never {},
                    }
                })
            }
        };
        // Dropped with the call, so that a caller that goes away ends the handler too.
        let handler = Aborting(self.cpu.spawn(handler));
        Box::pin(async move {
            let response = match handler.await {
                Ok(response) => response,
                Err(err) => return Ok(join_status(err).into_http()),
            };
            let (mut parts, body) = response.into_parts();
            wire::shorten_status(&mut parts.headers);
            let body = Body::new(GuardedBody { body: Some(body), _place: place });
            Ok(http::Response::from_parts(parts, body))
        })
    }
}

/// The handler of partition reads.
#[derive(Clone)]
struct Reader {
    worker: Worker,
    cpu: Handle,
}

impl Reader {
    async fn respond(self, request: http::Request<Body>) -> http::Response<Body> {
        let codec = ProstCodec::<FlightData, ReadRequest>::default();
        Grpc::new(codec)
            // A little more than a message of rows may have, for its frame and its mark.
            .apply_max_message_size_config(
                Some(MESSAGE_BYTES_MAX),
                Some(MESSAGE_BYTES_MAX + MESSAGE_BYTES_MAX / 16),
            )
            .server_streaming(self, request)
            .await
    }
}

impl ServerStreamingService<ReadRequest> for Reader {
    type Response = FlightData;
    type ResponseStream = ReadStream;
    type Future = BoxFuture<'static, Result<Response<ReadStream>, Status>>;

    fn call(&mut self, request: Request<ReadRequest>) -> Self::Future {
        let Self { worker, cpu } = self.clone();
        Box::pin(async move {
            let stream = read(&worker, &cpu, request.into_inner()).await?;
            Ok(Response::new(stream))
        })
    }
}

/// A task that ends when nobody waits for it any more.
struct Aborting<T>(JoinHandle<T>);

impl<T> Future for Aborting<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl<T> Drop for Aborting<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a handler that did not end tells its caller.
fn join_status(err: JoinError) -> Status {
    match err.try_into_panic() {
        Ok(payload) => panic_status(panic_text(payload.as_ref())),
        // Its runtime is being shut down: the machine is on its way out.
        Err(_cancelled) => Status::unavailable("the machine is stopping"),
    }
}

fn panic_status(text: String) -> Status {
    wire::to_status(&Error::Panic { text }.into())
}

fn with_short_status(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            wire::shorten_status(&mut trailers);
            Frame::trailers(trailers)
        }
        Err(frame) => frame,
    }
}

/// The body of a response. A panic while it is polled would end the task of the HTTP/2 stream, and
/// the caller would see a reset; so it ends with a status here. Holds the call's place meanwhile.
struct GuardedBody {
    body: Option<Body>,
    _place: OwnedSemaphorePermit,
}

impl http_body::Body for GuardedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(body) = self.body.as_mut() else {
            return Poll::Ready(None);
        };
        match catch_unwind(AssertUnwindSafe(|| Pin::new(body).poll_frame(cx))) {
            Ok(poll) => poll.map_ok(with_short_status),
            Err(payload) => {
                self.body = None;
                let status = panic_status(panic_text(payload.as_ref()));
                let (parts, ()) = status.into_http::<()>().into_parts();
                Poll::Ready(Some(Ok(Frame::trailers(parts.headers))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), http_body::Body::size_hint)
    }
}
