//! Where the work of a session is done, as a user writes it: `here`, `local:4`, `ec2:instance=m7g.2xlarge,n=8`.
//! [`provision`](crate::session::provision) makes machines of it.

use std::fmt;
use std::str::FromStr;

use crate::base::cpu::cores;
use crate::error::{Error, Result};

/// Machines of one session, at most: past this the fan-out of partitions times consumers needs
/// more memory than the exchange is worth.
pub const MACHINES_MAX: usize = 64;

/// What a system's description begins with.
const KINDS: [&str; 4] = ["here", "in-process", "local", "ec2"];

/// Where the work of a session is done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
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
    /// On EC2 instances that the session starts, in the account whose credentials AWS's tools would use
    /// here (feature `ec2`).
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

    /// The same with so many machines; processes of this computer if it had none.
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

    /// Reads `here`; `in-process` and `local`, alone for a machine per core, or with `:N` or `:n=N`; and
    /// `ec2:instance=TYPE,n=N,..`.
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
                let meant = bigslice_files::did_you_mean(kind, KINDS.into_iter());
                let what = "here, in-process:N, local:N or ec2:instance=TYPE,n=N";
                let help = meant.unwrap_or_else(|| format!("write {what}"));
                Err(Error::config(format!("\"{text}\" is no system; {help}")))
            }
        }
    }
}

/// The number of machines on this computer that `options` ask for, which are those of the system `text`.
fn machines(text: &str, options: &str) -> Result<usize> {
    if !text.contains(':') {
        return Ok(cores().min(MACHINES_MAX));
    }
    let (key, number) = options.split_once('=').unwrap_or(("n", options));
    if key.trim() != "n" {
        let message =
            format!("\"{text}\": there is no option \"{key}\" but n, the number of machines");
        return Err(Error::config(message));
    }
    match number.trim().parse() {
        Ok(machines) if machines <= MACHINES_MAX => Ok(machines),
        _ => Err(Error::config(format!(
            "\"{text}\": \"{number}\" is no number of machines from 0 to {MACHINES_MAX}"
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

/// What a program says that cannot start instances.
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
            ("", "\"\" is no system; write here, in-process:N, local:N or ec2:instance=TYPE,n=N"),
            ("locl:4", "\"locl:4\" is no system; did you mean \"local\"?"),
            ("here:1", "\"here:1\" is no system; did you mean \"here\"?"),
            ("local:", "\"local:\": \"\" is no number of machines from 0 to 64"),
            ("local:-1", "\"local:-1\": \"-1\" is no number of machines from 0 to 64"),
            (
                "in-process:1000",
                "\"in-process:1000\": \"1000\" is no number of machines from 0 to 64",
            ),
            ("local:m=4", "\"local:m=4\": there is no option \"m\" but n, the number of machines"),
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
