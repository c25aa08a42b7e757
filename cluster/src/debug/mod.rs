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
mod routes;
mod server;
mod spark;

use std::net::SocketAddr;

use crate::error::Result;
use crate::fleet::inspector::Inspector;

pub use server::DebugServer;

impl Inspector {
    /// Serves all that as web pages below `/debug`, until the server is dropped. Only this computer
    /// gets answers: the address must be a loopback one, its port 0 is any that is free.
    ///
    /// # Errors
    /// If the address is not a loopback one, or cannot be had.
    pub fn serve(&self, address: SocketAddr) -> Result<DebugServer> {
        server::serve(self.clone(), address)
    }

    /// Writes all that into one zip archive: machines, series, metrics, logs, the pages that were added,
    /// and the last profile if one was taken.
    ///
    /// # Errors
    /// If it cannot be written.
    pub async fn dump<W: std::io::Write + std::io::Seek>(&self, to: W) -> Result<()> {
        archive::dump(self, to).await
    }
}
