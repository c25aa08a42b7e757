//! Slots: where tasks can run, the driver or the machines of its fleet, and how many may run there
//! at a time. A task holds its slots by a [`SlotGuard`].

use std::collections::BTreeMap;
use std::sync::Arc;

use bigslice_cluster::{Hold, Machine};
use parking_lot::Mutex;
use url::Url;

use crate::base::driver::Driver;
use crate::runs::task::Pragmas;

/// Where a task can run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    /// In the driver.
    Driver,
    /// On the machine with this name, at this address.
    Machine(String, Url),
}

impl Target {
    /// The address of the machine.
    pub(super) fn machine(&self) -> Option<String> {
        match self {
            Self::Driver => None,
            Self::Machine(_, url) => Some(url.to_string()),
        }
    }
}

/// The number of slots in use, by target.
type InUse = Arc<Mutex<BTreeMap<Target, usize>>>;

/// Hands out the slots of all targets to the tasks of one run or map.
#[derive(Debug, Default)]
pub(super) struct SlotAllocator {
    in_use: InUse,
}

impl SlotAllocator {
    /// The slots of one target.
    pub(super) fn per_target(driver: &Driver) -> usize {
        driver.config.cores_per_process()
    }

    /// The slots of all targets.
    pub(super) fn total(driver: &Driver) -> usize {
        Self::per_target(driver) * driver.config.system.machines().max(1)
    }

    /// The slots that are free now.
    pub(super) fn free(&self, driver: &Driver) -> FreeSlots {
        let ready = driver.fleet.as_ref().map(|fleet| fleet.ready());
        let targets: Vec<_> = match ready {
            None => vec![(Target::Driver, None)],
            Some(machines) => machines
                .into_iter()
                .filter_map(|machine| {
                    let name = machine.name().to_string();
                    Some((Target::Machine(name, machine.url()?.clone()), Some(machine)))
                })
                .collect(),
        };
        let in_use = self.in_use.lock();
        let targets = targets.into_iter().map(|(target, machine)| {
            let in_use = in_use.get(&target).copied().unwrap_or(0);
            Load { in_use, target, machine }
        });
        FreeSlots {
            targets: targets.collect(),
            per_target: Self::per_target(driver),
            in_use: Arc::clone(&self.in_use),
        }
    }
}

/// A target, and how many of its slots are in use.
struct Load {
    in_use: usize,
    target: Target,
    machine: Option<Machine>,
}

/// The slots that are free at a moment.
pub(super) struct FreeSlots {
    targets: Vec<Load>,
    per_target: usize,
    in_use: InUse,
}

impl FreeSlots {
    /// How many slots of one target a task takes.
    pub(super) fn needed(&self, pragmas: Pragmas) -> usize {
        pragmas.slots(self.per_target)
    }

    /// True if no target takes any more tasks.
    pub(super) fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// Takes `slots` slots of the least loaded target. If it has too few, it is reserved for this
    /// task and takes no others after it: otherwise a task that needs many slots would wait as long
    /// as there are tasks that need few.
    pub(super) fn take(&mut self, slots: usize) -> Option<SlotGuard> {
        loop {
            let best = (0..self.targets.len()).min_by_key(|n| self.targets[*n].in_use)?;
            let Load { in_use, target, machine } = &mut self.targets[best];
            if *in_use + slots > self.per_target {
                self.targets.swap_remove(best);
                return None;
            }
            let hold = machine.as_ref().map(Machine::hold);
            if let Some(None) = hold {
                // The machine stopped, or is being released.
                self.targets.swap_remove(best);
                continue;
            }
            *in_use += slots;
            *self.in_use.lock().entry(target.clone()).or_default() += slots;
            let hold = hold.flatten().map(Arc::new);
            return Some(SlotGuard {
                target: target.clone(),
                slots,
                hold,
                in_use: Arc::clone(&self.in_use),
            });
        }
    }
}

/// Slots of one target, taken by one task. They are free again when this is dropped.
#[derive(Debug)]
pub(super) struct SlotGuard {
    target: Target,
    slots: usize,
    /// Keeps the machine from being released.
    hold: Option<Arc<Hold>>,
    in_use: InUse,
}

impl SlotGuard {
    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    pub(super) fn slots(&self) -> usize {
        self.slots
    }

    pub(super) fn hold(&self) -> Option<Arc<Hold>> {
        self.hold.clone()
    }
}

impl Drop for SlotGuard {
    fn drop(&mut self) {
        if let Some(in_use) = self.in_use.lock().get_mut(&self.target) {
            *in_use = in_use.saturating_sub(self.slots);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(name: &str) -> Target {
        Target::Machine(name.to_owned(), Url::parse("https://localhost").unwrap())
    }

    fn free(a: usize, b: usize) -> FreeSlots {
        let load = |in_use, name| Load { in_use, target: target(name), machine: None };
        let targets = vec![load(a, "a"), load(b, "b")];
        FreeSlots { targets, per_target: 4, in_use: InUse::default() }
    }

    /// The machines that tasks with these numbers of slots get.
    fn taken(free: &mut FreeSlots, tasks: &[usize]) -> Vec<Option<&'static str>> {
        let guards = tasks.iter().map(|slots| free.take(*slots));
        guards
            .map(|guard| guard.map(|guard| if guard.target == target("a") { "a" } else { "b" }))
            .collect()
    }

    #[test]
    fn a_machine_is_kept_free_for_a_task_that_needs_all_of_it() {
        let mut now = free(0, 0);
        // One each; the third waits for "a", and the others go to "b" until that is full too.
        assert_eq!(taken(&mut now, &[1, 1, 4]), [Some("a"), Some("b"), None]);
        assert_eq!(
            taken(&mut now, &[1, 1, 1, 1, 1]),
            [Some("b"), Some("b"), Some("b"), None, None]
        );
        assert!(now.is_empty());
        // The tasks on "a" have ended.
        assert_eq!(taken(&mut free(0, 4), &[4, 1]), [Some("a"), None]);
        assert_eq!(taken(&mut free(1, 3), &[2, 2, 1]), [Some("a"), None, Some("b")]);
    }

    #[test]
    fn a_task_takes_no_more_than_a_machine_has() {
        let free = free(0, 0);
        let slots =
            |procs, exclusive| free.needed(Pragmas { procs, exclusive, deterministic: None });
        assert_eq!(
            [slots(0, false), slots(3, false), slots(9, false), slots(1, true)],
            [1, 3, 4, 4]
        );
    }

    #[test]
    fn slots_are_free_again_when_their_guard_is_dropped() {
        let mut free = free(0, 0);
        let guard = free.take(3).unwrap();
        let in_use = Arc::clone(&guard.in_use);
        assert_eq!(in_use.lock().get(&target("a")), Some(&3));
        drop(guard);
        assert_eq!(in_use.lock().get(&target("a")), Some(&0));
    }
}
