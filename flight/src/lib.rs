//! The network face of a machine: how plans reach a worker and how rows leave it.
//!
//! Workers run pieces of a plan that `datafusion-distributed` has cut, and read each other's
//! partitions. This crate hosts that exchange on the one mutually authenticated port of a worker
//! and decides who may call what, where the work runs, how large a message may be, and how an
//! error or a lost machine looks to the other side:
//!
//! ```text
//!        driver                                   worker "m0"                     worker "m1"
//!  distributed_driver                          worker_routes                    worker_routes
//!   |  Members: who runs                        role check, CPU runtime,          (the same)
//!   |  Channels: connections                    panics become errors
//!   |                                            |
//!   |-- CoordinatorChannel (plan, driver only) ->|  distributed_worker
//!   |                                            |-- ExecuteTask (partitions) -------->|
//!   |<------ rows as Arrow Flight data ----------|<------------------------------------|
//! ```
//!
//! Runs of slices use the same port and the same connections: the driver has a worker's [`TaskHost`]
//! run tasks, driver and workers read the shards that tasks have stored.
//!
//! ```text
//!   |-- DoAction run, discard (driver only) ---->|  TaskHost::run, discard
//!   |<------ DoGet: blocks of a shard -----------|  TaskHost::read ------ DoGet ------>|
//! ```
//!
//! The modules, from the wire inwards:
//! * `error`, `wire`, `blame`: what can go wrong, how it travels, and whose fault it was;
//! * `limits`: how large a message may be;
//! * `server`, `gate`, `outbox`: a worker's side of any call;
//! * `read`, `split`: its partitions; `task_host`, `blocks`: its tasks and shards;
//! * `channels`: the caller's side, in the driver and in workers: `client` and `verdict` for plans
//!   and partitions, `task_calls` for tasks and shards;
//! * `members`, `session`: what a session needs to know of both;
//! * `over`: a process with too much memory ends its streams;
//! * `panic_guard`: a panic in an operator is an error of the query.
//!
//! All use of `datafusion-distributed`'s protocol sits here, so that the cut can be replaced.

mod blame;
mod blocks;
mod channels;
mod client;
mod error;
mod gate;
mod limits;
mod members;
mod outbox;
mod over;
mod panic_guard;
mod read;
mod server;
mod session;
mod split;
mod task_calls;
mod task_host;
mod verdict;
mod wire;

pub use bigslice_diagnostics::panic_text;
pub use blame::{exchange_error, is_transport_error, lost_machine};
pub use blocks::Block;
pub use channels::Channels;
pub use error::{APP_PAYLOAD_BYTES_MAX, Error};
pub use members::Members;
pub use over::OverMemory;
pub use panic_guard::{PanicGuard, guard_stream};
pub use server::{WorkerService, worker_routes};
pub use session::{Compression, ExchangeOptions, distributed_driver, distributed_worker};
pub use task_host::TaskHost;
