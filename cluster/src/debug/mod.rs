//! The debug pages: all machines of a session, and an archive of all pages.
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
//! and the pages added with [`Inspector::add_page`](crate::Inspector::add_page).

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
    /// Serves the debug pages below `/debug` until the server is dropped. Only this computer gets
    /// answers: the address must be a loopback address. Port 0 is any free port.
    ///
    /// # Errors
    /// If the address is not a loopback address, or cannot be bound.
    pub fn serve(&self, address: SocketAddr) -> Result<DebugServer> {
        server::serve(self.clone(), address)
    }

    /// Writes all pages into one zip archive: machines, series, metrics, logs, added pages, and the
    /// last profile if one was taken.
    ///
    /// # Errors
    /// If it cannot be written.
    pub async fn dump<W: std::io::Write + std::io::Seek>(&self, to: W) -> Result<()> {
        archive::dump(self, to).await
    }
}
