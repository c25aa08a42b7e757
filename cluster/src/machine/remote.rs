//! A machine for its callers: an address, and one connection that all calls share. The driver has
//! one inside each [`Machine`](crate::Machine); a service gets one from
//! [`ServiceContext::dial`](crate::ServiceContext::dial).

use std::fmt;
use std::sync::Arc;

use tokio::sync::OnceCell;
use tonic::transport::Channel;

use crate::error::Result;
use crate::identity::MachineName;
use crate::machine::address::Address;
use crate::security::connector::Connector;

/// Another machine of the session, whose services can be called. Clones share the connection, which
/// is made by the first call and renewed when it breaks.
#[derive(Clone)]
pub struct Remote {
    inner: Arc<Inner>,
}

struct Inner {
    address: Address,
    connector: Connector,
    channel: OnceCell<Channel>,
}

impl Remote {
    /// Dials `address` at the first call.
    pub fn new(address: Address, connector: Connector) -> Self {
        let channel = OnceCell::new();
        Self { inner: Arc::new(Inner { address, connector, channel }) }
    }

    /// Its name.
    pub fn machine(&self) -> &MachineName {
        self.inner.address.machine()
    }

    /// Its address.
    pub fn address(&self) -> &Address {
        &self.inner.address
    }

    pub(crate) async fn channel(&self) -> Result<Channel> {
        let Inner { address, connector, channel } = &*self.inner;
        channel.get_or_try_init(|| connector.connect(address.url())).await.cloned()
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("address", &self.inner.address).finish_non_exhaustive()
    }
}
