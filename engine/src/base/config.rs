//! The settings of a session: its machines, its limits, the settings of DataFusion. Filled in by
//! [`SessionBuilder`](crate::SessionBuilder), read by everything that builds a part of a session.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bigslice_cluster::faults::Faults;
use bigslice_cluster::{LogSink, Services};
use bigslice_files::Environment;

use crate::base::cpu::cores;
use crate::base::system::{FleetSize, MACHINES_MAX, SystemSpec};
use crate::error::{Error, Result};

/// Partitions of one task, at most: see [`MACHINES_MAX`].
pub(crate) const PARTITIONS_MAX: usize = 256;

/// The settings of a session.
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) system: SystemSpec,
    /// The number of machines, where it was set apart from the system.
    pub(crate) size: Option<FleetSize>,
    /// How long an idle machine is kept.
    pub(crate) idle: Option<Duration>,
    /// The cores of a machine that is another computer, once they are known.
    pub(crate) machine_cores: Option<usize>,
    /// Services of the user on each machine.
    pub(crate) services: Option<Services>,
    /// Faults to inject, in tests.
    pub(crate) faults: Option<Faults>,
    /// The program that machines run; by default this one.
    pub(crate) program: Option<PathBuf>,
    /// Bytes that all processes of the session may use together.
    pub(crate) memory_limit: Option<u64>,
    /// Whether the limit holds for everything in the processes, since they do nothing else.
    pub(crate) owns_process: bool,
    /// Partitions of one task.
    pub(crate) partitions: Option<usize>,
    /// Bytes of a result that are held back until the result is certain.
    pub(crate) head_bytes: usize,
    /// Settings of DataFusion, in the order given.
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) temp_root: PathBuf,
    pub(crate) environment: Environment,
    pub(crate) log: LogSink,
    /// The address of the pages about the session.
    pub(crate) debug: Option<SocketAddr>,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("system", &self.system)
            .field("size", &self.size)
            .field("memory_limit", &self.memory_limit)
            .field("partitions", &self.partitions)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// Gives the system the size that was set apart from it, and checks the settings.
    ///
    /// # Errors
    /// When a setting is out of range, or two do not go together.
    pub(crate) fn settle(&mut self) -> Result<()> {
        if self.size == Some(FleetSize::Elastic { max: 0 }) {
            return Err(Error::config("at most 0 machines: the limit must be at least 1"));
        }
        if self.size.is_some() {
            self.system = self.system.clone().of_size(self.machines_max());
        }
        let machines = self.system.machines();
        if machines > MACHINES_MAX {
            return Err(Error::config(format!(
                "{machines} machines are more than the {MACHINES_MAX} that a session may have"
            )));
        }
        if let Some(partitions) = self.partitions
            && !(1..=PARTITIONS_MAX).contains(&partitions)
        {
            return Err(Error::config(format!(
                "{partitions} partitions: the number must be from 1 to {PARTITIONS_MAX}"
            )));
        }
        if self.services.is_some() && machines == 0 {
            let message = "services are called on machines, and this session has none";
            return Err(Error::config(message)
                .with_hint("give it machines: workers(n), or machines(..) and size(..)"));
        }
        if self.faults.is_some() && !matches!(self.system, SystemSpec::InProcess { .. }) {
            let message = "faults need machines that are tasks of this process";
            return Err(Error::config(message)
                .with_hint("machines(MachineKind::InProcess), with a size(..)"));
        }
        Ok(())
    }

    /// How many machines there will be, at most.
    pub(crate) fn machines_max(&self) -> usize {
        match self.size {
            Some(FleetSize::Fixed(n) | FleetSize::Elastic { max: n }) => n,
            None => self.system.machines(),
        }
    }

    /// Whether machines come and go with the work.
    pub(crate) fn is_elastic(&self) -> bool {
        matches!(self.size, Some(FleetSize::Elastic { .. }))
    }

    /// The cores that one process of the session computes with: as many tasks run on a machine at a
    /// time.
    pub(crate) fn cores_per_process(&self) -> usize {
        let cores = cores();
        match (self.machine_cores, self.system.machines()) {
            (Some(cores), _) => cores,
            (None, 0) => cores,
            (None, machines) => (cores / machines).max(1),
        }
    }

    /// The partitions of one task, at least two if there are machines: a plan of one partition has
    /// no exchange under a global aggregate, so that each task would aggregate its share alone.
    pub(crate) fn partitions_per_task(&self) -> usize {
        let wanted = self.partitions.unwrap_or_else(|| self.cores_per_process());
        let least = if self.system.machines() > 0 { 2 } else { 1 };
        wanted.clamp(least, PARTITIONS_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_shows_names_only() {
        let environment: Environment =
            [("AWS_SECRET_ACCESS_KEY".to_owned(), "canary".to_owned())].into_iter().collect();
        let shown = format!("{environment:?}");
        assert!(shown.contains("AWS_SECRET_ACCESS_KEY") && !shown.contains("canary"));
    }
}
