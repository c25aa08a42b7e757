//! The [`Runner`] of a session: the [`Driver`], and the state of runs.

use std::ops::Deref;
use std::sync::Arc;

use crate::base::driver::Driver;
use crate::runs::job::Runs;
use crate::runs::task::Host;

/// The driver, its host of tasks, and the runs whose results are held. The fields are dropped in
/// this order.
pub(crate) struct Runner {
    /// Runs tasks in the driver, and reads shards from all machines.
    pub(crate) host: Arc<Host>,
    pub(crate) runs: Runs,
    pub(crate) driver: Arc<Driver>,
}

impl Deref for Runner {
    type Target = Driver;

    fn deref(&self) -> &Driver {
        &self.driver
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.host.close();
    }
}
