//! Errors of DataFusion, of the planner and of machines as ours, with the place in the statement and words that a user
//! understands ([`diagnostics`]).

use bigslice_files::Failed;
use datafusion::common::{Diagnostic, SchemaError};
use datafusion::error::DataFusionError;

use crate::base::diagnostics;
use crate::base::script;
use crate::base::task_error::TaskError;
use crate::error::{Error, Place};

/// What `RepartitionExec` of DataFusion 55.2 panics with when it is read a second time. `NestedLoopJoinExec` does
/// that when its left input does not fit in memory.
const READ_TWICE: &str = "partition not used yet";

impl Error {
    /// The error of ours that says what `error` says, with places in the statement `text`.
    pub(crate) fn of(error: &DataFusionError, text: &str) -> Self {
        if let Some(ours) = diagnostics::find::<Self>(error) {
            return ours.clone();
        }
        if let Some(error) = TaskError::of(error) {
            return error.into();
        }
        if let Some(failed) = diagnostics::find::<Failed>(error) {
            return Self::of(&failed.cause, "").within(&failed.what);
        }
        if let Some((message, hint)) = bigslice_files::explain(error) {
            return Self::Source { message, hint };
        }
        let (message, hint) = diagnostics::describe(error);
        if message.contains(READ_TWICE) {
            let message = "not enough memory: a join without keys cannot hold one of its inputs";
            let hint = diagnostics::MEMORY_HINT.to_owned();
            return Self::Memory { message: message.to_owned(), hint };
        }
        match diagnostics::innermost(error) {
            DataFusionError::SQL(parser, _) => {
                let (message, place) = diagnostics::of_parser(parser);
                // The parser has no place for what is not there.
                let ended = || message.ends_with(diagnostics::END).then(|| script::end_of(text));
                let place = place.or_else(ended);
                Self::Statement { message, place, hint }
            }
            DataFusionError::Plan(_)
            | DataFusionError::NotImplemented(_)
            | DataFusionError::Substrait(_) => {
                Self::Statement { message, place: place_of(error), hint }
            }
            DataFusionError::SchemaError(schema, _) => {
                let place = place_of(error).or_else(|| place_of_field(schema, text));
                Self::Statement { message, place, hint }
            }
            DataFusionError::Configuration(_) => Self::Config { message, hint },
            DataFusionError::ResourcesExhausted(_) => {
                Self::Memory { message, hint: diagnostics::MEMORY_HINT.to_owned() }
            }
            DataFusionError::ObjectStore(_) | DataFusionError::IoError(_) => {
                Self::Source { message, hint }
            }
            // What a user wrote, which DataFusion takes for a fault of its own.
            DataFusionError::Internal(text)
                if text.contains("failed to match any signature")
                    || text.contains("Regular expression did not compile") =>
            {
                Self::Statement { message, place: place_of(error), hint }
            }
            DataFusionError::Internal(_) => Self::Internal { message },
            _ => Self::Query { message, hint },
        }
    }
}

impl From<bigslice_planner::Error> for Error {
    fn from(error: bigslice_planner::Error) -> Self {
        match &error {
            bigslice_planner::Error::DataFusion(theirs) => Self::of(theirs, ""),
            _ => Self::Statement { message: error.to_string(), place: None, hint: error.hint() },
        }
    }
}

impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Self {
        Self::of(&error, "")
    }
}

impl From<bigslice_cluster::Error> for Error {
    fn from(error: bigslice_cluster::Error) -> Self {
        match error {
            bigslice_cluster::Error::Options(message) => Self::config(message),
            error => Self::Machines { message: bigslice_files::chain(&error) },
        }
    }
}

/// The place that DataFusion's diagnostic names, wherever in the chain it hangs.
fn place_of(error: &DataFusionError) -> Option<Place> {
    let diagnostic = diagnostic(error)?;
    let notes = diagnostic.notes.iter().map(|note| note.span);
    let span = std::iter::once(diagnostic.span).chain(notes).flatten().next()?;
    (span.start.line > 0).then(|| Place {
        line: span.start.line,
        column: span.start.column,
        end: Some((span.end.line, span.end.column)).filter(|end| end.0 > 0),
    })
}

fn diagnostic(error: &DataFusionError) -> Option<&Diagnostic> {
    match error {
        DataFusionError::Diagnostic(diagnostic, _) => Some(diagnostic),
        DataFusionError::Context(_, inner) => diagnostic(inner),
        DataFusionError::Shared(inner) => diagnostic(inner),
        DataFusionError::Collection(errors) => errors.iter().find_map(diagnostic),
        _ => None,
    }
}

/// Where a column that does not exist is named, when it is named once.
fn place_of_field(error: &SchemaError, text: &str) -> Option<Place> {
    let name = match error {
        SchemaError::FieldNotFound { field, .. } | SchemaError::AmbiguousReference { field } => {
            &field.name
        }
        _ => return None,
    };
    script::only_word(text, name)
}
