//! The control service of a worker: lease renewal (which carries certificate renewal), facts about
//! the machine, shutdown. Every worker serves it beside its own services, and only the driver of
//! the session may call it. [`Control`] is the driver's half, [`ControlService`] the worker's.

use std::convert::Infallible;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::uri::PathAndQuery;
use rustls::pki_types::CertificateDer;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::server::{NamedService, UnaryService};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use tower::Service;

use crate::codec::Postcard;
use crate::credentials::Credentials;
use crate::error::{Error, Result, chain};
use crate::identity::{MachineName, Peer, Role};
use crate::info::MachineInfo;
use crate::lease::Lease;

const RENEW: &str = "/bigslice.Control/Renew";
const INFO: &str = "/bigslice.Control/Info";
const SHUTDOWN: &str = "/bigslice.Control/Shutdown";
/// The messages are small; a certificate is below 2 KiB.
const MESSAGE_SIZE_MAX: usize = 64 << 10;

/// Renews the lease, and brings the answer to the request of the reply before.
#[derive(Debug, Serialize, Deserialize)]
struct RenewRequest {
    certificate: Option<Vec<u8>>,
}

/// Asks for a certificate when the worker's is past half of its life.
#[derive(Debug, Serialize, Deserialize)]
struct RenewReply {
    certificate_request: Option<Vec<u8>>,
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

    /// Renews the lease. `certificate` answers the request of an earlier reply; the request in the
    /// reply, if any, wants a certificate for this same machine.
    pub async fn renew(
        &self,
        certificate: Option<&CertificateDer<'static>>,
        timeout: Duration,
    ) -> Result<Option<Vec<u8>>> {
        let request = RenewRequest { certificate: certificate.map(|c| c.to_vec()) };
        let reply: RenewReply = self.call(RENEW, request, timeout).await?;
        Ok(reply.certificate_request)
    }

    /// Asks what the machine has.
    pub async fn info(&self, timeout: Duration) -> Result<MachineInfo> {
        self.call(INFO, (), timeout).await
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
        let fail = |status: Status| Error::Call {
            machine: self.machine.clone(),
            method: method.rsplit('/').next().unwrap_or(method),
            source: Box::new(status),
        };
        let call = async {
            let mut client = tonic::client::Grpc::new(self.channel.clone())
                .max_decoding_message_size(MESSAGE_SIZE_MAX);
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

/// The worker's half.
#[derive(Clone, Debug)]
pub(crate) struct ControlService {
    pub(crate) lease: Lease,
    pub(crate) credentials: Credentials,
    /// The worker's folder, for what is said of its disk.
    pub(crate) scratch: PathBuf,
    /// Cancelled when the driver asks the worker to end.
    pub(crate) stop: CancellationToken,
}

impl ControlService {
    fn renew(&self, request: RenewRequest) -> Result<RenewReply> {
        self.lease.renew();
        if let Some(certificate) = request.certificate {
            self.credentials.renew(CertificateDer::from(certificate))?;
        }
        Ok(RenewReply { certificate_request: self.credentials.renewal()? })
    }
}

impl NamedService for ControlService {
    const NAME: &'static str = "bigslice.Control";
}

type Answer = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

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
            Ok(match request.uri().path() {
                RENEW => answer(request, move |m| service.renew(m)).await,
                INFO => answer(request, move |()| Ok(MachineInfo::gather(&service.scratch))).await,
                SHUTDOWN => {
                    answer(request, move |()| {
                        service.stop.cancel();
                        Ok(())
                    })
                    .await
                }
                other => Status::unimplemented(format!("no method \"{other}\"")).into_http(),
            })
        })
    }
}

/// Answers one call with `method`, if it comes from the driver.
async fn answer<Q, A>(
    request: http::Request<Body>,
    method: impl Fn(Q) -> Result<A> + Send + 'static,
) -> http::Response<Body>
where
    Q: DeserializeOwned + Send + 'static,
    A: Serialize + Send + 'static,
{
    let mut grpc = tonic::server::Grpc::new(Postcard::<A, Q>::default())
        .max_decoding_message_size(MESSAGE_SIZE_MAX);
    grpc.unary(DriverOnly(method), request).await
}

struct DriverOnly<F>(F);

impl<Q, A, F> UnaryService<Q> for DriverOnly<F>
where
    F: Fn(Q) -> Result<A>,
{
    type Response = A;
    type Future = std::future::Ready<Result<Response<A>, Status>>;

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let caller = request.extensions().get::<Peer>().cloned();
        std::future::ready(match caller {
            Some(Peer { role: Role::Driver, .. }) => (self.0)(request.into_inner())
                .map(Response::new)
                .map_err(|e| Status::internal(chain(&e))),
            Some(peer) => Err(Status::permission_denied(format!("the {peer} is not the driver"))),
            None => Err(Status::unauthenticated("the caller is unknown")),
        })
    }
}
