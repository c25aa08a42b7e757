//! The options of machines on EC2: [`Ec2Spec`] as a struct, or set option by option with
//! [`Ec2Spec::set`], which serves both the text `ec2:instance=m7g.2xlarge,n=8,spot` and a table of
//! a settings file. Everything that can be rejected without asking AWS is rejected here.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::cidr::Cidr;
use super::value::{self, Market, Reach, Rebalance};
use crate::error::{Error, Result};
use crate::fleet::FleetConfig;

/// An account's quota is far below this; more is an expensive typing error.
const MACHINES_MAX: usize = 2000;
/// EC2 takes 50 tags for a resource, some of which are ours.
const TAGS_MAX: usize = 40;
/// The longest value of a tag in EC2.
const TAG_VALUE_MAX: usize = 256;
/// More cores and memory than any machine has.
const CORES_MAX: u32 = 1024;
const MEMORY_GIB_MAX: u32 = 32 << 10;
/// More files are a folder, which belongs in an archive or a bucket.
const FILES_MAX: usize = 100;
/// The suffixes of systemd units that can be started.
const UNIT_SUFFIXES: [&str; 7] =
    [".service", ".timer", ".mount", ".socket", ".path", ".swap", ".target"];
/// A machine of another network may be unreachable for longer than one of this host.
const LEASE: Duration = Duration::from_secs(60);
/// The same for a ping.
const SILENCE: Duration = Duration::from_secs(10);
/// Leaves room for the rest of the tag `Name`.
const NAME_MAX: usize = 128;
/// Amazon Linux 2023 needs 2 GiB, the program and spilling a little more.
const ROOT_GIB_MIN: u32 = 8;
/// The largest gp3 volume.
const VOLUME_GIB_MAX: u32 = 16 << 10;
/// Shorter than a machine takes to start.
const LIFETIME_MIN: Duration = Duration::from_secs(10 * 60);
/// The longest sensible life of a machine for one session.
const LIFETIME_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The options of machines on EC2.
#[derive(Clone, PartialEq, Eq)]
pub struct Ec2Spec {
    /// Instance types, the preferred first; each is tried when those before it are not available.
    /// Without any, they are chosen by [`cores`](Self::cores) and [`memory_gib`](Self::memory_gib).
    pub instance: Vec<String>,
    /// The cores (EC2's vCPUs) that a machine must have, if its type is to be chosen.
    pub cores: Option<u32>,
    /// The memory in GiB that a machine must have, if its type is to be chosen.
    pub memory_gib: Option<u32>,
    /// The number of machines of the session.
    pub n: usize,
    /// The minimum number of machines to begin with if others are not available; `None`: all.
    pub n_min: Option<usize>,
    /// The pricing.
    pub market: Market,
    /// The reaction to EC2's hints.
    pub rebalance: Rebalance,
    /// The AWS region; `None`: that of the environment or profile.
    pub region: Option<String>,
    /// The profile of the AWS configuration files with the credentials.
    pub profile: Option<String>,
    /// The image; `None`: the newest Amazon Linux 2023.
    pub ami: Option<String>,
    /// Subnets of one network, tried in turn; if empty, the default ones of the region.
    pub subnets: Vec<String>,
    /// A security group that lets the driver and the machines reach [`port`](Self::port); `None`: a
    /// group is made for the session.
    pub security_group: Option<String>,
    /// Name or ARN of the instance profile with the role of the machines.
    pub iam_profile: Option<String>,
    /// Size of the root volume in GiB.
    pub root_gib: u32,
    /// Size in GiB of a second volume for temporary files. Disks that belong to the instance type
    /// are used in any case.
    pub data_gib: Option<u32>,
    /// The address under which machines are reached.
    pub reach: Reach,
    /// The source of the driver's connections; `None`: this host's own address.
    pub allow: Option<Cidr>,
    /// The one port of each machine.
    pub port: u16,
    /// Tags in addition to ours.
    pub tags: BTreeMap<String, String>,
    /// Environment of the workers. Sent over the verified connection, never in user data.
    pub env: BTreeMap<String, String>,
    /// Files that machines receive before their worker starts: the path on the machine, and the
    /// path here. Relative paths on the machine are below the worker's working folder. Sent over
    /// the verified connection, never in user data.
    pub files: BTreeMap<String, PathBuf>,
    /// Files of systemd units, which are started in this order before the worker. A unit that fails
    /// keeps the machine from starting. Sent like files.
    pub units: Vec<PathBuf>,
    /// The program for machines of another architecture (`x86_64`, `arm64`) than this host's.
    pub worker_binaries: BTreeMap<String, PathBuf>,
    /// A machine switches itself off after this time in any case.
    pub lifetime: Duration,
    /// The name of the cluster in `cluster ls`; `None`: the session's id.
    pub name: Option<String>,
    /// The owner, as a tag.
    pub owner: String,
}

impl Default for Ec2Spec {
    /// One machine on demand, without a type yet.
    fn default() -> Self {
        Self {
            instance: Vec::new(),
            cores: None,
            memory_gib: None,
            n: 1,
            n_min: None,
            market: Market::default(),
            rebalance: Rebalance::default(),
            region: None,
            profile: None,
            ami: None,
            subnets: Vec::new(),
            security_group: None,
            iam_profile: None,
            root_gib: 30,
            data_gib: None,
            reach: Reach::default(),
            allow: None,
            port: 9470,
            tags: BTreeMap::new(),
            env: BTreeMap::new(),
            files: BTreeMap::new(),
            units: Vec::new(),
            worker_binaries: BTreeMap::new(),
            lifetime: Duration::from_secs(24 * 60 * 60),
            name: None,
            owner: format!("uid {}", rustix::process::getuid().as_raw()),
        }
    }
}

impl fmt::Debug for Ec2Spec {
    /// Without the values of the environment, which may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ec2Spec")
            .field("instance", &self.instance)
            .field("cores", &self.cores)
            .field("memory_gib", &self.memory_gib)
            .field("n", &self.n)
            .field("market", &self.market)
            .field("region", &self.region)
            .field("env", &self.env.keys())
            .finish_non_exhaustive()
    }
}

impl FromStr for Ec2Spec {
    type Err = Error;

    /// Parses `ec2:instance=m7g.2xlarge,n=8,spot,region=eu-west-1`; `ec2:` is optional.
    fn from_str(text: &str) -> Result<Self> {
        let mut spec = Self::default();
        spec.set_all(text)?;
        spec.check()?;
        Ok(spec)
    }
}

impl Ec2Spec {
    /// The configuration of a fleet of these machines: their number, and timeouts that suit
    /// machines of other hosts. A machine that does not start is retried a few times before the
    /// start fails; with [`n_min`](Self::n_min) the start then goes on. Services, output and the
    /// rest are up to the caller.
    pub fn fleet(&self) -> FleetConfig {
        FleetConfig {
            machines: self.n,
            enough: Some(self.n_min.unwrap_or(self.n)),
            lease: LEASE,
            silence: SILENCE,
            ..FleetConfig::default()
        }
    }

    /// Sets all options of a text such as `ec2:n=8,spot`, in addition to those already set.
    /// Instance types and resource requirements replace each other; subnets replace subnets.
    pub fn set_all(&mut self, text: &str) -> Result<()> {
        let options = text.strip_prefix("ec2").map_or(text, |t| t.strip_prefix(':').unwrap_or(t));
        let (instance, subnets) =
            (std::mem::take(&mut self.instance), std::mem::take(&mut self.subnets));
        let size = (self.cores.take(), self.memory_gib.take());
        for option in options.split(',').map(str::trim).filter(|o| !o.is_empty()) {
            match option.split_once('=') {
                Some((key, value)) => self.set(key.trim(), value.trim())?,
                None if option == "spot" => self.set("spot", "true")?,
                None => return Err(value::unknown_or_bare(option)),
            }
        }
        let sized = self.cores.is_some() || self.memory_gib.is_some();
        if self.instance.is_empty() {
            self.cores = self.cores.or(size.0);
            self.memory_gib = self.memory_gib.or(size.1);
            if !sized {
                self.instance = instance;
            }
        }
        if self.subnets.is_empty() {
            self.subnets = subnets;
        }
        Ok(())
    }

    /// Sets one option from its text. `instance`, `subnet`, `file` and `unit` add to their lists.
    pub fn set(&mut self, key: &str, value: &str) -> Result<()> {
        if value.is_empty() {
            return Err(Error::Options(format!("the option \"{key}\" of ec2 has no value")));
        }
        let text = || Some(value.to_owned());
        match key.split_once('.') {
            Some(("tag", name)) => drop(self.tags.insert(name.to_owned(), value.to_owned())),
            Some(("env", name)) => drop(self.env.insert(name.to_owned(), value.to_owned())),
            Some(("worker-binary", arch)) => {
                self.worker_binaries.insert(arch.to_owned(), PathBuf::from(value));
            }
            _ => match key {
                "instance" => self.instance.push(value.to_owned()),
                "cores" => self.cores = Some(value::number(key, value)?),
                "memory" => self.memory_gib = Some(value::gib(key, value)?),
                "n" => self.n = value::number(key, value)?,
                "min" => self.n_min = Some(value::number(key, value)?),
                "spot" => self.market = value::market(value)?,
                "rebalance" => self.rebalance = value::rebalance(value)?,
                "region" => self.region = text(),
                "profile" => self.profile = text(),
                "ami" => self.ami = text(),
                "subnet" => self.subnets.push(value.to_owned()),
                "security-group" => self.security_group = text(),
                "iam-profile" => self.iam_profile = text(),
                "root" => self.root_gib = value::gib(key, value)?,
                "data" => self.data_gib = Some(value::gib(key, value)?),
                "address" => self.reach = value::reach(value)?,
                "allow" => self.allow = Some(value.parse()?),
                "port" => self.port = value::number(key, value)?,
                "lifetime" => self.lifetime = value::duration(key, value)?,
                "file" => self.files.extend([value::file(value)?]),
                "unit" => self.units.push(PathBuf::from(value)),
                "name" => self.name = text(),
                "owner" => value.clone_into(&mut self.owner),
                _ => return Err(value::unknown(key)),
            },
        }
        Ok(())
    }

    /// Rejects options that cannot work, before AWS is asked.
    pub fn check(&self) -> Result<()> {
        let refuse = |reason: String| Err(Error::Options(reason));
        self.check_size()?;
        for kind in &self.instance {
            let label = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-".contains(c);
            if !kind.contains('.') || !kind.chars().all(label) {
                return refuse(format!("\"{kind}\" is not an instance type such as m7g.2xlarge"));
            }
        }
        if !(1..=MACHINES_MAX).contains(&self.n) {
            return refuse(format!("n={} is not between 1 and {MACHINES_MAX} machines", self.n));
        }
        if let Some(min) = self.n_min.filter(|min| !(1..=self.n).contains(min)) {
            return refuse(format!("min={min} is not between 1 and n={}", self.n));
        }
        let volumes = [("root", Some(self.root_gib), ROOT_GIB_MIN), ("data", self.data_gib, 1)];
        for (what, size, min) in volumes {
            if size.is_some_and(|s| !(min..=VOLUME_GIB_MAX).contains(&s)) {
                return refuse(format!("{what} is not between {min}G and {VOLUME_GIB_MAX}G"));
            }
        }
        if !(LIFETIME_MIN..=LIFETIME_MAX).contains(&self.lifetime) {
            return refuse("lifetime must be between 10m and 30d".to_owned());
        }
        if self.port < 1024 {
            return refuse(format!(
                "port={} must be at least 1024: lower ports are reserved for the system",
                self.port
            ));
        }
        if self.reach == Reach::Public && self.security_group.is_none() && self.allow.is_none() {
            return refuse(
                "address=public needs allow=<this host's public address>/32, as \
                 https://checkip.amazonaws.com tells it, or a security-group"
                    .to_owned(),
            );
        }
        self.check_files()?;
        self.check_words()
    }

    fn check_size(&self) -> Result<()> {
        let refuse = |reason: String| Err(Error::Options(reason));
        let sizes = [("cores", self.cores, CORES_MAX), ("memory", self.memory_gib, MEMORY_GIB_MAX)];
        for (what, size, max) in sizes {
            let unit = if what == "memory" { "G" } else { "" };
            match size {
                Some(_) if !self.instance.is_empty() => {
                    return refuse(format!(
                        "instance and {what} exclude each other: give the type or its requirements"
                    ));
                }
                Some(size) if !(1..=max).contains(&size) => {
                    return refuse(format!(
                        "{what}={size}{unit} is not between 1{unit} and {max}{unit}"
                    ));
                }
                _ => {}
            }
        }
        if self.instance.is_empty() && self.cores.is_none() && self.memory_gib.is_none() {
            return refuse(
                "ec2 needs an instance type, such as instance=m7g.2xlarge, or what a machine must \
                 have, such as cores=8,memory=32G"
                    .to_owned(),
            );
        }
        Ok(())
    }

    fn check_files(&self) -> Result<()> {
        if self.files.len() + self.units.len() > FILES_MAX {
            return Err(Error::Options(format!("more than {FILES_MAX} files and units")));
        }
        for remote in self.files.keys() {
            let parts = std::path::Path::new(remote).components();
            let up = parts.clone().any(|part| part == std::path::Component::ParentDir);
            if remote.ends_with('/') || remote.contains('\0') || up || parts.count() == 0 {
                return Err(Error::Options(format!("\"{remote}\" is not the name of a file")));
            }
        }
        for unit in &self.units {
            let named = unit.file_name().and_then(|name| name.to_str()).is_some_and(|name| {
                let plain = |c: char| c.is_ascii_alphanumeric() || ":_.@-".contains(c);
                !name.starts_with('-')
                    && name.chars().all(plain)
                    && UNIT_SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
            });
            if !named {
                return Err(Error::Options(format!(
                    "\"{}\" does not have a name of a systemd unit, such as setup.service",
                    unit.display()
                )));
            }
        }
        Ok(())
    }

    fn check_words(&self) -> Result<()> {
        if self.tags.len() > TAGS_MAX {
            return Err(Error::Options(format!("more than {TAGS_MAX} tags")));
        }
        for (key, value) in &self.tags {
            if key.is_empty() || key.starts_with("bigslice:") || key.starts_with("aws:") {
                return Err(Error::Options(format!("the tag \"{key}\" is reserved")));
            }
            if value.len() > TAG_VALUE_MAX {
                return Err(Error::Options(format!("the tag \"{key}\" is too long")));
            }
        }
        for (what, text) in [("name", self.name.as_deref()), ("owner", Some(&*self.owner))] {
            if text.is_some_and(|text| text.is_empty() || text.len() > NAME_MAX) {
                return Err(Error::Options(format!("{what} is not 1 to {NAME_MAX} letters long")));
            }
        }
        for key in self.env.keys() {
            if key.is_empty() || key.contains(['\0', '=']) {
                return Err(Error::Options(format!(
                    "\"{key}\" is not the name of a variable of the environment"
                )));
            }
        }
        for arch in self.worker_binaries.keys() {
            if !["x86_64", "arm64"].contains(&arch.as_str()) {
                return Err(Error::Options(format!(
                    "\"{arch}\" is not an architecture of EC2: worker-binary.x86_64 or \
                     worker-binary.arm64"
                )));
            }
        }
        Ok(())
    }
}
