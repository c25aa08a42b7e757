//! The pages on which an owner looks at the machines, and the archive of them all.
//!
//! | below `/debug` | |
//! |---|---|
//! | (nothing) | all machines with what they use, as HTML |
//! | `/machines` | the same as JSON |
//! | `/series` | what machines used since they began, as JSON |
//! | `/metrics` | the metrics of all machines, for Prometheus |
//! | `/logs`, `/logs?machine=m0` | their last lines |
//! | `/pprof/profile?seconds=10` | a CPU profile of all machines, for `go tool pprof` |
//! | `/flamegraph?seconds=10` | the same as an SVG; `&by=machine` keeps machines apart |
//! | `/dump` | all of it as a zip archive |
//!
//! and whatever [`Inspector::add_page`](crate::Inspector::add_page) has added.

mod archive;
mod door;
mod index;
mod page;
mod routes;
mod server;
mod spark;

pub(crate) use archive::dump;
pub(crate) use page::escape;
pub use page::{Page, PageKind};
pub use server::DebugServer;
pub(crate) use server::serve;
