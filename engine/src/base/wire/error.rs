//! The wire form of an [`Error`]: all that a user reads of it, without its cause. Messages that
//! hold an error name this module: `#[serde(with = "wire::error")]`.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Position};

/// An [`Error`] as it travels.
#[derive(Serialize, Deserialize)]
struct Form {
    kind: Kind,
    message: String,
    hint: Option<String>,
}

/// Which variant it is, with the fields that only this one has.
#[derive(Serialize, Deserialize)]
enum Kind {
    Statement { position: Option<FormPosition> },
    Query,
    Function { verb: String, call_site: String, shard: usize },
    Source,
    Config,
    Memory,
    Lost,
    Machines,
    TimedOut,
    Closed,
    Internal,
}

#[derive(Serialize, Deserialize)]
struct FormPosition {
    start: (u64, u64),
    end: Option<(u64, u64)>,
}

pub(crate) fn serialize<S: Serializer>(error: &Error, serializer: S) -> Result<S::Ok, S::Error> {
    Form::from(error).serialize(serializer)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Error, D::Error> {
    Form::deserialize(deserializer).map(Error::from)
}

impl From<&Error> for Form {
    fn from(error: &Error) -> Self {
        let (kind, message) = match error {
            Error::Statement { message, position, .. } => {
                let position =
                    position.map(|at| FormPosition { start: (at.line, at.column), end: at.end });
                (Kind::Statement { position }, message.as_str())
            }
            Error::Function { verb, call_site, shard, message, .. } => {
                let (verb, call_site) = (verb.clone(), call_site.clone());
                (Kind::Function { verb, call_site, shard: *shard }, message.as_str())
            }
            Error::Query { message, .. } => (Kind::Query, message.as_str()),
            Error::Source { message, .. } => (Kind::Source, message.as_str()),
            Error::Config { message, .. } => (Kind::Config, message.as_str()),
            Error::Memory { message, .. } => (Kind::Memory, message.as_str()),
            Error::Lost { message, .. } => (Kind::Lost, message.as_str()),
            Error::Machines { message, .. } => (Kind::Machines, message.as_str()),
            Error::TimedOut { message, .. } => (Kind::TimedOut, message.as_str()),
            Error::Closed => (Kind::Closed, ""),
            Error::Internal { message, .. } => (Kind::Internal, message.as_str()),
        };
        Self { kind, message: message.to_owned(), hint: error.hint() }
    }
}

impl From<Form> for Error {
    fn from(Form { kind, message, hint }: Form) -> Self {
        let error = match kind {
            Kind::Statement { position } => {
                let position = position.map(|FormPosition { start: (line, column), end }| {
                    Position { line, column, end }
                });
                Self::statement(message, position)
            }
            Kind::Function { verb, call_site, shard } => {
                Self::Function { verb, call_site, shard, message, source: None }
            }
            Kind::Query => Self::query(message),
            Kind::Source => Self::unreadable(message),
            Kind::Config => Self::config(message),
            Kind::Memory => Self::memory(message),
            Kind::Lost => Self::lost(message),
            Kind::Machines => Self::machines(message),
            Kind::TimedOut => Self::timed_out(message),
            Kind::Closed => Self::Closed,
            Kind::Internal => Self::internal(message),
        };
        error.hinted(hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_arrives_as_it_left() {
        let position = Some(Position { line: 1, column: 2, end: Some((3, 4)) });
        let function = Error::Function {
            verb: "map".to_owned(),
            call_site: "a.rs:1:2".to_owned(),
            shard: 3,
            message: "no".to_owned(),
            source: None,
        };
        for error in [
            Error::statement("no", position).with_hint("yes"),
            Error::statement("no", None),
            Error::query("no").with_hint("yes"),
            function,
            Error::unreadable("no"),
            Error::config("no"),
            Error::memory("no").with_hint("yes"),
            Error::lost("no"),
            Error::machines("no"),
            Error::timed_out("no"),
            Error::Closed,
            Error::internal("no"),
        ] {
            let bytes = postcard::to_allocvec(&Form::from(&error)).unwrap();
            let arrived = Error::from(postcard::from_bytes::<Form>(&bytes).unwrap());
            assert_eq!(format!("{arrived:?}"), format!("{error:?}"));
        }
    }
}
