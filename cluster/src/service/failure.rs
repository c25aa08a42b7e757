//! Errors of services' methods on the wire. A method's own error type is sent if it implements
//! serde's traits. Any other becomes a [`Failure`], which keeps the messages of the whole chain.

use std::error::Error;
use std::fmt;

use bigslice_diagnostics::causes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::BoxError;

/// A message of a chain of errors, with those below it: the form of an error after it was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    text: String,
    below: Option<Box<Self>>,
}

impl Cause {
    /// The messages of `err` and of its sources.
    pub fn of(err: &(dyn Error + 'static)) -> Self {
        let texts: Vec<String> = causes(err).map(ToString::to_string).collect();
        let below =
            texts.into_iter().rev().fold(None, |below, text| Some(Box::new(Self { text, below })));
        below.map_or_else(|| Self::text(err.to_string()), |cause| *cause)
    }

    fn text(text: String) -> Self {
        Self { text, below: None }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.below.as_deref().map(|below| below as _)
    }
}

/// The error type of a method: an error that implements serde's traits, or a [`Failure`].
pub trait ServiceError: Serialize + DeserializeOwned + fmt::Debug + Send + Sync + 'static {
    /// The messages of the error and of its causes.
    fn cause(&self) -> Cause;
}

impl<E: Error + Serialize + DeserializeOwned + Send + Sync + 'static> ServiceError for E {
    fn cause(&self) -> Cause {
        Cause::of(self)
    }
}

/// Any error, as the messages of its chain. `?` converts any error into it.
///
/// Not an `Error` itself, because it could then not be made from every error; [`Failure::cause`] is
/// one.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure(Cause);

impl Failure {
    /// A failure without a cause.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Cause::text(text.into()))
    }

    /// The error.
    pub fn cause(&self) -> &Cause {
        &self.0
    }
}

impl<E: Error + 'static> From<E> for Failure {
    fn from(err: E) -> Self {
        Self(Cause::of(&err))
    }
}

impl From<Failure> for BoxError {
    fn from(failure: Failure) -> Self {
        Box::new(failure.0)
    }
}

impl ServiceError for Failure {
    fn cause(&self) -> Cause {
        self.0.clone()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The error of a method that cannot fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Never {}

impl fmt::Display for Never {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

impl Error for Never {}
