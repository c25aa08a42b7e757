//! Errors of the shell.

use std::io;

use bigslice::Error as EngineError;
use datafusion::error::DataFusionError;

use crate::signals::Signal;

/// An error of a statement or a command.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A statement failed.
    #[error(transparent)]
    Statement(Box<EngineError>),
    /// A command was not understood, or failed.
    #[error("{message}")]
    Command {
        /// The error message.
        message: String,
        /// Advice for the user.
        hint: Option<String>,
    },
    /// Reading or writing failed.
    #[error("{attempt}: {}", reason(source))]
    Io {
        /// The attempted operation.
        attempt: String,
        /// The cause.
        source: io::Error,
    },
    /// The reader of our output has closed it. Not an error, but the end.
    #[error("the output was closed")]
    OutputClosed,
    /// A signal arrived during a statement.
    #[error("{0}")]
    Interrupted(Signal),
}

/// The result type of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn command(message: impl Into<String>) -> Self {
        Self::Command { message: message.into(), hint: None }
    }

    pub(crate) fn command_hint(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Command { message: message.into(), hint: Some(hint.into()) }
    }

    /// An I/O error; a closed pipe becomes [`Self::OutputClosed`].
    pub(crate) fn io(attempt: impl Into<String>, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::Io { attempt: attempt.into(), source },
        }
    }

    /// An error from a result stream.
    pub(crate) fn of_stream(error: DataFusionError) -> Self {
        EngineError::from(error).into()
    }

    /// Advice for the user, if there is any.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Statement(error) => error.hint(),
            Self::Command { hint, .. } => hint.clone(),
            _ => None,
        }
    }
}

/// The meaning of an I/O error, without the operating system's error number.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file or folder".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::IsADirectory => "it is a folder".to_owned(),
        io::ErrorKind::InvalidData => "it is not UTF-8 text".to_owned(),
        _ => {
            let text = error.to_string();
            text.split(" (os error").next().unwrap_or(&text).to_lowercase()
        }
    }
}

impl From<EngineError> for Error {
    fn from(error: EngineError) -> Self {
        Self::Statement(Box::new(error))
    }
}
