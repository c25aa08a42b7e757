//! The messages between driver and tasks. Driver and worker are one program, so the encoding has no
//! versions.

use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::pipeline::func::Call;

use crate::base::wire::{RunId, StoredAt};
use crate::metrics::Metrics;
use crate::pipeline::map::CallHeader;
use crate::pipeline::slice::Steps;
use crate::runs::task::plan::Plan;
use bigslice_files::WorkerStores;
use bigslice_files::sink::{Opened, Written};

/// How to open a shard of a source.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum ShardSource {
    /// As the source says.
    Open(Arc<[u8]>),
    /// By reading a stored shard of another run.
    Stored(StoredAt),
}

/// A request of the driver to a machine.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Runs a task.
    Task(Box<TaskRequest>),
    /// Calls a function for the item whose bytes follow.
    Call(CallHeader),
}

/// One task. `spec`, the same for all tasks of a run, and `inputs`, the same for all tasks of a
/// stage, are sent only when the machine has answered that it has not cached them: both may be
/// large, since `inputs` lists all tasks of other stages.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct TaskRequest {
    pub(crate) run: RunId,
    pub(crate) stage: u32,
    /// The shard of the stage.
    pub(crate) task: u32,
    pub(crate) attempt: u32,
    /// How to open the shards of sources that this task reads: source, shard, how.
    pub(crate) sources: Vec<(u32, u32, ShardSource)>,
    /// The files of sinks that this task writes.
    pub(crate) sinks: Vec<Opened>,
    /// The version of the stage's inputs, which changes with them.
    pub(crate) version: u64,
    pub(crate) inputs: Option<Arc<StageInputs>>,
    pub(crate) spec: Option<Arc<RunSpec>>,
    /// The plan that `spec` makes, in the driver, which has it.
    #[serde(skip)]
    pub(crate) plan: Option<Arc<Plan>>,
}

/// How to build the plan of a run: the same for all its tasks.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RunSpec {
    /// The func that builds the slice; `None` if the slice exists only in this process.
    pub(crate) call: Option<Call>,
    /// The digest of the driver's funcs.
    pub(crate) registry: u64,
    /// The steps of the slice that the driver's func has built, to compare.
    pub(crate) steps: Steps,
    /// The number of shards of each source.
    pub(crate) source_shards: Arc<[u32]>,
}

/// The inputs of a stage: the same for all its tasks.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StageInputs {
    /// For each stage that this one reads, where the shard of each of its tasks is stored.
    pub(crate) stages: Vec<(u32, Vec<StoredAt>)>,
    /// DataFusion settings that differ from their defaults.
    pub(crate) settings: Vec<(String, String)>,
    /// How to open the object stores of sources.
    pub(crate) stores: WorkerStores,
}

/// The size of what one attempt of a task has stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredSize {
    pub(crate) rows: u64,
    /// The bytes of all blocks in the file.
    pub(crate) bytes: u64,
    pub(crate) blocks: u32,
}

/// Asks the process that stores a shard for rows of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ShardTicket {
    pub(crate) at: StoredAt,
    /// The partition of the shard: the shard of the next stage that reads it.
    pub(crate) partition: u32,
    /// Blocks of the partition; `None` for all.
    pub(crate) blocks: Option<Range<u32>>,
}

/// The reply of a task that has stored its shard.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct TaskReply {
    pub(crate) size: StoredSize,
    /// The metrics of its closures.
    pub(crate) metrics: Metrics,
    /// The files written for sinks.
    pub(crate) written: Vec<Written>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::wire::encode;

    /// The requests of a thousand tasks that each read a thousand shards, on two machines.
    #[test]
    fn what_all_tasks_share_is_sent_once() {
        let stored = |task: u32| StoredAt {
            run: RunId(7),
            stage: 0,
            task,
            attempt: 1,
            machine: Some(format!("https://127.0.0.1:{}/", 40_001 + task % 2)),
        };
        let inputs = StageInputs {
            stages: vec![(0, (0..1000).map(stored).collect())],
            settings: Vec::new(),
            stores: WorkerStores::default(),
        };
        let spec = RunSpec {
            call: Some(Call { name: "a::func".to_owned(), arguments: vec![7; 100_000].into() }),
            registry: 7,
            steps: Steps::default(),
            source_shards: vec![1000].into(),
        };
        let request = |task: u32| TaskRequest {
            run: RunId(7),
            stage: 1,
            task,
            attempt: 1,
            sources: Vec::new(),
            sinks: Vec::new(),
            version: 3,
            inputs: None,
            spec: None,
            plan: None,
        };
        let requests: usize = (0..1000).map(|task| encode(&request(task)).unwrap().len()).sum();
        let shared = encode(&inputs).unwrap().len() + encode(&spec).unwrap().len();
        assert!(requests < 16 * 1000, "{requests} bytes");
        assert!(shared > 100_000 && shared < 140_000, "{shared} bytes");
        // With everything in each request it would be a thousand times as much.
        assert!(requests + 2 * shared < 300_000);
    }
}
