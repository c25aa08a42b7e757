//! Serves the pages on a thread of its own: they are needed most when everything else is busy or
//! stuck. On hyper and not on axum: axum's `serve` has no limit of connections and no timeout for
//! headers, so this loop would stay, and the routes are one `match`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::debug::door;
use crate::debug::routes::{self, Content};
use crate::error::{Error, Result};
use crate::fleet::inspector::Inspector;

/// The most connections at a time: a browser opens a few, a scraper one.
const CONNECTIONS_MAX: usize = 32;
/// A connection without a complete request after this is closed.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// The pause after a failed accept, for example without free file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// The pause between two samples of a driver without machines.
const SAMPLE_PAUSE: Duration = Duration::from_secs(2);
/// A page is self-contained: nothing is loaded from elsewhere, and no script runs.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// Serves the pages until it is dropped.
#[derive(Debug)]
pub struct DebugServer {
    address: SocketAddr,
    _stop: DropGuard,
}

impl DebugServer {
    /// The address that it serves.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of the first page.
    pub fn url(&self) -> String {
        format!("http://{}/debug", self.address)
    }
}

/// Starts to serve at `address`.
pub(crate) fn serve(inspector: Inspector, address: SocketAddr) -> Result<DebugServer> {
    if !address.ip().is_loopback() {
        return Err(Error::Options(format!(
            "the debug pages cannot be served at {address}: they show what the program does to whoever \
             asks, so that they must have a loopback address, such as 127.0.0.1; from another computer \
             they are reached through ssh -L"
        )));
    }
    let attempt = || format!("serve the debug pages at {address}");
    let listener = std::net::TcpListener::bind(address).map_err(Error::io(attempt()))?;
    listener.set_nonblocking(true).map_err(Error::io(attempt()))?;
    let address = listener.local_addr().map_err(Error::io(attempt()))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::io(attempt()))?;
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    thread::Builder::new()
        .name("bigslice-debug".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                match TcpListener::from_std(listener) {
                    Ok(listener) => accept(&listener, &inspector, &stopped).await,
                    Err(err) => tracing::error!(error = %err, "could not serve the debug pages"),
                }
            });
            runtime.shutdown_background();
        })
        .map_err(Error::io(attempt()))?;
    Ok(DebugServer { address, _stop: stop.drop_guard() })
}

async fn accept(listener: &TcpListener, inspector: &Inspector, stop: &CancellationToken) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    let mut samples = tokio::time::interval(SAMPLE_PAUSE);
    samples.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((tcp, _)) => {
                    // Connections above the limit are closed.
                    if let Ok(permit) = Arc::clone(&permits).try_acquire_owned() {
                        let inspector = inspector.clone();
                        connections.spawn(async move {
                            converse(tcp, inspector).await;
                            drop(permit);
                        });
                    }
                }
                Err(err) => {
                    tracing::warn!(error = %err, "could not accept a connection");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            },
            Some(_) = connections.join_next() => {}
            // With machines, the renewal of their leases takes the samples.
            _ = samples.tick(), if inspector.state().is_none() => inspector.sample(),
        }
    }
    connections.shutdown().await;
}

async fn converse(tcp: TcpStream, inspector: Inspector) {
    let service = tower::service_fn(move |request: Request<_>| {
        let inspector = inspector.clone();
        async move { Ok::<_, std::convert::Infallible>(answer(&inspector, &request).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(REQUEST_TIMEOUT);
    let connection = builder.serve_connection(TokioIo::new(tcp), TowerToHyperService::new(service));
    if let Err(err) = connection.await {
        tracing::debug!(error = %err, "a connection to the debug pages broke");
    }
}

async fn answer<B>(inspector: &Inspector, request: &Request<B>) -> Response<Full<Bytes>> {
    let content = match door::admit(request.method(), request.uri(), request.headers()) {
        Ok(()) => routes::content(inspector, request.uri()).await,
        Err((status, text)) => Content::refusal(status, text),
    };
    let mut response = Response::builder()
        .status(content.status)
        .header(header::CONTENT_TYPE, content.content_type)
        .header(header::CACHE_CONTROL, "no-store")
        .header(header::CONTENT_SECURITY_POLICY, POLICY)
        .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
        .header(header::REFERRER_POLICY, "no-referrer");
    if let Some(file) = content.file {
        let attached = format!("attachment; filename=\"{file}\"");
        response = response.header(header::CONTENT_DISPOSITION, attached);
    }
    // Never an error: all headers are valid.
    response.body(Full::new(content.body)).unwrap_or_default()
}
