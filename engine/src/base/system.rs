//! The machines of a session: where they are and how many, and both as a user writes them: `here`,
//! `local:4`, `ec2:instance=m7g.2xlarge,n=8`. [`provision`](crate::session::provision) starts them.

use std::fmt;
use std::str::FromStr;

use crate::base::cpu::cores;
use crate::error::{Error, Result};

/// Machines of one session, at most: beyond that the exchange needs more memory for its partitions
/// times consumers than it is worth.
pub(crate) const MACHINES_MAX: usize = 64;

/// The kinds of systems, by the first word of their text.
const KINDS: [&str; 4] = ["here", "in-process", "local", "ec2"];

/// Where the machines of a session are. See
/// [`SessionBuilder::machines`](crate::SessionBuilder::machines).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MachineKind {
    /// Tasks of this process, with the same exchange, TLS and limits as between processes: for
    /// tests.
    InProcess,
    /// Processes of this computer that the session starts.
    Local,
    /// EC2 instances that the session starts, in the account whose credentials AWS's tools would
    /// use here (feature `ec2`).
    #[cfg(feature = "ec2")]
    Ec2(Box<bigslice_cluster::ec2::Ec2Spec>),
}

/// How many machines a session has. See [`SessionBuilder::size`](crate::SessionBuilder::size).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FleetSize {
    /// Always this many; 0 works in this process.
    Fixed(usize),
    /// Machines are started on demand, and released after some
    /// [idle time](crate::SessionBuilder::idle), down to none.
    ///
    /// A query asks for as many machines as its plan has tasks, waits for the first and for those
    /// that come with it, and keeps them to its end. A run asks for slots for the tasks that can
    /// start, and uses machines as they come. A machine that stores a part of a
    /// [`Run`](crate::Run)'s result stays for as long as the `Run` is held.
    Elastic {
        /// The most machines at a time, at least 1.
        max: usize,
    },
}

/// Where the machines of a session are and how many, as `--system` says it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum SystemSpec {
    /// No machines: all work is done in this process, on all its cores.
    #[default]
    Here,
    /// Tasks of this process: see [`MachineKind::InProcess`].
    InProcess {
        /// The number of machines.
        machines: usize,
    },
    /// Processes of this computer: see [`MachineKind::Local`].
    Local {
        /// The number of machines.
        machines: usize,
    },
    /// EC2 instances: see `MachineKind::Ec2` (feature `ec2`).
    #[cfg(feature = "ec2")]
    Ec2(Box<bigslice_cluster::ec2::Ec2Spec>),
}

impl SystemSpec {
    /// The number of machines asked for.
    pub fn machines(&self) -> usize {
        match self {
            Self::Here => 0,
            Self::InProcess { machines } | Self::Local { machines } => *machines,
            #[cfg(feature = "ec2")]
            Self::Ec2(spec) => spec.n,
        }
    }

    /// The same system with another number of machines; processes of this computer if it had none.
    pub(crate) fn of_size(self, machines: usize) -> Self {
        match self {
            Self::InProcess { .. } => Self::InProcess { machines },
            Self::Here | Self::Local { .. } => Self::Local { machines },
            #[cfg(feature = "ec2")]
            Self::Ec2(mut spec) => {
                spec.n = machines;
                Self::Ec2(spec)
            }
        }
    }

    /// Whether the machines are other computers.
    pub(crate) fn is_remote(&self) -> bool {
        match self {
            Self::Here | Self::InProcess { .. } | Self::Local { .. } => false,
            #[cfg(feature = "ec2")]
            Self::Ec2(_) => true,
        }
    }
}

impl From<MachineKind> for SystemSpec {
    fn from(kind: MachineKind) -> Self {
        let machines = cores().min(MACHINES_MAX);
        match kind {
            MachineKind::InProcess => Self::InProcess { machines },
            MachineKind::Local => Self::Local { machines },
            #[cfg(feature = "ec2")]
            MachineKind::Ec2(spec) => Self::Ec2(spec),
        }
    }
}

impl fmt::Display for SystemSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here => f.write_str("here"),
            Self::InProcess { machines } => write!(f, "in-process:{machines}"),
            Self::Local { machines } => write!(f, "local:{machines}"),
            #[cfg(feature = "ec2")]
            Self::Ec2(spec) => {
                f.write_str("ec2:")?;
                spec.instance.iter().try_for_each(|kind| write!(f, "instance={kind},"))?;
                write!(f, "n={}", spec.n)
            }
        }
    }
}

impl FromStr for SystemSpec {
    type Err = Error;

    /// Reads `here`; `in-process` and `local`, alone for a machine per core, or with `:N` or
    /// `:n=N`; and `ec2:instance=TYPE,n=N,..`.
    fn from_str(text: &str) -> Result<Self> {
        let (kind, options) = text.split_once(':').unwrap_or((text, ""));
        match kind {
            "here" if options.is_empty() => Ok(Self::Here),
            "in-process" => Ok(match machines(text, options)? {
                0 => Self::Here,
                machines => Self::InProcess { machines },
            }),
            "local" => Ok(match machines(text, options)? {
                0 => Self::Here,
                machines => Self::Local { machines },
            }),
            "ec2" => ec2(text),
            _ => {
                let meant = bigslice_diagnostics::did_you_mean(kind, KINDS.into_iter());
                let what = "here, in-process:N, local:N or ec2:instance=TYPE,n=N";
                let help = meant.unwrap_or_else(|| format!("write {what}"));
                Err(Error::config(format!("\"{text}\" is not a system; {help}")))
            }
        }
    }
}

/// The number of machines on this computer in the `options` of the system `text`.
fn machines(text: &str, options: &str) -> Result<usize> {
    if !text.contains(':') {
        return Ok(cores().min(MACHINES_MAX));
    }
    let (key, number) = options.split_once('=').unwrap_or(("n", options));
    if key.trim() != "n" {
        let message =
            format!("\"{text}\": unknown option \"{key}\": write n, the number of machines");
        return Err(Error::config(message));
    }
    match number.trim().parse() {
        Ok(machines) if machines <= MACHINES_MAX => Ok(machines),
        _ => Err(Error::config(format!(
            "\"{text}\": \"{number}\" is not a number of machines from 0 to {MACHINES_MAX}"
        ))),
    }
}

#[cfg(feature = "ec2")]
fn ec2(text: &str) -> Result<SystemSpec> {
    let spec = text.parse().map_err(|e: bigslice_cluster::Error| Error::config(e.to_string()))?;
    Ok(SystemSpec::Ec2(Box::new(spec)))
}

#[cfg(not(feature = "ec2"))]
fn ec2(_text: &str) -> Result<SystemSpec> {
    Err(without_ec2())
}

/// The error of a program that was built without EC2.
#[cfg(not(feature = "ec2"))]
pub(crate) fn without_ec2() -> Error {
    Error::config(
        "this program was built without EC2: build it with the feature \"ec2\", as in \
         `cargo build --release -p bigsql --features ec2`",
    )
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
        assert_eq!("local:n=4".parse::<SystemSpec>().unwrap().to_string(), "local:4");
        assert_eq!("local:0".parse::<SystemSpec>().unwrap(), SystemSpec::Here);
        assert_eq!("local".parse::<SystemSpec>().unwrap().machines(), cores().min(MACHINES_MAX));
    }

    #[test]
    fn what_is_wrong_with_a_system_is_said() {
        for (text, said) in [
            (
                "",
                "\"\" is not a system; write here, in-process:N, local:N or ec2:instance=TYPE,n=N",
            ),
            ("locl:4", "\"locl:4\" is not a system; did you mean \"local\"?"),
            ("here:1", "\"here:1\" is not a system; did you mean \"here\"?"),
            ("local:", "\"local:\": \"\" is not a number of machines from 0 to 64"),
            ("local:-1", "\"local:-1\": \"-1\" is not a number of machines from 0 to 64"),
            (
                "in-process:1000",
                "\"in-process:1000\": \"1000\" is not a number of machines from 0 to 64",
            ),
            ("local:m=4", "\"local:m=4\": unknown option \"m\": write n, the number of machines"),
        ] {
            assert_eq!(text.parse::<SystemSpec>().unwrap_err().to_string(), said);
        }
    }

    #[cfg(not(feature = "ec2"))]
    #[test]
    fn without_ec2_it_is_said_how_to_get_it() {
        let error = "ec2:instance=m7g.2xlarge".parse::<SystemSpec>().unwrap_err().to_string();
        assert!(error.contains("--features ec2"), "{error}");
    }

    #[cfg(feature = "ec2")]
    #[test]
    fn instances_are_read_and_shown() {
        let text = "ec2:instance=m7g.2xlarge,n=8";
        let spec: SystemSpec = text.parse().unwrap();
        assert_eq!((spec.to_string().as_str(), spec.machines()), (text, 8));
        assert!(spec.is_remote());
        assert_eq!(spec.of_size(3).machines(), 3);
        let error = "ec2:instnce=x".parse::<SystemSpec>().unwrap_err().to_string();
        assert!(error.contains("did you mean \"instance\"?"), "{error}");
    }
}
