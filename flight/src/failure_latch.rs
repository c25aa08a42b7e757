//! The first failure of each query: a plan that did not arrive, or the loss of a task's machine.
//!
//! datafusion-distributed looks at the channels to its tasks only after the last row. A plan that
//! cannot be encoded or sent is then reported as "timed-out" by the worker that waits 10 s for it,
//! and the loss of a machine by the next reader. So the first failure of a query's channels is kept
//! here. It ends the streams that the driver reads, at once and with the true reason.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use datafusion::error::DataFusionError;
use futures::stream::{self, BoxStream, Stream, StreamExt};
use parking_lot::Mutex;
use tokio::sync::watch;
use uuid::Uuid;

/// The most failed queries that are remembered for readers that have not started to read.
const FAILED_MAX: usize = 64;

/// The latches of the queries of one process.
#[derive(Default)]
pub(crate) struct FailureLatches {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Queries with an open channel or stream.
    running: Vec<(Uuid, Weak<FailureLatch>)>,
    /// Keeps the last failures until their readers start.
    failed: VecDeque<Arc<FailureLatch>>,
}

/// The first failure of one query, once there is one.
pub(crate) struct FailureLatch {
    failure: watch::Sender<Option<Arc<DataFusionError>>>,
}

impl FailureLatches {
    /// The latch of `query`. It is kept for as long as it is held.
    pub(crate) fn of(&self, query: Uuid) -> Arc<FailureLatch> {
        let mut state = self.state.lock();
        let mut found = None;
        state.running.retain(|(id, latch)| match latch.upgrade() {
            Some(latch) => {
                if *id == query {
                    found = Some(latch);
                }
                true
            }
            None => false,
        });
        found.unwrap_or_else(|| {
            let latch = Arc::new(FailureLatch { failure: watch::Sender::new(None) });
            state.running.push((query, Arc::downgrade(&latch)));
            latch
        })
    }

    /// Records that the query of `latch` failed with `err`, unless it has already failed.
    pub(crate) fn fail(
        &self,
        latch: &Arc<FailureLatch>,
        err: DataFusionError,
    ) -> Arc<DataFusionError> {
        let err = Arc::new(err);
        let first = latch.failure.send_if_modified(|failure| {
            let first = failure.is_none();
            failure.get_or_insert_with(|| Arc::clone(&err));
            first
        });
        if first {
            let mut state = self.state.lock();
            if state.failed.len() >= FAILED_MAX {
                state.failed.pop_front();
            }
            state.failed.push_back(Arc::clone(latch));
        }
        err
    }
}

impl FailureLatch {
    /// Waits until the query fails; forever if it does not.
    async fn failed(&self) -> Arc<DataFusionError> {
        let mut failure = self.failure.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let failed = failure.wait_for(Option::is_some).await.ok().and_then(|err| err.clone());
        match failed {
            Some(err) => err,
            None => std::future::pending().await,
        }
    }

    /// Returns `inner`, which ends with the failure of its query when `inner` has no item ready.
    pub(crate) fn over<T, S>(
        self: Arc<Self>,
        inner: S,
    ) -> BoxStream<'static, Result<T, DataFusionError>>
    where
        T: Send + 'static,
        S: Stream<Item = Result<T, DataFusionError>> + Send + Unpin + 'static,
    {
        stream::unfold(Some((self, inner)), |state| async {
            let (latch, mut inner) = state?;
            let item = tokio::select! {
                biased;
                item = inner.next() => item,
                failure = latch.failed() => {
                    return Some((Err(DataFusionError::Shared(failure)), None));
                }
            };
            item.map(|item| (item, Some((latch, inner))))
        })
        .boxed()
    }
}
