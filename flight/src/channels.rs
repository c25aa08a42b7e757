//! Connections to machines: one per machine, made once, dropped when it breaks.
//!
//! Every task of every query asks here for a connection to its machine. A machine's URL contains
//! its name, and a name is never used twice, so a new machine on an old port is a new entry. The
//! connector refuses a connection whose certificate names another machine than the URL.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bigslice_cluster::Connector;
use datafusion::error::DataFusionError;
use datafusion_distributed::{WorkerChannel, grpc};
use futures::future::{BoxFuture, FutureExt, Shared};
use parking_lot::Mutex;
use tonic::body::Body;
use tonic::transport::Channel;
use tower::Service;
use url::Url;

use crate::failure_latch::FailureLatches;
use crate::{Error, classify};

/// The most connections that are kept. More machines work too, but each query then connects again.
const CHANNELS_MAX: usize = 1024;
/// The connector limits each step; this limits all of them together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(6);

/// The connections of this process to the machines of its session. Clones share them.
#[derive(Clone)]
pub struct Channels {
    shared: Arc<ChannelsShared>,
}

struct ChannelsShared {
    connector: Connector,
    open: Mutex<HashMap<Url, Entry>>,
    next_id: AtomicU64,
    latches: FailureLatches,
}

/// A connection that is open or being opened. All callers wait for the same one.
#[derive(Clone)]
struct Entry {
    id: u64,
    channel: Shared<BoxFuture<'static, Result<Channel, Error>>>,
}

impl Channels {
    /// Connections made by `connector`. None is open yet.
    pub fn new(connector: Connector) -> Self {
        let shared = ChannelsShared {
            connector,
            open: Mutex::default(),
            next_id: AtomicU64::new(0),
            latches: FailureLatches::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// A client for the machine at `url`, over a connection that is not known to be broken.
    pub(crate) async fn client(&self, url: &Url) -> Result<Box<dyn WorkerChannel>, Error> {
        let channel = self.channel(url).await?;
        Ok(grpc::create_worker_client(grpc::BoxCloneSyncChannel::new(channel)))
    }

    /// The connection to the machine at `url`, opened now if there is none.
    pub(crate) async fn channel(&self, url: &Url) -> Result<Evicting, Error> {
        let Entry { id, channel } = self.entry(url);
        let channel = match channel.await {
            Ok(channel) => channel,
            Err(err) => {
                self.evict(url, id);
                return Err(err);
            }
        };
        Ok(Evicting { channel, channels: self.clone(), url: url.clone(), id })
    }

    /// The result of a call to the machine at `url`, as an error of this crate. The connection of a
    /// machine that did not answer is not used again.
    pub(crate) fn judged(&self, url: &Url, err: DataFusionError) -> DataFusionError {
        let asked = machine_name(url);
        let err = classify::received(err, &asked);
        if let Some(Error::Lost { machine, .. }) = classify::exchange_error(&err)
            && *machine == asked
        {
            // For any connection: a stream over it broke.
            self.shared.open.lock().remove(url);
        }
        err
    }

    /// The failures of the queries whose plans were sent over these connections.
    pub(crate) fn latches(&self) -> &FailureLatches {
        &self.shared.latches
    }

    fn entry(&self, url: &Url) -> Entry {
        let mut open = self.shared.open.lock();
        if let Some(entry) = open.get(url) {
            return entry.clone();
        }
        if open.len() >= CHANNELS_MAX
            && let Some(any) = open.keys().next().cloned()
        {
            // Calls that use the connection keep it. It is only not handed out again.
            open.remove(&any);
        }
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        let channel = connect(self.shared.connector.clone(), url.clone()).boxed().shared();
        let entry = Entry { id, channel };
        open.insert(url.clone(), entry.clone());
        entry
    }

    /// Forgets the connection `id` to `url`, if it is the current one.
    fn evict(&self, url: &Url, id: u64) {
        let mut open = self.shared.open.lock();
        if open.get(url).is_some_and(|entry| entry.id == id) {
            open.remove(url);
        }
    }
}

impl fmt::Debug for Channels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channels").field("open", &self.shared.open.lock().len()).finish()
    }
}

/// The name of the machine at `url` in errors.
pub(crate) fn machine_name(url: &Url) -> String {
    Connector::machine_of(url).map_or_else(|| url.to_string(), |name| name.to_string())
}

async fn connect(connector: Connector, url: Url) -> Result<Channel, Error> {
    let machine = machine_name(&url);
    match tokio::time::timeout(CONNECT_TIMEOUT, connector.connect(&url)).await {
        Ok(Ok(channel)) => Ok(channel),
        Ok(Err(err)) => Err(classify::unreachable(&machine, &err)),
        Err(_) => {
            let reason = format!("no connection within {} s", CONNECT_TIMEOUT.as_secs());
            Err(Error::Lost { machine, reason })
        }
    }
}

/// A channel that is not handed out again after a call failed to reach the machine.
#[derive(Clone)]
pub(crate) struct Evicting {
    channel: Channel,
    channels: Channels,
    url: Url,
    id: u64,
}

impl Service<http::Request<Body>> for Evicting {
    type Response = http::Response<Body>;
    type Error = tonic::transport::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        let ready = self.channel.poll_ready(cx);
        if matches!(ready, Poll::Ready(Err(_))) {
            self.channels.evict(&self.url, self.id);
        }
        ready
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let call = self.channel.call(request);
        let (channels, url, id) = (self.channels.clone(), self.url.clone(), self.id);
        Box::pin(async move {
            let answered = call.await;
            if answered.is_err() {
                channels.evict(&url, id);
            }
            answered
        })
    }
}
