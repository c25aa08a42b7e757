//! A method of a service for its callers: [`Method`] is a constant that the macro puts into the
//! service, with all types of the call and nothing else.

use std::fmt;
use std::marker::PhantomData;

use futures::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::service::error::CallError;
use crate::service::failure::{Never, ServiceError};
use crate::service::replies::{RawReplies, Replies};

/// A type whose methods can be called on machines. [`service`](macro@crate::service) implements it.
/// The driver sends its value to each machine, where `init` may add what is not sent.
pub trait Service: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Its path: the module's and its own name.
    const NAME: &'static str;
}

/// A method of the service `S` that takes `A` (a tuple if there are several arguments) and
/// optionally a stream of `I`, and replies as `R`.
pub struct Method<S, A, R, I = NoInput> {
    pub(crate) service: &'static str,
    pub(crate) method: &'static str,
    types: PhantomData<fn(S, A, I) -> R>,
}

impl<S: Service, A, R, I> Method<S, A, R, I> {
    /// The method that the service registers under this name.
    #[doc(hidden)]
    pub const fn __new(method: &'static str) -> Self {
        Self { service: S::NAME, method, types: PhantomData }
    }
}

impl<S, A, R, I> Clone for Method<S, A, R, I> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S, A, R, I> Copy for Method<S, A, R, I> {}

impl<S, A, R, I> fmt::Display for Method<S, A, R, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{}", self.service, self.method)
    }
}

impl<S, A, R, I> fmt::Debug for Method<S, A, R, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Method({self})")
    }
}

/// In a [`Method`]: no stream of arguments.
#[derive(Debug)]
pub enum NoInput {}

/// In a [`Method`]: the reply is one `T`, or an error `E`.
pub struct One<T, E = Never>(PhantomData<fn() -> (T, E)>);

/// In a [`Method`]: the reply is a stream of `T` or errors `E`; an error is the last item.
pub struct Many<T, E = Never>(PhantomData<fn() -> (T, E)>);

impl<T, E> fmt::Debug for One<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("One")
    }
}

impl<T, E> fmt::Debug for Many<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Many")
    }
}

/// The kind of reply of a method: [`One`] or [`Many`].
pub trait Reply: sealed::Sealed + 'static {
    /// The value for the caller.
    type Output: Send + 'static;
    /// The method's error type.
    type Error: ServiceError;

    /// Reads the reply, or its start.
    #[doc(hidden)]
    fn receive(raw: RawReplies)
    -> BoxFuture<'static, Result<Self::Output, CallError<Self::Error>>>;
}

impl<T: DeserializeOwned + Send + 'static, E: ServiceError> Reply for One<T, E> {
    type Output = T;
    type Error = E;

    fn receive(raw: RawReplies) -> BoxFuture<'static, Result<T, CallError<E>>> {
        Box::pin(raw.one())
    }
}

impl<T: DeserializeOwned + Send + 'static, E: ServiceError> Reply for Many<T, E> {
    type Output = Replies<T, E>;
    type Error = E;

    fn receive(raw: RawReplies) -> BoxFuture<'static, Result<Replies<T, E>, CallError<E>>> {
        Box::pin(raw.many())
    }
}

mod sealed {
    pub trait Sealed {}
    impl<T, E> Sealed for super::One<T, E> {}
    impl<T, E> Sealed for super::Many<T, E> {}
}

/// A `Result` by any name, so that the macro can name its types.
pub trait Fallible {
    /// The type of `Ok`.
    type Value;
    /// The type of `Err`.
    type Error;
}

impl<T, E> Fallible for Result<T, E> {
    type Value = T;
    type Error = E;
}
