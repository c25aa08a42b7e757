//! The machines that a query may use: those of the fleet that run at this moment.

use bigslice_cluster::Fleet;
use datafusion::common::Result;
use datafusion_distributed::WorkerResolver;
use url::Url;

use crate::Error;

/// The live list of a fleet. Asked when a query is planned, and again when its tasks are placed.
#[derive(Clone, Debug)]
pub struct Members {
    fleet: Fleet,
}

impl Members {
    /// The machines of `fleet`.
    pub fn new(fleet: Fleet) -> Self {
        Self { fleet }
    }
}

impl WorkerResolver for Members {
    fn get_urls(&self) -> Result<Vec<Url>> {
        let urls = self.fleet.urls();
        // A replacement may be starting: to be tried again, like any loss.
        if urls.is_empty() { Err(Error::NoMachines.into()) } else { Ok(urls) }
    }
}
