//! What the driver asks of a task and what it hears back, as they travel. Driver and worker are one
//! binary, so the encoding has no versions.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::func::{Call, Steps};
use crate::sink::{Opened, Written};
use crate::source::WorkerStores;

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

/// What it takes to open a shard of a source.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Spec {
    /// What the source itself found out.
    Open(Arc<[u8]>),
    /// It is a shard of another run.
    Stored(StoredAt),
}

/// One task.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct TaskRequest {
    pub(crate) run: RunId,
    /// The func that builds the slice; none when the slice is in this process.
    pub(crate) call: Option<Call>,
    /// What the driver's funcs are, and what this one has built.
    pub(crate) registry: u64,
    pub(crate) steps: Steps,
    pub(crate) stage: u32,
    /// The shard of the stage.
    pub(crate) task: u32,
    pub(crate) attempt: u32,
    /// How many shards each source has.
    pub(crate) source_shards: Vec<u32>,
    /// How to open those shards of sources that this task reads: source, shard, how.
    pub(crate) sources: Vec<(u32, u32, Spec)>,
    /// For each stage that this task reads, where the output of each of its tasks is.
    pub(crate) inputs: Vec<(u32, Vec<StoredAt>)>,
    /// The files of the sinks that this task's shard goes through.
    pub(crate) sinks: Vec<Opened>,
    /// Settings of DataFusion that differ from their defaults.
    pub(crate) settings: Vec<(String, String)>,
    /// How to open the stores that sources are in.
    pub(crate) stores: WorkerStores,
}

/// What a task has stored.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct TaskReply {
    /// Rows for each shard of the next stage.
    pub(crate) rows: Vec<u64>,
    /// Bytes of the file.
    pub(crate) bytes: u64,
    /// What was written for sinks.
    pub(crate) written: Vec<Written>,
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
