//! The demand for machines: slots for work, and machines that callers wait for. Plain state behind
//! one lock; changes wake the [`keeper`](crate::fleet::keeper).

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

#[derive(Debug, Default)]
struct Asked {
    /// The slots of all demands.
    slots: usize,
    /// The number of callers that wait for each number of machines.
    waits: BTreeMap<usize, usize>,
    /// Counts the requests for more, after which starting is tried again.
    raises: u64,
}

/// All demands on one fleet.
#[derive(Debug)]
pub(crate) struct Demands {
    asked: Mutex<Asked>,
    wake: Arc<Notify>,
}

impl Demands {
    /// `wake` is notified of each change.
    pub(crate) fn new(wake: Arc<Notify>) -> Self {
        Self { asked: Mutex::default(), wake }
    }

    /// The number of machines in demand, with this many slots each.
    pub(crate) fn machines(&self, slots_per_machine: usize) -> usize {
        let asked = self.asked.lock();
        let waits = asked.waits.keys().next_back().copied().unwrap_or(0);
        asked.slots.div_ceil(slots_per_machine.max(1)).max(waits)
    }

    /// Counts the requests for more.
    pub(crate) fn raises(&self) -> u64 {
        self.asked.lock().raises
    }

    /// Requests the current demand again.
    pub(crate) fn insist(&self) {
        self.change(|asked| asked.raises += 1);
    }

    fn change(&self, change: impl FnOnce(&mut Asked)) {
        change(&mut self.asked.lock());
        self.wake.notify_one();
    }
}

/// A demand for slots of work, now or in a moment. A slot is the unit of work that the user of a
/// fleet gives to one task. The fleet has machines for the sum of all demands, up to its limit,
/// until they are dropped. See [`Fleet::demand`](crate::Fleet::demand).
#[derive(Debug)]
pub struct Demand {
    demands: Arc<Demands>,
    slots: usize,
}

impl Demand {
    pub(crate) fn new(demands: Arc<Demands>, slots: usize) -> Self {
        let mut demand = Self { demands, slots: 0 };
        demand.set(slots);
        demand
    }

    /// The number of slots.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// Sets the number of slots. If starting machines was given up and this is more than before, it
    /// is tried again.
    pub fn set(&mut self, slots: usize) {
        let before = std::mem::replace(&mut self.slots, slots);
        self.demands.change(|asked| {
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

/// A caller that waits until this many machines run.
#[derive(Debug)]
pub(crate) struct Wait {
    demands: Arc<Demands>,
    machines: usize,
}

impl Wait {
    pub(crate) fn new(demands: Arc<Demands>, machines: usize) -> Self {
        demands.change(|asked| *asked.waits.entry(machines).or_default() += 1);
        Self { demands, machines }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.demands.change(|asked| {
            if let Some(waiting) = asked.waits.get_mut(&self.machines) {
                *waiting -= 1;
                if *waiting == 0 {
                    asked.waits.remove(&self.machines);
                }
            }
        });
    }
}
