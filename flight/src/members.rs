//! The machines that a query may use.

use std::sync::Arc;

use bigslice_cluster::Fleet;
use datafusion::common::Result;
use datafusion_distributed::WorkerResolver;
use url::Url;

use crate::Error;

/// Asked when the tasks of a query are placed.
#[derive(Clone, Debug)]
pub struct Members {
    of: Of,
}

#[derive(Clone, Debug)]
enum Of {
    /// The machines that run now.
    Fleet(Fleet),
    /// The machines for which a query was planned.
    Query(Arc<[Url]>),
}

impl Members {
    /// The trusted machines of `fleet`, or all that run if none is trusted.
    pub fn new(fleet: Fleet) -> Self {
        Self { of: Of::Fleet(fleet) }
    }

    /// The machines at these addresses, in any state.
    pub fn at(urls: impl IntoIterator<Item = Url>) -> Self {
        Self { of: Of::Query(urls.into_iter().collect()) }
    }
}

impl WorkerResolver for Members {
    fn get_urls(&self) -> Result<Vec<Url>> {
        let urls = match &self.of {
            Of::Fleet(fleet) => {
                let ready = fleet.ready();
                let machines = if ready.is_empty() { fleet.machines() } else { ready };
                machines.iter().filter_map(|machine| machine.url().cloned()).collect()
            }
            Of::Query(urls) => urls.to_vec(),
        };
        // A replacement may be starting: retried like any loss.
        if urls.is_empty() { Err(Error::NoMachines.into()) } else { Ok(urls) }
    }
}
