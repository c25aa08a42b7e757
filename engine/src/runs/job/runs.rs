//! The runs of a session whose results are still held.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::base::wire::RunId;
use crate::error::{Error, Result};
use crate::runs::job::job::Job;

/// The runs of one session.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    jobs: Mutex<HashMap<RunId, Weak<Job>>>,
}

impl Runs {
    /// Adds a run, which is found while it is held.
    pub(crate) fn enter(&self, job: &Arc<Job>) {
        let mut jobs = self.jobs.lock();
        jobs.retain(|_, job| job.strong_count() > 0);
        jobs.insert(job.id(), Arc::downgrade(job));
    }

    /// True if no run is held.
    pub(crate) fn is_empty(&self) -> bool {
        self.jobs.lock().values().all(|job| job.strong_count() == 0)
    }

    /// The run with this number.
    ///
    /// # Errors
    /// When it is not held any more, or belongs to another session.
    pub(crate) fn find(&self, id: RunId) -> Result<Arc<Job>> {
        let found = self.jobs.lock().get(&id).and_then(Weak::upgrade);
        found.ok_or_else(|| {
            Error::query(format!(
                "the result of {id:?} was dropped, or belongs to another session: hold its `Run` while \
                 it is read"
            ))
        })
    }
}
