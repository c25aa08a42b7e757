//! Classifies errors: a lost machine or a failed query. After the first the work runs again, the
//! second is reported to the user.
//!
//! What the sources say (tonic 0.14.9, hyper 1.12, datafusion-distributed 4.0.0):
//!
//! * A status that tonic *made itself* for a broken connection has a source: the error of hyper or
//!   h2 (connection refused, reset, broken pipe, keep-alive timed out, `GOAWAY`). A status that the
//!   other side *sent* has none. This tells them apart, and the code does not: h2 maps a reset
//!   stream to `Internal`, `Unknown` or `Cancelled`.
//! * **A lost connection cannot look like a normal end of a stream.** If the peer goes away, h2
//!   fails every open stream ("stream closed because of a broken pipe"). hyper takes a reset with
//!   `NO_ERROR`, and no other, for the end of the body. tonic 0.14.9 then misses the `grpc-status`
//!   trailer and returns an error (`Unknown`, "missing grpc-status trailer", without a source: the
//!   one case that is recognised by its text). A stream that a worker drops before its end is reset
//!   with `CANCEL`, an error with a source.
//! * A worker that swallows a panic could end a stream early *with* a good status:
//!   datafusion-distributed's server sends each partition from a task that is never joined. Our
//!   `read` replaces it and reports how each partition ended.
//! * If a worker fails while another worker reads from it, the reader receives its error. `wire`
//!   keeps the type, so that no text has to be searched.
//! * A worker gives up after 10 s if a task is read whose plan did not arrive. The plan was lost on
//!   its way: [`Error::PlanLate`], which runs again. If the driver knows why it did not arrive,
//!   that error comes first: see `failure_latch`.

use std::error::Error as StdError;

use arrow_flight::error::FlightError;
use bigslice_diagnostics::{chain, with_causes};
use datafusion::error::DataFusionError;
use tonic::{Code, Status};

use crate::{Error, wire};

/// The start of datafusion-distributed's error for a task whose plan did not arrive.
const PLAN_LATE: &str =
    "Worker::execute_task timed-out while waiting for the plan to be set by the coordinator";
/// tonic's message for a stream that ended without the status that every stream ends with.
const STATUS_MISSING: &str = "missing grpc-status trailer";
/// The longest chain of causes that is followed. A longer one is a cycle. This walk is not
/// [`causes`](bigslice_diagnostics::causes): it must look at each error of a collection and into
/// `External`.
const CAUSES_MAX: usize = 64;
/// The longest reason of a loss, in bytes.
const REASON_BYTES_MAX: usize = 512;

/// Returns true if `err` comes from a lost machine or connection and not from the query itself.
pub fn is_transport_error(err: &DataFusionError) -> bool {
    exchange_error(err).is_some_and(Error::is_transport)
}

/// The name of the machine that `err` reports as lost, if any.
pub fn lost_machine(err: &DataFusionError) -> Option<&str> {
    match exchange_error(err)? {
        Error::Lost { machine, .. } | Error::PlanLate { machine } => Some(machine),
        _ => None,
    }
}

/// The error of the exchange in the chain of causes of `err`, if there is one.
pub fn exchange_error(err: &DataFusionError) -> Option<&Error> {
    if let DataFusionError::Collection(errors) = err {
        return errors.iter().find_map(exchange_error);
    }
    let mut cause: &(dyn StdError + 'static) = err;
    for _ in 0..CAUSES_MAX {
        if let Some(ours) = cause.downcast_ref::<Error>() {
            return Some(ours);
        }
        // `External` is transparent in `source()`, so its content is checked here.
        if let Some(DataFusionError::External(inner)) = cause.downcast_ref::<DataFusionError>()
            && let Some(ours) = inner.downcast_ref::<Error>()
        {
            return Some(ours);
        }
        if let Some(DataFusionError::Collection(errors)) = cause.downcast_ref::<DataFusionError>() {
            return errors.iter().find_map(exchange_error);
        }
        cause = cause.source()?;
    }
    None
}

/// Adds the machine's name to an error that datafusion-distributed's client returned.
pub(crate) fn received(err: DataFusionError, machine: &str) -> DataFusionError {
    let DataFusionError::External(inner) = err else {
        return err;
    };
    let inner = match inner.downcast::<Status>() {
        Ok(status) => return from_status(&status, machine),
        Err(inner) => inner,
    };
    match inner.downcast::<FlightError>() {
        Ok(err) => match *err {
            FlightError::Tonic(status) => from_status(&status, machine),
            err => {
                let text = format!("cannot decode what machine \"{machine}\" sent: {err}");
                DataFusionError::Internal(text)
            }
        },
        Err(inner) => DataFusionError::External(inner),
    }
}

/// The error that a call to `machine` ended with.
fn from_status(status: &Status, machine: &str) -> DataFusionError {
    let machine = machine.to_owned();
    if let Some(err) = wire::from_status(status) {
        return match exchange_error(&err) {
            Some(Error::PlanLate { machine: nobody }) if nobody.is_empty() => {
                Error::PlanLate { machine }.into()
            }
            _ => err,
        };
    }
    if is_transport_status(status) {
        let reason = with_causes(status.message(), status);
        return Error::Lost { machine, reason: wire::shortened(&reason, REASON_BYTES_MAX) }.into();
    }
    let reason = status.message().to_owned();
    match status.code() {
        Code::PermissionDenied | Code::Unauthenticated | Code::ResourceExhausted => {
            Error::Refused { machine, reason }.into()
        }
        code => DataFusionError::Internal(format!(
            "machine \"{machine}\" answered a call with \"{code}\": {reason}"
        )),
    }
}

/// Returns true if the connection failed; false for a status sent by the other side.
fn is_transport_status(status: &Status) -> bool {
    status.source().is_some()
        || matches!(status.code(), Code::Unavailable | Code::Cancelled)
        || (status.code() == Code::Unknown && status.message().contains(STATUS_MISSING))
}

/// The loss of a machine that could not be reached.
pub(crate) fn unreachable(machine: &str, err: &(dyn StdError + 'static)) -> Error {
    let reason = wire::shortened(&chain(err), REASON_BYTES_MAX);
    Error::Lost { machine: machine.to_owned(), reason }
}

/// The error that a machine sends to its reader. Its own wait for a plan gets a type here, and the
/// reader adds the name.
pub(crate) fn classified(err: DataFusionError) -> DataFusionError {
    match err.find_root() {
        DataFusionError::Execution(text) if text.starts_with(PLAN_LATE) => {
            Error::PlanLate { machine: String::new() }.into()
        }
        _ => err,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn lost() -> DataFusionError {
        Error::Lost { machine: "m1".to_owned(), reason: "connection reset".to_owned() }.into()
    }

    /// The error after one hop through another machine.
    fn hop(err: &DataFusionError) -> DataFusionError {
        received(DataFusionError::External(Box::new(wire::to_status(err))), "m0")
    }

    #[test]
    fn a_loss_is_found_in_any_chain_and_after_any_number_of_machines() {
        let chains = [
            lost(),
            DataFusionError::Shared(Arc::new(lost())),
            lost().context("reading stage 2"),
            DataFusionError::Collection(vec![lost()]),
            DataFusionError::from(datafusion::arrow::error::ArrowError::ExternalError(Box::new(
                DataFusionError::Shared(Arc::new(lost())),
            ))),
            DataFusionError::External(Box::new(lost())),
        ];
        for err in chains {
            assert!(is_transport_error(&err), "{err:?}");
            let twice = hop(&hop(&err));
            assert!(is_transport_error(&twice), "{twice:?}");
            assert_eq!(lost_machine(&twice), Some("m1"), "{twice:?}");
        }
    }

    #[test]
    fn a_failed_query_is_not_a_loss_whatever_it_says() {
        let text = "machine \"m1\" was lost: transport error, Unavailable, broken pipe";
        let chains = [
            DataFusionError::Execution(text.to_owned()),
            DataFusionError::External(text.into()),
            DataFusionError::IoError(std::io::Error::from(std::io::ErrorKind::BrokenPipe)),
            Error::Panic { text: text.to_owned() }.into(),
            DataFusionError::Execution(PLAN_LATE.to_owned()),
        ];
        for err in chains {
            assert!(!is_transport_error(&err), "{err:?}");
            assert!(!is_transport_error(&hop(&err)), "{err:?}");
        }
    }

    #[test]
    fn words_stay_the_same_on_the_way() {
        let errors = [
            DataFusionError::Execution("boom".to_owned()),
            DataFusionError::Plan("no such thing".to_owned()),
            DataFusionError::ResourcesExhausted("4 GB".to_owned()),
            DataFusionError::from(datafusion::arrow::error::ArrowError::DivideByZero),
            DataFusionError::from(datafusion::arrow::error::ArrowError::CastError("x".to_owned())),
            DataFusionError::External("custom".into()),
            DataFusionError::Execution("inner".to_owned()).context("outer"),
        ];
        for err in errors {
            assert_eq!(hop(&err).to_string(), err.to_string());
        }
    }

    #[test]
    fn a_payload_arrives_as_it_was_and_the_text_is_cut_first() {
        let app = |n_text: usize, n_payload: usize| Error::App {
            text: "ä".repeat(n_text),
            payload: vec![0xFF; n_payload].into(),
        };
        for (n_text, n_payload) in [(3, 0), (3, 4096), (1 << 20, 100), (1 << 20, 4096)] {
            let sent = app(n_text, n_payload);
            let mut err = DataFusionError::from(sent.clone());
            for text in ["one", "two", "three", "four"] {
                err = err.context(text.repeat(1 << 10));
            }
            // What `GuardedBody` sees before it is sent.
            let mut headers = http::HeaderMap::new();
            wire::to_status(&err).add_header(&mut headers).expect("valid headers");
            wire::shorten_status(&mut headers);
            let bytes: usize = headers.iter().map(|(k, v)| k.as_str().len() + v.len() + 32).sum();
            assert!(bytes < 16 * 1024, "{bytes}");
            let status = Status::from_header_map(&headers).expect("still a status");
            let twice = hop(&received(DataFusionError::External(Box::new(status)), "m0"));
            let Some(Error::App { text, payload }) = exchange_error(&twice) else {
                panic!("{twice:?}");
            };
            assert_eq!(payload.len(), n_payload);
            assert!(payload.iter().all(|byte| *byte == 0xFF));
            assert!(text.starts_with("äää") && text.len() <= 4096, "{}", text.len());
            assert!(n_text > 3 || *text == sent.to_string(), "{text}");
            assert!(!is_transport_error(&twice));
        }
        let Some(Error::App { text, payload }) =
            exchange_error(&hop(&app(3, 4097).into())).cloned()
        else {
            panic!("no longer one of ours");
        };
        assert_eq!((text.as_str(), payload.len()), ("äää", 0));
    }

    #[test]
    fn a_long_text_fits_the_headers() {
        let err = DataFusionError::Execution("ä".repeat(1 << 20)).context("ö".repeat(1 << 20));
        let status = wire::to_status(&err);
        let mut headers = http::HeaderMap::new();
        status.add_header(&mut headers).expect("a status is made of valid headers");
        let bytes: usize = headers.iter().map(|(k, v)| k.as_str().len() + v.len() + 32).sum();
        assert!(bytes < 16 * 1024, "{bytes}");
        assert!(hop(&err).to_string().contains("[...]"));
        // A status made by datafusion-distributed itself.
        let details = "a plan that is too long, ".repeat(1 << 10);
        let status = Status::with_details(Code::Internal, "DataFusionError", details.into());
        let mut headers = http::HeaderMap::new();
        status.add_header(&mut headers).expect("a status is made of valid headers");
        wire::shorten_status(&mut headers);
        let status = Status::from_header_map(&headers).expect("still a status");
        let err = received(DataFusionError::External(Box::new(status)), "m0");
        assert!(err.to_string().contains("too long, a plan that") && !is_transport_error(&err));
        assert!(err.to_string().len() < 8 * 1024);
    }
}
