//! The [`TaskRunner`] of a session: the [`Driver`], and its host of tasks.

use std::ops::Deref;
use std::sync::Arc;

use crate::base::driver::Driver;
use crate::runs::task::Host;

/// Runs tasks in this process or on the machines of the session. The fields are dropped in this
/// order.
pub(crate) struct TaskRunner {
    /// Runs tasks in the driver, and reads shards from all machines.
    pub(crate) host: Arc<Host>,
    pub(crate) driver: Arc<Driver>,
}

impl Deref for TaskRunner {
    type Target = Driver;

    fn deref(&self) -> &Driver {
        &self.driver
    }
}

impl Drop for TaskRunner {
    fn drop(&mut self) {
        self.host.close();
    }
}
