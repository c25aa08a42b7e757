//! Dials machines with this process's credentials. A [`Connector`] returns gRPC channels. Every
//! connection below them, including a renewed one, is verified to lead to the machine that the
//! address names.
//!
//! All socket work runs on the I/O runtime, whatever the caller's runtime: a caller whose threads
//! are busy must not delay keep-alives.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::runtime::Handle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::{Channel, Endpoint};
use url::Url;

use crate::error::{BoxError, Error, Result, chain};
use crate::faults::Faults;
use crate::identity::{MachineName, Peer};
use crate::security::credentials::Credentials;
use crate::security::tls;
use crate::security::wire::Wire;

/// The limit for TCP, TLS and HTTP/2 together. A machine that takes longer counts as gone.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The interval of keep-alives on a silent connection, also when it has no calls.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// A keep-alive without an answer breaks the connection after this.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// How much one stream may have in flight: more than a record batch, so that a sender rarely waits.
pub(crate) const STREAM_WINDOW: u32 = 4 << 20;
/// How much all streams of a connection may have in flight: HTTP/2's largest window. A merge reads
/// one stream and leaves others waiting with full windows of their own. If the connection's window
/// were smaller than theirs together, the stream that is read would never get anything.
pub(crate) const CONNECTION_WINDOW: u32 = (1 << 31) - 1;
/// The limit of a request's headers and an answer's trailers: they carry a plan's context and an
/// error's text, so more than the usual 16 KiB.
pub(crate) const HEADERS_SIZE_MAX: u32 = 1 << 20;
/// Frames above the default of 16 KiB cost less per byte, and are small enough not to block others.
pub(crate) const FRAME_SIZE: u32 = 128 << 10;

/// Makes verified connections to machines. Clones share everything.
#[derive(Clone)]
pub struct Connector {
    config: Arc<ClientConfig>,
    credentials: Credentials,
    io: Handle,
    faults: Option<Faults>,
    patience: Duration,
}

impl Connector {
    /// A connector with these `credentials` whose connections run on `io`.
    pub fn new(credentials: Credentials, io: Handle) -> Result<Self> {
        let config = tls::client_config(&credentials)?;
        Ok(Self { config, credentials, io, faults: None, patience: CONNECT_TIMEOUT })
    }

    /// Adds faults below its connections.
    pub(crate) fn with_faults(self, faults: Option<Faults>) -> Self {
        Self { faults, ..self }
    }

    /// Waits at least this long for silent machines.
    pub(crate) fn with_patience(self, patience: Duration) -> Self {
        Self { patience: patience.max(CONNECT_TIMEOUT), ..self }
    }

    /// Connects to the machine at `url`, of the form `https://<address>:<port>/<machine>`.
    pub async fn connect(&self, url: &Url) -> Result<Channel> {
        let refuse = |reason: String| Error::Connect { url: url.clone(), reason };
        let machine = Self::machine_of(url)
            .ok_or_else(|| refuse("the address does not name a machine".to_owned()))?;
        let (Some(host), Some(port)) = (url.host_str(), url.port()) else {
            return Err(refuse("the address has no host or no port".to_owned()));
        };
        let authority = format!("{host}:{port}");
        let dial = Dial {
            tls: TlsConnector::from(Arc::clone(&self.config)),
            address: authority.clone(),
            from: self.peer().machine.clone(),
            to: Peer::worker(self.peer().session.clone(), machine),
            faults: self.faults.clone(),
            patience: self.patience,
        };
        // For tonic the transport is plain, because the connector does the encryption; the URIs of
        // requests are https all the same.
        let endpoint = Endpoint::from_shared(format!("http://{authority}"))
            .map_err(|e| refuse(chain(&e)))?
            .origin(
                Uri::builder()
                    .scheme("https")
                    .authority(authority)
                    .path_and_query("/")
                    .build()
                    .map_err(|e| refuse(chain(&e)))?,
            )
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(FRAME_SIZE)
            .http2_max_header_list_size(HEADERS_SIZE_MAX);
        let connecting = self.io.spawn(async move {
            let connector = tower::service_fn(move |_: Uri| dial.clone().run());
            endpoint.connect_with_connector(connector).await
        });
        match AbortOnDropHandle::new(connecting).await {
            Ok(Ok(channel)) => Ok(channel),
            Ok(Err(err)) => Err(refuse(chain(&err))),
            Err(err) => Err(refuse(chain(&err))),
        }
    }

    /// The machine that an address names.
    pub fn machine_of(url: &Url) -> Option<MachineName> {
        url.path().strip_prefix('/')?.parse().ok()
    }

    /// The identity of this process.
    pub fn peer(&self) -> &Peer {
        self.credentials.peer()
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("peer", self.peer()).finish_non_exhaustive()
    }
}

/// An address with the name that must answer there.
#[derive(Clone)]
struct Dial {
    tls: TlsConnector,
    address: String,
    from: MachineName,
    to: Peer,
    faults: Option<Faults>,
    patience: Duration,
}

impl Dial {
    async fn run(self) -> Result<TokioIo<TlsStream<Wire>>, BoxError> {
        let Self { tls, address, from, to, faults, patience } = self;
        let name = to.server_name()?;
        let connected = tokio::time::timeout(patience, async {
            let wire = Wire::connect(&from, &to.machine, &address, faults.as_ref()).await?;
            tls.connect(name, wire).await
        });
        let stream = connected
            .await
            .map_err(|_| format!("no answer within {} s", patience.as_secs_f32()))??;
        if stream.get_ref().1.alpn_protocol() != Some(tls::ALPN) {
            return Err("the machine does not speak HTTP/2".into());
        }
        Ok(TokioIo::new(stream))
    }
}
