//! Errors about the places that a user named, as messages for that user.
//!
//! Stores, listings and sinks make a [`SourceError`]; it travels inside the errors of
//! `object_store` and DataFusion, and [`explain`] finds it again for printing.

use std::error::Error;
use std::fmt;

use datafusion::error::DataFusionError;

/// The number of causes of an error that are followed. Guards against a cycle.
const CAUSES_MAX: usize = 64;

/// Separates a message from its hint where an error is plain text, as errors from machines are.
pub const HINT: &str = "\nhint: ";

/// The kind of a [`SourceError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceErrorKind {
    /// The file, folder, bucket or key does not exist, or nothing matches.
    Missing,
    /// Credentials are missing, unknown, expired or insufficient.
    Denied,
    /// The bucket is in another region.
    Region,
    /// The place does not answer.
    Unreachable,
    /// The address, an option or the format is not valid.
    Invalid,
    /// Files that should be one table differ.
    Differ,
    /// The target of a result is not free.
    Occupied,
    /// The disk is full.
    Full,
}

/// An error about a place, with a hint on what to do about it.
#[derive(Debug, Clone)]
pub struct SourceError {
    kind: SourceErrorKind,
    message: String,
    hint: Option<String>,
}

impl SourceError {
    /// An error with a message in lower case, without a final period.
    pub fn new(kind: SourceErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    /// An error of the kind [`SourceErrorKind::Invalid`].
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(SourceErrorKind::Invalid, message)
    }

    /// Adds a hint on what the user can do.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Wraps this in an error of DataFusion.
    pub fn into_datafusion(self) -> DataFusionError {
        DataFusionError::External(Box::new(self))
    }

    /// Wraps this in an error of `object_store`, which keeps missing and denied apart from the
    /// rest.
    pub fn into_store(self, path: &str) -> object_store::Error {
        match self.kind {
            SourceErrorKind::Missing => {
                object_store::Error::NotFound { path: path.to_owned(), source: Box::new(self) }
            }
            SourceErrorKind::Denied => object_store::Error::PermissionDenied {
                path: path.to_owned(),
                source: Box::new(self),
            },
            _ => object_store::Error::Generic { store: "store", source: Box::new(self) },
        }
    }
}

/// [`SourceError::invalid`] as an error of DataFusion.
pub(crate) fn invalid(message: impl Into<String>) -> DataFusionError {
    SourceError::invalid(message).into_datafusion()
}

/// A failure of a sink: what could not be done, and why.
#[derive(Debug)]
pub struct Failed {
    /// What could not be done: `cannot write "out/part-0.csv"`.
    pub what: String,
    /// Why.
    pub cause: DataFusionError,
}

impl Failed {
    /// Wraps this in an error of DataFusion.
    pub(crate) fn at(what: impl Into<String>, cause: DataFusionError) -> DataFusionError {
        DataFusionError::External(Box::new(Self { what: what.into(), cause }))
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.cause)
    }
}

impl Error for Failed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.cause)
    }
}

/// The text includes the hint, which would otherwise be lost when a machine sends the error as
/// text.
impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "{HINT}{hint}"),
            None => Ok(()),
        }
    }
}

impl Error for SourceError {}

/// The error about a file whose bytes are not what they should be.
pub(crate) fn unreadable(file: &str, reason: &str) -> DataFusionError {
    SourceError::new(SourceErrorKind::Invalid, format!("\"{file}\" cannot be read: {reason}"))
        .hint("the file may be damaged or not yet written to its end")
        .into_datafusion()
}

/// The reason given for a file whose decoder panicked.
pub(crate) const NOT_ITS_FORMAT: &str = "its bytes are not what its format says";

/// Prefixes that libraries put before the reason of an error, one for each layer.
const PREFIXES: [&str; 10] = [
    "Avro error: ",
    "Arrow error: ",
    "Parquet argument error: ",
    "Parquet error: ",
    "External error: ",
    "External: ",
    "Ipc error: ",
    "Io error: ",
    "Parser error: ",
    "Execution error: ",
];

/// The reason of an error of a reader, without the names of the libraries that it comes from.
pub(crate) fn reason(error: &DataFusionError) -> String {
    let text = error.find_root().strip_backtrace();
    let mut reason = text.as_str();
    while let Some(rest) = PREFIXES.iter().find_map(|prefix| reason.strip_prefix(prefix)) {
        reason = rest;
    }
    // The rest is for the library's developers.
    let end = reason.find(" { ").or_else(|| reason.find("error_trace")).unwrap_or(reason.len());
    reason[..end].trim_end_matches([' ', ',', ':']).to_owned()
}

/// A message and its hint as one text, for errors that hold only text.
pub(crate) fn with_hint(message: &str, hint: &str) -> String {
    format!("{message}{HINT}{hint}")
}

/// The message and the hint for a user, if the cause is a file, a bucket or a full disk.
pub fn explain(error: &DataFusionError) -> Option<(String, Option<String>)> {
    wrapped_causes(error).find_map(found_in).map(|found| (found.message, found.hint))
}

/// The kind of the [`SourceError`] in an error, if there is one.
pub(crate) fn kind_of(error: &(dyn Error + 'static)) -> Option<SourceErrorKind> {
    wrapped_causes(error).find_map(found_in).map(|found| found.kind)
}

fn found_in(error: &(dyn Error + 'static)) -> Option<SourceError> {
    if let Some(found) = error.downcast_ref::<SourceError>() {
        return Some(found.clone());
    }
    let io = error.downcast_ref::<std::io::Error>()?;
    match io.kind() {
        std::io::ErrorKind::StorageFull
        | std::io::ErrorKind::QuotaExceeded
        | std::io::ErrorKind::FileTooLarge => Some(
            SourceError::new(SourceErrorKind::Full, format!("no space is left to write to: {io}"))
                .hint("free some space or write to another disk; nothing of the result was kept"),
        ),
        _ => None,
    }
}

/// The error and its causes, as [`causes`](bigslice_diagnostics::causes) has them, and also those
/// that a wrapper holds without reporting them as its source.
pub(crate) fn wrapped_causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| next_cause(*error)).take(CAUSES_MAX)
}

fn next_cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    if let Some(error) = error.downcast_ref::<DataFusionError>() {
        return match error {
            DataFusionError::ObjectStore(inner) => Some(inner.as_ref()),
            DataFusionError::External(inner) => Some(inner.as_ref()),
            DataFusionError::Context(_, inner) => Some(inner.as_ref()),
            DataFusionError::Diagnostic(_, inner) => Some(inner.as_ref()),
            DataFusionError::Shared(inner) => Some(inner.as_ref()),
            DataFusionError::IoError(inner) => Some(inner),
            DataFusionError::ArrowError(inner, _) => Some(inner.as_ref()),
            DataFusionError::ParquetError(inner) => Some(inner.as_ref()),
            DataFusionError::Collection(inner) => inner.first().map(|e| e as _),
            other => other.source(),
        };
    }
    if let Some(error) = error.downcast_ref::<std::io::Error>() {
        return error.get_ref().map(|e| e as _);
    }
    if let Some(datafusion::arrow::error::ArrowError::IoError(_, inner)) = error.downcast_ref() {
        return Some(inner);
    }
    error.source()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_is_found_under_wrappers() {
        let error = SourceError::new(SourceErrorKind::Missing, "no bucket \"x\"").hint("make it");
        let store = error.into_store("key");
        let wrapped = DataFusionError::Context(
            "while reading".to_owned(),
            Box::new(DataFusionError::ObjectStore(Box::new(store))),
        );
        let (message, hint) = explain(&wrapped).unwrap();
        assert_eq!(message, "no bucket \"x\"");
        assert_eq!(hint.as_deref(), Some("make it"));
        assert_eq!(kind_of(&wrapped), Some(SourceErrorKind::Missing));
    }

    #[test]
    fn reasons_have_no_names_of_libraries() {
        let inner = parquet::errors::ParquetError::General("Invalid footer".to_owned());
        let error = DataFusionError::ParquetError(Box::new(inner));
        assert_eq!(reason(&error), "Invalid footer");
        let error = DataFusionError::Execution("Unable to get root: Out { range: 1 }".to_owned());
        assert_eq!(reason(&error), "Unable to get root: Out");
    }

    #[test]
    fn a_full_disk_is_named() {
        let io = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let store = object_store::Error::Generic { store: "LocalFileSystem", source: Box::new(io) };
        let error = DataFusionError::ObjectStore(Box::new(store));
        assert!(explain(&error).unwrap().0.contains("no space is left"));
    }

    #[test]
    fn other_errors_are_not_explained() {
        assert!(explain(&DataFusionError::Plan("column not found".to_owned())).is_none());
    }
}
