//! The context of a worker.

use std::path::PathBuf;

use bytes::Bytes;
use url::Url;

use crate::identity::{MachineName, SessionId};
use crate::security::connector::Connector;

/// The context of a worker, for its services.
#[derive(Clone, Debug)]
pub struct WorkerContext {
    /// The session it belongs to.
    pub session: SessionId,
    /// Its name.
    pub machine: MachineName,
    /// The URL of its port.
    pub url: Url,
    /// The [`FleetConfig::settings`](crate::FleetConfig::settings) of the driver.
    pub settings: Bytes,
    /// Its folder for temporary files. It is removed when the worker ends, however it ends.
    pub scratch: PathBuf,
    /// Dials other workers of the session.
    pub connector: Connector,
    /// Its metrics. Metrics registered here appear on the driver's page of metrics
    /// ([`Inspector::metrics`](crate::Inspector::metrics)), with this machine's name.
    pub metrics: prometheus::Registry,
}
