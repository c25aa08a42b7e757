//! The scheduler: runs the tasks of a [`Workload`] in free slots, until the workload is done. The
//! tasks of a run ([`evaluation`](super::evaluation)) and the items of a map
//! ([`map`](mod@super::map)) are workloads.
//!
//! ```text
//!            ┌─► slots wanted? ─► wait for a machine ─► start tasks in free slots ─► done?
//! [`drive`] ─┤                                              [`Pool::spawn`]
//!            └── [`Event`]: a task ended, machines were lost, slots may be free ◄── [`Pool`]
//! ```
//!
//! The scheduler knows machines, slots and losses; the workload decides which task is next and what
//! a reply means.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use bigslice_cluster::{Demand, Fleet, LogLine};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use crate::base::driver::Driver;
use crate::base::machines;
use crate::base::recovery::{self, TaskFailure};
use crate::error::{Error, Result};
use crate::runs::job::slots::{FreeSlots, SlotAllocator, SlotGuard, Target};

/// Most times in a row that a task may be lost: a task that killed five machines kills the sixth.
pub(super) const LOSSES_MAX: u32 = 5;

/// Work that consists of tasks, for [`drive`].
pub(super) trait Workload: Send {
    /// Names a running task.
    type Id: Copy + Eq + Hash + Send + Sync + 'static;
    /// What a task replies.
    type Reply: Send + 'static;
    /// Why the work ends before it is done.
    type Stop: Send;

    /// How many slots the tasks take that run or could run now. Called before tasks are started.
    fn slots_wanted(
        &mut self,
        pool: &Pool<Self::Id, Self::Reply>,
    ) -> impl Future<Output = Result<usize, Self::Stop>> + Send;

    /// Starts as many tasks as there are free slots for. There is a machine, if there are to be
    /// any.
    fn start(
        &mut self,
        pool: &mut Pool<Self::Id, Self::Reply>,
    ) -> impl Future<Output = Result<(), Self::Stop>> + Send;

    /// True if no task runs or is left to run.
    fn is_done(&self) -> bool;

    /// A task ended by itself. `slots` are those that it had.
    fn ended(
        &mut self,
        id: Self::Id,
        slots: SlotGuard,
        outcome: Result<Self::Reply, TaskFailure>,
    ) -> impl Future<Output = Result<(), Self::Stop>> + Send;

    /// Machines were lost. The tasks that ran there follow, by [`lost`](Self::lost).
    fn machines_lost(&mut self);

    /// A running task was lost with its machine.
    fn lost(
        &mut self,
        id: Self::Id,
        why: &str,
    ) -> impl Future<Output = Result<(), Self::Stop>> + Send;

    /// No task can run any more.
    fn stop(&mut self, error: Error) -> impl Future<Output = Self::Stop> + Send;
}

/// Runs all tasks of `workload`. Tasks that still run when this ends, or is dropped, are aborted.
pub(super) async fn drive<W: Workload>(
    driver: &Arc<Driver>,
    workload: &mut W,
) -> Result<(), W::Stop> {
    let mut pool = Pool::new(driver);
    loop {
        let slots = workload.slots_wanted(&pool).await?;
        pool.request(slots);
        if workload.is_done() {
            return Ok(());
        }
        if let Err(error) = machines::wait(driver).await {
            return Err(workload.stop(error).await);
        }
        workload.start(&mut pool).await?;
        // There may have been nothing left to start.
        if workload.is_done() {
            return Ok(());
        }
        match pool.event().await {
            Ok(Event::Ended(id, slots, outcome)) => workload.ended(id, slots, outcome).await?,
            Ok(Event::MachinesLost(tasks)) => {
                workload.machines_lost();
                for (id, why) in tasks {
                    workload.lost(id, &why).await?;
                }
            }
            Ok(Event::SlotsChanged) => {}
            Err(error) => return Err(workload.stop(error).await),
        }
    }
}

/// Logs that `what` is retried, which was lost `losses` times in a row.
///
/// # Errors
/// When that was too often.
pub(super) fn retry(driver: &Driver, why: &str, what: &str, losses: u32) -> Result<()> {
    if losses >= LOSSES_MAX {
        let message = format!("{why}; {what} was lost {losses} times in a row");
        return Err(Error::lost(message));
    }
    let text = format!("{why}; retrying {what}");
    (driver.config.log)(LogLine::of_fleet(text));
    Ok(())
}

/// What happened to the tasks of a [`Pool`].
#[expect(clippy::large_enum_variant, reason = "one at a time, and mostly the large one")]
enum Event<K, R> {
    /// This task ended, and had these slots.
    Ended(K, SlotGuard, Result<R, TaskFailure>),
    /// Machines were lost, and these tasks with them: which, and why.
    MachinesLost(Vec<(K, String)>),
    /// There may be more free slots.
    SlotsChanged,
}

/// The tasks that run, and the slots they have.
pub(super) struct Pool<K, R> {
    driver: Arc<Driver>,
    slots: SlotAllocator,
    tasks: JoinSet<(K, Result<R, TaskFailure>)>,
    running: HashMap<K, (AbortHandle, SlotGuard)>,
    losses: Option<watch::Receiver<u64>>,
    changes: Option<watch::Receiver<u64>>,
    /// Asks for machines, where they come and go.
    demand: Option<Demand>,
}

impl<K: Copy + Eq + Hash + Send + 'static, R: Send + 'static> Pool<K, R> {
    fn new(driver: &Arc<Driver>) -> Self {
        Self {
            driver: Arc::clone(driver),
            slots: SlotAllocator::default(),
            tasks: JoinSet::new(),
            running: HashMap::new(),
            losses: driver.fleet.as_ref().map(Fleet::losses),
            changes: driver.fleet.as_ref().map(Fleet::changes),
            demand: machines::demand(driver, 0),
        }
    }

    /// True if machines come and go with the slots that are wanted.
    pub(super) fn is_elastic(&self) -> bool {
        self.demand.is_some()
    }

    /// The slots of the tasks that run.
    pub(super) fn slots_in_use(&self) -> usize {
        self.running.values().map(|(_, slots)| slots.slots()).sum()
    }

    /// The slots that are free now.
    pub(super) fn free(&self) -> FreeSlots {
        self.slots.free(&self.driver)
    }

    /// Runs `task` in `slots`.
    pub(super) fn spawn(
        &mut self,
        id: K,
        slots: SlotGuard,
        task: impl Future<Output = Result<R, TaskFailure>> + Send + 'static,
    ) {
        let task = async move { (id, task.await) };
        let handle = self.tasks.spawn_on(task, self.driver.cpu.handle());
        self.running.insert(id, (handle, slots));
    }

    /// Aborts the tasks for which `which` is true. No event follows, even if one has just ended.
    pub(super) fn abort(&mut self, which: impl Fn(&K) -> bool) {
        let aborted = self.running.extract_if(|id, _| which(id));
        aborted.for_each(|(_, (handle, _))| handle.abort());
    }

    /// Asks for machines with this number of slots.
    fn request(&mut self, slots: usize) {
        if let Some(demand) = self.demand.as_mut().filter(|demand| demand.slots() != slots) {
            demand.set(slots);
        }
    }

    /// Waits for the next event.
    async fn event(&mut self) -> Result<Event<K, R>> {
        if self.tasks.is_empty() && self.driver.fleet.is_none() {
            return Err(Error::internal("no task can start, and no machine can be waited for"));
        }
        // With no task running, all tasks wait for a machine: its start is a change.
        tokio::select! {
            ended = self.tasks.join_next(), if !self.tasks.is_empty() => match ended {
                Some(Ok((id, outcome))) => Ok(match self.running.remove(&id) {
                    Some((_, slots)) => Event::Ended(id, slots, outcome),
                    // It was aborted when it had just ended.
                    None => Event::SlotsChanged,
                }),
                Some(Err(join)) if !join.is_cancelled() => {
                    Err(Error::internal(format!("the sender of a task: {join}")))
                }
                Some(Err(_)) | None => Ok(Event::SlotsChanged),
            },
            () = changed(&mut self.losses) => Ok(Event::MachinesLost(self.drop_lost())),
            () = changed(&mut self.changes) => Ok(Event::SlotsChanged),
        }
    }

    /// Aborts the tasks on lost machines: which, and why.
    fn drop_lost(&mut self) -> Vec<(K, String)> {
        let Some(fleet) = &self.driver.fleet else { return Vec::new() };
        let alive = fleet.urls();
        let lost = self.running.extract_if(|_, (_, slots)| match slots.target() {
            Target::Driver => false,
            Target::Machine(_, url) => !alive.contains(url),
        });
        let lost = lost.filter_map(|(id, (handle, slots))| {
            handle.abort();
            let Target::Machine(name, _) = slots.target() else { return None };
            let why = recovery::lost_machine(fleet, name);
            Some((id, why.unwrap_or_else(|| format!("machine \"{name}\" was lost"))))
        });
        lost.collect()
    }
}

/// Returns when the value changes; never if there is none.
async fn changed(value: &mut Option<watch::Receiver<u64>>) {
    let changed = match value {
        Some(value) => value.changed().await.is_ok(),
        None => false,
    };
    if !changed {
        std::future::pending().await
    }
}
