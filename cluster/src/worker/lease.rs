//! The lease of a worker: the worker ends unless the driver renews it in time. The control service
//! renews it, and the worker's watchdog asks how much is left.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// A lease of fixed length; clones share its state.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    term: Duration,
    renewed: Arc<Mutex<Instant>>,
}

impl Lease {
    /// A lease that starts now.
    pub(crate) fn new(term: Duration) -> Self {
        Self { term, renewed: Arc::new(Mutex::new(Instant::now())) }
    }

    pub(crate) fn term(&self) -> Duration {
        self.term
    }

    pub(crate) fn renew(&self) {
        *self.renewed.lock() = Instant::now();
    }

    /// The remaining time; `None` if it has lapsed.
    pub(crate) fn left(&self) -> Option<Duration> {
        let left = self.term.checked_sub(self.renewed.lock().elapsed())?;
        (!left.is_zero()).then_some(left)
    }

    /// Returns when it has lapsed, for a worker that is tasks of this process.
    pub(crate) async fn lapsed(&self) {
        while let Some(left) = self.left() {
            tokio::time::sleep(left).await;
        }
    }

    /// Returns when it has lapsed, for a thread that no busy runtime can delay.
    pub(crate) fn wait_lapsed(&self) {
        while let Some(left) = self.left() {
            std::thread::sleep(left);
        }
    }
}
