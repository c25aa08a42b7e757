//! The control service of a worker: lease renewal (with certificate renewal and resource usage),
//! facts about the machine, its metrics, its CPU profile, shutdown. Every worker serves it beside
//! its own services, and only the driver of the session may call it. [`Control`] is the driver's
//! half, [`ControlService`] the worker's. It is not a [`service`](macro@crate::service): it must
//! answer on the I/O runtime while user methods keep the CPU runtime busy, and on workers without
//! services.

use std::convert::Infallible;
use std::future::{Future, Ready};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::uri::PathAndQuery;
use rustls::pki_types::CertificateDer;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::server::{NamedService, UnaryService};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use tower::Service;

use crate::error::{Error, Result, chain};
use crate::identity::{MachineName, Peer, Role};
use crate::machine::info::MachineInfo;
use crate::machine::{Machine, State};
use crate::observe::metrics::{Family, Metrics};
use crate::observe::profile::{Hertz, Sampler, Stacks};
use crate::observe::usage::Usage;
use crate::security::credentials::Credentials;
use crate::worker::codec::Postcard;
use crate::worker::lease::Lease;

const RENEW: &str = "/bigslice.Control/Renew";
const INFO: &str = "/bigslice.Control/Info";
const METRICS: &str = "/bigslice.Control/Metrics";
const PROFILE: &str = "/bigslice.Control/Profile";
const PROFILE_BEGUN: &str = "/bigslice.Control/ProfileBegun";
const PROFILE_END: &str = "/bigslice.Control/ProfileEnd";
const SHUTDOWN: &str = "/bigslice.Control/Shutdown";
/// A live machine answers far faster, however busy its cores are.
const INFO_TIMEOUT: Duration = Duration::from_secs(2);
/// Most messages are small; a certificate is below 2 KiB.
const MESSAGE_SIZE_MAX: usize = 64 << 10;
/// Far more than the metrics of a machine.
const METRICS_SIZE_MAX: usize = 16 << 20;
/// Far more than the stacks of a profile.
const PROFILE_SIZE_MAX: usize = 128 << 20;
/// The longest time in which a machine resolves and sends the names of its samples.
const PROFILE_GRACE: Duration = Duration::from_secs(60);

/// All methods.
const METHODS: [&str; 7] = [RENEW, INFO, METRICS, PROFILE, PROFILE_BEGUN, PROFILE_END, SHUTDOWN];

/// Renews the lease, and answers the certificate request of the previous reply.
#[derive(Debug, Serialize, Deserialize)]
struct RenewRequest {
    certificate: Option<Vec<u8>>,
}

/// The answer to the renewal of a lease.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Renewal {
    /// A request for the next certificate, after half of the current one's life.
    pub certificate_request: Option<Vec<u8>>,
    /// Its usage; `None` if it is part of the driver's process.
    pub usage: Option<Usage>,
}

/// Requests a CPU profile.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct ProfileRequest {
    hertz: Hertz,
    at_most: Duration,
}

impl Machine {
    /// Asks for its resources and their usage. Waits until it runs.
    ///
    /// # Errors
    /// If it is lost, or does not answer within 2 s: the information is small, and available at
    /// once.
    pub async fn info(&self) -> Result<MachineInfo> {
        self.wait(State::Running).await;
        let remote = self.remote().ok_or(Error::Closed)?;
        let channel = remote.channel().await?;
        Control::new(self.name().clone(), channel).info(INFO_TIMEOUT).await
    }
}

/// Calls the control service of one machine. Clones share the channel.
#[derive(Clone, Debug)]
pub struct Control {
    machine: MachineName,
    channel: Channel,
}

impl Control {
    /// Calls `machine` over `channel`.
    pub fn new(machine: MachineName, channel: Channel) -> Self {
        Self { machine, channel }
    }

    /// Renews the lease. `certificate` answers the request of an earlier reply.
    pub async fn renew(
        &self,
        certificate: Option<&CertificateDer<'static>>,
        timeout: Duration,
    ) -> Result<Renewal> {
        let request = RenewRequest { certificate: certificate.map(|c| c.to_vec()) };
        self.call(RENEW, request, timeout).await
    }

    /// Asks for the machine's resources.
    pub async fn info(&self, timeout: Duration) -> Result<MachineInfo> {
        self.call(INFO, (), timeout).await
    }

    /// Asks for the machine's metrics.
    pub(crate) async fn metrics(&self, timeout: Duration) -> Result<Vec<Family>> {
        self.call_with(METRICS, (), timeout, METRICS_SIZE_MAX).await
    }

    /// Profiles the machine's process until [`end_profile`](Self::end_profile), but at most for
    /// `at_most`. Dropping the future cancels it.
    pub(crate) async fn profile(&self, hertz: Hertz, at_most: Duration) -> Result<Stacks> {
        let request = ProfileRequest { hertz, at_most };
        self.call_with(PROFILE, request, at_most + PROFILE_GRACE, PROFILE_SIZE_MAX).await
    }

    /// Returns when the machine takes samples, or failed to.
    pub(crate) async fn profile_begun(&self, timeout: Duration) -> Result<()> {
        self.call(PROFILE_BEGUN, (), timeout).await
    }

    /// Ends the machine's profile, which is then answered.
    pub(crate) async fn end_profile(&self, timeout: Duration) -> Result<()> {
        self.call(PROFILE_END, (), timeout).await
    }

    /// Asks the machine to end.
    pub async fn shutdown(&self, timeout: Duration) -> Result<()> {
        self.call(SHUTDOWN, (), timeout).await
    }

    async fn call<Q, A>(&self, method: &'static str, message: Q, timeout: Duration) -> Result<A>
    where
        Q: Serialize + Send + Sync + 'static,
        A: DeserializeOwned + Send + Sync + 'static,
    {
        self.call_with(method, message, timeout, MESSAGE_SIZE_MAX).await
    }

    async fn call_with<Q, A>(
        &self,
        method: &'static str,
        message: Q,
        timeout: Duration,
        size_max: usize,
    ) -> Result<A>
    where
        Q: Serialize + Send + Sync + 'static,
        A: DeserializeOwned + Send + Sync + 'static,
    {
        let fail = |status: Status| Error::Call {
            machine: self.machine.clone(),
            method: method.rsplit('/').next().unwrap_or(method),
            source: Box::new(status),
        };
        let call = async {
            let mut client =
                tonic::client::Grpc::new(self.channel.clone()).max_decoding_message_size(size_max);
            client.ready().await.map_err(|e| Status::unavailable(chain(&e)))?;
            let path = PathAndQuery::from_static(method);
            let codec = Postcard::<Q, A>::default();
            client.unary(Request::new(message), path, codec).await.map(Response::into_inner)
        };
        match tokio::time::timeout(timeout, call).await {
            Ok(answer) => answer.map_err(fail),
            Err(_) => Err(fail(Status::deadline_exceeded(format!(
                "no answer within {} ms",
                timeout.as_millis()
            )))),
        }
    }
}

/// The state of a worker's profile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    #[default]
    Idle,
    Begun,
    Failed,
}

/// The state that the calls about a worker's profile share.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProfilingHere {
    phase: Arc<watch::Sender<Phase>>,
    /// Notified when the profile must end.
    end: Arc<Notify>,
}

/// The worker's half.
#[derive(Clone, Debug)]
pub(crate) struct ControlService {
    pub(crate) lease: Lease,
    pub(crate) credentials: Credentials,
    /// The worker's folder, whose disk is reported.
    pub(crate) scratch: PathBuf,
    /// True if it is part of the driver's process, which then reports the usage.
    pub(crate) within_driver: bool,
    pub(crate) metrics: Metrics,
    pub(crate) profiling: ProfilingHere,
    /// Cancelled when the driver asks the worker to end.
    pub(crate) stop: CancellationToken,
}

impl ControlService {
    fn renew(&self, request: RenewRequest) -> Result<Renewal> {
        self.lease.renew();
        if let Some(certificate) = request.certificate {
            self.credentials.renew(CertificateDer::from(certificate))?;
        }
        let usage = (!self.within_driver).then(|| Usage::gather(&self.scratch));
        Ok(Renewal { certificate_request: self.credentials.renewal()?, usage })
    }

    fn profile(
        &self,
        request: ProfileRequest,
    ) -> impl Future<Output = Result<Stacks>> + Send + use<> {
        let ProfilingHere { phase, end } = self.profiling.clone();
        async move {
            phase.send_replace(Phase::Idle);
            let begun = Sampler::begin(request.hertz).await;
            phase.send_replace(if begun.is_ok() { Phase::Begun } else { Phase::Failed });
            let sampler = begun?;
            // A request and the time limit end it alike.
            drop(tokio::time::timeout(request.at_most, end.notified()).await);
            phase.send_replace(Phase::Idle);
            sampler.finish().await
        }
    }

    fn profile_begun(&self) -> impl Future<Output = Result<()>> + Send + use<> {
        let mut phase = self.profiling.phase.subscribe();
        async move {
            // Never an error: the sender is held by this service.
            drop(phase.wait_for(|phase| *phase != Phase::Idle).await);
            Ok(())
        }
    }
}

impl NamedService for ControlService {
    const NAME: &'static str = "bigslice.Control";
}

type Answer = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

/// Wraps a method that answers at once.
fn at_once<Q, A>(
    method: impl Fn(Q) -> Result<A> + Send + 'static,
) -> impl Fn(Q) -> Ready<Result<A>> + Send + 'static {
    move |message| std::future::ready(method(message))
}

impl Service<http::Request<Body>> for ControlService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Answer {
        let service = self.clone();
        Box::pin(async move {
            let path = request.uri().path().to_owned();
            if let Some(method) = METHODS.into_iter().find(|method| *method == path) {
                let name = method.rsplit('/').next().unwrap_or(method);
                service.metrics.control_calls.with_label_values(&[name]).inc();
            }
            Ok(match path.as_str() {
                RENEW => answer(request, at_once(move |m| service.renew(m))).await,
                INFO => {
                    let info = move |()| Ok(MachineInfo::gather(&service.scratch));
                    answer(request, at_once(info)).await
                }
                METRICS => {
                    let gather = move |()| Ok(Family::gather(&service.metrics.registry));
                    answer(request, at_once(gather)).await
                }
                PROFILE => {
                    let profile = move |m: ProfileRequest| service.profile(m);
                    answer(request, profile).await
                }
                PROFILE_BEGUN => answer(request, move |()| service.profile_begun()).await,
                PROFILE_END => {
                    let end = move |()| {
                        service.profiling.end.notify_waiters();
                        Ok(())
                    };
                    answer(request, at_once(end)).await
                }
                SHUTDOWN => {
                    let stop = move |()| {
                        service.stop.cancel();
                        Ok(())
                    };
                    answer(request, at_once(stop)).await
                }
                other => Status::unimplemented(format!("no method \"{other}\"")).into_http(),
            })
        })
    }
}

/// Answers one call with `method`, if the caller is the driver.
async fn answer<Q, A, F>(
    request: http::Request<Body>,
    method: impl Fn(Q) -> F + Send + 'static,
) -> http::Response<Body>
where
    Q: DeserializeOwned + Send + 'static,
    A: Serialize + Send + 'static,
    F: Future<Output = Result<A>> + Send + 'static,
{
    let mut grpc = tonic::server::Grpc::new(Postcard::<A, Q>::default())
        .max_decoding_message_size(MESSAGE_SIZE_MAX);
    grpc.unary(DriverOnly(method), request).await
}

struct DriverOnly<M>(M);

impl<Q, A, M, F> UnaryService<Q> for DriverOnly<M>
where
    M: Fn(Q) -> F,
    F: Future<Output = Result<A>> + Send + 'static,
    A: 'static,
{
    type Response = A;
    type Future = BoxFuture<'static, Result<Response<A>, Status>>;

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let refusal = match request.extensions().get::<Peer>() {
            Some(Peer { role: Role::Driver, .. }) => {
                let answer = (self.0)(request.into_inner());
                return Box::pin(async move {
                    answer.await.map(Response::new).map_err(|e| Status::internal(chain(&e)))
                });
            }
            Some(peer) => Status::permission_denied(format!("the {peer} is not the driver")),
            None => Status::unauthenticated("the caller is unknown"),
        };
        Box::pin(async move { Err(refusal) })
    }
}
