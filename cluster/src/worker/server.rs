//! The one port of a worker. [`Server::bind`] opens it before the worker has a certificate (the
//! driver needs the address first). [`Server::run`] accepts, verifies and serves until asked to
//! stop. Every request carries the caller's verified [`Peer`] as an extension.
//!
//! A caller that has not shown a certificate yet can take only one of [`HANDSHAKES_MAX`] slots for
//! [`HANDSHAKE_TIMEOUT`], and loses it to newcomers when the slots run out.

use std::collections::VecDeque;
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Request;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tower::Service;

use crate::error::{BoxError, Error, Result};
use crate::identity::Peer;
use crate::observe::metrics::{Metered, Metrics};
use crate::security::connector::{CONNECTION_WINDOW, FRAME_SIZE, HEADERS_SIZE_MAX, STREAM_WINDOW};
use crate::security::credentials::Credentials;
use crate::security::tls;

/// The most callers of one worker: the driver and every other worker with a few channels each.
const CONNECTIONS_MAX: usize = 4096;
/// The most callers that have not shown a certificate yet.
const HANDSHAKES_MAX: usize = 64;
/// A handshake on one host takes milliseconds, and across a region still far less than this.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// The most open calls of one caller: one per partition that it reads, over all queries.
const STREAMS_MAX: u32 = 4096;
/// A cancelled query resets all its calls at once, perhaps before they were handled.
const RESETS_MAX: usize = 4096;
/// A caller that is silent for this long is probed...
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// ...and dropped if it does not answer.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause after a failed accept, for example without free file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// How long calls in progress may take to end once the worker stops.
const STOP_GRACE: Duration = Duration::from_millis(500);

/// A bound port that does not answer yet.
#[derive(Debug)]
pub(crate) struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Binds `address`; port 0 is any free port.
    pub(crate) async fn bind(address: SocketAddrV4) -> Result<Self> {
        let bind = || format!("bind the port of {address}");
        let listener = TcpListener::bind(address).await.map_err(Error::io(bind()))?;
        let address = listener.local_addr().map_err(Error::io(bind()))?;
        Ok(Self { listener, address })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves `routes` until `stop`. Dropping the future closes port and connections at once.
    pub(crate) async fn run(
        self,
        credentials: &Credentials,
        routes: Routes,
        metrics: &Metrics,
        stop: CancellationToken,
    ) -> Result<()> {
        let acceptor = TlsAcceptor::from(tls::server_config(credentials)?);
        let routes = routes.prepare();
        let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut handshakes = JoinSet::new();
        let mut waiting: VecDeque<AbortHandle> = VecDeque::new();
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.listener.accept() => match accepted {
                    Ok((tcp, _)) => {
                        waiting.retain(|handshake| !handshake.is_finished());
                        if waiting.len() >= HANDSHAKES_MAX {
                            waiting.pop_front().inspect(AbortHandle::abort);
                        }
                        waiting.push_back(handshakes.spawn(handshake(acceptor.clone(), tcp)));
                    }
                    Err(err) => {
                        tracing::warn!(error = %err, "could not accept a connection");
                        tokio::time::sleep(ACCEPT_RETRY).await;
                    }
                },
                Some(done) = handshakes.join_next() => match done {
                    Ok(Ok((stream, peer))) => match Arc::clone(&permits).try_acquire_owned() {
                        Ok(permit) => {
                            let routes = routes.clone();
                            let stream = Metered::new(stream, metrics.clone());
                            connections.spawn(serve(stream, peer, routes, permit, stop.clone()));
                        }
                        Err(_) => tracing::warn!(%peer, "refused a connection: too many are open"),
                    },
                    Ok(Err(err)) => tracing::debug!(error = %err, "refused a connection"),
                    Err(err) => tracing::debug!(error = %err, "a handshake was aborted"),
                },
                Some(_) = connections.join_next() => {}
            }
        }
        // The port closes before the last answers are sent, so that no new caller waits for one.
        drop(self.listener);
        handshakes.shutdown().await;
        while connections.join_next().await.is_some() {}
        Ok(())
    }
}

async fn handshake(
    acceptor: TlsAcceptor,
    tcp: TcpStream,
) -> Result<(TlsStream<TcpStream>, Peer), BoxError> {
    tcp.set_nodelay(true)?;
    let stream = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(tcp)).await??;
    let session = stream.get_ref().1;
    if session.alpn_protocol() != Some(tls::ALPN) {
        return Err("the caller does not speak HTTP/2".into());
    }
    let certificate = session
        .peer_certificates()
        .and_then(|c| c.first())
        .ok_or("the caller has no certificate")?;
    let peer = Peer::of_certificate(certificate)?;
    Ok((stream, peer))
}

async fn serve(
    stream: Metered<TlsStream<TcpStream>>,
    peer: Peer,
    routes: Routes,
    _permit: OwnedSemaphorePermit,
    stop: CancellationToken,
) {
    let mut builder = auto::Builder::new(TokioExecutor::new()).http2_only();
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_SIZE)
        .max_concurrent_streams(STREAMS_MAX)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_header_list_size(HEADERS_SIZE_MAX)
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
    let service = TowerToHyperService::new(Identified { peer: peer.clone(), routes });
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(STOP_GRACE, connection).await {
                Ok(ended) => ended,
                Err(_) => return,
            }
        }
    };
    if let Err(err) = ended {
        tracing::debug!(%peer, error = %err, "a connection broke");
    }
}

/// Adds the caller's identity to each request.
#[derive(Clone, Debug)]
struct Identified {
    peer: Peer,
    routes: Routes,
}

impl<B> Service<Request<B>> for Identified
where
    Routes: Service<Request<B>>,
{
    type Response = <Routes as Service<Request<B>>>::Response;
    type Error = <Routes as Service<Request<B>>>::Error;
    type Future = <Routes as Service<Request<B>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        <Routes as Service<Request<B>>>::poll_ready(&mut self.routes, cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        request.extensions_mut().insert(self.peer.clone());
        <Routes as Service<Request<B>>>::call(&mut self.routes, request)
    }
}
