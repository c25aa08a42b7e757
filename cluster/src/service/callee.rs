//! Calls to a [`Machine`] of the driver's fleet, and to a [`Remote`] of the session.

use futures::Stream;
use serde::Serialize;

use crate::machine::Machine;
use crate::machine::remote::Remote;
use crate::service::call::{Call, Target};
use crate::service::method::{Method, Reply};

/// The same methods for both. A macro and not a trait: a trait would have to be imported for each
/// call.
macro_rules! callees {
    ($($callee:ident: $note:literal)*) => {$(
        impl $callee {
            /// Calls `method` of a service with `arguments`: a value, a tuple if the method takes
            /// several, `()` if none. The time that a call may take is limited by [`Call::timeout`]
            /// alone. Dropping the [`Call`], or the replies that it returns, stops the method at
            /// its next await.
            ///
            #[doc = $note]
            ///
            /// ```no_run
            /// # use bigslice_cluster::{CallError, Method, One, service};
            #[doc = concat!("# use bigslice_cluster::", stringify!($callee), ";")]
            /// # #[derive(serde::Serialize, serde::Deserialize)] struct Adder;
            /// #[service]
            /// impl Adder {
            ///     async fn add(&self, a: u64, b: u64) -> u64 { a + b }
            /// }
            #[doc = concat!("# async fn f(machine: ", stringify!($callee), ") -> Result<(), CallError> {")]
            /// let three = machine.call(Adder::add, (1, 2)).await?;
            /// # Ok(()) }
            /// ```
            pub fn call<S, A, R>(
                &self,
                method: Method<S, A, R>,
                arguments: A,
            ) -> Call<R::Output, R::Error>
            where
                A: Serialize,
                R: Reply,
            {
                Call::begin::<S, A, R>(Target::$callee(self.clone()), method, &arguments)
            }

            /// Like [`call`](Self::call), with a stream of `input`. A task of the caller's runtime
            /// reads it as fast as the method takes the items. If `input` panics, so does the call.
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
                let target = Target::$callee(self.clone());
                Call::begin_with::<S, A, R, I>(target, method, &arguments, input)
            }

            /// Like [`call`](Self::call), and retries after a [`Transport`](crate::Transport)
            /// error, for methods that may run twice: at most 20 times, with pauses of 0.1 s to 5
            /// s, and not once the fleet knows that the machine is lost.
            pub fn retry_call<S, A, R>(
                &self,
                method: Method<S, A, R>,
                arguments: A,
            ) -> Call<R::Output, R::Error>
            where
                A: Serialize,
                R: Reply,
            {
                Call::retrying::<S, A, R>(Target::$callee(self.clone()), method, &arguments)
            }
        }
    )*};
}

callees! {
    Machine: "Waits until the machine runs."
    Remote: "The fleet does not report the loss of this machine here: the call sees its connection break."
}
