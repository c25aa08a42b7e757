//! Peer transfer: a machine sends its program to a new one, on request of the driver. Like
//! [`Control`](crate::worker::control::Control) it is not a [`service`](macro@crate::service): it
//! must work on workers without services.
//!
//! ```text
//!   driver -- order: m0 sends the program ------>  new instance, which opens its port once more,
//!   driver -- PeerTransfer: address, certificate -->  m0            for m0 only
//!                                               m0 -- TLS 1.3, program --> new instance: SHA-256
//!   driver <- it is there, or why not -----------  new instance
//! ```
//!
//! Both verify each other: the instance accepts m0 only with m0's certificate of the session, and
//! m0 accepts the instance only with the one-time certificate of that launch. If the transfer
//! fails, the driver sends the program itself. [`PeerTransfer`] is the worker's half.

use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use http::uri::PathAndQuery;
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::body::Body;
use tonic::server::{NamedService, UnaryService};
use tonic::service::Routes;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use tower::Service;

use super::dial::{self, Pinned};
use crate::error::{Error, Result, chain};
use crate::identity::{Peer, Role};
use crate::security::credentials::Credentials;
use crate::systems::local::own_program;
use crate::worker::codec::Postcard;

const PROGRAM: &str = "/bigslice.PeerTransfer/Program";
/// The messages are small; a certificate is below 2 KiB.
const MESSAGE_SIZE_MAX: usize = 64 << 10;
/// A program of 200 MB is sent within a zone in seconds. A machine that takes longer is stuck.
const HAND_ON_TIMEOUT: Duration = Duration::from_secs(120);

/// The receiver.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct To {
    /// Its address with the port.
    pub(super) address: String,
    /// Its one-time certificate.
    pub(super) certificate: Vec<u8>,
    /// Until when that is accepted.
    pub(super) until: SystemTime,
    /// The size of the program in bytes.
    pub(super) size: u64,
}

/// Asks a machine, over `channel`, to send its program.
pub(super) async fn ask(channel: Channel, to: To) -> Result<(), Status> {
    let asked = async {
        let mut client = tonic::client::Grpc::new(channel);
        client.ready().await.map_err(|e| Status::unavailable(chain(&e)))?;
        let codec = Postcard::<To, ()>::default();
        let path = PathAndQuery::from_static(PROGRAM);
        client.unary(Request::new(to), path, codec).await.map(drop)
    };
    let late = |_| Status::deadline_exceeded("it took too long");
    tokio::time::timeout(HAND_ON_TIMEOUT, asked).await.map_err(late)?
}

/// Serves on each machine, for the driver alone.
#[derive(Clone, Debug)]
struct PeerTransfer {
    credentials: Credentials,
}

/// Adds the service to a machine with these credentials.
pub(crate) fn serve_program(routes: Routes, credentials: &Credentials) -> Routes {
    routes.add_service(PeerTransfer { credentials: credentials.clone() })
}

impl PeerTransfer {
    async fn send(self, to: To) -> Result<()> {
        let sending = || format!("send the program to {}", to.address);
        let certificate = CertificateDer::from(to.certificate.clone());
        let pinned = Pinned { certificate, until: to.until };
        let mut stream = dial::dial(&to.address, &pinned, &self.credentials).await?;
        let sent = async {
            let file = File::open(own_program()?).await?;
            if file.metadata().await?.len() != to.size {
                return Err(std::io::Error::other("the program on this machine has another size"));
            }
            tokio::io::copy(&mut file.take(to.size), &mut stream).await?;
            // The receiver tells the driver whether all of it arrived.
            stream.shutdown().await
        };
        sent.await.map_err(Error::io(sending()))
    }
}

impl NamedService for PeerTransfer {
    const NAME: &'static str = "bigslice.PeerTransfer";
}

type Answer<T> = std::pin::Pin<Box<dyn Future<Output = T> + Send>>;

impl Service<http::Request<Body>> for PeerTransfer {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answer<Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            if request.uri().path() != PROGRAM {
                return Ok(Status::unimplemented("no such method").into_http());
            }
            let codec = Postcard::<(), To>::default();
            let mut grpc =
                tonic::server::Grpc::new(codec).max_decoding_message_size(MESSAGE_SIZE_MAX);
            Ok(grpc.unary(service, request).await)
        })
    }
}

impl UnaryService<To> for PeerTransfer {
    type Response = ();
    type Future = Answer<Result<Response<()>, Status>>;

    fn call(&mut self, request: Request<To>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            match request.extensions().get::<Peer>() {
                Some(Peer { role: Role::Driver, .. }) => {}
                _ => return Err(Status::permission_denied("the caller is not the driver")),
            }
            let sending = tokio::time::timeout(HAND_ON_TIMEOUT, service.send(request.into_inner()));
            match sending.await {
                Ok(Ok(())) => Ok(Response::new(())),
                Ok(Err(err)) => Err(Status::unavailable(chain(&err))),
                Err(_) => Err(Status::deadline_exceeded("it took too long")),
            }
        })
    }
}
