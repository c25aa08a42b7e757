//! The runs of a session: gives them numbers, and finds those whose results are still held.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::base::wire::RunId;
use crate::error::{Error, Result};
use crate::runs::job::Job;

/// The number of the next run, of whichever session of this process: a run that is given to another session is
/// not found there, where its number might else be that of another result.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// The runs of one session.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    jobs: Mutex<HashMap<RunId, Weak<Job>>>,
}

impl Runs {
    /// A number that no run has had.
    pub(crate) fn number() -> RunId {
        RunId(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// Lets others find a run for as long as somebody holds it.
    pub(crate) fn enter(&self, job: &Arc<Job>) {
        let mut jobs = self.jobs.lock();
        jobs.retain(|_, job| job.strong_count() > 0);
        jobs.insert(job.id(), Arc::downgrade(job));
    }

    /// Whether nobody holds any.
    pub(crate) fn is_empty(&self) -> bool {
        self.jobs.lock().values().all(|job| job.strong_count() == 0)
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
