//! The errors of the exchange between machines.
//!
//! They travel inside [`DataFusionError::External`], through any number of machines, and keep their
//! type on the way (see `wire`). `classify` finds them in a chain of causes.

use bytes::Bytes;
use datafusion::error::DataFusionError;

/// The longest payload of an [`Error::App`] on the wire, in bytes. Together with the text it must
/// fit in the trailers of a gRPC call.
pub const APP_PAYLOAD_BYTES_MAX: usize = 4 * 1024;

/// An error of the exchange between machines.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The connection to a machine broke or could not be made. The machine is suspect, the query is
    /// not.
    #[error("machine \"{machine}\" was lost: {reason}")]
    Lost {
        /// The machine's name, or its URL if the URL does not name a machine.
        machine: String,
        /// The error of the network.
        reason: String,
    },
    /// A machine did not receive the plan of a task that others already read: the plan was lost on
    /// its way. The query is not at fault.
    #[error("machine \"{machine}\" did not receive the plan of a task in time")]
    PlanLate {
        /// The machine that waited.
        machine: String,
    },
    /// No machine of the session is running.
    #[error("no machine of this session is running")]
    NoMachines,
    /// A machine refused a call: wrong role, or too many calls at once.
    #[error("machine \"{machine}\" refused a call: {reason}")]
    Refused {
        /// The machine that refused.
        machine: String,
        /// The reason.
        reason: String,
    },
    /// An operator or a function of the query panicked. The machine is not affected.
    #[error("panic while running the query: {text}")]
    Panic {
        /// The message of the panic.
        text: String,
    },
    /// A row, plan, request or block exceeds the limit for messages between machines.
    #[error("{what} takes {bytes} bytes on the wire, more than the {limit} that may be sent")]
    TooLarge {
        /// The kind of message.
        what: String,
        /// Its size in bytes.
        bytes: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// An error of the application above the exchange, with a payload that only the application can
    /// read.
    #[error("{text}")]
    App {
        /// The message for users. On the wire it is cut to what the payload leaves of 4 KiB, at
        /// least 1 KiB.
        text: String,
        /// Travels unchanged up to [`APP_PAYLOAD_BYTES_MAX`]. A longer one arrives empty, because a
        /// part of it could not be read.
        payload: Bytes,
    },
    /// The text of another machine's error whose type does not travel.
    #[error("{text}")]
    Remote {
        /// The text that the other machine would have shown.
        text: String,
    },
}

impl Error {
    /// Returns true if a machine or its connection failed and not the query. The query may run
    /// again elsewhere.
    pub fn is_transport(&self) -> bool {
        match self {
            Self::Lost { .. } | Self::PlanLate { .. } | Self::NoMachines => true,
            Self::Refused { .. }
            | Self::Panic { .. }
            | Self::TooLarge { .. }
            | Self::App { .. }
            | Self::Remote { .. } => false,
        }
    }
}

/// Fails if `bytes`, the size of `what`, exceeds the limit.
pub(crate) fn fits(what: &str, bytes: usize, limit: usize) -> Result<(), Error> {
    if bytes <= limit {
        return Ok(());
    }
    Err(Error::TooLarge { what: what.to_owned(), bytes: bytes as u64, limit: limit as u64 })
}

impl From<Error> for DataFusionError {
    fn from(err: Error) -> Self {
        Self::External(Box::new(err))
    }
}
