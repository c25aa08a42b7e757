//! Turns errors of DataFusion, of the planner and of machines into ours: in words for a user
//! ([`diagnostics`]), with the position in the statement, and with the original as the cause.

use bigslice_files::Failed;
use datafusion::common::{Diagnostic, SchemaError};
use datafusion::error::DataFusionError;

use crate::base::diagnostics;
use crate::base::script;
use crate::base::task_error::TaskError;
use crate::error::{Error, Position};

/// What `RepartitionExec` of DataFusion 55.2 panics with when it is read a second time.
/// `NestedLoopJoinExec` does that when its left input does not fit in memory.
const READ_TWICE: &str = "partition not used yet";

impl Error {
    /// The error that `error` is for the user who wrote the statement `text`.
    pub(crate) fn in_statement(error: DataFusionError, text: &str) -> Self {
        known(&error).unwrap_or_else(|| translated(&error, text).with_source(error))
    }

    /// The error that `error` is, without its cause, for code that passes `error` on.
    pub(crate) fn peek(error: &DataFusionError) -> Self {
        known(error).unwrap_or_else(|| translated(error, ""))
    }
}

impl From<DataFusionError> for Error {
    /// Without the text of a statement, an error has the positions that DataFusion knows, and no
    /// others.
    fn from(error: DataFusionError) -> Self {
        Self::in_statement(error, "")
    }
}

impl From<bigslice_planner::Error> for Error {
    fn from(error: bigslice_planner::Error) -> Self {
        match error {
            bigslice_planner::Error::DataFusion(theirs) => theirs.into(),
            error => Self::statement(error.to_string(), None).hinted(error.hint()),
        }
    }
}

impl From<bigslice_cluster::Error> for Error {
    fn from(error: bigslice_cluster::Error) -> Self {
        match error {
            bigslice_cluster::Error::Options(message) => Self::config(message),
            error => Self::machines(bigslice_diagnostics::chain(&error)).with_source(error),
        }
    }
}

/// The position of `error` in the statement `text`, if one is known.
pub(crate) fn position_in(error: &DataFusionError, text: &str) -> Option<Position> {
    translated(error, text).position()
}

/// The error of ours in the chain of `error`, from this machine or from another.
fn known(error: &DataFusionError) -> Option<Error> {
    let ours = diagnostics::find::<Error>(error).cloned();
    ours.or_else(|| TaskError::of(error).map(Error::from))
}

/// What `error` says, in our words and without its cause.
fn translated(error: &DataFusionError, text: &str) -> Error {
    if let Some(failed) = diagnostics::find::<Failed>(error) {
        return translated(&failed.cause, "").within(&failed.what);
    }
    if let Some((message, hint)) = bigslice_files::explain(error) {
        return Error::unreadable(message).hinted(hint);
    }
    let (message, hint) = diagnostics::describe(error);
    if message.contains(READ_TWICE) {
        return Error::memory(
            "not enough memory: a join without keys cannot hold one of its inputs",
        )
        .with_hint(diagnostics::MEMORY_HINT);
    }
    let translated = match diagnostics::innermost(error) {
        DataFusionError::SQL(parser, _) => {
            let (message, position) = diagnostics::of_parser(parser);
            // The parser has no position for what is missing at the end.
            let ended = || message.ends_with(diagnostics::END).then(|| script::end_of(text));
            let position = position.or_else(ended);
            Error::statement(message, position)
        }
        DataFusionError::Plan(_)
        | DataFusionError::NotImplemented(_)
        | DataFusionError::Substrait(_) => Error::statement(message, position_of(error)),
        DataFusionError::SchemaError(schema, _) => {
            let position = position_of(error).or_else(|| position_of_field(schema, text));
            Error::statement(message, position)
        }
        DataFusionError::Configuration(_) => Error::config(message),
        DataFusionError::ResourcesExhausted(_) => {
            return Error::memory(message).with_hint(diagnostics::MEMORY_HINT);
        }
        DataFusionError::ObjectStore(_) | DataFusionError::IoError(_) => Error::unreadable(message),
        // Mistakes of a user that DataFusion takes for its own.
        DataFusionError::Internal(text)
            if text.contains("failed to match any signature")
                || text.contains("Regular expression did not compile") =>
        {
            Error::statement(message, position_of(error))
        }
        DataFusionError::Internal(_) => return Error::internal(message),
        _ => Error::query(message),
    };
    translated.hinted(hint)
}

/// The position that DataFusion's diagnostic names, wherever it is in the chain.
fn position_of(error: &DataFusionError) -> Option<Position> {
    let diagnostic = diagnostic(error)?;
    let notes = diagnostic.notes.iter().map(|note| note.span);
    let span = std::iter::once(diagnostic.span).chain(notes).flatten().next()?;
    (span.start.line > 0).then(|| Position {
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

/// The position of an unknown column, if its name is in the statement once.
fn position_of_field(error: &SchemaError, text: &str) -> Option<Position> {
    let name = match error {
        SchemaError::FieldNotFound { field, .. } | SchemaError::AmbiguousReference { field } => {
            &field.name
        }
        _ => return None,
    };
    script::only_word(text, name)
}

#[cfg(test)]
mod tests {
    use std::panic::AssertUnwindSafe;
    use std::sync::Arc;

    use datafusion::arrow::datatypes::Schema;
    use datafusion::execution::TaskContext;
    use datafusion::physical_plan::empty::EmptyExec;
    use datafusion::physical_plan::repartition::RepartitionExec;
    use datafusion::physical_plan::{ExecutionPlan, Partitioning};
    use futures::{FutureExt, TryStreamExt};

    use super::*;

    #[tokio::test]
    async fn the_message_of_a_second_read_is_still_needed() {
        let input = Arc::new(EmptyExec::new(Arc::new(Schema::empty())));
        let exchange = RepartitionExec::try_new(input, Partitioning::RoundRobinBatch(2)).unwrap();
        let exchange: Arc<dyn ExecutionPlan> = Arc::new(exchange);
        let read = || {
            let rows = async {
                let rows = exchange.execute(0, Arc::new(TaskContext::default()))?;
                rows.try_collect::<Vec<_>>().await
            };
            AssertUnwindSafe(rows).catch_unwind()
        };
        read().await.unwrap().unwrap();
        let panic = read().await.expect_err("DataFusion reads an exchange twice now");
        let message = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let message = message.or_else(|| panic.downcast_ref::<String>().cloned());
        assert!(message.unwrap().contains(READ_TWICE));
    }
}
