//! A setting as the user wrote it, and where.

use crate::error::Error;

/// A setting given by the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) key: String,
    pub(super) value: String,
    /// Its origin: a file and a line, or a flag.
    pub(super) place: String,
}

impl Setting {
    /// The error for an invalid value.
    pub(super) fn refused(&self, why: &str) -> Error {
        Error::config(format!("{}: the setting \"{}\": {why}", self.place, self.key))
    }
}
