//! Services: a user's own methods, callable on any machine of the session.
//! [`service`](macro@crate::service) on an impl block is the whole declaration. The generated code
//! registers itself when the program is linked, so that a worker, which is the same program, has it
//! too.
//!
//! ```text
//!            caller                                       machine
//!   Machine::call / Remote::call     one request        host: who calls, which service, is there room
//!     call: arguments, input  ----- of the port ----->  incoming: arguments -> the user's method
//!     replies: frames         <---- mTLS, HTTP/2 -----  on the CPU runtime, its replies -> frames
//! ```
//!
//! Limits: a message has at most [`MESSAGE_SIZE_MAX`] bytes; a machine has at most `CALLS_MAX`
//! calls open; a stream is at most HTTP/2's window (4 MiB) ahead of its reader, plus a few
//! messages.
//!
//! A call ends early if its future is dropped (the stream is reset, the method is dropped at its
//! next await), at its timeout (the same), or if the machine stops (the method is dropped; the
//! caller gets a [`Transport`] error).

pub(crate) mod worker_context;

mod blob;
mod call;
mod callee;
mod context;
mod cpu;
mod error;
mod failure;
mod feeder;
mod frame;
mod host;
mod incoming;
mod input;
mod method;
mod registered;
mod replies;
mod setup;
mod value;

pub use blob::Blob;
pub use call::Call;
pub use context::ServiceContext;
pub use error::{CallError, Failed, Panicked, Refused, TimedOut, Transport};
pub use failure::{Cause, Failure, Never, ServiceError};
pub use frame::MESSAGE_SIZE_MAX;
pub use input::{Input, InputError};
pub use method::{Many, Method, NoInput, One, Reply, Service};
pub use replies::Replies;

pub(crate) use cpu::Cpu;
pub(crate) use host::Host;

/// For the code that [`service`](macro@crate::service) generates. Not part of the API.
#[doc(hidden)]
pub mod private {
    pub use bytes::Bytes;
    pub use inventory::submit;

    pub use super::incoming::{Answering, Incoming, all_ok};
    pub use super::method::Fallible;
    pub use super::registered::{Entry, Registered, SettingUp};
    pub use super::value::{decode, share};
}
