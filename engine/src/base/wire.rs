//! The parts of messages between driver and tasks: numbers of runs, where shards are stored,
//! errors; and the encoding of messages.

pub(crate) mod error;

use std::fmt;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The number of a run in its session, which names its files as well.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct RunId(pub(crate) u64);

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
    /// The address of the machine that stores it; `None` is the driver.
    pub(crate) machine: Option<String>,
}

/// `n` as messages encode numbers of shards, tasks, partitions and the like.
///
/// # Errors
/// When it does not fit: truncated, two numbers could be equal.
pub(crate) fn number(n: usize, of: &str) -> Result<u32> {
    u32::try_from(n).map_err(|_| {
        let message = format!("there are more {of} than the {} that a run can have", u32::MAX);
        Error::query(message).with_hint("use fewer shards")
    })
}

/// Encodes a part of a message.
pub(crate) fn encode(message: &impl Serialize) -> Result<Bytes> {
    postcard::to_allocvec(message)
        .map(Bytes::from)
        .map_err(|e| Error::internal(format!("a message between driver and task: {e}")))
}

/// Decodes a part of a message.
pub(crate) fn decode<M: DeserializeOwned>(bytes: &[u8]) -> Result<M> {
    postcard::from_bytes(bytes)
        .map_err(|e| Error::internal(format!("a message between driver and task: {e}")))
}
