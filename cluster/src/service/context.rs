//! The context of a service's methods: this machine, the caller, and access to other machines.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::error::Result;
use crate::identity::{MachineName, Peer, SessionId};
use crate::machine::address::Address;
use crate::machine::remote::Remote;
use crate::service::worker_context::WorkerContext;

/// The most connections to machines that are kept. Beyond that all are forgotten; most of those
/// machines are gone by then.
const REMOTES_MAX: usize = 4096;

/// The machine of a service, and the current caller. Any method, and `init`, may take a
/// `&ServiceContext` as its first parameter.
#[derive(Clone)]
pub struct ServiceContext {
    here: Arc<Here>,
    caller: Peer,
}

pub(crate) struct Here {
    worker: WorkerContext,
    address: Address,
    remotes: Mutex<HashMap<Address, Remote>>,
}

impl Here {
    pub(crate) fn new(worker: WorkerContext) -> Result<Arc<Self>> {
        let address = Address::new(worker.url.clone())?;
        Ok(Arc::new(Self { worker, address, remotes: Mutex::default() }))
    }

    /// The name of the machine.
    pub(crate) fn machine(&self) -> &MachineName {
        &self.worker.machine
    }

    /// The context of one call.
    pub(crate) fn called_by(self: &Arc<Self>, caller: Peer) -> ServiceContext {
        ServiceContext { here: Arc::clone(self), caller }
    }

    /// The context of `init`, which the driver has requested.
    pub(crate) fn set_up(self: &Arc<Self>) -> ServiceContext {
        self.called_by(Peer::driver(self.worker.session.clone()))
    }
}

impl ServiceContext {
    /// The caller, from its certificate: the driver, or another machine of the session. In `init`
    /// the driver.
    pub fn caller(&self) -> &Peer {
        &self.caller
    }

    /// The session's id.
    pub fn session(&self) -> &SessionId {
        &self.here.worker.session
    }

    /// The name of this machine.
    pub fn machine(&self) -> &MachineName {
        &self.here.worker.machine
    }

    /// The address of this machine for other machines.
    pub fn address(&self) -> &Address {
        &self.here.address
    }

    /// The [`FleetConfig::settings`](crate::FleetConfig::settings) of the driver.
    pub fn settings(&self) -> &Bytes {
        &self.here.worker.settings
    }

    /// The metrics registry of this machine. A metric that a service registers here, most often in
    /// `init`, appears on the driver's page of all machines
    /// ([`Inspector::metrics`](crate::Inspector::metrics)) with this machine's name.
    ///
    /// ```
    /// use bigslice_cluster::{ServiceContext, prometheus, service};
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Words {
    ///     #[serde(skip)]
    ///     read: Option<prometheus::IntCounter>,
    /// }
    ///
    /// #[service]
    /// impl Words {
    ///     async fn init(&mut self, context: &ServiceContext) -> Result<(), prometheus::Error> {
    ///         let read = prometheus::IntCounter::new("words_read_total", "Words that were read.")?;
    ///         context.metrics().register(Box::new(read.clone()))?;
    ///         self.read = Some(read);
    ///         Ok(())
    ///     }
    ///
    ///     async fn count(&self, text: String) -> usize {
    ///         let words = text.split_whitespace().count();
    ///         self.read.iter().for_each(|read| read.inc_by(words as u64));
    ///         words
    ///     }
    /// }
    /// # fn main() {}
    /// ```
    pub fn metrics(&self) -> &prometheus::Registry {
        &self.here.worker.metrics
    }

    /// This machine's folder for temporary files, which is removed with the machine.
    pub fn scratch(&self) -> &Path {
        &self.here.worker.scratch
    }

    /// Another machine of the session, to call its services. Nothing is sent yet. All calls from
    /// this machine to that one share a connection.
    pub fn dial(&self, address: &Address) -> Remote {
        let mut remotes = self.here.remotes.lock();
        if let Some(remote) = remotes.get(address) {
            return remote.clone();
        }
        if remotes.len() >= REMOTES_MAX {
            remotes.clear();
        }
        let remote = Remote::new(address.clone(), self.here.worker.connector.clone());
        remotes.insert(address.clone(), remote.clone());
        remote
    }
}

impl fmt::Debug for ServiceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceContext")
            .field("machine", self.machine())
            .field("caller", &self.caller)
            .finish_non_exhaustive()
    }
}
