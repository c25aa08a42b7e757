//! Starts the machines of a session, or a fleet that starts them on demand; for instances, first
//! finds out what they will be and says so.

use std::sync::Arc;
use std::time::Duration;

use bigslice_cluster::{Elastic, Fleet, FleetConfig, InProcess, LocalProcesses, System};

use crate::base::config::Config;
use crate::base::memory::Budget;
use crate::base::system::SystemSpec;
use crate::error::Result;
use crate::session::worker::{self, WorkerSettings};

/// How long an idle machine on this computer is kept: another one starts in an instant.
const IDLE: Duration = Duration::from_secs(60);

/// How long an idle machine elsewhere is kept: another one takes a minute to start.
const IDLE_REMOTE: Duration = Duration::from_secs(10 * 60);

/// The system that a session's machines come from.
pub(crate) struct Site {
    system: Arc<dyn System>,
    /// The settings that suit its machines; the session adds its own.
    fleet: FleetConfig,
}

/// Prepares the start of machines, if the session has any, and finds mistakes in their settings. It
/// sets the cores of a machine in `config` and tells the user what will be started.
pub(crate) async fn survey(config: &mut Config) -> Result<Option<Site>> {
    let (system, fleet): (Arc<dyn System>, FleetConfig) = match &config.system {
        system if system.machines() == 0 => return Ok(None),
        SystemSpec::InProcess { .. } => {
            let system = InProcess::new(worker::services());
            let system = match &config.faults {
                Some(faults) => system.with_faults(faults.clone()),
                None => system,
            };
            (Arc::new(system), FleetConfig::default())
        }
        SystemSpec::Here | SystemSpec::Local { .. } => {
            (Arc::new(LocalProcesses::new(config.program.clone())), FleetConfig::default())
        }
        #[cfg(feature = "ec2")]
        SystemSpec::Ec2(spec) => {
            let mut spec = (**spec).clone();
            if let Some(program) = &config.program {
                let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
                spec.worker_binaries.entry(arch.to_owned()).or_insert_with(|| program.clone());
            }
            let fleet = spec.fleet();
            let ec2 = bigslice_cluster::ec2::Ec2::new(spec).await?;
            let plan = ec2.plan().await?;
            say(
                config,
                match config.is_elastic() {
                    true => format!("will start, as the work asks for them, at most {plan}"),
                    false => format!("starting {plan}"),
                },
            );
            config.machine_cores = Some(plan.cores());
            (Arc::new(ec2), fleet)
        }
    };
    Ok(Some(Site { system, fleet }))
}

/// Starts the machines. Returns when they run, or at once if they are started on demand.
pub(crate) async fn start(config: &Config, site: Site, budget: Budget) -> Result<Fleet> {
    let remote = config.system.is_remote();
    let settings = WorkerSettings {
        // Another computer finds out its cores and memory by itself.
        cores: (!remote).then(|| config.cores_per_process()),
        budget: (!remote || budget.limited).then_some(budget),
    };
    let fleet = FleetConfig {
        machines: config.system.machines(),
        settings: settings.encode()?,
        services: config.services.clone().unwrap_or_default(),
        temp_root: config.temp_root.clone(),
        log: Arc::clone(&config.log),
        ..site.fleet
    };
    if !config.is_elastic() {
        return Ok(Fleet::start(site.system, fleet).await?);
    }
    let idle = config.idle.unwrap_or(if remote { IDLE_REMOTE } else { IDLE });
    let slots_per_machine = config.cores_per_process();
    let elastic = Elastic { slots_per_machine, idle, ..Elastic::default() };
    Ok(Fleet::elastic(site.system, fleet, &elastic)?)
}

/// The memory of each process of the session: processes of this computer share it.
pub(crate) fn budget(config: &Config) -> Result<Budget> {
    let machines = config.system.machines();
    let alone = config.system.is_remote() && config.memory_limit.is_none();
    // Machines that are tasks of this process share its memory, so none of them can be measured.
    let apart = !matches!(config.system, SystemSpec::InProcess { .. });
    let processes = if alone { 1 } else { machines + 1 };
    Budget::split(config.memory_limit, processes, config.owns_process && apart)
}

#[cfg(feature = "ec2")]
fn say(config: &Config, text: String) {
    use bigslice_cluster::LogLine;
    (config.log)(LogLine::of_fleet(text));
}
