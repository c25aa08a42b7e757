//! The error type of this crate. Its variants say who can do something about an error.
//!
//! Errors of DataFusion become ours in one place, [`translate`](crate::base::translate).

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use datafusion::error::DataFusionError;

/// What the functions of this crate return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The cause of an error; clones of the error share it.
type Cause = Arc<dyn StdError + Send + Sync>;

/// A position in the text of a statement. Lines and columns count from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The line.
    pub line: u64,
    /// The column.
    pub column: u64,
    /// Line and column just after the last character, where the end is known.
    pub end: Option<(u64, u64)>,
}

impl Position {
    /// A position without an end.
    pub fn at(line: u64, column: u64) -> Self {
        Self { line, column, end: None }
    }
}

/// Why something failed.
///
/// The text of an error is complete: it says in a user's words what its [cause](Self::source) says
/// in a developer's, so print one or the other. [`hint`](Self::hint) is one more sentence for the
/// user. The cause is there for programs: `source()` returns the error of DataFusion, object_store
/// or the system, and the chain below it ends at the first error. An error that a machine sent has
/// no cause.
///
/// More variants and fields may come: match with `..`, and make an error of your own with
/// [`query`](Self::query) or [`config`](Self::config).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Error {
    /// The statement is wrong: its syntax, a name, a type. Change the statement.
    #[non_exhaustive]
    Statement {
        /// What is wrong.
        message: String,
        /// Where.
        position: Option<Position>,
        /// What may help.
        hint: Option<String>,
        /// The cause, where it was an error of another library.
        source: Option<Cause>,
    },
    /// The statement is right, but computing it failed: a value, a function, the content of a file.
    #[non_exhaustive]
    Query {
        /// What failed.
        message: String,
        /// What may help.
        hint: Option<String>,
        /// The cause, where it was an error of another library.
        source: Option<Cause>,
    },
    /// A function of the user failed or panicked. It is not retried.
    #[non_exhaustive]
    Function {
        /// The verb that was given the function.
        verb: String,
        /// Where the verb was called: `file:line:column`.
        call_site: String,
        /// The shard, from 0.
        shard: usize,
        /// What the function said.
        message: String,
        /// The cause, where it was an error of another library.
        source: Option<Cause>,
    },
    /// A file, a store or a bucket could not be read or written.
    #[non_exhaustive]
    Source {
        /// What could not be reached, and why.
        message: String,
        /// What may help.
        hint: Option<String>,
        /// The cause, where it was an error of another library.
        source: Option<Cause>,
    },
    /// A setting of the session is wrong.
    #[non_exhaustive]
    Config {
        /// Which setting, and what is accepted.
        message: String,
        /// What may help.
        hint: Option<String>,
        /// The cause, where it was an error of another library.
        source: Option<Cause>,
    },
    /// The query needs more memory than it may use, and the operator that needs it cannot spill.
    #[non_exhaustive]
    Memory {
        /// Which operator asked, and for how much.
        message: String,
        /// What may help.
        hint: Option<String>,
        /// The cause, where it was an error of another library.
        source: Option<Cause>,
    },
    /// Machines were lost, and the query could not be finished without them.
    #[non_exhaustive]
    Lost {
        /// Which machines, why, and how often the query was tried.
        message: String,
        /// What may help.
        hint: Option<String>,
        /// The cause, where it was an error of another library.
        source: Option<Cause>,
    },
    /// Machines could not be started.
    #[non_exhaustive]
    Machines {
        /// Which machines, and why.
        message: String,
        /// What may help.
        hint: Option<String>,
        /// The cause, where it was an error of another library.
        source: Option<Cause>,
    },
    /// A time limit has passed.
    #[non_exhaustive]
    TimedOut {
        /// What took too long, and the limit.
        message: String,
        /// What may help.
        hint: Option<String>,
        /// The cause, where it was an error of another library.
        source: Option<Cause>,
    },
    /// The session is shut down.
    Closed,
    /// A bug in Bigslice.
    #[non_exhaustive]
    Internal {
        /// What went wrong.
        message: String,
        /// What may help.
        hint: Option<String>,
        /// The cause, where it was an error of another library.
        source: Option<Cause>,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Function { verb, call_site, shard, message, .. } => {
                write!(f, "{verb} at {call_site}, shard {shard}: {message}")
            }
            Self::Closed => f.write_str("the session is shut down"),
            Self::Internal { message, .. } => write!(f, "internal error: {message}"),
            Self::Statement { message, .. }
            | Self::Query { message, .. }
            | Self::Source { message, .. }
            | Self::Config { message, .. }
            | Self::Memory { message, .. }
            | Self::Lost { message, .. }
            | Self::Machines { message, .. }
            | Self::TimedOut { message, .. } => f.write_str(message),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause().map(|cause| &**cause as &(dyn StdError + 'static))
    }
}

impl Error {
    /// An error of a computation. See [`Error::Query`].
    pub fn query(message: impl Into<String>) -> Self {
        Self::Query { message: message.into(), hint: None, source: None }
    }

    /// An error about a setting. See [`Error::Config`].
    pub fn config(message: impl Into<String>) -> Self {
        Self::Config { message: message.into(), hint: None, source: None }
    }

    /// The same error with a [hint](Self::hint). Errors of a function and of a closed session have
    /// none.
    #[must_use]
    pub fn with_hint(mut self, text: impl Into<String>) -> Self {
        if let Some((hint, _)) = self.parts_mut() {
            *hint = Some(text.into());
        }
        self
    }

    /// The same error with its cause, which [`source`](StdError::source) returns.
    #[must_use]
    pub fn with_source(mut self, error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let cause = Some(Cause::from(error.into()));
        match &mut self {
            Self::Function { source, .. } => *source = cause,
            other => {
                if let Some((_, source)) = other.parts_mut() {
                    *source = cause;
                }
            }
        }
        self
    }

    /// The position in the statement's text that the error is about.
    pub fn position(&self) -> Option<Position> {
        match self {
            Self::Statement { position, .. } => *position,
            _ => None,
        }
    }

    /// A sentence that may help, to be printed below the error.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Statement { hint, .. }
            | Self::Query { hint, .. }
            | Self::Source { hint, .. }
            | Self::Config { hint, .. }
            | Self::Memory { hint, .. }
            | Self::Lost { hint, .. }
            | Self::Machines { hint, .. }
            | Self::TimedOut { hint, .. }
            | Self::Internal { hint, .. } => hint.clone(),
            Self::Function { .. } | Self::Closed => None,
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

    /// True when the same statement may succeed if it is tried again.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Lost { .. } | Self::Machines { .. } | Self::TimedOut { .. })
    }

    pub(crate) fn statement(message: impl Into<String>, position: Option<Position>) -> Self {
        Self::Statement { message: message.into(), position, hint: None, source: None }
    }

    pub(crate) fn unreadable(message: impl Into<String>) -> Self {
        Self::Source { message: message.into(), hint: None, source: None }
    }

    pub(crate) fn memory(message: impl Into<String>) -> Self {
        Self::Memory { message: message.into(), hint: None, source: None }
    }

    pub(crate) fn lost(message: impl Into<String>) -> Self {
        Self::Lost { message: message.into(), hint: None, source: None }
    }

    pub(crate) fn machines(message: impl Into<String>) -> Self {
        Self::Machines { message: message.into(), hint: None, source: None }
    }

    pub(crate) fn timed_out(message: impl Into<String>) -> Self {
        Self::TimedOut { message: message.into(), hint: None, source: None }
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::Internal { message: message.into(), hint: None, source: None }
    }

    /// The same error with a hint, if there is one.
    pub(crate) fn hinted(self, hint: Option<impl Into<String>>) -> Self {
        match hint {
            Some(hint) => self.with_hint(hint),
            None => self,
        }
    }

    /// The same error, with the place where it happened before its message.
    pub(crate) fn within(mut self, place: &str) -> Self {
        if let Self::Query { message, .. }
        | Self::Source { message, .. }
        | Self::Statement { message, .. } = &mut self
        {
            *message = format!("{place}: {message}");
        }
        self
    }

    fn cause(&self) -> Option<&Cause> {
        match self {
            Self::Statement { source, .. }
            | Self::Query { source, .. }
            | Self::Function { source, .. }
            | Self::Source { source, .. }
            | Self::Config { source, .. }
            | Self::Memory { source, .. }
            | Self::Lost { source, .. }
            | Self::Machines { source, .. }
            | Self::TimedOut { source, .. }
            | Self::Internal { source, .. } => source.as_ref(),
            Self::Closed => None,
        }
    }

    fn parts_mut(&mut self) -> Option<(&mut Option<String>, &mut Option<Cause>)> {
        match self {
            Self::Statement { hint, source, .. }
            | Self::Query { hint, source, .. }
            | Self::Source { hint, source, .. }
            | Self::Config { hint, source, .. }
            | Self::Memory { hint, source, .. }
            | Self::Lost { hint, source, .. }
            | Self::Machines { hint, source, .. }
            | Self::TimedOut { hint, source, .. }
            | Self::Internal { hint, source, .. } => Some((hint, source)),
            Self::Function { .. } | Self::Closed => None,
        }
    }
}

impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        Self::External(Box::new(error))
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_cause_is_kept_by_clones_and_through_datafusion() {
        let io = io::Error::from(io::ErrorKind::PermissionDenied);
        let error = Error::from(DataFusionError::IoError(io));
        let back = Error::from(DataFusionError::from(error.clone()).context("on the way"));
        for error in [error, back] {
            let datafusion = error.source().unwrap().downcast_ref::<DataFusionError>().unwrap();
            let io = StdError::source(datafusion).unwrap().downcast_ref::<io::Error>().unwrap();
            assert_eq!(io.kind(), io::ErrorKind::PermissionDenied);
        }
        let error = Error::query("no").with_hint("yes").with_source("deeper");
        assert_eq!(error.hint().as_deref(), Some("yes"));
        assert_eq!(error.source().unwrap().to_string(), "deeper");
    }
}
