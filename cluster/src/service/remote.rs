//! A machine as its callers reach it: an address, and one connection that all calls share. The
//! driver has one inside each [`Machine`](crate::Machine); a service gets one from
//! [`ServiceContext::dial`](crate::ServiceContext::dial).

use std::fmt;
use std::sync::Arc;

use futures::Stream;
use serde::Serialize;
use tokio::sync::OnceCell;
use tonic::transport::Channel;

use crate::connector::Connector;
use crate::error::Result;
use crate::identity::MachineName;
use crate::service::address::Address;
use crate::service::call::{Call, Target};
use crate::service::method::{Method, Reply};

/// Another machine of the session, whose services can be called. Clones share the connection, which
/// is made by the first call and made anew when it breaks.
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
    /// Dials `address` when it is called.
    pub fn new(address: Address, connector: Connector) -> Self {
        let channel = OnceCell::new();
        Self { inner: Arc::new(Inner { address, connector, channel }) }
    }

    /// Its name.
    pub fn machine(&self) -> &MachineName {
        self.inner.address.machine()
    }

    /// Where it is.
    pub fn address(&self) -> &Address {
        &self.inner.address
    }

    /// Calls a method; see [`Machine::call`](crate::Machine::call). This end does not hear of it when
    /// the machine is given up: it sees its connection break.
    pub fn call<S, A, R>(&self, method: Method<S, A, R>, arguments: A) -> Call<R::Output, R::Error>
    where
        A: Serialize,
        R: Reply,
    {
        Call::begin::<S, A, R>(Target::Remote(self.clone()), method, &arguments)
    }

    /// Calls a method that takes a stream; see
    /// [`Machine::call_with_input`](crate::Machine::call_with_input).
    pub fn call_with_input<S, A, R, I>(
        &self,
        method: Method<S, A, R, I>,
        arguments: A,
        input: impl Stream<Item = I> + Send + 'static,
    ) -> Call<R::Output, R::Error>
    where
        A: Serialize,
        R: Reply,
        I: Serialize + Send + 'static,
    {
        Call::begin_with::<S, A, R, I>(Target::Remote(self.clone()), method, &arguments, input)
    }

    /// Calls an idempotent method until it answers; see
    /// [`Machine::retry_call`](crate::Machine::retry_call).
    pub fn retry_call<S, A, R>(
        &self,
        method: Method<S, A, R>,
        arguments: A,
    ) -> Call<R::Output, R::Error>
    where
        A: Serialize,
        R: Reply,
    {
        Call::retrying::<S, A, R>(Target::Remote(self.clone()), method, &arguments)
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
