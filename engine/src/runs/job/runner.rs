//! What a session runs slices with, above the [`Driver`].

use std::ops::Deref;
use std::sync::Arc;

use crate::base::driver::Driver;
use crate::runs::job::Runs;
use crate::runs::task::Host;

/// The driver, its host of tasks, and the runs whose results are held. The order of the fields is the order they are
/// dropped in.
pub(crate) struct Runner {
    /// Runs tasks here, and reads shards wherever they are.
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
