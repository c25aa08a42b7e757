//! The error type of this crate. Its variants are what a caller can act on.

use std::io;
use std::time::Duration;

use url::Url;

pub(crate) use bigslice_diagnostics::chain;

use crate::identity::{InvalidIdentity, MachineName};

/// Any error, boxed.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong with machines.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused something.
    #[error("could not {attempt}")]
    Io {
        /// What was attempted, as the end of a sentence.
        attempt: String,
        /// Why it failed.
        source: io::Error,
    },
    /// A key or certificate could not be made, signed or loaded.
    #[error("could not {attempt}")]
    Certificate {
        /// What was attempted, as the end of a sentence.
        attempt: &'static str,
        /// Why it failed.
        source: BoxError,
    },
    /// A name, certificate or address is not valid.
    #[error("{0}")]
    Identity(String),
    /// The conversation by which a worker joins a session broke off or was not valid.
    #[error("enrolment: {0}")]
    Enrolment(String),
    /// The options for a system are not valid.
    #[error("{0}")]
    Options(String),
    /// A cloud refused a request.
    #[error("could not {attempt}: {reason}")]
    Cloud {
        /// What was attempted, as the end of a sentence.
        attempt: String,
        /// The cloud's error code; empty if the cloud was not reached.
        code: String,
        /// The reason, and what may help.
        reason: String,
    },
    /// A machine ended, or failed, before it was ready.
    #[error("machine \"{machine}\" could not start: {reason}")]
    Start {
        /// The machine that did not start.
        machine: MachineName,
        /// The reason, with the machine's last lines of output if there are any.
        reason: String,
    },
    /// No verified connection to a machine could be made.
    #[error("could not connect to \"{url}\": {reason}")]
    Connect {
        /// The machine's address.
        url: Url,
        /// The chain of causes, outermost first.
        reason: String,
    },
    /// A machine was reached, but a call failed.
    #[error("machine \"{machine}\" did not answer \"{method}\"")]
    Call {
        /// The machine that was called.
        machine: MachineName,
        /// The method of the control service.
        method: &'static str,
        /// The status of the call.
        source: Box<tonic::Status>,
    },
    /// Fewer machines run than were requested.
    #[error("{running} of {wanted} machines run after {} ms: {reason}", waited.as_millis())]
    TooFew {
        /// The number requested.
        wanted: usize,
        /// The number that run.
        running: usize,
        /// The time that was waited.
        waited: Duration,
        /// The last error that kept a machine from starting.
        reason: String,
    },
    /// A service cannot be set up on machines.
    #[error("could not set up service \"{service}\": {reason}")]
    Service {
        /// Its name.
        service: String,
        /// The reason.
        reason: String,
    },
    /// The metrics could not be written as a page.
    #[error("could not write the metrics: {0}")]
    Metrics(String),
    /// No CPU profile can be taken of this process, or of a machine.
    #[error("could not take a CPU profile: {0}")]
    Profile(String),
    /// The fleet was shut down.
    #[error("the fleet is shut down")]
    Closed,
}

impl Error {
    pub(crate) fn io(attempt: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let attempt = attempt.into();
        move |source| Self::Io { attempt, source }
    }

    pub(crate) fn certificate<E: Into<BoxError>>(attempt: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Certificate { attempt, source: source.into() }
    }

    /// Returns true if the same call may succeed later, on this machine or on another.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::Call { .. } | Self::TooFew { .. })
    }
}

impl From<InvalidIdentity> for Error {
    fn from(InvalidIdentity(reason): InvalidIdentity) -> Self {
        Self::Identity(reason)
    }
}
