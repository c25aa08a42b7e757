//! Tasks: what one machine does to compute one shard of one stage. The same code runs in the driver,
//! when there are no machines, and on a worker.
//!
//! ```text
//! driver (job)            TaskRequest            any process: Host
//!   one task of a stage  ────────────►  plan of the run: the func called again   [plan]
//!                                       a pipe from its inputs through its verbs [pipe]
//!                                       rows into a file, split by shard          [host]
//!   where it is stored   ◄────────────  the file's index                          [store]
//!                         TaskReply
//!                         or Refusal
//! ```

mod host;
mod known;
mod pipe;
mod plan;
mod request;
mod store;

pub(crate) use host::{Host, HostParts, Shared};
pub(crate) use plan::{Asks, Plan, StageId};
pub(crate) use request::{
    Asked, Brief, Inputs, ShardTicket, Spec, StoredSize, TaskReply, TaskRequest,
};
pub(crate) use store::Store;
