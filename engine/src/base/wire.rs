//! The parts of messages between driver and tasks: numbers of runs, where shards are stored, errors;
//! and the encoding of messages.

pub(crate) mod error;

use std::fmt;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Names a run in its session, and its files.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunId(pub(crate) u64);

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "run {}", self.0)
    }
}

/// The output of one attempt of one task.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct StoredAt {
    pub(crate) run: RunId,
    pub(crate) stage: u32,
    pub(crate) task: u32,
    pub(crate) attempt: u32,
    /// The address of the machine that has it; none is the driver itself.
    pub(crate) machine: Option<String>,
}

/// `n` as what travels counts shards, tasks, partitions and the like.
///
/// # Errors
/// When it does not fit: cut off, two of them would have one number.
pub(crate) fn number(n: usize, of: &str) -> Result<u32> {
    u32::try_from(n).map_err(|_| {
        let message = format!("there are more {of} than the {} that a run can have", u32::MAX);
        Error::query(message).with_hint("use fewer shards")
    })
}

/// Encodes what travels.
pub(crate) fn encode(message: &impl Serialize) -> Result<Bytes> {
    postcard::to_allocvec(message)
        .map(Bytes::from)
        .map_err(|e| Error::internal(format!("a message between driver and task: {e}")))
}

/// Decodes what travels.
pub(crate) fn decode<M: DeserializeOwned>(bytes: &[u8]) -> Result<M> {
    postcard::from_bytes(bytes)
        .map_err(|e| Error::internal(format!("a message between driver and task: {e}")))
}
