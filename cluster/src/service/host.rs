//! The machine's side of calls: finds the method, runs it on the CPU runtime, and streams its
//! frames.
//!
//! A call ends with its reader: its task is aborted when the stream's body is dropped. This happens
//! when the caller resets the stream, when its connection breaks, and when the machine stops.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bigslice_diagnostics::panic_text;
use bytes::Bytes;
use futures::Stream;
use futures::future::{BoxFuture, Ready};
use prometheus::IntGauge;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinError;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;
use tonic::body::Body;
use tonic::server::{NamedService, StreamingService};
use tonic::{Request, Response, Status, Streaming};
use tower::Service;

use crate::error::{Result, chain};
use crate::identity::Peer;
use crate::observe::metrics::Metrics;
use crate::requirements::{Requirements, Setup};
use crate::service::context::Here;
use crate::service::cpu::Cpu;
use crate::service::frame::{PlainFrame, Raw, WIRE_NAME, WIRE_SIZE_MAX, encode};
use crate::service::incoming::{Incoming, refusal};
use crate::service::registered::{Entry, Registered, registered};
use crate::service::value::Shared;
use crate::service::worker_context::WorkerContext;

/// The most calls that a machine has open at a time.
const CALLS_MAX: usize = 16 * 1024;
/// Frames of each call that wait for the connection. More would only be farther from the caller.
const FRAMES_AHEAD: usize = 2;
/// The longest text of a panic that is sent.
const PANIC_TEXT_MAX: usize = 16 << 10;

/// A service that is set up.
struct LiveService {
    registered: &'static Registered,
    value: Shared,
}

struct HostState {
    here: Arc<Here>,
    services: BTreeMap<&'static str, LiveService>,
    cpu: Handle,
    permits: Arc<Semaphore>,
    metrics: Metrics,
    /// Cancelled when the worker has ended: the tasks of in-process machines would outlive it.
    over: CancellationToken,
}

/// Serves the services of one worker.
#[derive(Clone)]
pub(crate) struct Host {
    state: Arc<HostState>,
}

impl Host {
    /// Sets up the services that the driver requires; `None` if there are none. The guard ends all
    /// calls.
    pub(crate) async fn set_up(
        requirements: &Requirements,
        worker: WorkerContext,
        metrics: &Metrics,
        cpu: &Cpu,
    ) -> Result<Option<(Self, DropGuard)>, String> {
        requirements.compare()?;
        if requirements.services.is_empty() {
            return Ok(None);
        }
        let cpu = cpu.handle().map_err(|e| chain(&e))?;
        let here = Here::new(worker).map_err(|e| chain(&e))?;
        let known = registered();
        known.check()?;
        let mut services = BTreeMap::new();
        for Setup { service, value } in &requirements.services {
            let registered = known.find(service).map_err(|missing| missing.message)?;
            let failed =
                |reason: String| format!("could not set up service \"{service}\": {reason}");
            let setting_up = (registered.set_up)(Bytes::from(value.clone()), here.set_up());
            let value = match AbortOnDropHandle::new(cpu.spawn(setting_up)).await {
                Ok(Ok(value)) => value,
                Ok(Err(err)) => return Err(failed(chain(&*err))),
                Err(err) => return Err(failed(format!("init panicked: {}", join_text(err)))),
            };
            services.insert(registered.name, LiveService { registered, value });
        }
        let over = CancellationToken::new();
        let permits = Arc::new(Semaphore::new(CALLS_MAX));
        let metrics = metrics.clone();
        let state = HostState { here, services, cpu, permits, metrics, over: over.clone() };
        Ok(Some((Self { state: Arc::new(state) }, over.drop_guard())))
    }

    /// The method that `path` names, or why there is none.
    fn find(&self, path: &str) -> Result<(&LiveService, &'static Entry), String> {
        let names = path.strip_prefix('/').and_then(|path| path.strip_prefix(WIRE_NAME));
        let named = names.and_then(|names| names.strip_prefix('/')?.split_once('/'));
        let Some((service, method)) = named else {
            return Err(format!("\"{path}\" does not name a method"));
        };
        let list = |names: &[&str]| names.join("\", \"");
        let Some(live) = self.state.services.get(service) else {
            let names: Vec<&str> = self.state.services.keys().copied().collect();
            return Err(format!(
                "this machine has no service \"{service}\"; it was started with \"{}\"",
                list(&names)
            ));
        };
        let methods = live.registered.methods;
        match methods.iter().find(|entry| entry.name == method) {
            Some(entry) => Ok((live, entry)),
            None => {
                let names: Vec<&str> = methods.iter().map(|entry| entry.name).collect();
                Err(format!(
                    "service \"{service}\" has no method \"{method}\"; it has \"{}\"",
                    list(&names)
                ))
            }
        }
    }

    fn begin(&self, path: &str, request: Request<Streaming<Bytes>>) -> Result<Frames, Status> {
        let Some(caller) = request.extensions().get::<Peer>().cloned() else {
            return Err(Status::unauthenticated("the caller has no certificate"));
        };
        let (live, entry) = match self.find(path) {
            Ok(found) => found,
            Err(reason) => return Ok(Frames::Last(Some(refusal(reason)))),
        };
        let permit = Arc::clone(&self.state.permits).try_acquire_owned().map_err(|_| {
            Status::resource_exhausted(format!("{CALLS_MAX} calls are open on this machine"))
        })?;
        let Metrics { service_calls, calls_open, .. } = &self.state.metrics;
        service_calls.with_label_values(&[live.registered.name, entry.name]).inc();
        let open = Open::new(calls_open);
        let (sender, frames) = mpsc::channel(FRAMES_AHEAD);
        let answering = (entry.answer)(Incoming {
            service: Arc::clone(&live.value),
            context: self.state.here.called_by(caller),
            messages: Some(request.into_inner()),
            frames: sender,
        });
        let over = self.state.over.clone();
        let task = self.state.cpu.spawn(async move {
            tokio::select! {
                biased;
                () = over.cancelled() => {}
                () = answering => {}
            }
        });
        Ok(Frames::Open {
            frames,
            task: AbortOnDropHandle::new(task),
            _permit: permit,
            _open: open,
        })
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("machine", self.state.here.machine()).finish_non_exhaustive()
    }
}

impl NamedService for Host {
    const NAME: &'static str = WIRE_NAME;
}

impl Service<http::Request<Body>> for Host {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let call = Call { host: self.clone(), path: request.uri().path().to_owned() };
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(Raw)
                .max_decoding_message_size(WIRE_SIZE_MAX)
                .max_encoding_message_size(WIRE_SIZE_MAX);
            Ok(grpc.streaming(call, request).await)
        })
    }
}

/// One call, for tonic.
struct Call {
    host: Host,
    path: String,
}

impl StreamingService<Bytes> for Call {
    type Response = Bytes;
    type ResponseStream = Frames;
    type Future = Ready<Result<Response<Frames>, Status>>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        futures::future::ready(self.host.begin(&self.path, request).map(Response::new))
    }
}

/// Counts a call as open until it is dropped.
struct Open(IntGauge);

impl Open {
    fn new(open: &IntGauge) -> Self {
        open.inc();
        Self(open.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The frames of one reply. Dropping it ends the call.
enum Frames {
    Open {
        frames: mpsc::Receiver<Bytes>,
        task: AbortOnDropHandle<()>,
        _permit: OwnedSemaphorePermit,
        _open: Open,
    },
    /// One last frame.
    Last(Option<Bytes>),
}

impl Stream for Frames {
    type Item = Result<Bytes, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let ended = match &mut *self {
            Self::Last(last) => return Poll::Ready(last.take().map(Ok)),
            Self::Open { frames, task, .. } => match ready!(frames.poll_recv(cx)) {
                Some(frame) => return Poll::Ready(Some(Ok(frame))),
                // All was sent, or the method panicked.
                None => ready!(Pin::new(task).poll(cx)),
            },
        };
        *self = Self::Last(None);
        match ended {
            Ok(()) => Poll::Ready(None),
            Err(err) if err.is_panic() => {
                let panicked = encode(&PlainFrame::Panicked(join_text(err))).unwrap_or_default();
                Poll::Ready(Some(Ok(panicked)))
            }
            Err(_) => Poll::Ready(Some(Err(Status::unavailable("the machine is stopping")))),
        }
    }
}

/// The text of a task that did not end well.
fn join_text(err: JoinError) -> String {
    let Ok(payload) = err.try_into_panic() else { return "it was cancelled".to_owned() };
    let mut text = panic_text(&*payload).to_owned();
    let end = text.floor_char_boundary(PANIC_TEXT_MAX);
    text.truncate(end);
    text
}
