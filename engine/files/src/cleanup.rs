//! Cleanup that outlives the value it cleans up after: unfinished uploads to abort, shards that are
//! no longer needed. `drop` cannot wait for it; the session does, when it shuts down.

use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

/// The time limit of one piece of work. The rest is left to the store's own expiry.
const TIME_MAX: Duration = Duration::from_secs(30);

/// The work of one session. Clones share it.
#[derive(Debug, Clone)]
pub struct Cleanup {
    tasks: TaskTracker,
    runtime: Handle,
}

impl Cleanup {
    /// Work on the runtime that calls this.
    pub fn here() -> Self {
        Self { tasks: TaskTracker::new(), runtime: Handle::current() }
    }

    /// Runs `work` for at most [`TIME_MAX`]. `what` names it in the log when that is not enough.
    pub fn later(&self, what: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let work = async move {
            if tokio::time::timeout(TIME_MAX, work).await.is_err() {
                tracing::warn!("{what}: not finished within {} s", TIME_MAX.as_secs());
            }
        };
        // The tracker is what holds the task.
        drop(self.tasks.spawn_on(work, &self.runtime));
    }

    /// Runs `work` to its end, even if the returned future is dropped.
    pub fn carry<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.tasks.spawn_on(work, &self.runtime)
    }

    /// Waits for all work that was started so far.
    pub async fn finish(&self) {
        self.tasks.close();
        self.tasks.wait().await;
        self.tasks.reopen();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[tokio::test]
    async fn what_was_left_is_done_when_the_session_has_shut_down() {
        let cleanup = Cleanup::here();
        let done = Arc::new(AtomicBool::new(false));
        let (begin, begun) = tokio::sync::oneshot::channel::<()>();
        let sets = Arc::clone(&done);
        cleanup.later("a test", async move {
            drop(begun.await);
            sets.store(true, Ordering::Release);
        });
        drop(begin);
        cleanup.finish().await;
        assert!(done.load(Ordering::Acquire));
    }
}
