//! The messages of a call. A request is its arguments, then frames of input if the method takes
//! any. A reply is frames. Each is one gRPC message in postcard. Errors of methods are frames too,
//! not statuses: statuses are for broken connections, and have no room for a long error.

use std::fmt;

use bytes::{Buf, BufMut, Bytes};
use serde::{Deserialize, Serialize};
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

use crate::service::failure::Cause;

/// The largest message: all arguments together, a reply, or one item of a stream. It is held in
/// memory as a whole, several times over; larger data belongs in a stream.
pub const MESSAGE_SIZE_MAX: usize = 16 << 20;

/// Room for the envelope of a message of the largest size.
pub(crate) const WIRE_SIZE_MAX: usize = MESSAGE_SIZE_MAX + 64;
/// Messages are collected in a buffer with this initial size...
const BUFFER_SIZE: usize = 16 << 10;
/// ...which is sent when it has this much, if more is ready.
const YIELD_SIZE: usize = 128 << 10;

/// The gRPC service of all services: one gRPC method for each of their methods.
pub(crate) const WIRE_NAME: &str = "bigslice.Services";

/// What a caller streams after the arguments.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum InputFrame<T> {
    Item(T),
    /// The stream is complete. Without it, it broke off.
    End,
}

/// What a machine answers: one `Item`; or `Begin`, items and `End`; or one of the others at the
/// end.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ReplyFrame<T, E> {
    /// The method has returned a stream.
    Begin,
    Item(T),
    End,
    Failed(E, Cause),
    Panicked(String),
    Refused(String),
}

/// A frame of any method, for replies without a typed value.
pub(crate) type PlainFrame = ReplyFrame<(), ()>;

/// Encodes one message, or returns why it cannot be sent.
pub(crate) fn encode<M: Serialize>(message: &M) -> Result<Bytes, String> {
    let bytes = postcard::to_stdvec(message).map_err(|e| format!("it cannot be encoded: {e}"))?;
    if bytes.len() > WIRE_SIZE_MAX {
        return Err(format!(
            "it has {} bytes and a message at most {MESSAGE_SIZE_MAX}; send it in parts, as a \
             stream",
            bytes.len()
        ));
    }
    Ok(Bytes::from(bytes))
}

/// Passes messages unchanged.
#[derive(Clone, Copy, Default)]
pub(crate) struct Raw;

impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Raw")
    }
}

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER_SIZE, YIELD_SIZE)
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER_SIZE, YIELD_SIZE)
    }
}
