//! Shard files: what one attempt of one task of a run writes, and what others read of it.
//!
//! A task's rows go to n partitions, and all of them lie in one file, in blocks of one partition
//! each. The file is an Arrow IPC stream, so that any reader of Arrow opens it:
//!
//! ```text
//!   schema | block of 3 | block of 0 | block of 3 | block of 7 | ... | end of stream
//!            `- dictionaries, if any, and one record batch, compressed with lz4
//! ```
//!
//! Which block is whose, and what its bytes summed to, stands in the [`Index`] that the
//! [`ShardWriter`] returns, not in the file. A block needs nothing of the others: whoever has its
//! bytes ([`read_block`]), its sum and the schema can decode it ([`Decoder`]), here or elsewhere.
//!
//! Rows on their way into the file:
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
