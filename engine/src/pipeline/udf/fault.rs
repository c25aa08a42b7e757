//! Errors of user functions.

use std::fmt;

use crate::row::Mismatch;

/// Why a batch could not be computed.
#[derive(Debug)]
pub enum Fault {
    /// The function returned an error.
    Failed(String),
    /// A column contains a value that the argument type cannot represent.
    Mismatch(Mismatch),
}

impl From<String> for Fault {
    fn from(text: String) -> Self {
        Self::Failed(text)
    }
}

impl From<Mismatch> for Fault {
    fn from(mismatch: Mismatch) -> Self {
        Self::Mismatch(mismatch)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(text) => f.write_str(text),
            Self::Mismatch(mismatch) => mismatch.fmt(f),
        }
    }
}
