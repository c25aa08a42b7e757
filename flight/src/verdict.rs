//! What the driver learns of a query beside its rows: that a plan did not arrive, or that the
//! machine of a task is gone.
//!
//! datafusion-distributed looks at the channels to its tasks only after the last row. A plan that
//! cannot be encoded or sent is then told as "timed-out" by the worker that waits 10 s for it; a
//! machine that dies is told by whoever happens to read from it. So the first failure of a
//! query's channels is kept here, and ends the streams that the driver reads, at once and with
//! the true reason.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use datafusion::error::DataFusionError;
use futures::stream::{self, BoxStream, Stream, StreamExt};
use parking_lot::Mutex;
use tokio::sync::watch;
use uuid::Uuid;

/// Failed queries that are remembered for readers which have not started to read.
const FAILED_MAX: usize = 64;

/// The verdicts on the queries of one process.
#[derive(Default)]
pub(crate) struct Verdicts {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Of queries that somebody has a channel or a stream of.
    running: Vec<(Uuid, Weak<Verdict>)>,
    /// Keeps the last failures alive until their readers come.
    failed: VecDeque<Arc<Verdict>>,
}

/// The first failure of one query, once there is one.
pub(crate) struct Verdict {
    failure: watch::Sender<Option<Arc<DataFusionError>>>,
}

impl Verdicts {
    /// The verdict on `query`, kept for as long as anybody holds it.
    pub(crate) fn of(&self, query: Uuid) -> Arc<Verdict> {
        let mut state = self.state.lock();
        let mut found = None;
        state.running.retain(|(id, verdict)| match verdict.upgrade() {
            Some(verdict) => {
                if *id == query {
                    found = Some(verdict);
                }
                true
            }
            None => false,
        });
        found.unwrap_or_else(|| {
            let verdict = Arc::new(Verdict { failure: watch::Sender::new(None) });
            state.running.push((query, Arc::downgrade(&verdict)));
            verdict
        })
    }

    /// Records that the query of `verdict` failed with `err`, unless it already had.
    pub(crate) fn fail(
        &self,
        verdict: &Arc<Verdict>,
        err: DataFusionError,
    ) -> Arc<DataFusionError> {
        let err = Arc::new(err);
        let first = verdict.failure.send_if_modified(|failure| {
            let first = failure.is_none();
            failure.get_or_insert_with(|| Arc::clone(&err));
            first
        });
        if first {
            let mut state = self.state.lock();
            if state.failed.len() >= FAILED_MAX {
                state.failed.pop_front();
            }
            state.failed.push_back(Arc::clone(verdict));
        }
        err
    }
}

impl Verdict {
    /// Waits until the query fails; for ever if it does not.
    async fn failed(&self) -> Arc<DataFusionError> {
        let mut failure = self.failure.subscribe();
        // The sender lives in `self`, so waiting cannot fail; if it could, there is no failure.
        let failed = failure.wait_for(Option::is_some).await.ok().and_then(|err| err.clone());
        match failed {
            Some(err) => err,
            None => std::future::pending().await,
        }
    }

    /// `inner`, but ended by the failure of its query where `inner` has nothing to give.
    pub(crate) fn over<T, S>(
        self: Arc<Self>,
        inner: S,
    ) -> BoxStream<'static, Result<T, DataFusionError>>
    where
        T: Send + 'static,
        S: Stream<Item = Result<T, DataFusionError>> + Send + Unpin + 'static,
    {
        stream::unfold(Some((self, inner)), |state| async {
            let (verdict, mut inner) = state?;
            let item = tokio::select! {
                biased;
                item = inner.next() => item,
                failure = verdict.failed() => {
                    return Some((Err(DataFusionError::Shared(failure)), None));
                }
            };
            item.map(|item| (item, Some((verdict, inner))))
        })
        .boxed()
    }
}
