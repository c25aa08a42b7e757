//! The switchboard of a test's faults: what is set, which machines there are, what has happened.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use fastrand::Rng;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::faults::course::{self, Due};
use crate::faults::weather::{Harm, Links, Weather};
use crate::identity::MachineName;

/// The oldest events are forgotten beyond this many.
const EVENTS_KEPT_MAX: usize = 1024;

/// What has happened so far, each a number of times.
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

/// One harm that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Who sent the bytes.
    pub from: MachineName,
    /// To whom.
    pub to: MachineName,
    /// On which of the connections that were made between the two, by the same one; from 0.
    pub connection: u64,
    /// After how many bytes of this direction.
    pub offset: u64,
    /// What was done.
    pub harm: Harm,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, connection, offset, harm } = self;
        write!(f, "{harm:?} from {from} to {to}, connection {connection}, after {offset} bytes")
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
struct Board {
    weather: Vec<(Links, Weather)>,
    cuts: Vec<Links>,
    paused: BTreeSet<MachineName>,
    /// The machines that live, with what kills them.
    machines: BTreeMap<MachineName, CancellationToken>,
    /// How many connections were made, by who made them and to whom.
    connections: BTreeMap<Way, u64>,
    choices: Rng,
    fired: Fired,
    events: VecDeque<Event>,
}

/// The faults of one fleet of in-process machines. Clones are the same. See the
/// [module](crate::faults) for what they do.
#[derive(Clone)]
pub struct Faults {
    seed: u64,
    board: Arc<Mutex<Board>>,
    /// Counts the changes of what is set.
    changes: watch::Sender<u64>,
}

impl Faults {
    /// Faults drawn from `seed`; none as long as nothing is set.
    pub fn new(seed: u64) -> Self {
        let board = Board {
            weather: Vec::new(),
            cuts: Vec::new(),
            paused: BTreeSet::new(),
            machines: BTreeMap::new(),
            connections: BTreeMap::new(),
            choices: Rng::with_seed(seed),
            fired: Fired::default(),
            events: VecDeque::new(),
        };
        Self { seed, board: Arc::new(Mutex::new(board)), changes: watch::Sender::new(0) }
    }

    /// What they are drawn from: to be printed by a test that fails.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// From now on `weather` on `links`, on connections that are open too, instead of what was set
    /// for the same links before. Where several links cover a way, the one set last holds.
    pub fn set(&self, links: Links, weather: Weather) {
        self.change(|board| {
            board.weather.retain(|(set, _)| *set != links);
            board.weather.push((links, weather));
        });
    }

    /// From now on nothing arrives on `links`; nothing breaks either, before those who wait for an
    /// answer lose patience. New connections are not made.
    pub fn cut(&self, links: Links) {
        self.change(|board| {
            if !board.cuts.contains(&links) {
                board.cuts.push(links);
            }
        });
    }

    /// Undoes [`Faults::cut`] for the same `links`. What was sent meanwhile arrives, as far as the
    /// connection still exists.
    pub fn mend(&self, links: &Links) {
        self.change(|board| board.cuts.retain(|cut| cut != links));
    }

    /// Undoes all that is set: fair weather, no cuts, no machine paused.
    pub fn clear(&self) {
        self.change(|board| {
            board.weather.clear();
            board.cuts.clear();
            board.paused.clear();
        });
    }

    /// Has a machine stand still, as a stopped process does: it accepts nothing, answers nothing, and
    /// does not notice that its lease lapses before [`Faults::resume`]. Threads of its services go
    /// on, but nobody can hear of it. Whether there was such a machine.
    pub fn pause(&self, machine: &MachineName) -> bool {
        self.change(|board| {
            let paused =
                board.machines.contains_key(machine) && board.paused.insert(machine.clone());
            board.fired.pauses += u64::from(paused);
            paused
        })
    }

    /// Has a paused machine go on.
    pub fn resume(&self, machine: &MachineName) {
        self.change(|board| board.paused.remove(machine));
    }

    /// Kills a machine at once. Whether there was such a machine.
    pub fn kill(&self, machine: &MachineName) -> bool {
        let mut board = self.board.lock();
        let Some(crash) = board.machines.get(machine).filter(|crash| !crash.is_cancelled()) else {
            return false;
        };
        crash.cancel();
        board.fired.kills += 1;
        true
    }

    /// Kills one of the machines that live, and says which. The seed chooses, among their names in
    /// order.
    pub fn kill_any(&self) -> Option<MachineName> {
        let machines = self.machines();
        let machine = self.board.lock().choices.choice(machines)?;
        self.kill(&machine).then_some(machine)
    }

    /// The machines that live.
    pub fn machines(&self) -> Vec<MachineName> {
        let board = self.board.lock();
        let alive = board.machines.iter().filter(|(_, crash)| !crash.is_cancelled());
        alive.map(|(name, _)| name.clone()).collect()
    }

    /// What has happened so far.
    pub fn fired(&self) -> Fired {
        self.board.lock().fired
    }

    /// The harms that were done, oldest first; the last thousand.
    pub fn events(&self) -> Vec<Event> {
        self.board.lock().events.iter().cloned().collect()
    }

    fn change<T>(&self, change: impl FnOnce(&mut Board) -> T) -> T {
        let changed = change(&mut self.board.lock());
        self.changes.send_modify(|n| *n += 1);
        changed
    }

    /// A machine lives from now on.
    pub(crate) fn enter(&self, machine: MachineName, crash: CancellationToken) {
        self.board.lock().machines.insert(machine, crash);
    }

    /// A machine is over, and nobody has its name again.
    pub(crate) fn leave(&self, machine: &MachineName) {
        let mut board = self.board.lock();
        board.machines.remove(machine);
        board.paused.remove(machine);
        board.connections.retain(|way, _| way.from != *machine && way.to != *machine);
    }

    /// The changes so far; a later number is another weather.
    pub(crate) fn version(&self) -> u64 {
        *self.changes.borrow()
    }

    pub(crate) fn weather(&self, way: &Way) -> Weather {
        let board = self.board.lock();
        let set = board.weather.iter().rev().find(|(links, _)| links.cover(&way.from, &way.to));
        set.map(|(_, weather)| weather.clone()).unwrap_or_default()
    }

    /// The number of a new connection that `way.from` has made to `way.to`.
    pub(crate) fn connected(&self, way: &Way) -> u64 {
        let mut board = self.board.lock();
        let made = board.connections.entry(way.clone()).or_default();
        *made += 1;
        *made - 1
    }

    /// What is drawn for one direction of a connection.
    pub(crate) fn draws(&self, way: &Way, connection: u64) -> Rng {
        course::draws(self.seed, &way.from, &way.to, connection)
    }

    /// Returns when bytes can pass: at once, unless the way is cut or an end of it paused.
    pub(crate) async fn passable(&self, way: &Way) {
        let mut changes = self.changes.subscribe();
        let mut held = false;
        loop {
            changes.borrow_and_update();
            {
                let mut board = self.board.lock();
                let Way { from, to } = way;
                let paused = board.paused.contains(from) || board.paused.contains(to);
                if !paused && !board.cuts.iter().any(|cut| cut.cover(from, to)) {
                    return;
                }
                board.fired.held += u64::from(!held);
                held = true;
            }
            // Never an error: the sender lives in `self`.
            drop(changes.changed().await);
        }
    }

    /// Does the work of `machine`, but not while it is paused.
    pub(crate) async fn live<T>(&self, machine: &MachineName, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        let mut changes = self.changes.subscribe();
        loop {
            changes.borrow_and_update();
            let paused = self.board.lock().paused.contains(machine);
            tokio::select! {
                biased;
                _ = changes.changed() => {}
                done = &mut work, if !paused => return done,
            }
        }
    }

    pub(crate) fn delayed(&self) {
        self.board.lock().fired.delays += 1;
    }

    /// Notes a harm that is being done.
    pub(crate) fn harmed(&self, way: &Way, connection: u64, due: &Due) {
        let mut board = self.board.lock();
        let fired = &mut board.fired;
        *match due.harm {
            Harm::Reset => &mut fired.resets,
            Harm::Truncate => &mut fired.truncations,
            Harm::Drop => &mut fired.drops,
            Harm::Duplicate => &mut fired.duplicates,
            Harm::Flip => &mut fired.flips,
        } += 1;
        if board.events.len() == EVENTS_KEPT_MAX {
            board.events.pop_front();
        }
        let Way { from, to } = way.clone();
        let event = Event { from, to, connection, offset: due.offset, harm: due.harm };
        tracing::debug!(seed = self.seed, %event, "a fault");
        board.events.push_back(event);
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
