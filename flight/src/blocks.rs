//! A stored shard on the wire: its blocks are cut into chunks and joined again.
//!
//! The sender is `task_host`, the reader `task_calls`. Each chunk is the body of one Flight
//! message, with a mark that says where it belongs:
//!
//! ```text
//!   body   | 4 MiB | 4 MiB | rest      | whole block |          |
//!   mark   | Part  | Part  | Last, crc | Last, crc   | End, 2   |
//!            `------ block 1 --------'   `- block 2 -'
//! ```
//!
//! A stream that stops before its `End` is an error, whatever its status: a shard is never short.
//! Bytes are neither decoded nor verified here. They are copied by gRPC, and to join the chunks of
//! a block that has several.

use std::fmt;

use arrow_flight::FlightData;
use bytes::{Bytes, BytesMut};
use prost::Message;

use crate::Error;
use crate::error::fits;

/// The largest body of one message, equal to what one stream may have in flight. A block of at most
/// this size arrives without a copy.
pub(crate) const CHUNK_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The largest block. A reader must hold a block as a whole. An Arrow array of text cannot be much
/// larger.
const BLOCK_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// A block of a shard as it is stored: not decoded, not verified on the way.
#[derive(Clone, PartialEq, Eq)]
pub struct Block {
    /// The bytes, at most 1 GiB.
    pub bytes: Bytes,
    /// The checksum taken when the block was written. The decoder verifies it.
    pub crc: u32,
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block").field("bytes", &self.bytes.len()).field("crc", &self.crc).finish()
    }
}

/// The mark of each chunk.
#[derive(Clone, Copy, PartialEq, Message)]
struct Mark {
    /// A [`Position`].
    #[prost(enumeration = "Position", tag = "1")]
    position: i32,
    /// The size of the whole block in bytes; at the end, the number of blocks of the shard.
    #[prost(uint64, tag = "2")]
    size: u64,
    /// The checksum of the block, beside its last chunk.
    #[prost(fixed32, tag = "3")]
    crc: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
enum Position {
    /// No mark.
    Nowhere = 0,
    /// More chunks of the same block follow.
    Part = 1,
    /// The last chunk of a block.
    Last = 2,
    /// The end of the shard, without bytes.
    End = 3,
}

/// The messages of `block`, which are slices of its bytes.
pub(crate) fn chunks(block: Block) -> Result<Vec<FlightData>, Error> {
    let Block { mut bytes, crc } = block;
    let n_bytes = bytes.len();
    fits("a block of a shard", n_bytes, BLOCK_BYTES_MAX)?;
    let mut chunks = Vec::with_capacity(n_bytes / CHUNK_BYTES_MAX + 1);
    while bytes.len() > CHUNK_BYTES_MAX {
        chunks.push(chunk(bytes.split_to(CHUNK_BYTES_MAX), Position::Part, n_bytes, 0));
    }
    chunks.push(chunk(bytes, Position::Last, n_bytes, crc));
    Ok(chunks)
}

/// The last message of a shard of `n_blocks`.
pub(crate) fn end(n_blocks: usize) -> FlightData {
    chunk(Bytes::new(), Position::End, n_blocks, 0)
}

fn chunk(body: Bytes, position: Position, size: usize, crc: u32) -> FlightData {
    let mark = Mark { position: position.into(), size: size as u64, crc };
    FlightData::new().with_data_body(body).with_app_metadata(mark.encode_to_vec())
}

/// Joins the messages of one shard to blocks. Errors are texts.
#[derive(Default)]
pub(crate) struct Assembly {
    /// The block whose last chunk has not arrived. It has capacity for the whole block.
    partial: Option<BytesMut>,
    n_blocks: u64,
    ended: bool,
}

impl Assembly {
    /// Takes the next message. Returns a block if the message completes it.
    pub(crate) fn push(&mut self, message: FlightData) -> Result<Option<Block>, String> {
        if self.ended {
            return Err("data after its end".to_owned());
        }
        let mark = Mark::decode(message.app_metadata)
            .map_err(|err| format!("a mark cannot be decoded: {err}"))?;
        let body = message.data_body;
        match Position::try_from(mark.position) {
            Ok(Position::Part) => {
                self.add(&body, mark.size)?;
                Ok(None)
            }
            Ok(Position::Last) => {
                let bytes = self.completed(body, mark.size)?;
                self.n_blocks += 1;
                Ok(Some(Block { bytes, crc: mark.crc }))
            }
            Ok(Position::End) => {
                if self.partial.is_some() || mark.size != self.n_blocks {
                    return Err(format!("{} of its {} blocks arrived", self.n_blocks, mark.size));
                }
                self.ended = true;
                Ok(None)
            }
            Ok(Position::Nowhere) | Err(_) => Err("a message has no mark".to_owned()),
        }
    }

    /// Checks at the end of the stream that the whole shard arrived.
    pub(crate) fn finish(&self) -> Result<(), String> {
        if self.ended {
            Ok(())
        } else {
            Err(format!("it stopped after {} blocks, before its end", self.n_blocks))
        }
    }

    fn add(&mut self, chunk: &[u8], size: u64) -> Result<(), String> {
        let partial = match &mut self.partial {
            Some(partial) => partial,
            None => {
                let whole = usize::try_from(size).unwrap_or(usize::MAX);
                if whole > BLOCK_BYTES_MAX {
                    return Err(format!("a block of {size} bytes exceeds the limit"));
                }
                self.partial.insert(BytesMut::with_capacity(whole))
            }
        };
        if (partial.len() + chunk.len()) as u64 > size {
            return Err(format!("a block is longer than its {size} bytes"));
        }
        partial.extend_from_slice(chunk);
        Ok(())
    }

    fn completed(&mut self, rest: Bytes, size: u64) -> Result<Bytes, String> {
        let n_bytes = self.partial.as_ref().map_or(0, BytesMut::len) + rest.len();
        if n_bytes as u64 != size {
            return Err(format!("a block has {n_bytes} bytes instead of {size}"));
        }
        let Some(mut partial) = self.partial.take() else { return Ok(rest) };
        partial.extend_from_slice(&rest);
        Ok(partial.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(n_bytes: usize) -> Block {
        let bytes: Vec<u8> = (0..n_bytes).map(|i| (i * 31 % 251) as u8).collect();
        Block { bytes: bytes.into(), crc: n_bytes as u32 }
    }

    /// The messages of a shard whose blocks have one, several and no bytes too many for a chunk.
    fn shard() -> (Vec<Block>, Vec<FlightData>) {
        let sizes = [1, 0, CHUNK_BYTES_MAX, CHUNK_BYTES_MAX + 1, 3 * CHUNK_BYTES_MAX, 7];
        let blocks: Vec<Block> = sizes.map(block).into();
        let mut messages: Vec<FlightData> =
            blocks.iter().flat_map(|block| chunks(block.clone()).expect("small enough")).collect();
        messages.push(end(blocks.len()));
        (blocks, messages)
    }

    fn assembled(messages: Vec<FlightData>) -> Result<Vec<Block>, String> {
        let mut assembly = Assembly::default();
        let mut blocks = Vec::new();
        for message in messages {
            blocks.extend(assembly.push(message)?);
        }
        assembly.finish().map(|()| blocks)
    }

    #[test]
    fn blocks_come_out_as_they_went_in() {
        let (blocks, messages) = shard();
        assert_eq!(messages.len(), 1 + 1 + 1 + 2 + 3 + 1 + 1);
        assert!(messages.iter().all(|message| message.data_body.len() <= CHUNK_BYTES_MAX));
        assert_eq!(assembled(messages).expect("whole"), blocks);
        assert_eq!(assembled(vec![end(0)]).expect("an empty shard"), vec![]);
    }

    #[test]
    fn a_block_of_one_chunk_is_not_copied() {
        let block = block(CHUNK_BYTES_MAX);
        let address = block.bytes.as_ptr();
        let mut messages = chunks(block).expect("small enough");
        messages.push(end(1));
        assert_eq!(assembled(messages).expect("whole")[0].bytes.as_ptr(), address);
    }

    #[test]
    fn a_shard_that_is_cut_anywhere_or_lacks_any_message_is_an_error() {
        let (_, messages) = shard();
        for n in 0..messages.len() {
            let cut = messages[..n].to_vec();
            assert!(assembled(cut).is_err(), "cut to {n} messages");
            let mut without = messages.clone();
            without.remove(n);
            assert!(assembled(without).is_err(), "without message {n}");
            let mut twice = messages.clone();
            twice.insert(n, messages[n].clone());
            assert!(assembled(twice).is_err(), "message {n} twice");
        }
        assert!(assembled(vec![FlightData::new(), end(0)]).is_err(), "without a mark");
        let huge = chunk(Bytes::new(), Position::Part, usize::MAX, 0);
        assert!(assembled(vec![huge]).is_err(), "a claim of a huge block");
    }
}
