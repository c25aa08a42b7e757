//! What can go wrong between two machines, as one type.
//!
//! These errors travel inside [`DataFusionError::External`], through any number of machines, and
//! keep their type on the way (see `wire`); `blame` finds them again in a chain of causes.

use bytes::Bytes;
use datafusion::error::DataFusionError;

/// The longest payload of an [`Error::App`] that travels. Together with its text it must fit in the
/// trailers of a gRPC call.
pub const APP_PAYLOAD_BYTES_MAX: usize = 4 * 1024;

/// An error of the exchange between machines.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The connection to a machine broke, or could not be made: the machine is to be suspected,
    /// the query is not.
    #[error("machine \"{machine}\" was lost: {reason}")]
    Lost {
        /// Its name, or its URL where that names no machine.
        machine: String,
        /// What the network said.
        reason: String,
    },
    /// A machine waited in vain for the plan of a task that others were reading already: the plan
    /// was lost on its way. The query is not to blame.
    #[error("machine \"{machine}\" did not receive the plan of a task in time")]
    PlanLate {
        /// The machine that waited.
        machine: String,
    },
    /// No machine of the session is running at this moment.
    #[error("no machine of this session is running")]
    NoMachines,
    /// A machine would not serve a call: wrong role, or too many calls at once.
    #[error("machine \"{machine}\" refused a call: {reason}")]
    Refused {
        /// The machine that refused.
        machine: String,
        /// Why.
        reason: String,
    },
    /// An operator or a function of the query panicked. The machine it ran on is well.
    #[error("panic while running the query: {text}")]
    Panic {
        /// The text of the panic.
        text: String,
    },
    /// One row, plan, request or block is larger than what may be sent between machines.
    #[error("{what} takes {bytes} bytes on the wire, more than the {limit} that may be sent")]
    TooLarge {
        /// What was to be sent.
        what: String,
        /// Its size.
        bytes: u64,
        /// The most that may be sent.
        limit: u64,
    },
    /// An error that whoever uses the exchange has made, with a part that only they can read.
    #[error("{text}")]
    App {
        /// What a user reads. Cut on the wire to what the payload leaves of 4 KiB, at least 1 KiB.
        text: String,
        /// Travels unchanged, up to [`APP_PAYLOAD_BYTES_MAX`]; a longer one arrives empty, since
        /// nobody could read a part of it.
        payload: Bytes,
    },
    /// An error of another machine whose type does not travel, as its text.
    #[error("{text}")]
    Remote {
        /// The text that the other machine would have shown.
        text: String,
    },
}

impl Error {
    /// Whether a machine or its connection failed, rather than the query: the query may be run
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

/// Refuses `what` if its `bytes` are more than may be sent.
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
