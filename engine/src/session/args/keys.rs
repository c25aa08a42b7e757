//! Settings by key, as named by `--set` and the settings file: a few of the session itself, and all
//! of DataFusion and of the exchange between machines.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use bigslice_diagnostics::distance;
use datafusion::execution::config::SessionConfig;
use datafusion_distributed::{DistributedConfig, DistributedExt};

use super::ec2::{self, Instances};
use super::setting::Setting;
use super::size::parse_size;
use crate::base::config::PARTITIONS_MAX;
use crate::base::settings::EXCHANGE;
use crate::base::system::MACHINES_MAX;
use crate::base::system::SystemSpec;
use crate::error::{Error, Result};
use crate::session::builder::SessionBuilder;

/// Maximum number of suggestions for an unknown key.
const NEAR_MAX: usize = 3;

/// The settings of the session itself.
pub(super) const OWN: &[&str] = &[
    "debug",
    "head-bytes",
    "idle",
    "max",
    "memory-limit",
    "partitions",
    "system",
    "temp-root",
    "workers",
];

/// The error for an unknown key.
fn unknown(setting: &Setting) -> Error {
    let near = near(&setting.key);
    let hint = match near.as_slice() {
        [] => format!(
            "the settings of a session are {}; those of DataFusion begin with \"datafusion.\"",
            OWN.join(", ")
        ),
        near => {
            let quoted: Vec<_> = near.iter().map(|key| format!("\"{key}\"")).collect();
            format!("did you mean {}?", quoted.join(" or "))
        }
    };
    let message = format!("{}: there is no setting \"{}\"", setting.place, setting.key);
    Error::config(message).with_hint(hint)
}

/// `builder` with one more setting; EC2 options are collected in `instances`.
pub(super) fn apply(
    mut builder: SessionBuilder,
    instances: &mut Instances,
    setting: &Setting,
) -> Result<SessionBuilder> {
    let Setting { key, value, .. } = setting;
    let refused = |why: String| setting.refused(&why);
    Ok(match key.as_str() {
        "workers" => {
            // A fixed number of machines overrides an earlier limit.
            builder.config.size = None;
            instances.leave();
            builder.workers(workers(value).map_err(refused)?)
        }
        "system" if Instances::are(value) => {
            instances.choose(setting)?;
            builder
        }
        "system" => {
            let system = value.parse::<SystemSpec>().map_err(|e| refused(e.to_string()))?;
            if system == SystemSpec::Here {
                builder.config.size = None;
            }
            instances.leave();
            builder.system(system)
        }
        "max" => builder.elastic(machines_max(value).map_err(refused)?),
        "idle" => builder.idle(time(value).map_err(refused)?),
        _ if key.starts_with(ec2::PREFIX) => {
            instances.set(setting);
            builder
        }
        "memory-limit" => builder.memory_limit(parse_size(value).map_err(refused)?),
        "partitions" => builder.partitions(partitions(value).map_err(refused)?),
        "debug" => builder.debug(debug(value).map_err(refused)?),
        "temp-root" => builder.temp_root(folder(value).map_err(refused)?),
        "head-bytes" => {
            let bytes = parse_size(value).map_err(refused)?;
            builder.head_bytes(usize::try_from(bytes).unwrap_or(usize::MAX))
        }
        _ => {
            check(setting)?;
            builder.set(key, value)
        }
    })
}

/// Checks the value with DataFusion now, while its origin is known.
fn check(setting: &Setting) -> Result<()> {
    let mut scratch = theirs();
    if !names(&scratch).any(|name| name == setting.key) {
        return Err(unknown(setting));
    }
    let set = scratch.options_mut().set(&setting.key, &setting.value);
    set.map_err(|e| {
        setting.refused(&format!("\"{}\" is not valid: {}", setting.value, Error::from(e)))
    })
}

/// All settings of DataFusion and of the exchange, with their defaults.
fn theirs() -> SessionConfig {
    let mut session = SessionConfig::new();
    session.set_distributed_option_extension(DistributedConfig::default());
    session
}

/// The keys of all settings of `session`. Those of the exchange are listed without their prefix.
fn names(session: &SessionConfig) -> impl Iterator<Item = String> {
    session.options().entries().into_iter().map(|entry| {
        match entry.key.starts_with("datafusion.") {
            true => entry.key,
            false => format!("{EXCHANGE}{}", entry.key),
        }
    })
}

/// Suggestions for `key`, the most likely first.
fn near(key: &str) -> Vec<String> {
    // Typos are mostly in the last part of a key; and a session setting below a table header in a
    // file has that header before its name.
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_lowercase();
    let most = last(key).chars().count() / 2;
    let theirs = theirs();
    let theirs = names(&theirs).map(|name| (distance(key, &name), name));
    let own = OWN.iter().map(|name| (distance(&last(key), name), (*name).to_owned()));
    let mut near: Vec<_> = own.chain(theirs).filter(|(distance, _)| *distance <= most).collect();
    near.sort();
    near.into_iter().take(NEAR_MAX).map(|(_, name)| name).collect()
}

pub(super) fn workers(text: &str) -> Result<usize, String> {
    number(text, 0, MACHINES_MAX)
}

pub(super) fn partitions(text: &str) -> Result<usize, String> {
    number(text, 1, PARTITIONS_MAX)
}

pub(super) fn machines_max(text: &str) -> Result<usize, String> {
    number(text, 1, MACHINES_MAX)
}

/// A system, as written: its EC2 options may also come from elsewhere.
pub(super) fn system(text: &str) -> Result<String, String> {
    if Instances::are(text) {
        ec2::check(text)?;
    } else {
        text.parse::<SystemSpec>().map_err(|e| e.to_string())?;
    }
    Ok(text.to_owned())
}

/// A duration: `30s`, `10m`, `2h`.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| format!("\"{text}\" is not a duration such as 30s, 10m or 2h"))
}

/// A port on loopback.
pub(super) fn debug(text: &str) -> Result<SocketAddr, String> {
    match text.parse::<u16>() {
        Ok(port) => Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        Err(_) => Err(format!("\"{text}\" must be a port number from 0 to {}", u16::MAX)),
    }
}

fn number(text: &str, least: usize, most: usize) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("\"{text}\" must be a number from {least} to {most}")),
    }
}

/// A folder, as an absolute path, because the settings file is read from anywhere.
fn folder(text: &str) -> Result<PathBuf, String> {
    let folder = PathBuf::from(text);
    match folder.is_absolute() {
        true => Ok(folder),
        false => Err(format!("\"{text}\" must be an absolute path such as /var/tmp")),
    }
}
