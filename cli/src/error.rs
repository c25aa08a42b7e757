//! Why the shell could not do what it was asked to.

use std::io;

use bigslice::Error as EngineError;
use datafusion::error::DataFusionError;

use crate::signals::Signal;

/// Why a statement or a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A statement failed.
    #[error(transparent)]
    Statement(Box<EngineError>),
    /// A command of the shell was not understood, or could not be done.
    #[error("{message}")]
    Command {
        /// What is wrong.
        message: String,
        /// What may help.
        hint: Option<String>,
    },
    /// Something outside could not be read or written.
    #[error("{attempt}: {}", reason(source))]
    Io {
        /// What was attempted.
        attempt: String,
        /// Why it did not work.
        source: io::Error,
    },
    /// Whoever reads our output has had enough. No fault, but the end.
    #[error("the output was closed")]
    OutputClosed,
    /// A signal came while a statement ran.
    #[error("{0}")]
    Interrupted(Signal),
}

/// What the functions of this crate return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn command(message: impl Into<String>) -> Self {
        Self::Command { message: message.into(), hint: None }
    }

    pub(crate) fn command_hint(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Command { message: message.into(), hint: Some(hint.into()) }
    }

    /// An error of reading or writing; a closed pipe is told apart.
    pub(crate) fn io(attempt: impl Into<String>, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::Io { attempt: attempt.into(), source },
        }
    }

    /// An error that came out of the stream of a result.
    pub(crate) fn of_stream(error: DataFusionError) -> Self {
        EngineError::from(error).into()
    }

    /// A sentence that may help.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Statement(error) => error.hint(),
            Self::Command { hint, .. } => hint.clone(),
            _ => None,
        }
    }
}

/// What an error of reading or writing means, without the number that it has for the system.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file or folder".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::IsADirectory => "it is a folder".to_owned(),
        io::ErrorKind::InvalidData => "it is not text in UTF-8".to_owned(),
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
