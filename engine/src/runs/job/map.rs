//! Calls a function for items, on all machines: a [`Workload`] of one task for each item. Results
//! are given as they come, and calls on lost machines are retried.
//!
//! ```text
//! items ─► waiting ─► running, one in each slot ─┬─ done, failed ──────► results
//!             ▲                                  └─ lost ─┬─ 5 times ──► results, as an error
//!             └───────────────────────────────────────────┘
//! ```

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::base::recovery::TaskFailure;
use crate::error::{Error, Result};
use crate::pipeline::map::{self, MapFunction, Mapped, Mapping};
use crate::runs::job::TaskRunner;
use crate::runs::job::dispatch;
use crate::runs::job::scheduler::{self, Pool, Workload};
use crate::runs::job::slots::{SlotAllocator, SlotGuard};
use crate::runs::task::Request;

/// Results queued for the reader. More would only take memory: while nothing is read, each slot
/// holds one more.
const RESULTS_QUEUED_MAX: usize = 1;

/// Bytes of the items in flight, above which no other is taken. The driver holds each item until
/// its result has come, to retry it when it is lost.
const IN_FLIGHT_BYTES_MAX: usize = 256 * 1024 * 1024;

/// The requests for the items, encoded one by one.
type Requests = Box<dyn Iterator<Item = Result<Bytes>> + Send>;

/// Calls `function` for each of `items`.
pub(crate) fn map<F: MapFunction>(
    session: &Arc<TaskRunner>,
    _function: F,
    items: impl Iterator<Item = F::Item> + Send + 'static,
) -> Mapped<F::Output> {
    let requests = items.map(|item| map::request(&F::MAPPING, &item, Request::Call));
    let (results, receiver) = mpsc::channel(RESULTS_QUEUED_MAX);
    let mut calls = Calls {
        session: Arc::clone(session),
        mapping: F::MAPPING,
        requests: Some(Box::new(requests)),
        taken: 0,
        waiting: VecDeque::new(),
        running: HashMap::new(),
        bytes: 0,
        results,
    };
    let mut work = JoinSet::new();
    let drive = async move {
        let session = Arc::clone(&calls.session);
        match scheduler::drive(&session.driver, &mut calls).await {
            Ok(()) | Err(Over) => {}
        }
    };
    work.spawn_on(drive, session.cpu.handle());
    Mapped::new(receiver, work)
}

/// An item without a result.
struct Item {
    index: usize,
    request: Bytes,
    losses: u32,
}

/// The calls of one map.
struct Calls {
    session: Arc<TaskRunner>,
    mapping: Mapping,
    /// `None` when all items are taken.
    requests: Option<Requests>,
    /// The number of items taken.
    taken: usize,
    /// Items whose machine was lost, or that wait for one.
    waiting: VecDeque<Item>,
    /// By index.
    running: HashMap<usize, Item>,
    /// Bytes of the items that wait or run.
    bytes: usize,
    results: mpsc::Sender<(usize, Result<Bytes>)>,
}

/// The results are not read any more, or an error has ended the map.
struct Over;

impl Workload for Calls {
    type Id = usize;
    type Reply = Bytes;
    type Stop = Over;

    /// Where machines come and go, takes as many items as all possible machines have slots for.
    async fn slots_wanted(&mut self, pool: &Pool<usize, Bytes>) -> Result<usize, Over> {
        if self.session.queries.is_closed() {
            return Err(self.stop(Error::Closed).await);
        }
        if pool.is_elastic() {
            let most = SlotAllocator::total(&self.session);
            while self.running.len() + self.waiting.len() < most {
                let Some(item) = self.take().await? else { break };
                self.waiting.push_back(item);
            }
        }
        Ok(self.running.len() + self.waiting.len())
    }

    async fn start(&mut self, pool: &mut Pool<usize, Bytes>) -> Result<(), Over> {
        let mut free = pool.free();
        while let Some(slots) = free.take(1) {
            let Some(item) = self.next().await? else { break };
            let (session, target) = (Arc::downgrade(&self.session), slots.target().clone());
            let (index, request) = (item.index, item.request.clone());
            pool.spawn(
                index,
                slots,
                async move { dispatch::call(&session, &target, request).await },
            );
            self.running.insert(index, item);
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty() && self.requests.is_none()
    }

    async fn ended(
        &mut self,
        index: usize,
        slots: SlotGuard,
        outcome: Result<Bytes, TaskFailure>,
    ) -> Result<(), Over> {
        drop(slots);
        let result = match outcome {
            Ok(reply) => map::read(&reply),
            Err(TaskFailure::Lost(why)) => return self.lost(index, &why).await,
            Err(TaskFailure::Failed(error)) => Err(error),
            Err(TaskFailure::ShardLost(..) | TaskFailure::FuncsDiffer(_)) => {
                Err(Error::internal("the reply to a call is one to a task"))
            }
        };
        if let Some(item) = self.running.remove(&index) {
            self.bytes = self.bytes.saturating_sub(item.request.len());
        }
        self.give(index, result).await
    }

    fn machines_lost(&mut self) {}

    async fn lost(&mut self, index: usize, why: &str) -> Result<(), Over> {
        let Some(mut item) = self.running.remove(&index) else { return Ok(()) };
        item.losses += 1;
        let what = format!("item {index} of {}", self.mapping.name);
        match scheduler::retry(&self.session, why, &what, item.losses) {
            Ok(()) => {
                self.waiting.push_back(item);
                Ok(())
            }
            Err(error) => {
                self.bytes = self.bytes.saturating_sub(item.request.len());
                self.give(index, Err(error)).await
            }
        }
    }

    /// Gives `error` as the result of every item that waits or runs, or of the next item if there
    /// is none.
    async fn stop(&mut self, error: Error) -> Over {
        let running = self.running.keys().copied();
        let waiting = self.waiting.iter().map(|item| item.index);
        let mut open: Vec<usize> = running.chain(waiting).collect();
        if open.is_empty() && self.requests.is_some() {
            open.push(self.taken);
        }
        open.sort_unstable();
        for index in open {
            if self.give(index, Err(error.clone())).await.is_err() {
                break;
            }
        }
        Over
    }
}

impl Calls {
    /// The next item to call the function for: one that waits, or a new one.
    async fn next(&mut self) -> Result<Option<Item>, Over> {
        match self.waiting.pop_front() {
            Some(item) => Ok(Some(item)),
            None => self.take().await,
        }
    }

    /// A new item. `None` if there is none, or too many bytes are in flight.
    async fn take(&mut self) -> Result<Option<Item>, Over> {
        while self.bytes < IN_FLIGHT_BYTES_MAX {
            let Some(requests) = &mut self.requests else { return Ok(None) };
            let taken = catch_unwind(AssertUnwindSafe(|| requests.next()));
            let index = self.taken;
            self.taken += 1;
            match taken {
                Ok(Some(Ok(request))) => {
                    self.bytes += request.len();
                    return Ok(Some(Item { index, request, losses: 0 }));
                }
                // This item cannot be sent; others can.
                Ok(Some(Err(error))) => self.give(index, Err(error)).await?,
                Ok(None) => self.requests = None,
                Err(panic) => {
                    self.requests = None;
                    let text = bigslice_diagnostics::panic_text(panic.as_ref());
                    let error = Error::query(format!("the iterator of items panicked: {text}"));
                    self.give(index, Err(error)).await?;
                }
            }
        }
        Ok(None)
    }

    async fn give(&mut self, index: usize, result: Result<Bytes>) -> Result<(), Over> {
        self.results.send((index, result)).await.map_err(|_| Over)
    }
}
