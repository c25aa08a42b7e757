//! The values of a specification's options, and the options as text: their names, the meaning of
//! their values, and suggestions for misspelt names.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use bigslice_diagnostics::did_you_mean;

use crate::error::{Error, Result};

/// The pricing of machines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Market {
    /// At the list price, until they are ended.
    #[default]
    OnDemand,
    /// Spare capacity at a lower price, which AWS may take back with two minutes' notice.
    Spot,
    /// Spot, and on demand where there is no spare capacity.
    SpotOrOnDemand,
}

/// The reaction to EC2's hint that a spot machine has an increased risk of being taken back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rebalance {
    /// Log it.
    #[default]
    Log,
    /// Replace the machine as if AWS had given notice.
    Replace,
}

/// The address under which machines are reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// The private address: the driver is in the same network, or has a route into it.
    #[default]
    Private,
    /// The public DNS name, which within the network resolves to the private address.
    Public,
}

/// The options, for messages and suggestions.
const OPTIONS: &[&str] = &[
    "address",
    "allow",
    "ami",
    "cores",
    "data",
    "env.NAME",
    "file",
    "iam-profile",
    "instance",
    "lifetime",
    "memory",
    "min",
    "n",
    "name",
    "owner",
    "port",
    "profile",
    "rebalance",
    "region",
    "root",
    "security-group",
    "spot",
    "subnet",
    "tag.NAME",
    "unit",
    "worker-binary.ARCH",
];

pub(super) fn unknown(key: &str) -> Error {
    Error::Options(match did_you_mean(key, OPTIONS.iter().copied()) {
        Some(hint) => format!("ec2 has no option \"{key}\"; {hint}"),
        None => format!("ec2 has no option \"{key}\", only {}", OPTIONS.join(", ")),
    })
}

/// An option without a value: it needs one, or there is no such option.
pub(super) fn unknown_or_bare(option: &str) -> Error {
    if OPTIONS.contains(&option) {
        Error::Options(format!("the option \"{option}\" of ec2 has no value: {option}=..."))
    } else {
        unknown(option)
    }
}

pub(super) fn number<N: FromStr>(key: &str, value: &str) -> Result<N> {
    value
        .parse()
        .map_err(|_| Error::Options(format!("{key}={value}: \"{value}\" is not a whole number")))
}

pub(super) fn market(value: &str) -> Result<Market> {
    match value {
        "true" | "only" => Ok(Market::Spot),
        "fallback" => Ok(Market::SpotOrOnDemand),
        "false" | "no" => Ok(Market::OnDemand),
        _ => Err(Error::Options(format!("spot={value}: must be spot, spot=fallback or spot=no"))),
    }
}

pub(super) fn reach(value: &str) -> Result<Reach> {
    match value {
        "private" => Ok(Reach::Private),
        "public" => Ok(Reach::Public),
        _ => Err(Error::Options(format!("address={value}: must be private or public"))),
    }
}

/// A size in GiB: `100G`, `1T`. EC2 has no smaller unit, and the meaning of a plain number would
/// not be clear.
pub(super) fn gib(key: &str, value: &str) -> Result<u32> {
    let units = [("GiB", 1), ("GB", 1), ("G", 1), ("TiB", 1024), ("TB", 1024), ("T", 1024)];
    units
        .iter()
        .find_map(|(unit, factor)| {
            value.strip_suffix(unit)?.trim().parse::<u32>().ok()?.checked_mul(*factor)
        })
        .ok_or_else(|| Error::Options(format!("{key}={value}: must be a size such as 100G or 1T")))
}

/// A duration: `30m`, `12h`, `2d`.
pub(super) fn duration(key: &str, value: &str) -> Result<Duration> {
    humantime::parse_duration(value).map_err(|_| {
        Error::Options(format!("{key}={value}: must be a time such as 90m, 12h or 2d"))
    })
}

pub(super) fn rebalance(value: &str) -> Result<Rebalance> {
    match value {
        "log" => Ok(Rebalance::Log),
        "replace" => Ok(Rebalance::Replace),
        _ => Err(Error::Options(format!("rebalance={value}: must be log or replace"))),
    }
}

/// `local:remote`: the path of the file here and on the machine.
pub(super) fn file(value: &str) -> Result<(String, PathBuf)> {
    match value.rsplit_once(':') {
        Some((local, remote)) if !local.is_empty() && !remote.is_empty() => {
            Ok((remote.to_owned(), PathBuf::from(local)))
        }
        _ => Err(Error::Options(format!(
            "file={value}: must be LOCAL:REMOTE, as in file=genes.fa:/data/genes.fa"
        ))),
    }
}
