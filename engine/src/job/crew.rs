//! Who runs tasks: the driver itself, or the machines of its fleet. Knows how many tasks each may
//! have at a time and what became of one that failed.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bigslice_cluster::Fleet;
use bigslice_flight::{Channels, TaskHost};
use bytes::Bytes;
use datafusion::error::DataFusionError;
use url::Url;

use crate::error::{Error, Result};
use crate::session::Inner;
use crate::task::{Asked, Shared, TaskReply, TaskRequest, decode, encode};

/// How long a run waits for a machine to be there at all.
const MACHINE_WAIT_MAX: Duration = Duration::from_secs(10);

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
}

/// Tasks that run now, by place.
#[derive(Debug, Default)]
pub(super) struct Crew {
    busy: BTreeMap<Place, usize>,
}

impl Crew {
    /// Tasks that may run at a time in one place.
    fn slots_each(session: &Inner) -> usize {
        session.config.cores_per_process()
    }

    /// Tasks that may run at a time in all.
    pub(super) fn slots(session: &Inner) -> usize {
        Self::slots_each(session) * session.config.system.machines().max(1)
    }

    /// The place that has least to do, if one may have more.
    pub(super) fn free(&self, session: &Inner) -> Option<Place> {
        let most = Self::slots_each(session);
        let places = match &session.fleet {
            None => vec![Place::Here],
            Some(fleet) => places(fleet),
        };
        let load = |place: &Place| self.busy.get(place).copied().unwrap_or(0);
        places.into_iter().filter(|place| load(place) < most).min_by_key(load)
    }

    pub(super) fn begin(&mut self, place: &Place) {
        *self.busy.entry(place.clone()).or_default() += 1;
    }

    pub(super) fn end(&mut self, place: &Place) {
        if let Some(load) = self.busy.get_mut(place) {
            *load = load.saturating_sub(1);
        }
    }
}

fn places(fleet: &Fleet) -> Vec<Place> {
    let machines = fleet.machines();
    machines
        .iter()
        .filter_map(|m| Some(Place::Machine(m.name().to_string(), m.url()?.clone())))
        .collect()
}

/// Waits until there is a machine, if there are to be any.
pub(super) async fn wait_for_machines(session: &Inner) -> Result<()> {
    let Some(fleet) = &session.fleet else { return Ok(()) };
    fleet.wait_for(1, MACHINE_WAIT_MAX).await.map_err(|e| {
        let message = format!("no machine is left to run on: {}", crate::words::chain(&e));
        Error::Lost { message, hint: None }
    })
}

/// Runs one task in one place. It does not hold the session meanwhile: one that is dropped ends at
/// once, and its tasks after it.
pub(super) async fn run(
    session: &Weak<Inner>,
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
        Err(error) => Err(judge(&*held()?, place, &error).await),
    }
}

async fn on_machine(
    channels: Option<Channels>,
    url: &Url,
    request: TaskRequest,
) -> Result<TaskReply, DataFusionError> {
    let channels = channels.ok_or_else(|| Error::internal("a machine without a fleet"))?;
    let request = encode(&Asked::Task(Box::new(request)))?;
    Ok(decode(&channels.run_task(url, request).await?)?)
}

/// Has a function called for one item in one place; `request` says which. The reply says how it went: what is
/// an error here is none of the function's.
pub(super) async fn call(
    session: &Weak<Inner>,
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
        Err(error) => Err(judge(&*held()?, place, &error).await),
    }
}

/// What an error means: the machines are asked, and only if all are there is the task to blame.
async fn judge(session: &Inner, place: &Place, error: &DataFusionError) -> Trouble {
    if let (Some(fleet), Place::Machine(name, _)) = (&session.fleet, place) {
        let transport = bigslice_flight::is_transport_error(error);
        if transport {
            fleet.verify().await;
        }
        let gone = fleet.lost().into_iter().rev().find(|loss| loss.machine.as_str() == name);
        if let Some(loss) = gone {
            return Trouble::Lost(format!("machine \"{name}\" was lost ({})", loss.reason));
        }
        if transport {
            let (text, _) = crate::words::describe(error);
            return Trouble::Lost(format!("a connection between machines broke: {text}"));
        }
    }
    Trouble::Failed(Error::of(error, ""))
}
