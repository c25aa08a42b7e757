//! The values a session is built from: where it runs, what it may use, which settings it was
//! given. Filled in by [`SessionBuilder`](crate::SessionBuilder), read by everything that builds a
//! part of a session.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bigslice_cluster::faults::Faults;
use bigslice_cluster::{LogSink, Services};
use bigslice_files::Environment;

use crate::base::cpu::cores;
use crate::base::system::{MACHINES_MAX, SystemSpec};
use crate::error::{Error, Result};

/// Partitions of one task, at most, for the same reason.
pub const PARTITIONS_MAX: usize = 256;

/// Everything a session is built from.
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) system: SystemSpec,
    /// Set if machines come and go with the work: the most there may be.
    pub(crate) machines_max: Option<usize>,
    /// How long a machine that nobody wants is kept.
    pub(crate) idle: Option<Duration>,
    /// The cores of a machine that is another computer, once they are known.
    pub(crate) machine_cores: Option<usize>,
    /// What machines are to offer besides.
    pub(crate) services: Option<Services>,
    /// What befalls machines, in tests.
    pub(crate) faults: Option<Faults>,
    /// The program that local machines run; this program when there is none.
    pub(crate) program: Option<PathBuf>,
    /// Bytes that all processes of the session may use together.
    pub(crate) memory_limit: Option<u64>,
    /// Whether that is for all that the processes have, since they do nothing else.
    pub(crate) owns_process: bool,
    /// Partitions of one task.
    pub(crate) partitions: Option<usize>,
    /// Bytes of a result that are held back until it is certain.
    pub(crate) head_bytes: usize,
    /// Settings of DataFusion, in the order given.
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) temp_root: PathBuf,
    pub(crate) environment: Environment,
    pub(crate) log: LogSink,
    /// Where the pages about the session are served, if they are.
    pub(crate) debug: Option<SocketAddr>,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("system", &self.system)
            .field("machines_max", &self.machines_max)
            .field("memory_limit", &self.memory_limit)
            .field("partitions", &self.partitions)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// Gives the system the size that was asked for apart from it, and refuses what cannot be.
    pub(crate) fn settle(&mut self) -> Result<()> {
        if let Some(max) = self.machines_max {
            if max == 0 {
                return Err(Error::config("at most 0 machines is none: leave out the limit"));
            }
            self.system = self.system.clone().of_size(max);
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
                "{partitions} partitions are not from 1 to {PARTITIONS_MAX}"
            )));
        }
        if self.services.is_some() && machines == 0 {
            return Err(Error::Config {
                message: "services are called on machines, and this session has none".to_owned(),
                hint: Some("give it some: workers(n), system(..), elastic(max)".to_owned()),
            });
        }
        if self.faults.is_some() && !matches!(self.system, SystemSpec::InProcess { .. }) {
            return Err(Error::Config {
                message: "faults befall machines that are tasks of this process, and no others"
                    .to_owned(),
                hint: Some("system(SystemSpec::InProcess { machines: n })".to_owned()),
            });
        }
        Ok(())
    }

    /// Whether machines come and go with the work.
    pub(crate) fn is_elastic(&self) -> bool {
        self.machines_max.is_some()
    }

    /// The cores that one process of the session computes with, and so the tasks that a machine is given
    /// at a time.
    pub(crate) fn cores_per_process(&self) -> usize {
        let cores = cores();
        match (self.machine_cores, self.system.machines()) {
            (Some(cores), _) => cores,
            (None, 0) => cores,
            (None, machines) => (cores / machines).max(1),
        }
    }

    /// The partitions of one task. With machines there are always at least two: a plan of one
    /// partition has no exchange under a global aggregate, and cut into tasks each of them would
    /// aggregate its share alone.
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
