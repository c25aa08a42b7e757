//! Who runs tasks: the driver itself, or the machines of its fleet. Knows how many tasks each may
//! have at a time and what became of one that failed.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use bigslice_cluster::{Hold, Machine};
use bigslice_flight::{Channels, TaskHost};
use bytes::Bytes;
use datafusion::error::DataFusionError;
use url::Url;

use crate::base::diagnostics;
use crate::base::machines;
use crate::base::refusal::Refusal;
use crate::base::wire::{StoredAt, decode, encode};
use crate::error::{Error, Result};
use crate::runs::job::Runner;
use crate::runs::task::{Asked, Asks, Shared, TaskReply, TaskRequest};

/// How often a machine is told what it does not know for one task: once, and again when it has forgotten
/// meanwhile, because tasks of many other runs came.
const TELLS_MAX: usize = 4;

/// Where a task can run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// In the driver.
    Here,
    /// On the machine with this name, at this address.
    Machine(String, Url),
}

impl Place {
    /// The address of the machine.
    pub(super) fn machine(&self) -> Option<String> {
        match self {
            Self::Here => None,
            Self::Machine(_, url) => Some(url.to_string()),
        }
    }
}

/// What became of a task that did not end well.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It would fail again.
    Failed(Error),
    /// Its machine, or a connection, was lost.
    Lost(String),
    /// It could not read what another task has stored, and why.
    ShardLost(StoredAt, String),
    /// Its machine's program has these funcs.
    FuncsDiffer(Vec<String>),
}

/// Slots that are taken now, by place.
#[derive(Debug, Default)]
pub(super) struct Crew {
    busy: BTreeMap<Place, usize>,
}

impl Crew {
    /// Tasks that may run at a time in one place.
    pub(super) fn slots_each(session: &Runner) -> usize {
        session.config.cores_per_process()
    }

    /// Tasks that may run at a time in all.
    pub(super) fn slots(session: &Runner) -> usize {
        Self::slots_each(session) * session.config.system.machines().max(1)
    }

    /// The places that there are now, and what each may have.
    pub(super) fn room(&self, session: &Runner) -> Room {
        let ready = session.fleet.as_ref().map(|fleet| fleet.ready());
        let places: Vec<_> = match ready {
            None => vec![(Place::Here, None)],
            Some(machines) => machines
                .into_iter()
                .filter_map(|machine| {
                    let name = machine.name().to_string();
                    Some((Place::Machine(name, machine.url()?.clone()), Some(machine)))
                })
                .collect(),
        };
        let places = places.into_iter().map(|(place, machine)| {
            let load = self.busy.get(&place).copied().unwrap_or(0);
            Free { load, place, machine }
        });
        Room { places: places.collect(), most: Self::slots_each(session) }
    }

    pub(super) fn begin(&mut self, seat: &Seat) {
        *self.busy.entry(seat.place.clone()).or_default() += seat.slots;
    }

    pub(super) fn end(&mut self, seat: &Seat) {
        if let Some(load) = self.busy.get_mut(&seat.place) {
            *load = load.saturating_sub(seat.slots);
        }
    }
}

/// A place, and how many of its slots are taken.
struct Free {
    load: usize,
    place: Place,
    machine: Option<Machine>,
}

/// Where there is room at a moment.
pub(super) struct Room {
    places: Vec<Free>,
    /// The slots of each.
    most: usize,
}

impl Room {
    /// How many slots a task takes of any place.
    pub(super) fn slots(&self, asks: Asks) -> usize {
        asks.slots(self.most)
    }

    /// Whether no place takes any more tasks.
    pub(super) fn is_full(&self) -> bool {
        self.places.is_empty()
    }

    /// So many slots of the place that has least to do. If it has too much, it is kept free for this task
    /// and takes no others after it: else one that needs many would wait for as long as there are some
    /// that need few.
    pub(super) fn take(&mut self, slots: usize) -> Option<Seat> {
        loop {
            let best = (0..self.places.len()).min_by_key(|n| self.places[*n].load)?;
            let Free { load, place, machine } = &mut self.places[best];
            if *load + slots > self.most {
                self.places.swap_remove(best);
                return None;
            }
            let hold = machine.as_ref().map(Machine::hold);
            if let Some(None) = hold {
                // It is over, or being released.
                self.places.swap_remove(best);
                continue;
            }
            *load += slots;
            let hold = hold.flatten().map(Arc::new);
            return Some(Seat { place: place.clone(), slots, hold });
        }
    }
}

/// Slots of one place, taken by one task.
#[derive(Debug, Clone)]
pub(super) struct Seat {
    pub(super) place: Place,
    pub(super) slots: usize,
    /// Keeps the machine from being released.
    pub(super) hold: Option<Arc<Hold>>,
}

/// Runs one task in one place. It does not hold the session meanwhile: one that is dropped ends at
/// once, and its tasks after it.
pub(super) async fn run(
    session: &Weak<Runner>,
    place: &Place,
    request: TaskRequest,
) -> Result<TaskReply, Trouble> {
    let held = || session.upgrade().ok_or(Trouble::Failed(Error::Closed));
    let outcome = match place {
        Place::Here => {
            let host = Arc::clone(&held()?.host);
            host.task(request).await
        }
        Place::Machine(_, url) => {
            let channels = held()?.channels.clone();
            on_machine(channels, url, request).await
        }
    };
    match outcome {
        Ok(reply) => Ok(reply),
        Err(error) => Err(judge(&*held()?, place, error).await),
    }
}

/// Sends a task without what its machine may know, and again with what it turns out not to know.
async fn on_machine(
    channels: Option<Channels>,
    url: &Url,
    mut request: TaskRequest,
) -> Result<TaskReply, DataFusionError> {
    let channels = channels.ok_or_else(|| Error::internal("a machine without a fleet"))?;
    let all = (request.brief.take(), request.inputs.take());
    let mut told = 0;
    loop {
        let asked = Asked::Task(Box::new(request.clone()));
        let error = match channels.run_task(url, encode(&asked)?).await {
            Ok(reply) => return Ok(decode(&reply)?),
            Err(error) => error,
        };
        match Refusal::of(&error) {
            Some(Refusal::NotTold { brief, inputs }) if told < TELLS_MAX => {
                told += 1;
                request.brief = all.0.clone().filter(|_| brief);
                request.inputs = all.1.clone().filter(|_| inputs);
            }
            _ => return Err(error),
        }
    }
}

/// Has a function called for one item in one place; `request` says which. The reply says how it went: what is
/// an error here is none of the function's.
pub(super) async fn call(
    session: &Weak<Runner>,
    place: &Place,
    request: Bytes,
) -> Result<Bytes, Trouble> {
    let held = || session.upgrade().ok_or(Trouble::Failed(Error::Closed));
    let outcome = match place {
        Place::Here => Shared(Arc::clone(&held()?.host)).run(request).await,
        Place::Machine(_, url) => match held()?.channels.clone() {
            Some(channels) => channels.run_task(url, request).await,
            None => Err(Error::internal("a machine without a fleet").into()),
        },
    };
    match outcome {
        Ok(reply) => Ok(reply),
        Err(error) => Err(judge(&*held()?, place, error).await),
    }
}

/// What an error means: the machines are asked, and only if all are there is the task to blame.
async fn judge(session: &Runner, place: &Place, error: DataFusionError) -> Trouble {
    if let (Some(fleet), Place::Machine(name, _)) = (&session.fleet, place) {
        let transport = diagnostics::is_transport(&error);
        if transport {
            fleet.verify().await;
        }
        let gone = fleet.lost().into_iter().rev().find(|loss| loss.machine.as_str() == name);
        if let Some(loss) = gone {
            return Trouble::Lost(format!("machine \"{name}\" was lost ({})", loss.reason));
        }
        if transport {
            let (text, _) = diagnostics::describe(&error);
            machines::suspect(fleet, bigslice_flight::lost_machine(&error).unwrap_or(name), &text);
            return Trouble::Lost(format!("a connection between machines broke: {text}"));
        }
    }
    match Refusal::of(&error) {
        Some(Refusal::ShardLost { at, reason }) => Trouble::ShardLost(at, reason),
        Some(Refusal::FuncsDiffer { theirs }) => Trouble::FuncsDiffer(theirs),
        _ => Trouble::Failed(Error::from(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &str) -> Place {
        Place::Machine(name.to_owned(), Url::parse("https://localhost").unwrap())
    }

    fn room(a: usize, b: usize) -> Room {
        let free = |load, name| Free { load, place: place(name), machine: None };
        Room { places: vec![free(a, "a"), free(b, "b")], most: 4 }
    }

    /// Where tasks of so many slots get room.
    fn taken(room: &mut Room, tasks: &[usize]) -> Vec<Option<&'static str>> {
        let seats = tasks.iter().map(|slots| room.take(*slots));
        seats
            .map(|seat| seat.map(|seat| if seat.place == place("a") { "a" } else { "b" }))
            .collect()
    }

    #[test]
    fn a_machine_is_kept_free_for_a_task_that_needs_all_of_it() {
        let mut now = room(0, 0);
        // One each; the third waits for "a", and the others go to "b" until that is full too.
        assert_eq!(taken(&mut now, &[1, 1, 4]), [Some("a"), Some("b"), None]);
        assert_eq!(
            taken(&mut now, &[1, 1, 1, 1, 1]),
            [Some("b"), Some("b"), Some("b"), None, None]
        );
        assert!(now.is_full());
        // "a" has come to its end.
        assert_eq!(taken(&mut room(0, 4), &[4, 1]), [Some("a"), None]);
        assert_eq!(taken(&mut room(1, 3), &[2, 2, 1]), [Some("a"), None, Some("b")]);
    }

    #[test]
    fn a_task_takes_no_more_than_a_machine_has() {
        let room = room(0, 0);
        let slots = |procs, exclusive| room.slots(Asks { procs, exclusive, deterministic: None });
        assert_eq!(
            [slots(0, false), slots(3, false), slots(9, false), slots(1, true)],
            [1, 3, 4, 4]
        );
    }
}
