//! The exchange: how plans reach a worker and how rows leave it.
//!
//! Workers run stages of a plan that `datafusion-distributed` has split, and read each other's
//! partitions. This crate serves that exchange on the one mutually authenticated port of a worker.
//! It decides who may call what, where the work runs, how large a message may be, and how an error
//! or a lost machine looks to the other side:
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
//! Runs of slices use the same port and the same connections: the driver has a worker's
//! [`TaskHost`] run tasks; driver and workers read the shards that tasks have stored.
//!
//! ```text
//!   |-- DoAction run, discard (driver only) ---->|  TaskHost::run, discard
//!   |<------ DoGet: blocks of a shard -----------|  TaskHost::read ------ DoGet ------>|
//! ```
//!
//! The modules, from the wire inwards:
//! * `error`, `wire`, `classify`: the errors, how they travel, and whether a machine or the query
//!   failed;
//! * `limits`: the size of messages;
//! * `server`, `admission`, `send_queue`: a worker's side of any call;
//! * `read`, `split`: its partitions; `task_host`, `blocks`: its tasks and shards;
//! * `channels`: the caller's side, in the driver and in workers: `client` and `failure_latch` for
//!   plans and partitions, `task_calls` for tasks and shards;
//! * `members`, `session`: what a session needs on both sides;
//! * `over`: a process with too much memory ends its streams;
//! * `panic_guard`: a panic in an operator is an error of the query.
//!
//! All use of `datafusion-distributed`'s protocol is here, so that it can be replaced.

mod admission;
mod blocks;
mod channels;
mod classify;
mod client;
mod error;
mod failure_latch;
mod limits;
mod members;
mod over;
mod panic_guard;
mod read;
mod send_queue;
mod server;
mod session;
mod split;
mod task_calls;
mod task_host;
mod wire;

pub use blocks::Block;
pub use channels::Channels;
pub use classify::{exchange_error, is_transport_error, lost_machine};
pub use error::{APP_PAYLOAD_BYTES_MAX, Error};
pub use members::Members;
pub use over::OverMemory;
pub use panic_guard::guard_stream;
pub use server::{WorkerService, worker_routes};
pub use session::{Compression, ExchangeOptions, distributed_driver, distributed_worker};
pub use task_host::TaskHost;
