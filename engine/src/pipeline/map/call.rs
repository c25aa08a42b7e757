//! One call of a mapped function: its messages, and how a machine answers. A request is a header
//! and the encoded item; a reply is success or an error, and the encoded result.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bigslice_diagnostics::panic_text;
use bytes::Bytes;
use futures::FutureExt;
use serde::{Deserialize, Serialize};

use crate::base::wire;
use crate::error::{Error, Result};
use crate::pipeline::map::function::{Mapping, Pending};

/// Most bytes of an encoded item, and of an encoded result. A message between driver and machine
/// holds 64 MiB; the rest is for headers.
pub(crate) const VALUE_BYTES_MAX: usize = 63 * 1024 * 1024;

/// The function to call.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CallHeader {
    name: String,
    /// Its file and line in the driver's program.
    place: String,
}

/// The outcome of a call. After [`ReplyHead::Done`] comes the encoded result.
#[derive(Serialize, Deserialize)]
enum ReplyHead {
    Done,
    Failed(#[serde(with = "wire::error")] Error),
}

/// The request to call a function for an item; `message` makes the message for the machine from the
/// header.
pub(crate) fn request<A: Serialize>(
    mapping: &Mapping,
    item: &impl Serialize,
    message: impl FnOnce(CallHeader) -> A,
) -> Result<Bytes> {
    let header = CallHeader { name: mapping.name.to_owned(), place: mapping.place() };
    let failed = |e: postcard::Error| {
        Error::query(format!("{}: the item cannot be encoded: {e}", mapping.place()))
    };
    let head = postcard::to_allocvec(&message(header)).map_err(failed)?;
    let n = head.len();
    let request = postcard::to_extend(item, head).map_err(failed)?;
    fits("the item", request.len() - n)
        .map_err(|e| Error::query(format!("{}: {e}", mapping.place())))?;
    Ok(request.into())
}

fn fits(what: &str, bytes: usize) -> Result<(), String> {
    if bytes <= VALUE_BYTES_MAX {
        return Ok(());
    }
    let (bytes, most) = (bytes.div_ceil(1 << 20), VALUE_BYTES_MAX >> 20);
    Err(format!(
        "{what} takes {bytes} MiB, but at most {most} MiB can be sent; pass the path of a file instead"
    ))
}

/// Calls the function. Its errors are in the reply: an error here is one of the machine.
///
/// # Errors
/// When the reply cannot be encoded.
pub(crate) async fn answer(header: CallHeader, item: Bytes) -> Result<Bytes> {
    let outcome = match Mapping::find(&header.name, &header.place) {
        Ok(mapping) => called(mapping, item)
            .await
            .map_err(|said| Error::query(format!("{}: {said}", mapping.place()))),
        Err(error) => Err(error),
    };
    let (head, value) = match outcome {
        Ok(value) => (ReplyHead::Done, value),
        Err(error) => (ReplyHead::Failed(error), Vec::new()),
    };
    let mut reply = postcard::to_allocvec(&head)
        .map_err(|e| Error::internal(format!("cannot encode the reply to a call: {e}")))?;
    reply.extend_from_slice(&value);
    Ok(reply.into())
}

async fn called(mapping: Mapping, item: Bytes) -> Result<Vec<u8>, String> {
    let pending = catch_unwind(AssertUnwindSafe(|| (mapping.call)(&item)));
    drop(item);
    let value = match pending.map_err(|panic| panicked(panic.as_ref()))?? {
        Pending::Waiting(call) => {
            let called = AssertUnwindSafe(call).catch_unwind().await;
            called.map_err(|panic| panicked(panic.as_ref()))??
        }
        // A thread that blocks must not be one that queries need.
        Pending::Blocking(call) => {
            let called = tokio::task::spawn_blocking(call).await;
            called.map_err(|join| match join.try_into_panic() {
                Ok(panic) => panicked(panic.as_ref()),
                Err(_) => "the machine is stopping".to_owned(),
            })??
        }
    };
    fits("the result", value.len())?;
    Ok(value)
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> String {
    format!("panicked: {}", panic_text(panic))
}

/// The encoded result in a reply.
///
/// # Errors
/// The error of the call.
pub(crate) fn read(reply: &Bytes) -> Result<Bytes> {
    let (head, value) = postcard::take_from_bytes::<ReplyHead>(reply)
        .map_err(|e| Error::internal(format!("cannot decode the reply to a call: {e}")))?;
    match head {
        ReplyHead::Done => Ok(reply.slice_ref(value)),
        ReplyHead::Failed(error) => Err(error),
    }
}
