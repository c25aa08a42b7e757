//! Has a function called for items: starts as many calls as the [`Crew`] has room for, gives results as
//! they come, and begins again what was lost with a machine.
//!
//! ```text
//! items ─► waiting ─► running, one in each slot ─┬─ done, failed ──────► results
//!             ▲                                  └─ lost ─┬─ 5 times ──► results, as an error
//!             └───────────────────────────────────────────┘
//! ```

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bigslice_cluster::{Demand, Fleet, LogLine};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use crate::base::machines;
use crate::error::{Error, Result};
use crate::pipeline::map::{self, MapFunction, Mapped, Mapping};
use crate::runs::job::Runner;
use crate::runs::job::crew::{self, Crew, Place, Seat, Trouble};
use crate::runs::job::evaluation::changed;
use crate::runs::job::schedule::LOSSES_MAX;
use crate::runs::task::Asked;

/// Results between the task that gets them and whoever reads them. More would only be held: while
/// nobody reads, each slot has one more.
const RESULTS_QUEUED_MAX: usize = 1;

/// Bytes of the items that are begun, at most: no other is taken while they are more. The driver holds
/// each until its result is there, to begin it again if it is lost.
const IN_FLIGHT_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Items, encoded one by one.
type Requests = Box<dyn Iterator<Item = Result<Bytes>> + Send>;

/// Calls `function` for each of `items`.
pub(crate) fn map<F: MapFunction>(
    session: &Arc<Runner>,
    _function: F,
    items: impl Iterator<Item = F::Item> + Send + 'static,
) -> Mapped<F::Output> {
    let requests = items.map(|item| map::request(&F::MAPPING, &item, Asked::Call));
    let (results, receiver) = mpsc::channel(RESULTS_QUEUED_MAX);
    let mapping = Map {
        session: Arc::clone(session),
        mapping: F::MAPPING,
        requests: Some(Box::new(requests)),
        taken: 0,
        waiting: VecDeque::new(),
        tasks: JoinSet::new(),
        running: HashMap::new(),
        crew: Crew::default(),
        bytes: 0,
        demand: machines::demand(session, 0),
        results,
    };
    let mut work = JoinSet::new();
    work.spawn_on(mapping.work(), session.cpu.handle());
    Mapped::new(receiver, work)
}

/// An item that has no result yet.
#[derive(Clone)]
struct Open {
    index: usize,
    request: Bytes,
    losses: u32,
}

/// The state of one map.
struct Map {
    session: Arc<Runner>,
    mapping: Mapping,
    /// None when all items are taken.
    requests: Option<Requests>,
    taken: usize,
    /// Items whose machine was lost, or that wait for one.
    waiting: VecDeque<Open>,
    tasks: JoinSet<(usize, Result<Bytes, Trouble>)>,
    running: HashMap<usize, (AbortHandle, Seat, Open)>,
    crew: Crew,
    /// Bytes of the items that have no result yet.
    bytes: usize,
    /// Slots for these items, if machines come and go.
    demand: Option<Demand>,
    results: mpsc::Sender<(usize, Result<Bytes>)>,
}

/// Nobody reads the results any more, or all of them were given.
struct Over;

impl Map {
    async fn work(mut self) {
        let mut losses = self.session.fleet.as_ref().map(Fleet::losses);
        let mut changes = self.session.fleet.as_ref().map(Fleet::changes);
        while self.step(&mut losses, &mut changes).await.is_ok() {}
    }

    async fn step(
        &mut self,
        losses: &mut Option<watch::Receiver<u64>>,
        changes: &mut Option<watch::Receiver<u64>>,
    ) -> Result<(), Over> {
        if self.session.queries.is_closed() {
            return self.end(Error::Closed).await;
        }
        self.ask().await?;
        if self.is_over() {
            return Err(Over);
        }
        if let Err(error) = machines::wait(&self.session).await {
            return self.end(error).await;
        }
        self.start().await?;
        if self.is_over() {
            return Err(Over);
        }
        tokio::select! {
            // With nothing running, everything waits for a machine: whatever brings one is a change.
            ended = self.tasks.join_next(), if !self.tasks.is_empty() => match ended {
                Some(Ok((index, outcome))) => self.ended(index, outcome).await,
                // Aborted because its machine was lost, which is accounted for.
                Some(Err(join)) if join.is_cancelled() => Ok(()),
                Some(Err(join)) => {
                    self.end(Error::internal(format!("the sender of an item: {join}"))).await
                }
                None => Ok(()),
            },
            () = changed(losses) => self.drop_lost_machines().await,
            // There may be one more to call it on.
            () = changed(changes) => Ok(()),
        }
    }

    fn is_over(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty() && self.requests.is_none()
    }

    /// Where machines come and go: takes as many items as all that there may be have slots for, and asks for
    /// slots for them.
    async fn ask(&mut self) -> Result<(), Over> {
        if self.demand.is_none() {
            return Ok(());
        }
        let most = Crew::slots(&self.session);
        while self.running.len() + self.waiting.len() < most {
            let Some(open) = self.take().await? else { break };
            self.waiting.push_back(open);
        }
        let slots = self.running.len() + self.waiting.len();
        if let Some(demand) = self.demand.as_mut().filter(|demand| demand.slots() != slots) {
            demand.set(slots);
        }
        Ok(())
    }

    /// Begins as many items as there is room for.
    async fn start(&mut self) -> Result<(), Over> {
        let mut room = self.crew.room(&self.session);
        while let Some(seat) = room.take(1) {
            let Some(open) = self.next().await? else { break };
            let (of, at, request) =
                (Arc::downgrade(&self.session), seat.place.clone(), open.request.clone());
            let index = open.index;
            let handle = self.tasks.spawn_on(
                async move { (index, crew::call(&of, &at, request).await) },
                self.session.cpu.handle(),
            );
            self.crew.begin(&seat);
            self.running.insert(index, (handle, seat, open));
        }
        Ok(())
    }

    /// The next item to begin: one that waits, or a new one.
    async fn next(&mut self) -> Result<Option<Open>, Over> {
        match self.waiting.pop_front() {
            Some(open) => Ok(Some(open)),
            None => self.take().await,
        }
    }

    /// A new item, if there is one that may be taken now.
    async fn take(&mut self) -> Result<Option<Open>, Over> {
        while self.bytes < IN_FLIGHT_BYTES_MAX {
            let Some(requests) = &mut self.requests else { return Ok(None) };
            let taken = catch_unwind(AssertUnwindSafe(|| requests.next()));
            let index = self.taken;
            self.taken += 1;
            match taken {
                Ok(Some(Ok(request))) => {
                    self.bytes += request.len();
                    return Ok(Some(Open { index, request, losses: 0 }));
                }
                // It cannot be sent; the others can.
                Ok(Some(Err(error))) => self.give(index, Err(error)).await?,
                Ok(None) => self.requests = None,
                Err(panic) => {
                    self.requests = None;
                    let said = bigslice_flight::panic_text(panic.as_ref());
                    let error = Error::query(format!("the iterator of items panicked: {said}"));
                    self.give(index, Err(error)).await?;
                }
            }
        }
        Ok(None)
    }

    async fn give(&mut self, index: usize, result: Result<Bytes>) -> Result<(), Over> {
        self.results.send((index, result)).await.map_err(|_| Over)
    }

    /// An item is out of its place.
    fn left(&mut self, index: usize) -> Option<(AbortHandle, Seat, Open)> {
        let (handle, seat, open) = self.running.remove(&index)?;
        self.crew.end(&seat);
        self.bytes = self.bytes.saturating_sub(open.request.len());
        Some((handle, seat, open))
    }

    async fn ended(&mut self, index: usize, outcome: Result<Bytes, Trouble>) -> Result<(), Over> {
        let Some((_, _, open)) = self.left(index) else { return Ok(()) };
        match outcome {
            Ok(reply) => self.give(index, map::read(&reply)).await,
            Err(Trouble::Lost(why)) => self.lost(open, &why).await,
            Err(Trouble::Failed(error)) => self.give(index, Err(error)).await,
            Err(Trouble::ShardLost(..) | Trouble::FuncsDiffer(_)) => {
                let error = Error::internal("a call was answered as a task is");
                self.give(index, Err(error)).await
            }
        }
    }

    /// An item is begun again, unless it was lost too often.
    async fn lost(&mut self, mut open: Open, why: &str) -> Result<(), Over> {
        open.losses += 1;
        let (index, losses, name) = (open.index, open.losses, self.mapping.name);
        if losses >= LOSSES_MAX {
            let message = format!("{why}; item {index} of {name} was lost {losses} times in a row");
            return self.give(index, Err(Error::lost(message))).await;
        }
        let text = format!("{why}; calling {name} for item {index} again");
        (self.session.config.log)(LogLine::of_fleet(text));
        self.bytes += open.request.len();
        self.waiting.push_back(open);
        Ok(())
    }

    /// Machines were lost: what ran there is begun again.
    async fn drop_lost_machines(&mut self) -> Result<(), Over> {
        let Some(fleet) = &self.session.fleet else { return Ok(()) };
        let alive = fleet.urls();
        let gone = self.running.iter().filter_map(|(index, (_, seat, _))| match &seat.place {
            Place::Machine(name, url) if !alive.contains(url) => Some((*index, name.clone())),
            _ => None,
        });
        for (index, name) in gone.collect::<Vec<_>>() {
            let Some((handle, _, open)) = self.left(index) else { continue };
            handle.abort();
            self.lost(open, &format!("machine \"{name}\" was lost")).await?;
        }
        Ok(())
    }

    /// There is no going on: every item that was begun is told why, or the next one if there is none.
    async fn end(&mut self, error: Error) -> Result<(), Over> {
        let running = self.running.keys().copied();
        let mut open: Vec<usize> = running.chain(self.waiting.iter().map(|o| o.index)).collect();
        if open.is_empty() && self.requests.is_some() {
            open.push(self.taken);
        }
        open.sort_unstable();
        for index in open {
            self.give(index, Err(error.clone())).await?;
        }
        Err(Over)
    }
}
