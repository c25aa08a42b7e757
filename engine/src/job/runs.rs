//! The runs of a session: gives them numbers, and finds those whose results are still held.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::job::Job;
use crate::task::RunId;

/// The runs of one session.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    next: AtomicU64,
    jobs: Mutex<HashMap<RunId, Weak<Job>>>,
}

impl Runs {
    /// A number that no run has had.
    pub(crate) fn number(&self) -> RunId {
        RunId(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Lets others find a run for as long as somebody holds it.
    pub(crate) fn enter(&self, job: &Arc<Job>) {
        let mut jobs = self.jobs.lock();
        jobs.retain(|_, job| job.strong_count() > 0);
        jobs.insert(job.id(), Arc::downgrade(job));
    }

    /// The run with this number.
    pub(crate) fn find(&self, id: RunId) -> Result<Arc<Job>> {
        let found = self.jobs.lock().get(&id).and_then(Weak::upgrade);
        found.ok_or_else(|| {
            Error::query(format!(
                "the result of {id:?} is gone, or of another session: hold its `Run` for as long as \
                 something reads it"
            ))
        })
    }
}
