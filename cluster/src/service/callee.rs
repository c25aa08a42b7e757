//! Calling a [`Machine`] of one's own fleet, and a [`Remote`] of the session.

use futures::Stream;
use serde::Serialize;

use crate::machine::Machine;
use crate::machine::remote::Remote;
use crate::service::call::{Call, Target};
use crate::service::method::{Method, Reply};

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
}

impl Remote {
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
}
