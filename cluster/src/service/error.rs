//! The errors of a call, by what the caller can do about them: the method failed, it panicked, it
//! was not called, its outcome is unknown, or it took too long. Each has the machine and the
//! method, and keeps the chain of causes from the machine.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use bigslice_diagnostics::with_causes;
use serde::{Deserialize, Serialize};
use tonic::{Code, Status};

use crate::identity::MachineName;
use crate::service::failure::{Cause, Never, ServiceError};

/// Why a call has no reply. `E` is the method's own error type. The error can be sent, so that a
/// method that calls others can keep it in its own error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(bound(serialize = "E: Serialize", deserialize = "E: Deserialize<'de>"))]
pub enum CallError<E: fmt::Debug + 'static = Never> {
    /// The method returned an error.
    #[error(transparent)]
    Failed(Failed<E>),
    /// The method panicked. The machine goes on.
    #[error(transparent)]
    Panicked(Panicked),
    /// The method was not called, or its reply could not be sent. A retry would end the same.
    #[error(transparent)]
    Refused(Refused),
    /// The connection or the machine broke. The method may have run, in whole or in part.
    #[error(transparent)]
    Transport(Transport),
    /// There was no reply in time. The method was stopped.
    #[error(transparent)]
    TimedOut(TimedOut),
}

/// The method returned an error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failed<E> {
    /// The machine.
    pub machine: MachineName,
    /// The method.
    pub method: String,
    /// The error.
    pub error: E,
    /// Its chain of messages on the machine.
    pub cause: Cause,
}

/// The method panicked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("machine \"{machine}\": \"{method}\" panicked: {text}")]
pub struct Panicked {
    /// The machine.
    pub machine: MachineName,
    /// The method.
    pub method: String,
    /// The message of the panic.
    pub text: String,
}

/// The method could not be called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("could not call \"{method}\" of machine \"{machine}\": {reason}")]
pub struct Refused {
    /// The machine.
    pub machine: MachineName,
    /// The method.
    pub method: String,
    /// The reason.
    pub reason: String,
}

/// The connection or the machine broke.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("lost machine \"{machine}\" while calling \"{method}\": {reason}")]
pub struct Transport {
    /// The machine.
    pub machine: MachineName,
    /// The method.
    pub method: String,
    /// Why the machine ended, if known, otherwise the error of the connection.
    pub reason: String,
}

/// A call exceeded its timeout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("machine \"{machine}\": \"{method}\" did not answer within {} ms", after.as_millis())]
pub struct TimedOut {
    /// The machine.
    pub machine: MachineName,
    /// The method.
    pub method: String,
    /// The timeout.
    pub after: Duration,
}

impl<E> fmt::Display for Failed<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "machine \"{}\": \"{}\" failed", self.machine, self.method)
    }
}

impl<E: fmt::Debug + 'static> Error for Failed<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.cause)
    }
}

impl<E: fmt::Debug + 'static> CallError<E> {
    /// The machine that was called.
    pub fn machine(&self) -> &MachineName {
        match self {
            Self::Failed(Failed { machine, .. })
            | Self::Panicked(Panicked { machine, .. })
            | Self::Refused(Refused { machine, .. })
            | Self::Transport(Transport { machine, .. })
            | Self::TimedOut(TimedOut { machine, .. }) => machine,
        }
    }

    /// The method that was called.
    pub fn method(&self) -> &str {
        match self {
            Self::Failed(Failed { method, .. })
            | Self::Panicked(Panicked { method, .. })
            | Self::Refused(Refused { method, .. })
            | Self::Transport(Transport { method, .. })
            | Self::TimedOut(TimedOut { method, .. }) => method,
        }
    }

    /// The method's own error, if it returned one.
    pub fn failed(&self) -> Option<&E> {
        match self {
            Self::Failed(failed) => Some(&failed.error),
            _ => None,
        }
    }

    /// Returns true if the same call may succeed later: the connection to the machine broke. If the
    /// machine could not reach something, that is an error of its method and not retryable here.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Transport(_))
    }
}

impl CallError<Never> {
    /// Widens the error of a method that cannot fail.
    pub(crate) fn widen<E: fmt::Debug + 'static>(self) -> CallError<E> {
        match self {
            Self::Failed(failed) => match failed.error {},
            Self::Panicked(panicked) => CallError::Panicked(panicked),
            Self::Refused(refused) => CallError::Refused(refused),
            Self::Transport(lost) => CallError::Transport(lost),
            Self::TimedOut(late) => CallError::TimedOut(late),
        }
    }
}

/// The machine and method of a call, for its errors.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub(crate) machine: MachineName,
    pub(crate) method: String,
}

impl Site {
    pub(crate) fn failed<E: ServiceError>(self, error: E, cause: Cause) -> CallError<E> {
        CallError::Failed(Failed { machine: self.machine, method: self.method, error, cause })
    }

    pub(crate) fn panicked<E: fmt::Debug + 'static>(self, text: String) -> CallError<E> {
        CallError::Panicked(Panicked { machine: self.machine, method: self.method, text })
    }

    pub(crate) fn refused<E: fmt::Debug + 'static>(
        self,
        reason: impl Into<String>,
    ) -> CallError<E> {
        let reason = reason.into();
        CallError::Refused(Refused { machine: self.machine, method: self.method, reason })
    }

    pub(crate) fn lost<E: fmt::Debug + 'static>(self, reason: impl Into<String>) -> CallError<E> {
        let reason = reason.into();
        CallError::Transport(Transport { machine: self.machine, method: self.method, reason })
    }

    pub(crate) fn timed_out<E: fmt::Debug + 'static>(self, after: Duration) -> CallError<E> {
        CallError::TimedOut(TimedOut { machine: self.machine, method: self.method, after })
    }

    /// The error of a status. Methods do not make statuses: the connection broke, or the machine
    /// refused the call.
    pub(crate) fn broken<E: fmt::Debug + 'static>(self, status: &Status) -> CallError<E> {
        match status.code() {
            Code::Unimplemented => {
                self.refused("the machine was started without services (see FleetConfig::services)")
            }
            Code::OutOfRange | Code::PermissionDenied | Code::Unauthenticated => {
                self.refused(status.message())
            }
            _ => self.lost(with_causes(status.message(), status)),
        }
    }
}
