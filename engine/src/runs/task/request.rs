//! What the driver asks of a task and what it hears back, as they travel. Driver and worker are one
//! binary, so the encoding has no versions.

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

/// What it takes to open a shard of a source.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Spec {
    /// What the source itself found out.
    Open(Arc<[u8]>),
    /// It is a shard of another run.
    Stored(StoredAt),
}

/// What the driver asks of a machine.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) enum Asked {
    /// To run a task.
    Task(Box<TaskRequest>),
    /// To call a function for the item whose bytes follow.
    Call(CallHeader),
}

/// One task. What is the same for all tasks of a run, and of a stage, goes along only when the machine
/// has said that it does not have it: it refers to the tasks of other stages, as many as there may be.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct TaskRequest {
    pub(crate) run: RunId,
    pub(crate) stage: u32,
    /// The shard of the stage.
    pub(crate) task: u32,
    pub(crate) attempt: u32,
    /// How to open those shards of sources that this task reads: source, shard, how.
    pub(crate) sources: Vec<(u32, u32, Spec)>,
    /// The files of the sinks that this task's shard goes through.
    pub(crate) sinks: Vec<Opened>,
    /// Which inputs of the stage: another number whenever they differ.
    pub(crate) version: u64,
    pub(crate) inputs: Option<Arc<Inputs>>,
    pub(crate) brief: Option<Arc<Brief>>,
    /// What the brief makes, in the process that has it.
    #[serde(skip)]
    pub(crate) plan: Option<Arc<Plan>>,
}

/// What all tasks of a run are told.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Brief {
    /// The func that builds the slice; none when the slice is in this process.
    pub(crate) call: Option<Call>,
    /// What the driver's funcs are, and what this one has built.
    pub(crate) registry: u64,
    pub(crate) steps: Steps,
    /// How many shards each source has.
    pub(crate) source_shards: Arc<[u32]>,
}

/// What all tasks of a stage are told.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Inputs {
    /// For each stage that this one reads, where the output of each of its tasks is.
    pub(crate) stages: Vec<(u32, Vec<StoredAt>)>,
    /// Settings of DataFusion that differ from their defaults.
    pub(crate) settings: Vec<(String, String)>,
    /// How to open the stores that sources are in.
    pub(crate) stores: WorkerStores,
}

/// How much one attempt of one task has stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredSize {
    pub(crate) rows: u64,
    /// Of all blocks, as they lie in the file.
    pub(crate) bytes: u64,
    pub(crate) blocks: u32,
}

/// What is asked of whoever has stored a shard.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ShardTicket {
    pub(crate) at: StoredAt,
    /// The shard of the next stage that the rows are for.
    pub(crate) partition: u32,
    /// Of its blocks; all of them if none are named.
    pub(crate) blocks: Option<Range<u32>>,
}

/// What a task has stored.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct TaskReply {
    pub(crate) size: StoredSize,
    /// What its closures have counted.
    pub(crate) metrics: Metrics,
    /// What was written for sinks.
    pub(crate) written: Vec<Written>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::wire::encode;

    /// A thousand tasks that each read what a thousand others have stored: what goes to two machines.
    #[test]
    fn what_all_tasks_share_is_sent_once() {
        let stored = |task: u32| StoredAt {
            run: RunId(7),
            stage: 0,
            task,
            attempt: 1,
            machine: Some(format!("https://127.0.0.1:{}/", 40_001 + task % 2)),
        };
        let inputs = Inputs {
            stages: vec![(0, (0..1000).map(stored).collect())],
            settings: Vec::new(),
            stores: WorkerStores::default(),
        };
        let brief = Brief {
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
            brief: None,
            plan: None,
        };
        let requests: usize = (0..1000).map(|task| encode(&request(task)).unwrap().len()).sum();
        let shared = encode(&inputs).unwrap().len() + encode(&brief).unwrap().len();
        assert!(requests < 16 * 1000, "{requests} bytes");
        assert!(shared > 100_000 && shared < 140_000, "{shared} bytes");
        // With everything in each request it was a thousand times that.
        assert!(requests + 2 * shared < 300_000);
    }
}
