//! Shard files: each stores the rows of one attempt of one task, for other tasks to read.
//!
//! The rows of a task are split into n partitions. All partitions are in one file, in blocks of one
//! partition each. The file is an Arrow IPC stream, so any Arrow reader opens it:
//!
//! ```text
//!   schema | block of 3 | block of 0 | block of 3 | block of 7 | ... | end of stream
//!            `- dictionaries, if any, and one record batch, compressed with lz4
//! ```
//!
//! The [`Index`], which the [`ShardWriter`] returns, has the partition and the checksum of each
//! block; the file has not. A block does not depend on others: its bytes ([`read_block`]), its
//! checksum and the schema are enough to decode it ([`Decoder`]), in any process.
//!
//! The way of rows into the file:
//!
//! ```text
//!   scatter -> Window (a few batches) -+-> Queue of partition 0 -+
//!                                      +-> Queue of partition 1 -+-> compact -> Encoder -> file
//!   append ----------------------------+-> ...                  -+
//! ```

mod compact;
mod decode;
mod encode;
mod error;
mod index;
mod queue;
mod window;
mod writer;
mod written;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;

pub(crate) use decode::{Decoder, read_block, schema_from_bytes};
pub(crate) use encode::schema_to_bytes;
pub(crate) use error::Error as ShardError;
use error::{Error, Result};
use index::Block;
pub(crate) use index::Index;
pub(crate) use writer::ShardWriter;
pub(crate) use written::of_batch as bytes_of;
