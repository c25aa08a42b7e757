//! The machines of a fleet, the losses, and the last failure to start. Plain state behind one lock,
//! with a counter that wakes callers that wait for a change. The [`keeper`](crate::fleet::keeper)
//! writes it, the [`Fleet`](crate::Fleet) reads it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::fleet::sizing::{Counts, Peak};
use crate::identity::MachineName;
use crate::machine::{Machine, State};
use crate::observe::metrics::fleet_stats::FleetStats;

/// The most losses that are kept. The oldest are forgotten.
const LOSSES_KEPT_MAX: usize = 1024;

/// A machine that was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Its name.
    pub machine: MachineName,
    /// The reason, such as "killed by signal 9".
    pub reason: String,
}

/// Why the last attempt to start a machine failed.
#[derive(Clone, Debug)]
pub(crate) struct StartFailure {
    pub(crate) machine: MachineName,
    pub(crate) reason: String,
    /// True if it is not tried again before machines are requested again.
    pub(crate) final_: bool,
}

#[derive(Debug, Default)]
struct Book {
    /// The number of names given out.
    named: u64,
    /// Machines that have not stopped, by the number in their name.
    machines: BTreeMap<u64, Machine>,
    lost: VecDeque<Loss>,
    /// The number of losses, including forgotten ones.
    lost_total: u64,
    failure: Option<StartFailure>,
    /// The number of machines started.
    started_total: u64,
    /// The number of machines released.
    released_total: u64,
    peak: Peak,
}

#[derive(Debug)]
pub(crate) struct MachineRegistry {
    book: Mutex<Book>,
    /// Wakes the keeper.
    wake: Arc<Notify>,
    changes: watch::Sender<u64>,
    losses: watch::Sender<u64>,
}

impl MachineRegistry {
    /// `wake` is notified of changes for the keeper.
    pub(crate) fn new(wake: Arc<Notify>) -> Self {
        Self {
            book: Mutex::default(),
            wake,
            changes: watch::Sender::new(0),
            losses: watch::Sender::new(0),
        }
    }

    /// Adds a new machine under a name never used before.
    pub(crate) fn enter(&self) -> (u64, Machine) {
        let mut book = self.book.lock();
        let ordinal = book.named;
        book.named += 1;
        let machine = Machine::new(MachineName::worker(ordinal), Arc::clone(&self.wake));
        book.machines.insert(ordinal, machine.clone());
        (ordinal, machine)
    }

    /// Records that a machine has started, which ends any failure.
    pub(crate) fn started(&self) {
        {
            let mut book = self.book.lock();
            book.started_total += 1;
            book.failure.take_if(|failure| !failure.final_);
        }
        self.changed();
        self.wake.notify_one();
    }

    /// Reports that a machine's state has changed.
    pub(crate) fn changed(&self) {
        self.changes.send_modify(|n| *n += 1);
    }

    /// Removes a machine that has ended.
    pub(crate) fn strike(&self, ordinal: u64) {
        self.book.lock().machines.remove(&ordinal);
        self.changed();
    }

    /// Removes a machine that was lost.
    pub(crate) fn lose(&self, ordinal: u64, loss: Loss) {
        {
            let mut book = self.book.lock();
            book.machines.remove(&ordinal);
            if book.lost.len() == LOSSES_KEPT_MAX {
                book.lost.pop_front();
            }
            book.lost.push_back(loss);
            book.lost_total += 1;
        }
        self.losses.send_modify(|n| *n += 1);
        self.changed();
    }

    pub(crate) fn set_failure(&self, failure: Option<StartFailure>) {
        self.book.lock().failure = failure;
        self.changed();
    }

    pub(crate) fn failure(&self) -> Option<StartFailure> {
        self.book.lock().failure.clone()
    }

    /// The running machines, in the order of their names.
    pub(crate) fn running(&self) -> Vec<Machine> {
        let book = self.book.lock();
        book.machines.values().filter(|m| is_running(m)).cloned().collect()
    }

    /// The machines that have not ended, in the order of their names.
    pub(crate) fn all(&self) -> Vec<Machine> {
        self.book.lock().machines.values().cloned().collect()
    }

    /// The number of machines that run and stay.
    pub(crate) fn running_total(&self) -> usize {
        let book = self.book.lock();
        book.machines.values().filter(|m| is_running(m) && m.leaving().is_none()).count()
    }

    /// Returns true if each of the first `n` machines has started or failed to.
    pub(crate) fn first_settled(&self, n: usize) -> bool {
        let book = self.book.lock();
        let first = u64::try_from(n).unwrap_or(u64::MAX);
        let started = |machine: &Machine| machine.state() >= State::Running;
        book.named >= first && book.machines.range(..first).all(|(_, machine)| started(machine))
    }

    /// The running machines that are not on probation.
    pub(crate) fn ready(&self) -> Vec<Machine> {
        let book = self.book.lock();
        let ready = book.machines.values().filter(|m| is_running(m) && m.is_trusted());
        ready.cloned().collect()
    }

    pub(crate) fn started_total(&self) -> u64 {
        self.book.lock().started_total
    }

    /// The keeper knows the number of machines of which something is left. Machines that are
    /// leaving are not counted: their replacements may start before they are gone.
    pub(crate) fn counts(&self, lives: usize) -> Counts {
        let book = self.book.lock();
        let leaving = book.machines.values().filter(|m| m.leaving().is_some()).count();
        let (running, starting): (Vec<&Machine>, Vec<&Machine>) =
            book.machines.values().filter(stays).partition(|m| m.state() >= State::Running);
        Counts {
            alive: running.len() + starting.len(),
            starting: starting.len(),
            lives: lives.saturating_sub(leaving),
        }
    }

    pub(crate) fn stats(&self, wanted: usize) -> FleetStats {
        let Counts { alive, starting, .. } = self.counts(0);
        let book = self.book.lock();
        let (leaving, stay): (Vec<&Machine>, Vec<&Machine>) =
            book.machines.values().filter(|m| is_running(m)).partition(|m| m.leaving().is_some());
        FleetStats {
            wanted,
            starting,
            running: alive - starting,
            leaving: leaving.len(),
            on_probation: stay.iter().filter(|m| !m.is_trusted()).count(),
            started_total: book.started_total,
            released_total: book.released_total,
            lost_total: book.lost_total,
        }
    }

    /// Releases machines without a hold, those idle for longest first, as long as there are more
    /// than the highest target within `idle`; those that are leaving at once. Returns the time of
    /// the next check.
    pub(crate) fn release(&self, target: usize, idle: Duration, now: Instant) -> Option<Instant> {
        let mut book = self.book.lock();
        let leaving = book.machines.values().filter(|m| m.leaving().is_some());
        book.released_total += leaving.filter(|m| m.release()).count() as u64;
        book.peak.want(target, now);
        let (wanted, falls) = book.peak.within(idle, now);
        let alive = || book.machines.iter().filter(|(_, m)| stays(m));
        let surplus = alive().count().saturating_sub(wanted);
        if surplus == 0 {
            return falls;
        }
        let mut free: Vec<_> = alive()
            .filter_map(|(ordinal, m)| Some((m.free_since()?, Reverse(*ordinal), m.clone())))
            .collect();
        free.sort_by_key(|(since, newest, _)| (*since, *newest));
        for (since, _, machine) in free.into_iter().take(surplus) {
            if since + idle > now {
                return falls.into_iter().chain([since + idle]).min();
            }
            if machine.release() {
                book.released_total += 1;
            }
        }
        falls
    }

    pub(crate) fn lost(&self) -> Vec<Loss> {
        self.book.lock().lost.iter().cloned().collect()
    }

    /// The number of losses so far. A machine that is missing among the running ones is counted.
    pub(crate) fn lost_total(&self) -> u64 {
        self.book.lock().lost_total
    }

    /// The machines lost after the first `total`, as far as they are kept.
    pub(crate) fn lost_since(&self, total: u64) -> Vec<Loss> {
        let book = self.book.lock();
        let since = usize::try_from(book.lost_total.saturating_sub(total)).unwrap_or(usize::MAX);
        book.lost.iter().skip(book.lost.len().saturating_sub(since)).cloned().collect()
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(crate) fn losses(&self) -> watch::Receiver<u64> {
        self.losses.subscribe()
    }
}

/// Returns true if a machine exists or is starting and will not be taken away soon.
fn stays(machine: &&Machine) -> bool {
    !machine.is_released() && machine.leaving().is_none()
}

/// Returns true if a machine runs and will go on.
fn is_running(machine: &Machine) -> bool {
    machine.state() == State::Running && !machine.is_released()
}
