//! Calling a [`Machine`] of one's own fleet.

use std::time::Duration;

use futures::Stream;
use serde::Serialize;

use crate::control::Control;
use crate::error::{Error, Result};
use crate::info::MachineInfo;
use crate::machine::{Machine, State};
use crate::service::address::Address;
use crate::service::call::{Call, Target};
use crate::service::method::{Method, Reply};

/// A machine that lives answers far faster, however busy its cores are.
const INFO_TIMEOUT: Duration = Duration::from_secs(2);

impl Machine {
    /// Calls `method` of a service with `arguments`: a value, a tuple if the method has several, `()`
    /// if none. Waits until the machine runs; nothing else bounds how long the call may take, but
    /// [`Call::timeout`]. Dropping the [`Call`], or the replies that it gives, stops the method at
    /// its next await.
    ///
    /// ```no_run
    /// # use bigslice_cluster::{CallError, Machine, Method, One, service};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Adder;
    /// #[service]
    /// impl Adder {
    ///     async fn add(&self, a: u64, b: u64) -> u64 { a + b }
    /// }
    /// # async fn f(machine: Machine) -> Result<(), CallError> {
    /// let three = machine.call(Adder::add, (1, 2)).await?;
    /// # Ok(()) }
    /// ```
    pub fn call<S, A, R>(&self, method: Method<S, A, R>, arguments: A) -> Call<R::Output, R::Error>
    where
        A: Serialize,
        R: Reply,
    {
        Call::begin::<S, A, R>(Target::Machine(self.clone()), method, &arguments)
    }

    /// Calls `method` with `arguments` and the items of `input`, which is read by a task of the
    /// caller's runtime, as fast as the method takes them. If `input` panics, so does the call.
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
        Call::begin_with::<S, A, R, I>(Target::Machine(self.clone()), method, &arguments, input)
    }

    /// Like [`call`](Self::call), and again after a [`Transport`](crate::Transport) error, for
    /// methods that may run twice: at most 20 times, with pauses of 0.1 s to 5 s, and not once the
    /// machine is known to be lost.
    pub fn retry_call<S, A, R>(
        &self,
        method: Method<S, A, R>,
        arguments: A,
    ) -> Call<R::Output, R::Error>
    where
        A: Serialize,
        R: Reply,
    {
        Call::retrying::<S, A, R>(Target::Machine(self.clone()), method, &arguments)
    }

    /// Asks what it has and how busy it is. Waits until it runs.
    ///
    /// # Errors
    /// If it is lost, or does not answer within 2 s: information is small, and had at once.
    pub async fn info(&self) -> Result<MachineInfo> {
        self.wait(State::Running).await;
        let remote = self.remote().ok_or(Error::Closed)?;
        let channel = remote.channel().await?;
        Control::new(self.name().clone(), channel).info(INFO_TIMEOUT).await
    }

    /// Where other machines reach it: set once it runs. Services take it as an argument and
    /// [`dial`](crate::ServiceContext::dial) it.
    pub fn address(&self) -> Option<Address> {
        self.remote().map(|remote| remote.address().clone())
    }
}
