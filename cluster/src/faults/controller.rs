//! The controller of a test's faults: the settings, the machines, and the faults that occurred.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use fastrand::Rng;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::faults::schedule::{Fault, FaultSchedule, Links};
use crate::faults::timeline::{self, Due};
use crate::identity::MachineName;

/// The most events that are kept. The oldest are forgotten.
const EVENTS_KEPT_MAX: usize = 1024;

/// The faults so far, counted by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fired {
    /// Machines killed.
    pub kills: u64,
    /// Machines paused.
    pub pauses: u64,
    /// Bytes or connections that had to wait because of a cut or a pause.
    pub held: u64,
    /// Packets that had to wait because of a delay, jitter or a limit of bytes per second.
    pub delays: u64,
    /// Connections reset.
    pub resets: u64,
    /// Directions of connections cut short.
    pub truncations: u64,
    /// Runs of bytes left out.
    pub drops: u64,
    /// Runs of bytes delivered twice.
    pub duplicates: u64,
    /// Bits flipped.
    pub flips: u64,
}

/// A fault that occurred.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The sender of the bytes.
    pub from: MachineName,
    /// The receiver.
    pub to: MachineName,
    /// The number of the connection among those from the same dialer to the same machine, from 0.
    pub connection: u64,
    /// The number of bytes sent in this direction before the fault.
    pub offset: u64,
    /// The kind of fault.
    pub fault: Fault,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, connection, offset, fault } = self;
        write!(f, "{fault:?} from {from} to {to}, connection {connection}, after {offset} bytes")
    }
}

/// One direction between two machines.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Way {
    pub(crate) from: MachineName,
    pub(crate) to: MachineName,
}

impl Way {
    pub(crate) fn back(&self) -> Self {
        Self { from: self.to.clone(), to: self.from.clone() }
    }
}

#[derive(Debug)]
struct State {
    schedule: Vec<(Links, FaultSchedule)>,
    cuts: Vec<Links>,
    paused: BTreeSet<MachineName>,
    /// The running machines, with the tokens that kill them.
    machines: BTreeMap<MachineName, CancellationToken>,
    /// The number of connections by dialer and machine.
    connections: BTreeMap<Way, u64>,
    choices: Rng,
    fired: Fired,
    events: VecDeque<Event>,
}

/// The faults of one fleet of in-process machines. Clones share them. See the
/// [module](crate::faults) for what they do.
#[derive(Clone)]
pub struct Faults {
    seed: u64,
    state: Arc<Mutex<State>>,
    /// Counts the changes of the settings.
    changes: watch::Sender<u64>,
}

impl Faults {
    /// Faults drawn from `seed`; none until something is set.
    pub fn new(seed: u64) -> Self {
        let state = State {
            schedule: Vec::new(),
            cuts: Vec::new(),
            paused: BTreeSet::new(),
            machines: BTreeMap::new(),
            connections: BTreeMap::new(),
            choices: Rng::with_seed(seed),
            fired: Fired::default(),
            events: VecDeque::new(),
        };
        Self { seed, state: Arc::new(Mutex::new(state)), changes: watch::Sender::new(0) }
    }

    /// The seed. A test that fails should print it.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Sets the `schedule` of `links`, for open connections too. Replaces the schedule of the same
    /// links. If several links cover a connection, the last one set applies.
    pub fn set(&self, links: Links, schedule: FaultSchedule) {
        self.change(|state| {
            state.schedule.retain(|(set, _)| *set != links);
            state.schedule.push((links, schedule));
        });
    }

    /// Cuts `links`: nothing arrives any more, and nothing breaks until a side times out. New
    /// connections are not made.
    pub fn cut(&self, links: Links) {
        self.change(|state| {
            if !state.cuts.contains(&links) {
                state.cuts.push(links);
            }
        });
    }

    /// Undoes [`Faults::cut`] for the same `links`. Bytes sent meanwhile arrive if the connection
    /// still exists.
    pub fn mend(&self, links: &Links) {
        self.change(|state| state.cuts.retain(|cut| cut != links));
    }

    /// Resets all settings: no schedules, no cuts, no paused machines.
    pub fn clear(&self) {
        self.change(|state| {
            state.schedule.clear();
            state.cuts.clear();
            state.paused.clear();
        });
    }

    /// Pauses a machine, like a stopped process: it accepts nothing, answers nothing, and does not
    /// notice that its lease lapses before [`Faults::resume`]. Threads of its services go on, but
    /// their output does not leave the machine. Returns false if there is no such machine.
    pub fn pause(&self, machine: &MachineName) -> bool {
        self.change(|state| {
            let paused =
                state.machines.contains_key(machine) && state.paused.insert(machine.clone());
            state.fired.pauses += u64::from(paused);
            paused
        })
    }

    /// Resumes a paused machine.
    pub fn resume(&self, machine: &MachineName) {
        self.change(|state| state.paused.remove(machine));
    }

    /// Kills a machine at once. Returns false if there is no such machine.
    pub fn kill(&self, machine: &MachineName) -> bool {
        let mut state = self.state.lock();
        let Some(crash) = state.machines.get(machine).filter(|crash| !crash.is_cancelled()) else {
            return false;
        };
        crash.cancel();
        state.fired.kills += 1;
        true
    }

    /// Kills a running machine and returns its name. The seed chooses among the names in order.
    pub fn kill_any(&self) -> Option<MachineName> {
        let machines = self.machines();
        let machine = self.state.lock().choices.choice(machines)?;
        self.kill(&machine).then_some(machine)
    }

    /// The running machines.
    pub fn machines(&self) -> Vec<MachineName> {
        let state = self.state.lock();
        let alive = state.machines.iter().filter(|(_, crash)| !crash.is_cancelled());
        alive.map(|(name, _)| name.clone()).collect()
    }

    /// The faults so far.
    pub fn fired(&self) -> Fired {
        self.state.lock().fired
    }

    /// The faults that occurred, oldest first; the last thousand.
    pub fn events(&self) -> Vec<Event> {
        self.state.lock().events.iter().cloned().collect()
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.state.lock());
        self.changes.send_modify(|n| *n += 1);
        changed
    }

    /// Registers a running machine.
    pub(crate) fn enter(&self, machine: MachineName, crash: CancellationToken) {
        self.state.lock().machines.insert(machine, crash);
    }

    /// Removes a machine that has ended. Its name is not used again.
    pub(crate) fn leave(&self, machine: &MachineName) {
        let mut state = self.state.lock();
        state.machines.remove(machine);
        state.paused.remove(machine);
        state.connections.retain(|way, _| way.from != *machine && way.to != *machine);
    }

    /// The number of changes so far; a larger number means another schedule.
    pub(crate) fn version(&self) -> u64 {
        *self.changes.borrow()
    }

    pub(crate) fn schedule(&self, way: &Way) -> FaultSchedule {
        let state = self.state.lock();
        let set = state.schedule.iter().rev().find(|(links, _)| links.cover(&way.from, &way.to));
        set.map(|(_, schedule)| schedule.clone()).unwrap_or_default()
    }

    /// The number of a new connection from `way.from` to `way.to`.
    pub(crate) fn connected(&self, way: &Way) -> u64 {
        let mut state = self.state.lock();
        let made = state.connections.entry(way.clone()).or_default();
        *made += 1;
        *made - 1
    }

    /// The random numbers of one direction of a connection.
    pub(crate) fn draws(&self, way: &Way, connection: u64) -> Rng {
        timeline::draws(self.seed, &way.from, &way.to, connection)
    }

    /// Returns when bytes can pass: at once, unless the direction is cut or one of its machines is
    /// paused.
    pub(crate) async fn passable(&self, way: &Way) {
        let mut changes = self.changes.subscribe();
        let mut held = false;
        loop {
            changes.borrow_and_update();
            {
                let mut state = self.state.lock();
                let Way { from, to } = way;
                let paused = state.paused.contains(from) || state.paused.contains(to);
                if !paused && !state.cuts.iter().any(|cut| cut.cover(from, to)) {
                    return;
                }
                state.fired.held += u64::from(!held);
                held = true;
            }
            // Never an error: the sender lives in `self`.
            drop(changes.changed().await);
        }
    }

    /// Does the work of `machine`, except while it is paused.
    pub(crate) async fn live<T>(&self, machine: &MachineName, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        let mut changes = self.changes.subscribe();
        loop {
            changes.borrow_and_update();
            let paused = self.state.lock().paused.contains(machine);
            tokio::select! {
                biased;
                _ = changes.changed() => {}
                done = &mut work, if !paused => return done,
            }
        }
    }

    pub(crate) fn delayed(&self) {
        self.state.lock().fired.delays += 1;
    }

    /// Records a fault.
    pub(crate) fn happened(&self, way: &Way, connection: u64, due: &Due) {
        let mut state = self.state.lock();
        let fired = &mut state.fired;
        *match due.fault {
            Fault::Reset => &mut fired.resets,
            Fault::Truncate => &mut fired.truncations,
            Fault::Drop => &mut fired.drops,
            Fault::Duplicate => &mut fired.duplicates,
            Fault::Flip => &mut fired.flips,
        } += 1;
        if state.events.len() == EVENTS_KEPT_MAX {
            state.events.pop_front();
        }
        let Way { from, to } = way.clone();
        let event = Event { from, to, connection, offset: due.offset, fault: due.fault };
        tracing::debug!(seed = self.seed, %event, "a fault");
        state.events.push_back(event);
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults")
            .field("seed", &self.seed)
            .field("fired", &self.fired())
            .finish_non_exhaustive()
    }
}
