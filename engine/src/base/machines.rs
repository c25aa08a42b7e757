//! Machines for a piece of work in an elastic session: asks for as many as the work can use, waits
//! for the first of them, tells the user about the wait, and holds the machines so that none is
//! released during the work. Called for each attempt of a query
//! ([`attempt`](crate::query::attempt)), and by runs ([`job`](crate::runs::job)). In a session of
//! fixed size, only a wait after the loss of all machines is left of this.

use std::sync::Arc;
use std::time::Duration;

use bigslice_cluster::{Demand, Fleet, Hold, LogLine, Loss, Machine};
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

/// The longest wait for a machine of this computer. Starting one takes a fraction of a second; an
/// error is promised within 30 s.
const LOCAL_WAIT_MAX: Duration = Duration::from_secs(10);

/// The longest wait for a machine elsewhere: longer than its system takes to give it up.
const REMOTE_WAIT_MAX: Duration = Duration::from_secs(15 * 60);

/// A longer wait is reported to the user.
const WAIT_SAID_AFTER: Duration = Duration::from_secs(1);

/// Machines that were ordered together come together: after the first, the wait for the others is
/// as long as the wait for the first, within these limits.
const REST_WAIT_MIN: Duration = Duration::from_secs(1);
const REST_WAIT_MAX: Duration = Duration::from_secs(60);

/// How often machines may disappear between being seen and being held, before that counts as a
/// loss.
const HOLDS_TRIED_MAX: usize = 5;

/// The most losses that a message names.
const LOSSES_NAMED_MAX: usize = 4;

/// The machines that a query works on.
pub(crate) struct HeldMachines {
    holds: Vec<Hold>,
    /// Makes the fleet replace machines that are lost.
    _demand: Option<Demand>,
}

/// How many machines a plan can use: one for each task of its widest stage; 0 if it runs in this
/// process.
pub(crate) fn usable(plan: &Arc<dyn ExecutionPlan>) -> usize {
    let graph = StageGraph::of(plan);
    let stages = graph.stages.iter().filter(|stage| stage.id != DRIVER_STAGE);
    stages.map(|stage| stage.tasks).max().unwrap_or(0)
}

/// Asks for slots, in an elastic session.
pub(crate) fn demand(driver: &Driver, slots: usize) -> Option<Demand> {
    let fleet = driver.fleet.as_ref().filter(|_| driver.config.is_elastic())?;
    Some(fleet.demand(slots))
}

/// Waits until there is a machine, in a session with machines.
pub(crate) async fn wait(driver: &Driver) -> Result<()> {
    let Some(fleet) = &driver.fleet else { return Ok(()) };
    let remote = driver.config.system.is_remote();
    let wait = fleet.wait_for(1, if remote { REMOTE_WAIT_MAX } else { LOCAL_WAIT_MAX });
    let mut wait = std::pin::pin!(wait);
    let waited = match tokio::time::timeout(WAIT_SAID_AFTER, &mut wait).await {
        Ok(waited) => waited,
        Err(_) => {
            let text = format!("waiting for machines 0/{}", fleet.size().max(1));
            (driver.config.log)(LogLine::of_fleet(text));
            wait.await
        }
    };
    waited.map_err(|error| {
        let why = bigslice_diagnostics::chain(&error);
        let translated = match fleet.lost() {
            lost if lost.is_empty() => {
                Error::machines(format!("there is no machine to run on: {why}"))
            }
            lost => {
                let lost = describe(&lost);
                Error::lost(format!("no machine is left to run on: {lost}; {why}"))
            }
        };
        translated.with_source(error)
    })
}

impl HeldMachines {
    /// Asks for `machines`, up to the limit, and waits for the first and for those that come with
    /// it.
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

    /// Holds the machines that are ready for work; all running machines, if none is ready.
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
        let message = "every machine was lost before the query could start on it".to_owned();
        Err(Error::lost(message))
    }

    /// The number of machines.
    pub(crate) fn size(&self) -> usize {
        self.holds.len()
    }

    /// Restricts plans that are made and run with `state` to these machines.
    pub(crate) fn confine(&self, state: &mut SessionState) {
        settings::enforce(state.config_mut(), self.size());
        let urls = self.holds.iter().filter_map(|hold| hold.machine().url().cloned());
        let urls: Vec<Url> = urls.collect();
        state.config_mut().set_distributed_worker_resolver(Members::at(urls));
    }
}

/// Reports a broken connection to a machine that answers: it gets less work for a while.
pub(crate) fn suspect(fleet: &Fleet, name: &str, why: &str) {
    if let Some(machine) = fleet.machines().iter().find(|m| m.name().as_str() == name) {
        machine.suspect(why);
    }
}

/// A text about losses.
pub(crate) fn describe(losses: &[Loss]) -> String {
    let named = losses.iter().take(LOSSES_NAMED_MAX);
    let mut named: Vec<String> = named
        .map(|loss| format!("machine \"{}\" was lost ({})", loss.machine, loss.reason))
        .collect();
    if losses.len() > LOSSES_NAMED_MAX {
        named.push(format!("and {} more", losses.len() - LOSSES_NAMED_MAX));
    }
    if named.is_empty() { "a machine was lost".to_owned() } else { named.join(", ") }
}
