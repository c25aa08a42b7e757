//! The results of a map, for its caller.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::error::{Error, Result};

/// A result from a machine: the index of its item, and its bytes.
pub(crate) type Raw = (usize, Result<Bytes>);

/// The results of [`Session::map`](crate::Session::map): a stream of pairs of an item's index and
/// its result, in the order they finish.
///
/// Dropping it ends the map: no further item is started, and async functions stop at their next
/// await. Functions that compute run to their end, and their results are dropped.
#[must_use = "items are taken only as far as the results are read"]
pub struct Mapped<O> {
    results: mpsc::Receiver<Raw>,
    /// Aborted when this is dropped.
    work: JoinSet<()>,
    given: usize,
    output: PhantomData<fn() -> O>,
}

impl<O> Mapped<O> {
    pub(crate) fn new(results: mpsc::Receiver<Raw>, work: JoinSet<()>) -> Self {
        Self { results, work, given: 0, output: PhantomData }
    }
}

impl<O: DeserializeOwned> Mapped<O> {
    /// All results, in the order of the items.
    ///
    /// # Errors
    /// The first error of an item. Calls that still run are aborted then.
    pub async fn collect(mut self) -> Result<Vec<O>> {
        let mut results = Vec::new();
        while let Some((index, result)) = self.next().await {
            results.push((index, result?));
        }
        results.sort_unstable_by_key(|(index, _)| *index);
        Ok(results.into_iter().map(|(_, result)| result).collect())
    }

    /// The result of each item, in the order of the items. If the map itself ends early, the
    /// results end with an error for each item that was started.
    pub async fn outcomes(self) -> Vec<Result<O>> {
        let mut results: Vec<_> = StreamExt::collect(self).await;
        results.sort_unstable_by_key(|(index, _)| *index);
        results.into_iter().map(|(_, result)| result).collect()
    }
}

impl<O: DeserializeOwned> Stream for Mapped<O> {
    type Item = (usize, Result<O>);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some((index, result)) = ready!(self.results.poll_recv(cx)) {
            self.given += 1;
            let decoded = result.and_then(|bytes| {
                postcard::from_bytes(&bytes).map_err(|e| {
                    Error::query(format!(
                        "the result cannot be decoded: {e} (types whose encoding is not fixed, such as \
                         untagged enums, cannot be results)"
                    ))
                })
            });
            return Poll::Ready(Some((index, decoded)));
        }
        // No more results: the work says whether these were all.
        match ready!(self.work.poll_join_next(cx)) {
            None | Some(Ok(())) => Poll::Ready(None),
            Some(Err(join)) => {
                let error = Error::internal(format!("the scheduler of a map: {join}"));
                Poll::Ready(Some((self.given, Err(error))))
            }
        }
    }
}

impl<O> fmt::Debug for Mapped<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapped").field("given", &self.given).finish_non_exhaustive()
    }
}
