//! How an error travels in a gRPC status.
//!
//! A worker's server encodes, the reader's client decodes. In between an error may pass through
//! several workers, each of which decodes and encodes it again. Two things must survive: (1) the
//! type of our own [`Error`]s, because a lost machine is not a failed query, and (2) the message
//! that a user would read if the query had run in one process. The types of DataFusion's errors are
//! kept if they matter to either. Any other becomes [`Error::Remote`].
//!
//! A status travels in HTTP/2 trailers, and a header list over 16 KiB breaks the stream: a long
//! message would look like a lost connection. So messages are cut to [`TEXT_BYTES_MAX`].

use bytes::Bytes;
use datafusion::arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use datafusion::object_store;
use datafusion::parquet::errors::ParquetError;
use prost::Message;
use tonic::{Code, Status};

use crate::Error;
use crate::error::APP_PAYLOAD_BYTES_MAX;

/// The longest text of an error on the wire. Base64 makes it 5.3 KiB of the 16 KiB of headers.
const TEXT_BYTES_MAX: usize = 4 * 1024;
/// What remains for the text beside the longest payload: enough to say what went wrong and where.
const APP_TEXT_BYTES_MIN: usize = 1024;
/// The most contexts that are kept around an error, outermost first. More do not help.
const CONTEXTS_MAX: usize = 3;
/// The longest text of one context.
const CONTEXT_BYTES_MAX: usize = 512;
/// The largest status that is passed on unchanged: three quarters of the headers that fit. A status
/// of [`to_status`] is never larger: payload, text and contexts have 7 KiB, or 9.5 in Base64.
const STATUS_BYTES_MAX: usize = 12 * 1024;
/// The message of a status whose details are a [`Fault`]. The text is in the details.
const FAULT_MESSAGE: &str = "bigslice-fault";

/// An error on the wire.
#[derive(Clone, PartialEq, Message)]
struct Fault {
    /// A [`Kind`].
    #[prost(enumeration = "Kind", tag = "1")]
    kind: i32,
    /// The message.
    #[prost(string, tag = "2")]
    text: String,
    /// The subject of the message: a machine, a path.
    #[prost(string, tag = "3")]
    subject: String,
    /// A size.
    #[prost(uint64, tag = "4")]
    bytes: u64,
    /// A size.
    #[prost(uint64, tag = "5")]
    limit: u64,
    /// Contexts around the error, outermost first.
    #[prost(string, repeated, tag = "6")]
    contexts: Vec<String>,
    /// The payload of an [`Error::App`].
    #[prost(bytes = "bytes", tag = "7")]
    payload: Bytes,
}

/// The types that are kept on the wire. The numbers are part of the protocol: never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
enum Kind {
    Remote = 0,
    Lost = 1,
    PlanLate = 2,
    NoMachines = 3,
    Refused = 4,
    Panic = 5,
    TooLarge = 6,
    App = 7,
    Plan = 16,
    Internal = 17,
    NotImplemented = 18,
    Configuration = 19,
    Execution = 20,
    Resources = 21,
    Io = 22,
    Substrait = 23,
    ArrowCompute = 32,
    ArrowCast = 33,
    ArrowParse = 34,
    ArrowInvalidArgument = 35,
    ArrowOverflow = 36,
    ArrowDivideByZero = 37,
    ArrowSchema = 38,
    ArrowMemory = 39,
    ArrowNotYet = 40,
    ArrowCsv = 41,
    ArrowJson = 42,
    ArrowIpc = 43,
    ArrowAvro = 44,
    ParquetGeneral = 64,
    ParquetEof = 65,
    ParquetNotYet = 66,
    StoreGeneric = 80,
    StoreNotFound = 81,
    StorePermissionDenied = 82,
    StoreUnauthenticated = 83,
    StoreAlreadyExists = 84,
}

/// Encodes `err` as a status for the reader.
pub(crate) fn to_status(err: &DataFusionError) -> Status {
    let mut contexts = Vec::new();
    let mut fault = fault_of(err, &mut contexts);
    if fault.payload.len() > APP_PAYLOAD_BYTES_MAX {
        tracing::warn!(bytes = fault.payload.len(), "the payload of an error is too long to send");
        fault.payload.clear();
    }
    let text_bytes_max = (TEXT_BYTES_MAX - fault.payload.len()).max(APP_TEXT_BYTES_MIN);
    fault.text = shortened(&fault.text, text_bytes_max);
    fault.subject = shortened(&fault.subject, CONTEXT_BYTES_MAX);
    contexts.truncate(CONTEXTS_MAX);
    fault.contexts = contexts.iter().map(|text| shortened(text, CONTEXT_BYTES_MAX)).collect();
    Status::with_details(Code::Internal, FAULT_MESSAGE, fault.encode_to_vec().into())
}

/// The error in a status that [`to_status`] has made; `None` for any other status.
pub(crate) fn from_status(status: &Status) -> Option<DataFusionError> {
    if status.message() != FAULT_MESSAGE || status.details().is_empty() {
        return None;
    }
    let fault = match Fault::decode(status.details()) {
        Ok(fault) => fault,
        Err(err) => {
            let text = format!("an error of another machine that cannot be decoded: {err}");
            return Some(DataFusionError::Internal(text));
        }
    };
    let contexts = fault.contexts.clone();
    let err = error_of(fault);
    Some(contexts.into_iter().rev().fold(err, |err, text| err.context(text)))
}

/// Shortens the status in `headers` to a size that fits, if other code made it too long.
///
/// If datafusion-distributed cannot take a plan, it answers with its own status, whose details
/// contain its message within some protocol. Only the message is kept.
pub(crate) fn shorten_status(headers: &mut http::HeaderMap) {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if bytes <= STATUS_BYTES_MAX {
        return;
    }
    let Some(status) = Status::from_header_map(headers) else { return };
    let printable = |c: &char| !c.is_control();
    let words: String =
        String::from_utf8_lossy(status.details()).chars().filter(printable).collect();
    let words = if words.is_empty() { status.message().to_owned() } else { words };
    let (parts, ()) = to_status(&DataFusionError::Internal(words)).into_http::<()>().into_parts();
    *headers = parts.headers;
}

/// Converts `err` for the wire, and adds the contexts found on the way to `contexts`.
fn fault_of(err: &DataFusionError, contexts: &mut Vec<String>) -> Fault {
    match err {
        DataFusionError::Shared(inner) => fault_of(inner, contexts),
        DataFusionError::Diagnostic(_, inner) => fault_of(inner, contexts),
        DataFusionError::Context(text, inner) => {
            contexts.push(text.clone());
            fault_of(inner, contexts)
        }
        DataFusionError::Collection(errors) => match errors.first() {
            Some(first) => fault_of(first, contexts),
            None => fault(Kind::Remote, err),
        },
        DataFusionError::External(inner) => external_fault(inner.as_ref(), contexts),
        DataFusionError::ArrowError(inner, _) => arrow_fault(inner, contexts, err),
        DataFusionError::ParquetError(inner) => parquet_fault(inner, contexts, err),
        DataFusionError::ObjectStore(inner) => store_fault(inner, err),
        DataFusionError::IoError(inner) => fault(Kind::Io, inner),
        DataFusionError::ExecutionJoin(inner) if inner.is_panic() => fault(Kind::Panic, inner),
        DataFusionError::Plan(text) => fault(Kind::Plan, text),
        DataFusionError::Internal(text) => fault(Kind::Internal, text),
        DataFusionError::NotImplemented(text) => fault(Kind::NotImplemented, text),
        DataFusionError::Configuration(text) => fault(Kind::Configuration, text),
        DataFusionError::Execution(text) => fault(Kind::Execution, text),
        DataFusionError::ResourcesExhausted(text) => fault(Kind::Resources, text),
        DataFusionError::Substrait(text) => fault(Kind::Substrait, text),
        other => fault(Kind::Remote, other),
    }
}

fn fault(kind: Kind, text: &(impl ToString + ?Sized)) -> Fault {
    Fault { kind: kind.into(), text: text.to_string(), ..Fault::default() }
}

/// An error of some other type: ours, a wrapped one, or a message only.
fn external_fault(
    err: &(dyn std::error::Error + Send + Sync + 'static),
    contexts: &mut Vec<String>,
) -> Fault {
    if let Some(ours) = err.downcast_ref::<Error>() {
        return own_fault(ours);
    }
    if let Some(inner) = err.downcast_ref::<DataFusionError>() {
        return fault_of(inner, contexts);
    }
    if let Some(join) = err.downcast_ref::<std::sync::Arc<tokio::task::JoinError>>()
        && join.is_panic()
    {
        return fault(Kind::Panic, join);
    }
    fault(Kind::Remote, err)
}

fn own_fault(err: &Error) -> Fault {
    match err {
        Error::Lost { machine, reason } => {
            Fault { subject: machine.clone(), ..fault(Kind::Lost, reason) }
        }
        Error::PlanLate { machine } => {
            Fault { subject: machine.clone(), ..fault(Kind::PlanLate, "") }
        }
        Error::NoMachines => fault(Kind::NoMachines, ""),
        Error::Refused { machine, reason } => {
            Fault { subject: machine.clone(), ..fault(Kind::Refused, reason) }
        }
        Error::Panic { text } => fault(Kind::Panic, text),
        Error::TooLarge { what, bytes, limit } => {
            Fault { bytes: *bytes, limit: *limit, ..fault(Kind::TooLarge, what) }
        }
        Error::App { text, payload } => {
            Fault { payload: payload.clone(), ..fault(Kind::App, text) }
        }
        Error::Remote { text } => fault(Kind::Remote, text),
    }
}

fn arrow_fault(err: &ArrowError, contexts: &mut Vec<String>, whole: &DataFusionError) -> Fault {
    match err {
        ArrowError::ExternalError(inner) => external_fault(inner.as_ref(), contexts),
        ArrowError::ComputeError(text) => fault(Kind::ArrowCompute, text),
        ArrowError::CastError(text) => fault(Kind::ArrowCast, text),
        ArrowError::ParseError(text) => fault(Kind::ArrowParse, text),
        ArrowError::InvalidArgumentError(text) => fault(Kind::ArrowInvalidArgument, text),
        ArrowError::ArithmeticOverflow(text) => fault(Kind::ArrowOverflow, text),
        ArrowError::DivideByZero => fault(Kind::ArrowDivideByZero, ""),
        ArrowError::SchemaError(text) => fault(Kind::ArrowSchema, text),
        ArrowError::MemoryError(text) => fault(Kind::ArrowMemory, text),
        ArrowError::NotYetImplemented(text) => fault(Kind::ArrowNotYet, text),
        ArrowError::CsvError(text) => fault(Kind::ArrowCsv, text),
        ArrowError::JsonError(text) => fault(Kind::ArrowJson, text),
        ArrowError::IpcError(text) => fault(Kind::ArrowIpc, text),
        ArrowError::AvroError(text) => fault(Kind::ArrowAvro, text),
        _ => fault(Kind::Remote, whole),
    }
}

fn parquet_fault(err: &ParquetError, contexts: &mut Vec<String>, whole: &DataFusionError) -> Fault {
    match err {
        ParquetError::External(inner) => external_fault(inner.as_ref(), contexts),
        ParquetError::General(text) => fault(Kind::ParquetGeneral, text),
        ParquetError::EOF(text) => fault(Kind::ParquetEof, text),
        ParquetError::NYI(text) => fault(Kind::ParquetNotYet, text),
        _ => fault(Kind::Remote, whole),
    }
}

fn store_fault(err: &object_store::Error, whole: &DataFusionError) -> Fault {
    use object_store::Error as Store;
    let (kind, subject, source) = match err {
        Store::Generic { store, source } => (Kind::StoreGeneric, (*store).to_owned(), source),
        Store::NotFound { path, source } => (Kind::StoreNotFound, path.clone(), source),
        Store::PermissionDenied { path, source } => {
            (Kind::StorePermissionDenied, path.clone(), source)
        }
        Store::Unauthenticated { path, source } => {
            (Kind::StoreUnauthenticated, path.clone(), source)
        }
        Store::AlreadyExists { path, source } => (Kind::StoreAlreadyExists, path.clone(), source),
        _ => return fault(Kind::Remote, whole),
    };
    Fault { subject, ..fault(kind, source) }
}

/// The error that `fault` encodes.
fn error_of(fault: Fault) -> DataFusionError {
    let Fault { kind, text, subject, bytes, limit, payload, .. } = fault;
    match Kind::try_from(kind).unwrap_or(Kind::Remote) {
        Kind::Remote => Error::Remote { text }.into(),
        Kind::Lost => Error::Lost { machine: subject, reason: text }.into(),
        Kind::PlanLate => Error::PlanLate { machine: subject }.into(),
        Kind::NoMachines => Error::NoMachines.into(),
        Kind::Refused => Error::Refused { machine: subject, reason: text }.into(),
        Kind::Panic => Error::Panic { text }.into(),
        Kind::TooLarge => Error::TooLarge { what: text, bytes, limit }.into(),
        Kind::App => Error::App { text, payload }.into(),
        Kind::Plan => DataFusionError::Plan(text),
        Kind::Internal => DataFusionError::Internal(text),
        Kind::NotImplemented => DataFusionError::NotImplemented(text),
        Kind::Configuration => DataFusionError::Configuration(text),
        Kind::Execution => DataFusionError::Execution(text),
        Kind::Resources => DataFusionError::ResourcesExhausted(text),
        Kind::Io => DataFusionError::IoError(std::io::Error::other(text)),
        Kind::Substrait => DataFusionError::Substrait(text),
        Kind::ArrowCompute => arrow(ArrowError::ComputeError(text)),
        Kind::ArrowCast => arrow(ArrowError::CastError(text)),
        Kind::ArrowParse => arrow(ArrowError::ParseError(text)),
        Kind::ArrowInvalidArgument => arrow(ArrowError::InvalidArgumentError(text)),
        Kind::ArrowOverflow => arrow(ArrowError::ArithmeticOverflow(text)),
        Kind::ArrowDivideByZero => arrow(ArrowError::DivideByZero),
        Kind::ArrowSchema => arrow(ArrowError::SchemaError(text)),
        Kind::ArrowMemory => arrow(ArrowError::MemoryError(text)),
        Kind::ArrowNotYet => arrow(ArrowError::NotYetImplemented(text)),
        Kind::ArrowCsv => arrow(ArrowError::CsvError(text)),
        Kind::ArrowJson => arrow(ArrowError::JsonError(text)),
        Kind::ArrowIpc => arrow(ArrowError::IpcError(text)),
        Kind::ArrowAvro => arrow(ArrowError::AvroError(text)),
        Kind::ParquetGeneral => parquet(ParquetError::General(text)),
        Kind::ParquetEof => parquet(ParquetError::EOF(text)),
        Kind::ParquetNotYet => parquet(ParquetError::NYI(text)),
        kind => store_error(kind, subject, text),
    }
}

fn arrow(err: ArrowError) -> DataFusionError {
    DataFusionError::ArrowError(Box::new(err), None)
}

fn parquet(err: ParquetError) -> DataFusionError {
    DataFusionError::ParquetError(Box::new(err))
}

fn store_error(kind: Kind, path: String, text: String) -> DataFusionError {
    use object_store::Error as Store;
    let source = Box::new(Error::Remote { text });
    let err = match kind {
        Kind::StoreNotFound => Store::NotFound { path, source },
        Kind::StorePermissionDenied => Store::PermissionDenied { path, source },
        Kind::StoreUnauthenticated => Store::Unauthenticated { path, source },
        Kind::StoreAlreadyExists => Store::AlreadyExists { path, source },
        _ => Store::Generic { store: store_name(&path), source },
    };
    DataFusionError::ObjectStore(Box::new(err))
}

/// `object_store` wants a static name; these are the stores that the engine can use.
fn store_name(name: &str) -> &'static str {
    match name {
        "S3" => "S3",
        "HTTP" => "HTTP",
        "LocalFileSystem" => "LocalFileSystem",
        _ => "object store",
    }
}

/// `text`, or its start and its end if it is longer than `bytes_max`.
pub(crate) fn shortened(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let half = bytes_max / 2 - 8;
    let mut head = half;
    while !text.is_char_boundary(head) {
        head -= 1;
    }
    let mut tail = text.len() - half;
    while !text.is_char_boundary(tail) {
        tail += 1;
    }
    format!("{} [...] {}", &text[..head], &text[tail..])
}
