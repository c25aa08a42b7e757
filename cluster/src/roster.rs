//! The fleet's book: which machines there are, which were lost, what keeps new ones from starting.
//! Plain state behind one lock, with a counter that wakes whoever waits for a change; the
//! [`keeper`](crate::keeper) writes it, the [`Fleet`](crate::Fleet) reads it.

use std::collections::{BTreeMap, VecDeque};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::identity::MachineName;
use crate::machine::{Machine, State};

/// The oldest losses are forgotten beyond this many.
const LOSSES_KEPT_MAX: usize = 1024;

/// A machine that was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Its name.
    pub machine: MachineName,
    /// What became of it, such as "killed by signal 9".
    pub reason: String,
}

/// Why no machine could be started, the last time it was tried.
#[derive(Clone, Debug)]
pub(crate) struct StartFailure {
    pub(crate) machine: MachineName,
    pub(crate) reason: String,
    /// Whether it is not tried any more until somebody asks for it.
    pub(crate) final_: bool,
}

#[derive(Debug, Default)]
struct Book {
    /// How many names were given out.
    named: u64,
    /// Machines that are not stopped, by the number in their name.
    machines: BTreeMap<u64, Machine>,
    lost: VecDeque<Loss>,
    /// How many were lost, those forgotten included.
    lost_total: u64,
    failure: Option<StartFailure>,
}

#[derive(Debug)]
pub(crate) struct Roster {
    book: Mutex<Book>,
    changes: watch::Sender<u64>,
    losses: watch::Sender<u64>,
}

impl Roster {
    pub(crate) fn new() -> Self {
        Self {
            book: Mutex::default(),
            changes: watch::Sender::new(0),
            losses: watch::Sender::new(0),
        }
    }

    /// Enters a new machine under a name never used before.
    pub(crate) fn enter(&self) -> (u64, Machine) {
        let mut book = self.book.lock();
        let ordinal = book.named;
        book.named += 1;
        let machine = Machine::new(MachineName::worker(ordinal));
        book.machines.insert(ordinal, machine.clone());
        (ordinal, machine)
    }

    /// Tells the waiting that a machine's state is another.
    pub(crate) fn changed(&self) {
        self.changes.send_modify(|n| *n += 1);
    }

    /// Strikes out a machine that is over.
    pub(crate) fn strike(&self, ordinal: u64) {
        self.book.lock().machines.remove(&ordinal);
        self.changed();
    }

    /// Strikes out a machine that was lost.
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

    /// The machines that run, in the order in which they were named.
    pub(crate) fn running(&self) -> Vec<Machine> {
        let book = self.book.lock();
        book.machines.values().filter(|m| m.state() == State::Running).cloned().collect()
    }

    pub(crate) fn lost(&self) -> Vec<Loss> {
        self.book.lock().lost.iter().cloned().collect()
    }

    /// How many were lost so far. A machine that is missing among the running is counted.
    pub(crate) fn lost_total(&self) -> u64 {
        self.book.lock().lost_total
    }

    /// The machines lost after the first `total`, as far as they are remembered.
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
