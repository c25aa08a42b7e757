//! From the description of a session's machines to the machines: finds out what they will be, says what will be
//! started, and starts them, or a fleet that starts them as they are wanted.

use std::sync::Arc;
use std::time::Duration;

use bigslice_cluster::{Elastic, Fleet, FleetConfig, InProcess, LocalProcesses, System};

use crate::base::config::Config;
use crate::base::memory::Budget;
use crate::base::system::SystemSpec;
use crate::error::Result;
use crate::session::worker::{self, WorkerSettings};

/// How long a machine on this computer is kept that nobody wants: it is there again in an instant.
const IDLE: Duration = Duration::from_secs(60);

/// The same for a machine elsewhere, which takes a minute to come back.
const IDLE_REMOTE: Duration = Duration::from_secs(10 * 60);

/// Where the machines of a session come from.
pub(crate) struct Site {
    system: Arc<dyn System>,
    /// What suits its machines; the session adds its own.
    fleet: FleetConfig,
}

/// Prepares for starting machines, if there are to be any: what can be wrong with what the user wants is found
/// here. What a machine has becomes known to `config`, and what will be started to the user.
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

/// Starts the machines; returns when they run, or at once if they come and go with the work.
pub(crate) async fn start(config: &Config, site: Site, budget: Budget) -> Result<Fleet> {
    let remote = config.system.is_remote();
    let settings = WorkerSettings {
        // Another computer knows best what it has.
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

/// How much memory each process of the session may use: those of this computer share it.
pub(crate) fn budget(config: &Config) -> Result<Budget> {
    let machines = config.system.machines();
    let alone = config.system.is_remote() && config.memory_limit.is_none();
    // Machines that are tasks of this process share what it has: none of them can be measured.
    let apart = !matches!(config.system, SystemSpec::InProcess { .. });
    let processes = if alone { 1 } else { machines + 1 };
    Budget::split(config.memory_limit, processes, config.owns_process && apart)
}

#[cfg(feature = "ec2")]
fn say(config: &Config, text: String) {
    use bigslice_cluster::LogLine;
    (config.log)(LogLine::of_fleet(text));
}
