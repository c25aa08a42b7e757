//! What is asked of a fleet: slots by those who have work, machines by those who wait for some. Plain
//! state behind one lock; the [`keeper`](crate::fleet::keeper) is woken when it changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

#[derive(Debug, Default)]
struct Asked {
    /// The slots of all demands.
    slots: usize,
    /// How many wait until so many machines run.
    waits: BTreeMap<usize, usize>,
    /// How often more was asked for, so that what was given up is tried again.
    raises: u64,
}

/// All that is asked of one fleet.
#[derive(Debug)]
pub(crate) struct Ledger {
    asked: Mutex<Asked>,
    wake: Arc<Notify>,
}

impl Ledger {
    /// `wake` is notified of each change.
    pub(crate) fn new(wake: Arc<Notify>) -> Self {
        Self { asked: Mutex::default(), wake }
    }

    /// How many machines are asked for, if each has so many slots.
    pub(crate) fn machines(&self, slots_per_machine: usize) -> usize {
        let asked = self.asked.lock();
        let waits = asked.waits.keys().next_back().copied().unwrap_or(0);
        asked.slots.div_ceil(slots_per_machine.max(1)).max(waits)
    }

    /// Counts how often more was asked for.
    pub(crate) fn raises(&self) -> u64 {
        self.asked.lock().raises
    }

    /// Asks anew for what there is a demand for.
    pub(crate) fn insist(&self) {
        self.change(|asked| asked.raises += 1);
    }

    fn change(&self, change: impl FnOnce(&mut Asked)) {
        change(&mut self.asked.lock());
        self.wake.notify_one();
    }
}

/// Work that there is, or will be in a moment, in slots: whatever the user of a fleet gives one task
/// of its machines' time. The fleet has machines for all demands together, up to its limit, until
/// they are dropped. See [`Fleet::demand`](crate::Fleet::demand).
#[derive(Debug)]
pub struct Demand {
    ledger: Arc<Ledger>,
    slots: usize,
}

impl Demand {
    pub(crate) fn new(ledger: Arc<Ledger>, slots: usize) -> Self {
        let mut demand = Self { ledger, slots: 0 };
        demand.set(slots);
        demand
    }

    /// How many slots it asks for.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// From now on so many. If starting machines was given up and these are more than before, it is
    /// tried again.
    pub fn set(&mut self, slots: usize) {
        let before = std::mem::replace(&mut self.slots, slots);
        self.ledger.change(|asked| {
            asked.slots = (asked.slots - before).saturating_add(slots);
            asked.raises += u64::from(slots > before);
        });
    }
}

impl Drop for Demand {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// Somebody waits until so many machines run.
#[derive(Debug)]
pub(crate) struct Wait {
    ledger: Arc<Ledger>,
    machines: usize,
}

impl Wait {
    pub(crate) fn new(ledger: Arc<Ledger>, machines: usize) -> Self {
        ledger.change(|asked| *asked.waits.entry(machines).or_default() += 1);
        Self { ledger, machines }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.ledger.change(|asked| {
            if let Some(waiting) = asked.waits.get_mut(&self.machines) {
                *waiting -= 1;
                if *waiting == 0 {
                    asked.waits.remove(&self.machines);
                }
            }
        });
    }
}
