//! What a worker knows about itself.

use std::path::PathBuf;

use bytes::Bytes;
use url::Url;

use crate::identity::{MachineName, SessionId};
use crate::security::connector::Connector;

/// What a worker knows about itself.
#[derive(Clone, Debug)]
pub struct WorkerContext {
    /// The session it belongs to.
    pub session: SessionId,
    /// Its name.
    pub machine: MachineName,
    /// Where the others reach it.
    pub url: Url,
    /// What the driver gave to [`FleetConfig::settings`](crate::FleetConfig::settings).
    pub settings: Bytes,
    /// Its folder for temporary files. It is removed when the worker ends, however it ends.
    pub scratch: PathBuf,
    /// Dials other workers of the session.
    pub connector: Connector,
    /// What it counts: whatever is registered here stands on the driver's page of metrics
    /// ([`Inspector::metrics`](crate::Inspector::metrics)), with this machine's name.
    pub metrics: prometheus::Registry,
}
