//! The one error type of this crate, by what whoever gets it can do about it.
//!
//! Errors of DataFusion become ours in one place, [`translate`](crate::base::translate).

use datafusion::error::DataFusionError;
use serde::{Deserialize, Serialize};

/// What the functions of this crate return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A place in the text of a statement; lines and columns count from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The line.
    pub line: u64,
    /// The column.
    pub column: u64,
    /// Line and column just after what is meant, if it is known where that ends.
    pub end: Option<(u64, u64)>,
}

impl Place {
    /// A place without an extent.
    pub fn at(line: u64, column: u64) -> Self {
        Self { line, column, end: None }
    }
}

/// Why something did not work.
#[derive(Debug, Clone, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Error {
    /// The statement is wrong as it stands: its syntax, a name, a type. Change the statement.
    #[error("{message}")]
    Statement {
        /// What is wrong.
        message: String,
        /// Where.
        place: Option<Place>,
        /// What may help.
        hint: Option<String>,
    },
    /// The statement is right, but computing it failed: a value, a function, a file's content.
    #[error("{message}")]
    Query {
        /// What failed.
        message: String,
        /// What may help.
        hint: Option<String>,
    },
    /// A function of the user's failed or panicked. It is not tried again.
    #[error("{verb} at {place}, shard {shard}: {message}")]
    Function {
        /// The verb that it was given to.
        verb: String,
        /// Where that was called: `file:line:column`.
        place: String,
        /// The shard it was at.
        shard: usize,
        /// What it said.
        message: String,
    },
    /// Something outside could not be read or written: a file, a store, a bucket.
    #[error("{message}")]
    Source {
        /// What could not be reached, and why.
        message: String,
        /// What may help.
        hint: Option<String>,
    },
    /// A setting of the session is wrong.
    #[error("{message}")]
    Config {
        /// Which, and what is accepted.
        message: String,
        /// What may help.
        hint: Option<String>,
    },
    /// The query needs more memory than it may use, and what needs it cannot spill.
    #[error("{message}")]
    Memory {
        /// Which operator asked, and for how much.
        message: String,
        /// What may help.
        hint: String,
    },
    /// Machines were lost, and the query could not be finished without them.
    #[error("{message}")]
    Lost {
        /// Which machines, why, and how often it was tried.
        message: String,
        /// What may help.
        hint: Option<String>,
    },
    /// Machines could not be started.
    #[error("{message}")]
    Machines {
        /// Which, and why.
        message: String,
    },
    /// It took longer than is allowed.
    #[error("{message}")]
    TimedOut {
        /// What did, and what the limit is.
        message: String,
    },
    /// The session is shut down.
    #[error("the session is shut down")]
    Closed,
    /// A fault of this program, not of its user.
    #[error("internal error: {message}")]
    Internal {
        /// What went wrong.
        message: String,
    },
}

impl Error {
    /// The place in the statement's text that the error is about.
    pub fn place(&self) -> Option<Place> {
        match self {
            Self::Statement { place, .. } => *place,
            _ => None,
        }
    }

    /// A sentence that may help, for below the error.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Statement { hint, .. }
            | Self::Query { hint, .. }
            | Self::Source { hint, .. }
            | Self::Config { hint, .. }
            | Self::Lost { hint, .. } => hint.clone(),
            Self::Memory { hint, .. } => Some(hint.clone()),
            _ => None,
        }
    }

    /// True when the user's statement, data or settings are to blame: the same statement would
    /// fail again.
    pub fn is_user_error(&self) -> bool {
        matches!(
            self,
            Self::Statement { .. }
                | Self::Query { .. }
                | Self::Function { .. }
                | Self::Source { .. }
                | Self::Config { .. }
                | Self::Memory { .. }
        )
    }

    /// True when the same statement may well succeed if it is tried again.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Lost { .. } | Self::Machines { .. } | Self::TimedOut { .. })
    }

    pub(crate) fn syntax(message: impl Into<String>, place: Option<Place>) -> Self {
        Self::Statement { message: message.into(), place, hint: None }
    }

    pub(crate) fn config(message: impl Into<String>) -> Self {
        Self::Config { message: message.into(), hint: None }
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::Internal { message: message.into() }
    }

    /// The same error, and where it happened.
    pub(crate) fn within(mut self, place: &str) -> Self {
        if let Self::Query { message, .. }
        | Self::Source { message, .. }
        | Self::Statement { message, .. } = &mut self
        {
            *message = format!("{place}: {message}");
        }
        self
    }

    pub(crate) fn query(message: impl Into<String>) -> Self {
        Self::Query { message: message.into(), hint: None }
    }
}

impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        Self::External(Box::new(error))
    }
}
