//! Says to a user what DataFusion's errors say to a developer. Called by
//! [`translate`](crate::base::translate).

mod mistakes;
mod plain;

use std::collections::HashSet;
use std::error::Error as StdError;

use datafusion::arrow::error::ArrowError;
use datafusion::common::{Column, SchemaError};
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::parser::ParserError;

use parquet::errors::ParquetError;

use bigslice_diagnostics::{causes, chain, nearest};
use bigslice_files::HINT;

use crate::error::{Error, Position};
use plain::plain;

/// The most names in a hint: a thousand columns are not a hint.
const NAMES_MAX: usize = 20;

/// The most links of an error's chain that are followed, in case of a cycle.
const CHAIN_MAX: usize = 64;

/// What the parser found where the statement is incomplete.
pub(crate) const END: &str = "the end of the statement";

/// The hint of errors about memory.
pub(crate) const MEMORY_HINT: &str =
    "raise the memory limit, use fewer partitions, or let the query read or keep less";

/// The message for `error`, and what may help.
pub(crate) fn describe(error: &DataFusionError) -> (String, Option<String>) {
    let (message, hint) = described(error);
    // Errors that are not DataFusion's are in our words already.
    let ours = match innermost(error) {
        DataFusionError::External(_) => true,
        DataFusionError::ArrowError(arrow, _) => matches!(**arrow, ArrowError::ExternalError(_)),
        _ => false,
    };
    let (message, hint) = match ours {
        true => (message, hint),
        false => (plain(&message), hint.map(|hint| plain(&hint))),
    };
    match message.split_once(HINT) {
        Some((message, said)) => (sentence(message), hint.or_else(|| Some(said.to_owned()))),
        None => (sentence(&message), hint),
    }
}

fn described(error: &DataFusionError) -> (String, Option<String>) {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
            described(inner)
        }
        DataFusionError::Shared(inner) => described(inner),
        DataFusionError::Collection(errors) => describe_all(errors),
        DataFusionError::SQL(parser, _) => (of_parser(parser).0, None),
        DataFusionError::SchemaError(schema, _) => of_schema(schema),
        DataFusionError::ArrowError(arrow, _) => of_arrow(arrow),
        DataFusionError::ParquetError(parquet) if matches!(**parquet, ParquetError::NYI(_)) => {
            let text = chain(parquet);
            let text = match text.contains("interval") {
                true => "intervals of months, days and nanoseconds",
                false => text.strip_prefix("NYI: ").unwrap_or(&text),
            };
            let hint = "cast the column to a type that Parquet has, such as VARCHAR";
            (sentence(&format!("not supported in Parquet: {text}")), Some(hint.to_owned()))
        }
        DataFusionError::ParquetError(parquet) => {
            (sentence(&format!("the Parquet file cannot be read: {}", chain(parquet))), None)
        }
        DataFusionError::ObjectStore(store) => (sentence(&chain(store.as_ref())), None),
        DataFusionError::IoError(io) => (sentence(&chain(io)), None),
        DataFusionError::NotImplemented(text) => mistakes::said(text)
            .unwrap_or_else(|| (format!("not supported: {}", sentence(text)), None)),
        DataFusionError::Plan(text) => split_hint(text),
        DataFusionError::Internal(text)
        | DataFusionError::Configuration(text)
        | DataFusionError::Execution(text)
        | DataFusionError::Substrait(text)
        | DataFusionError::Ffi(text) => (sentence(text), None),
        DataFusionError::ResourcesExhausted(text) => (of_memory(text), None),
        DataFusionError::ExecutionJoin(join) => (sentence(&join.to_string()), None),
        DataFusionError::External(external) => of_external(external.as_ref()),
    }
}

fn describe_all(errors: &[DataFusionError]) -> (String, Option<String>) {
    let mut described = errors.iter().map(described);
    let Some((mut message, hint)) = described.next() else {
        return ("several things are wrong".to_owned(), None);
    };
    for (more, _) in described.take(NAMES_MAX) {
        message.push_str("; ");
        message.push_str(&more);
    }
    (message, hint)
}

/// The error below all wrappers, whose kind decides what ours is.
pub(crate) fn innermost(error: &DataFusionError) -> &DataFusionError {
    let mut error = error;
    for _ in 0..CHAIN_MAX {
        error = match error {
            DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => inner,
            DataFusionError::Shared(inner) => inner,
            DataFusionError::Collection(errors) if !errors.is_empty() => &errors[0],
            DataFusionError::External(external) => match external.downcast_ref() {
                Some(inner) => inner,
                None => return error,
            },
            DataFusionError::ArrowError(arrow, _) => match arrow.as_ref() {
                ArrowError::ExternalError(external) => match external.downcast_ref() {
                    Some(inner) => inner,
                    None => return error,
                },
                _ => return error,
            },
            _ => return error,
        };
    }
    error
}

/// The first error of type `E` in the chain of `error`. The chain ends at an [`Error`]: that has
/// been judged already, and its cause is not judged again.
pub(crate) fn find<E: StdError + 'static>(error: &DataFusionError) -> Option<&E> {
    for cause in causes(innermost(error)) {
        if let Some(found) = cause.downcast_ref::<E>() {
            return Some(found);
        }
        if cause.is::<Error>() {
            return None;
        }
    }
    None
}

/// Whether `error` comes from a lost machine or connection. An [`Error`] in its chain has been
/// judged already, whatever its cause was.
pub(crate) fn is_transport(error: &DataFusionError) -> bool {
    find::<Error>(error).is_none() && bigslice_flight::is_transport_error(error)
}

/// `text` as one of our messages: no space around it, no final period, and a small first letter
/// unless the word is a name of its own.
pub(crate) fn sentence(text: &str) -> String {
    let text = text.trim().trim_end_matches('.');
    let mut letters = text.chars();
    match (letters.next(), letters.clone().next()) {
        (Some(first), Some(second)) if first.is_uppercase() && second.is_lowercase() => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => text.to_owned(),
    }
}

/// The message of the parser, and the position that it has at its end.
pub(crate) fn of_parser(error: &ParserError) -> (String, Option<Position>) {
    let text = match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text,
        ParserError::RecursionLimitExceeded => {
            return ("the statement is nested too deeply".to_owned(), None);
        }
    };
    let (text, place) = match text.rsplit_once(" at Line: ") {
        Some((before, place)) => (before, read_place(place)),
        None => (text.as_str(), None),
    };
    let text = match text.strip_prefix("Expected: ").and_then(|rest| rest.split_once(", found: ")) {
        Some((expected, found)) => format!("expected {expected}, found {}", end_or(found)),
        None => sentence(text),
    };
    (text, place)
}

fn end_or(found: &str) -> &str {
    if found == "EOF" { END } else { found }
}

fn read_place(text: &str) -> Option<Position> {
    let (line, column) = text.split_once(", Column: ")?;
    Some(Position::at(line.trim().parse().ok()?, column.trim().parse().ok()?))
}

fn of_schema(error: &SchemaError) -> (String, Option<String>) {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let message = format!("there is no column {}", quoted(field));
            (message, hint_for(field, valid_fields))
        }
        SchemaError::AmbiguousReference { field } => (
            format!("the column {} may be any of several", quoted(field)),
            Some("write the table's name before it".to_owned()),
        ),
        SchemaError::DuplicateQualifiedField { name, .. }
        | SchemaError::DuplicateUnqualifiedField { name } => (
            format!("there would be two columns \"{name}\""),
            Some("give one of them another name with \"as\"".to_owned()),
        ),
    }
}

fn quoted(field: &Column) -> String {
    format!("\"{}\"", field.flat_name())
}

fn hint_for(field: &Column, valid: &[Column]) -> Option<String> {
    if valid.is_empty() {
        return None;
    }
    let closest = nearest(&field.name, valid.iter().map(|column| column.name.as_str()));
    if let Some(closest) = closest
        && let Some(closest) = valid.iter().find(|column| column.name == closest)
    {
        let mut hint = format!("did you mean {}?", quoted(closest));
        if closest.name != closest.name.to_lowercase() {
            hint.push_str(" A name with capital letters must stand in double quotes.");
        }
        return Some(hint);
    }
    let mut seen = HashSet::new();
    let mut names: Vec<String> =
        valid.iter().map(quoted).filter(|name| seen.insert(name.clone())).collect();
    if names.len() > NAMES_MAX {
        let more = names.len() - NAMES_MAX;
        names.truncate(NAMES_MAX);
        names.push(format!("and {more} more"));
    }
    Some(format!("the columns are {}", names.join(", ")))
}

/// The name in DataFusion's "table 'catalog.schema.name' not found", without the catalog and the
/// schema that the session adds.
pub(crate) fn missing_table(error: &DataFusionError) -> Option<String> {
    let DataFusionError::Plan(text) = innermost(error) else { return None };
    let name = text.strip_prefix("table '")?.strip_suffix("' not found")?;
    let name = name.strip_prefix("datafusion.public.").unwrap_or(name);
    Some(name.to_owned())
}

/// DataFusion's planner puts its suggestion into the message: "Invalid function 'x'.\nDid you
/// mean 'y'?"
fn split_hint(text: &str) -> (String, Option<String>) {
    if let Some(said) = mistakes::said(text) {
        return said;
    }
    if let Some(said) = of_arguments(text) {
        return (sentence(said), None);
    }
    match text.split_once("Did you mean ") {
        Some((message, hint)) => {
            let message = message.trim().trim_end_matches(['.', ',', ';', ':']);
            (sentence(message), Some(format!("did you mean {}", hint.trim())))
        }
        None => match text.split_once("\n\tCandidate functions:") {
            Some((message, candidates)) => (sentence(message), candidates_of(candidates)),
            None => (sentence(text), None),
        },
    }
}

/// The ways to call a function, each once. None if DataFusion does not know them.
fn candidates_of(text: &str) -> Option<String> {
    let mut ways: Vec<String> = Vec::new();
    for way in text.lines().map(plain).filter(|way| !way.is_empty()) {
        if !ways.contains(&way) && !way.ends_with("(UserDefined)") {
            ways.push(way);
        }
    }
    (!ways.is_empty()).then(|| format!("it can be called as {}", ways.join(", ")))
}

/// The message of one of our functions about its arguments, which is between `coercion failed with:
/// Error during planning: ` and `. No function matches the given name and argument types`.
fn of_arguments(text: &str) -> Option<&str> {
    let (_, said) = text.split_once("coercion failed with: Error during planning: ")?;
    Some(said.split_once(". No function matches").map_or(said, |(said, _)| said))
}

/// "Failed to allocate additional 10.0 MB for HashJoinInput with 2.0 MB already allocated for
/// this reservation - 6.5 MB remain available for the total memory pool: ...", shortened.
fn of_memory(text: &str) -> String {
    let read = || {
        let (_, rest) = text.rsplit_once("Failed to allocate additional ")?;
        let (wanted, rest) = rest.split_once(" for ")?;
        let (operator, rest) = rest.split_once(" with ")?;
        let (held, rest) = rest.split_once(" already allocated")?;
        let (left, _) = rest.split_once(" - ")?.1.split_once(" remain")?;
        Some(format!(
            "not enough memory: \"{operator}\" holds {held} and needs {wanted} more, but {left} \
             are left of what the process may use"
        ))
    };
    read().unwrap_or_else(|| sentence(text))
}

fn of_arrow(error: &ArrowError) -> (String, Option<String>) {
    match error {
        ArrowError::ExternalError(external) => of_external(external.as_ref()),
        ArrowError::DivideByZero => ("division by zero".to_owned(), None),
        ArrowError::CastError(text)
        | ArrowError::ParseError(text)
        | ArrowError::ComputeError(text)
        | ArrowError::ArithmeticOverflow(text)
        | ArrowError::InvalidArgumentError(text)
        | ArrowError::SchemaError(text)
        | ArrowError::CsvError(text)
        | ArrowError::JsonError(text)
        | ArrowError::AvroError(text)
        | ArrowError::IpcError(text)
        | ArrowError::MemoryError(text)
        | ArrowError::ParquetError(text) => {
            mistakes::said(text).unwrap_or_else(|| (sentence(text), None))
        }
        ArrowError::NotYetImplemented(text) => (format!("not supported: {}", sentence(text)), None),
        other => (sentence(&other.to_string()), None),
    }
}

fn of_external(error: &(dyn StdError + Send + Sync + 'static)) -> (String, Option<String>) {
    if let Some(inner) = error.downcast_ref::<DataFusionError>() {
        return described(inner);
    }
    if let Some(inner) = error.downcast_ref::<ArrowError>() {
        return of_arrow(inner);
    }
    (sentence(&chain(error)), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_ours() {
        for (theirs, ours) in [
            ("No such thing.", "no such thing"),
            ("SQL is fine", "SQL is fine"),
            (" x ", "x"),
            ("", ""),
        ] {
            assert_eq!(sentence(theirs), ours);
        }
    }

    #[test]
    fn the_parser_puts_its_place_at_the_end() {
        let error = ParserError::ParserError(
            "Expected: an expression, found: EOF at Line: 3, Column: 14".to_owned(),
        );
        let (message, place) = of_parser(&error);
        assert_eq!(message, "expected an expression, found the end of the statement");
        assert_eq!(place, Some(Position::at(3, 14)));
    }

    #[test]
    fn exhausted_memory_names_the_operator() {
        let text = "Additional allocation failed for HashJoinInput with top memory consumers \
                    (across reservations) as:\n  x.\nError: Failed to allocate additional 10.0 MB \
                    for HashJoinInput with 2.0 MB already allocated for this reservation - 6.5 MB \
                    remain available for the total memory pool: fair(pool_size: 9)";
        let message = of_memory(text);
        assert!(message.contains("\"HashJoinInput\" holds 2.0 MB and needs 10.0 MB"), "{message}");
    }

    #[test]
    fn wrappers_do_not_show() {
        let error = DataFusionError::Plan("Invalid function 'x'.\nDid you mean 'y'?".to_owned())
            .context("Optimizer rule \"z\" failed");
        let error = DataFusionError::External(Box::new(error));
        let (message, hint) = describe(&error);
        assert_eq!(message, "invalid function 'x'");
        assert_eq!(hint.as_deref(), Some("did you mean 'y'?"));
    }
}
