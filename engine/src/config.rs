//! The values a session is built from: where it runs, what it may use, which settings it was
//! given. Filled in by [`SessionBuilder`](crate::SessionBuilder), read by everything that builds a
//! part of a session.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use bigslice_cluster::LogSink;

use crate::error::{Error, Result};

/// Machines of one session, at most: past this the fan-out of partitions times consumers needs
/// more memory than the exchange is worth.
pub const MACHINES_MAX: usize = 64;

/// Partitions of one task, at most, for the same reason.
pub const PARTITIONS_MAX: usize = 256;

/// Where the work of a session is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SystemSpec {
    /// In this process alone, on all its cores: nothing is started, nothing is sent.
    #[default]
    Here,
    /// On machines that are tasks of this process: the same exchange, TLS and limits as between
    /// processes, for tests.
    InProcess {
        /// How many.
        machines: usize,
    },
    /// On processes of this computer that the session starts.
    Local {
        /// How many.
        machines: usize,
    },
}

impl SystemSpec {
    /// The number of machines asked for.
    pub fn machines(self) -> usize {
        match self {
            Self::Here => 0,
            Self::InProcess { machines } | Self::Local { machines } => machines,
        }
    }
}

impl fmt::Display for SystemSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here => f.write_str("here"),
            Self::InProcess { machines } => write!(f, "in-process:{machines}"),
            Self::Local { machines } => write!(f, "local:{machines}"),
        }
    }
}

impl FromStr for SystemSpec {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == "here" {
            return Ok(Self::Here);
        }
        let wrong = || {
            Error::config(format!(
                "\"{text}\" is no system: write \"in-process:N\" or \"local:N\" with N from 0 to \
                 {MACHINES_MAX}"
            ))
        };
        let (kind, machines) = text.split_once(':').ok_or_else(wrong)?;
        let machines: usize = machines.parse().map_err(|_| wrong())?;
        if machines > MACHINES_MAX {
            return Err(wrong());
        }
        match (kind, machines) {
            ("in-process" | "local", 0) => Ok(Self::Here),
            ("in-process", machines) => Ok(Self::InProcess { machines }),
            ("local", machines) => Ok(Self::Local { machines }),
            _ => Err(wrong()),
        }
    }
}

/// What the program's surroundings say about access to stores, such as the `AWS_*` variables. The engine itself
/// never reads the environment: [`SessionArgs`](crate::SessionArgs) does, and others may.
///
/// It may hold secrets: it has no `Display`, and `Debug` shows the names only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The value of one variable, if it is set and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// All variables, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(variables: T) -> Self {
        Self(variables.into_iter().collect())
    }
}

impl From<BTreeMap<String, String>> for Environment {
    fn from(variables: BTreeMap<String, String>) -> Self {
        Self(variables)
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

/// Everything a session is built from.
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) system: SystemSpec,
    /// The program that local machines run; this program when there is none.
    pub(crate) program: Option<PathBuf>,
    /// Bytes that all processes of the session may use together.
    pub(crate) memory_limit: Option<u64>,
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
            .field("memory_limit", &self.memory_limit)
            .field("partitions", &self.partitions)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// The cores that one process of the session computes with.
    pub(crate) fn cores_per_process(&self) -> usize {
        let cores = cores();
        match self.system.machines() {
            0 => cores,
            machines => (cores / machines).max(1),
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

/// The cores of this computer that this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systems_are_read_and_shown() {
        for (text, spec) in [
            ("here", SystemSpec::Here),
            ("in-process:3", SystemSpec::InProcess { machines: 3 }),
            ("local:4", SystemSpec::Local { machines: 4 }),
        ] {
            assert_eq!(text.parse::<SystemSpec>().unwrap(), spec);
            assert_eq!(spec.to_string(), text);
        }
        for text in ["", "local", "local:", "local:x", "local:-1", "local:1000", "ec2:3"] {
            assert!(text.parse::<SystemSpec>().is_err(), "{text} was accepted");
        }
    }

    #[test]
    fn an_environment_shows_names_only() {
        let environment: Environment =
            [("AWS_SECRET_ACCESS_KEY".to_owned(), "canary".to_owned())].into_iter().collect();
        let shown = format!("{environment:?}");
        assert!(shown.contains("AWS_SECRET_ACCESS_KEY") && !shown.contains("canary"));
    }
}
