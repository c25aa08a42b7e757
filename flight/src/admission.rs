//! Admission of calls to each service of a worker's port: who may call what, where the handler
//! runs, and how many calls may be open. A service sees admitted calls only.

use std::convert::Infallible;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bigslice_cluster::{Peer, Role};
use bigslice_diagnostics::panic_text;
use bytes::Bytes;
use futures::future::BoxFuture;
use http_body::{Frame, SizeHint};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinHandle};
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;

use crate::{Error, wire};

/// The most calls that a worker has open at a time, over all its services. A query has one for each
/// of its tasks on the worker and one for each partition read from it.
const CALLS_MAX: usize = 16 * 1024;

/// A gRPC service that knows who may call which of its methods.
pub(crate) trait Guarded: NamedService {
    /// Returns true if a caller of `role` may call `method`, the last part of the call's path.
    /// False if there is no such method.
    fn allows(method: &str, role: Role) -> bool;
}

/// The calls that a worker has open. Clones share the count.
#[derive(Clone)]
pub(crate) struct Permits(Arc<Semaphore>);

impl Permits {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(CALLS_MAX)))
    }
}

/// Wraps the service `S`, admits its calls and runs its handlers on the CPU runtime.
#[derive(Clone)]
pub(crate) struct Admission<S> {
    service: S,
    cpu: Handle,
    permits: Permits,
}

impl<S: NamedService> NamedService for Admission<S> {
    const NAME: &'static str = S::NAME;
}

impl<S: Guarded> Admission<S> {
    pub(crate) fn new(service: S, cpu: Handle, permits: Permits) -> Self {
        Self { service, cpu, permits }
    }

    fn admit(&self, request: &http::Request<Body>) -> Result<OwnedSemaphorePermit, Status> {
        let Some(peer) = request.extensions().get::<Peer>() else {
            return Err(Status::unauthenticated("the caller has no certificate"));
        };
        let path = request.uri().path();
        if !method_of(path, S::NAME).is_some_and(|method| S::allows(method, peer.role)) {
            tracing::warn!(%peer, path, "refused a call");
            let text = format!("a {} may not call \"{path}\"", peer.role);
            return Err(Status::permission_denied(text));
        }
        Arc::clone(&self.permits.0).try_acquire_owned().map_err(|_| {
            Status::resource_exhausted(format!("{CALLS_MAX} calls are open on this machine"))
        })
    }
}

/// The method that `path` calls, if it belongs to `service`.
pub(crate) fn method_of<'a>(path: &'a str, service: &str) -> Option<&'a str> {
    path.strip_prefix('/')?.strip_prefix(service)?.strip_prefix('/')
}

impl<S> Service<http::Request<Body>> for Admission<S>
where
    S: Guarded + Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let permit = match self.admit(&request) {
            Ok(permit) => permit,
            Err(status) => return Box::pin(async move { Ok(status.into_http()) }),
        };
        // Dropped with the call, so that the handler ends when the caller goes away.
        let handler = Aborting(self.cpu.spawn(self.service.call(request)));
        Box::pin(async move {
            let response = match handler.await {
                Ok(Ok(response)) => response,
                Ok(Err(never)) => match never {},
                Err(err) => return Ok(join_status(err).into_http()),
            };
            let (mut parts, body) = response.into_parts();
            wire::shorten_status(&mut parts.headers);
            let body = Body::new(GuardedBody { body: Some(body), _permit: permit });
            Ok(http::Response::from_parts(parts, body))
        })
    }
}

/// A task that is aborted when it is dropped.
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

/// The status of a handler that did not end.
fn join_status(err: JoinError) -> Status {
    match err.try_into_panic() {
        Ok(payload) => panic_status(panic_text(payload.as_ref())),
        // Its runtime is shutting down: the worker is about to end.
        Err(_cancelled) => Status::unavailable("the machine is stopping"),
    }
}

fn panic_status(text: &str) -> Status {
    let text = text.to_owned();
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
/// the caller would see a reset. Here the body ends with a status instead. Holds the permit of the
/// call.
struct GuardedBody {
    body: Option<Body>,
    _permit: OwnedSemaphorePermit,
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
