//! Machines for a piece of work, where they come and go: it asks for as many as it can use, waits for the
//! first of them, in sight of the user, and holds those that it works on, so that none is released under its hands.
//! Called for each attempt of a query ([`attempt`](crate::query::attempt)), and by runs ([`job`](crate::runs::job)).
//! Where there are always the same machines this comes down to a wait after all were lost.

use std::sync::Arc;
use std::time::Duration;

use bigslice_cluster::{Demand, Fleet, Hold, LogLine, LogSource, Loss, Machine};
use bigslice_flight::Members;
use bigslice_planner::{DRIVER_STAGE, StageGraph};
use datafusion::execution::session_state::SessionState;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_distributed::DistributedExt;
use tokio::time::Instant;
use url::Url;

use crate::base::driver::Driver;
use crate::base::settings;
use crate::error::{Error, Result};

/// How long is waited for a machine of this computer to be there at all. Starting one takes a fraction of a
/// second; an error is promised within 30 s.
const LOCAL_WAIT_MAX: Duration = Duration::from_secs(10);

/// The same for a machine elsewhere: longer than its system takes to give it up.
const REMOTE_WAIT_MAX: Duration = Duration::from_secs(15 * 60);

/// A wait that is longer is mentioned.
const WAIT_SAID_AFTER: Duration = Duration::from_secs(1);

/// Machines that were ordered together come together: when the first is there, the others are waited for as
/// long again as that took, but at least and at most so long.
const REST_WAIT_MIN: Duration = Duration::from_secs(1);
const REST_WAIT_MAX: Duration = Duration::from_secs(60);

/// How often machines may go between being seen and being held, before that counts as a loss.
const HOLDS_TRIED_MAX: usize = 5;

/// Losses that a message names.
const LOSSES_NAMED_MAX: usize = 4;

/// The machines that a query works on.
pub(crate) struct Company {
    holds: Vec<Hold>,
    /// Has others started instead of those that are lost.
    _demand: Option<Demand>,
}

/// How many machines a plan can use: one for each task of the stage that has most; none if it runs in this
/// process.
pub(crate) fn usable(plan: &Arc<dyn ExecutionPlan>) -> usize {
    let graph = StageGraph::of(plan);
    let stages = graph.stages.iter().filter(|stage| stage.id != DRIVER_STAGE);
    stages.map(|stage| stage.tasks).max().unwrap_or(0)
}

/// Asks for so many slots, if machines come and go.
pub(crate) fn demand(driver: &Driver, slots: usize) -> Option<Demand> {
    let fleet = driver.fleet.as_ref().filter(|_| driver.config.is_elastic())?;
    Some(fleet.demand(slots))
}

/// Waits until there is a machine, if there are to be any.
pub(crate) async fn wait(driver: &Driver) -> Result<()> {
    let Some(fleet) = &driver.fleet else { return Ok(()) };
    let remote = driver.config.system.is_remote();
    let wait = fleet.wait_for(1, if remote { REMOTE_WAIT_MAX } else { LOCAL_WAIT_MAX });
    let mut wait = std::pin::pin!(wait);
    let waited = match tokio::time::timeout(WAIT_SAID_AFTER, &mut wait).await {
        Ok(waited) => waited,
        Err(_) => {
            let text = format!("waiting for machines 0/{}", fleet.size().max(1));
            (driver.config.log)(LogLine { machine: None, source: LogSource::Fleet, text });
            wait.await
        }
    };
    waited.map_err(|error| {
        let why = bigslice_files::chain(&error);
        let translated = match fleet.lost() {
            lost if lost.is_empty() => {
                Error::machines(format!("there is no machine to run on: {why}"))
            }
            lost => {
                let lost = tell(&lost);
                Error::lost(format!("no machine is left to run on: {lost}; {why}"))
            }
        };
        translated.with_source(error)
    })
}

impl Company {
    /// Asks for `machines`, as far as there may be so many, and waits for the first and for what comes with it.
    pub(crate) async fn call(driver: &Driver, fleet: &Fleet, machines: usize) -> Result<Demand> {
        let machines = machines.min(fleet.size_max());
        let demand = fleet.demand(machines * driver.config.cores_per_process());
        let began = Instant::now();
        wait(driver).await?;
        let rest = began.elapsed().clamp(REST_WAIT_MIN, REST_WAIT_MAX);
        if let Err(error) = fleet.wait_for(machines, rest).await {
            tracing::info!(%error, "going on with the machines that are there");
        }
        Ok(demand)
    }

    /// Holds the machines that are to be given work; all that run, if there are none of these.
    pub(crate) async fn hold(
        driver: &Driver,
        fleet: &Fleet,
        demand: Option<Demand>,
    ) -> Result<Self> {
        for _ in 0..HOLDS_TRIED_MAX {
            let ready = fleet.ready();
            let machines = if ready.is_empty() { fleet.machines() } else { ready };
            let holds: Vec<Hold> = machines.iter().filter_map(Machine::hold).collect();
            if !holds.is_empty() {
                return Ok(Self { holds, _demand: demand });
            }
            wait(driver).await?;
        }
        let message = "machines went as soon as they had come".to_owned();
        Err(Error::lost(message))
    }

    /// How many they are.
    pub(crate) fn size(&self) -> usize {
        self.holds.len()
    }

    /// Has what is planned and run with `state` use these machines and no others.
    pub(crate) fn confine(&self, state: &mut SessionState) {
        settings::enforce(state.config_mut(), self.size());
        let urls = self.holds.iter().filter_map(|hold| hold.machine().url().cloned());
        let urls: Vec<Url> = urls.collect();
        state.config_mut().set_distributed_worker_resolver(Members::at(urls));
    }
}

/// A connection to a machine broke although it answers: it is given less work for a while.
pub(crate) fn suspect(fleet: &Fleet, name: &str, why: &str) {
    if let Some(machine) = fleet.machines().iter().find(|m| m.name().as_str() == name) {
        machine.suspect(why);
    }
}

/// Losses in words.
pub(crate) fn tell(losses: &[Loss]) -> String {
    let named = losses.iter().take(LOSSES_NAMED_MAX);
    let mut named: Vec<String> = named
        .map(|loss| format!("machine \"{}\" was lost ({})", loss.machine, loss.reason))
        .collect();
    if losses.len() > LOSSES_NAMED_MAX {
        named.push(format!("and {} more", losses.len() - LOSSES_NAMED_MAX));
    }
    if named.is_empty() { "a machine was lost".to_owned() } else { named.join(", ") }
}
