//! Tasks: each computes one shard of one stage, on one machine. The same code runs in the driver,
//! when there are no machines, and on a worker.
//!
//! ```text
//! driver (job)            TaskRequest            any process: Host
//!   one task of a stage  ────────────►  plan of the run: the func called again   [plan, plan_cache]
//!                                       a pipe from its inputs, stored shards,   [reader]
//!                                       through its verbs                        [pipe]
//!                                       rows into a file, split by shard         [host]
//!   where it is stored   ◄────────────  the file's index                         [store]
//!                         TaskReply
//!                         or TaskError
//! ```

mod host;
mod pipe;
mod plan;
mod plan_cache;
mod reader;
mod request;
mod store;

pub(crate) use host::{Host, HostParts, HostService};
pub(crate) use plan::{Plan, Pragmas, StageId};
pub(crate) use reader::ShardReader;
pub(crate) use request::{
    Request, RunSpec, ShardSource, ShardTicket, StageInputs, StoredSize, TaskReply, TaskRequest,
};
pub(crate) use store::Store;
