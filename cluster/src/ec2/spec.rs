//! What a user can say about machines on EC2: [`Ec2Spec`] as a struct, or set option by option with
//! [`Ec2Spec::set`], which is what both the text `ec2:instance=m7g.2xlarge,n=8,spot` and a table of
//! a settings file come down to. Everything that can be refused without asking AWS is refused here.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::error::{Error, Result};

/// The options, for messages and for guessing what a misspelt one was to be.
const OPTIONS: &[&str] = &[
    "address",
    "allow",
    "ami",
    "data",
    "env.NAME",
    "iam-profile",
    "instance",
    "lifetime",
    "n",
    "name",
    "owner",
    "port",
    "profile",
    "region",
    "root",
    "security-group",
    "spot",
    "subnet",
    "tag.NAME",
    "worker-binary.ARCH",
];
/// An account's quota is far below this; more is a slip of the finger that would be dear.
const MACHINES_MAX: usize = 2000;
/// EC2 takes 50 tags for a resource; some are ours.
const TAGS_MAX: usize = 40;
/// What EC2 takes as the value of a tag.
const TAG_VALUE_MAX: usize = 256;
/// Leaves room for the rest of the tag `Name`.
const NAME_MAX: usize = 128;
/// Amazon Linux 2023 needs 2 GiB, the program and a little spilling more.
const ROOT_GIB_MIN: u32 = 8;
/// The largest gp3 volume.
const VOLUME_GIB_MAX: u32 = 16 << 10;
/// Shorter than a machine takes to come up.
const LIFETIME_MIN: Duration = Duration::from_secs(10 * 60);
/// The longest sensible life of a machine that is meant for one session.
const LIFETIME_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// A network of callers wider than this is as good as everybody.
const PREFIX_MIN: u8 = 8;
/// Names that guessing considers alike differ in at most a part of their letters.
const ALIKE_MIN: f64 = 0.7;

/// How machines are paid for.
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

/// The address under which machines are reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// The private one: the driver is in the same network, or has a way into it.
    #[default]
    Private,
    /// The public DNS name, which within the network stands for the private address.
    Public,
}

/// A range of IPv4 addresses, as in `203.0.113.7/32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    /// The first address, or any of them.
    pub address: Ipv4Addr,
    /// How many leading bits they share.
    pub prefix: u8,
}

impl FromStr for Cidr {
    type Err = Error;

    /// Refuses ranges so wide that they are no restriction.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            Error::Options(format!("\"{text}\" is not a range of addresses such as 203.0.113.7/32"))
        };
        let (address, prefix) = text.split_once('/').unwrap_or((text, "32"));
        let address = address.parse().map_err(|_| wrong())?;
        let prefix = prefix.parse().ok().filter(|p| *p <= 32).ok_or_else(wrong)?;
        if prefix < PREFIX_MIN {
            return Err(Error::Options(format!(
                "\"{text}\" would open the machines to nearly everybody: allow the driver's own \
                 address, such as 203.0.113.7/32"
            )));
        }
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Machines on EC2, as a user wants them.
#[derive(Clone, PartialEq, Eq)]
pub struct Ec2Spec {
    /// Instance types, the most wanted first; each is tried when those before it are not to be had.
    pub instance: Vec<String>,
    /// How many machines the session is to have.
    pub n: usize,
    /// How they are paid for.
    pub market: Market,
    /// The AWS region; without one, that of the environment or profile.
    pub region: Option<String>,
    /// The profile of the AWS configuration files whose credentials are used.
    pub profile: Option<String>,
    /// The image; without one, the newest Amazon Linux 2023.
    pub ami: Option<String>,
    /// Subnets, tried in turn; without any, the default ones of the region. All of one network.
    pub subnets: Vec<String>,
    /// A security group that lets the driver and the machines reach [`port`](Self::port); without
    /// one, a group is made for the session.
    pub security_group: Option<String>,
    /// Name or ARN of the instance profile whose role the machines have.
    pub iam_profile: Option<String>,
    /// Size of the root volume in GiB.
    pub root_gib: u32,
    /// Size of a second volume in GiB for temporary files. Disks that belong to the instance type
    /// are used without being asked for.
    pub data_gib: Option<u32>,
    /// The address under which machines are reached.
    pub reach: Reach,
    /// Where the driver's connections come from; without it, this host's own address.
    pub allow: Option<Cidr>,
    /// The one port of each machine.
    pub port: u16,
    /// Tags besides ours.
    pub tags: BTreeMap<String, String>,
    /// Environment of the workers. Sent over the verified connection, never in user data.
    pub env: BTreeMap<String, String>,
    /// The program for machines of an architecture (`x86_64`, `arm64`) other than this host's.
    pub worker_binaries: BTreeMap<String, PathBuf>,
    /// A machine switches itself off after this, whatever happens.
    pub lifetime: Duration,
    /// What `cluster ls` calls the machines; without it, the session's id.
    pub name: Option<String>,
    /// Who pays, for whoever looks at the tags.
    pub owner: String,
}

impl Default for Ec2Spec {
    /// One machine on demand, of no type yet.
    fn default() -> Self {
        Self {
            instance: Vec::new(),
            n: 1,
            market: Market::default(),
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
            .field("n", &self.n)
            .field("market", &self.market)
            .field("region", &self.region)
            .field("env", &self.env.keys())
            .finish_non_exhaustive()
    }
}

impl FromStr for Ec2Spec {
    type Err = Error;

    /// Reads `ec2:instance=m7g.2xlarge,n=8,spot,region=eu-west-1`; the `ec2:` may be missing.
    fn from_str(text: &str) -> Result<Self> {
        let mut spec = Self::default();
        spec.set_all(text)?;
        spec.check()?;
        Ok(spec)
    }
}

impl Ec2Spec {
    /// Sets all options of a text such as `ec2:n=8,spot`, on top of those that are set. Instance types and
    /// subnets take the place of those that there are.
    pub fn set_all(&mut self, text: &str) -> Result<()> {
        let options = text.strip_prefix("ec2").map_or(text, |t| t.strip_prefix(':').unwrap_or(t));
        let (instance, subnets) =
            (std::mem::take(&mut self.instance), std::mem::take(&mut self.subnets));
        for option in options.split(',').map(str::trim).filter(|o| !o.is_empty()) {
            match option.split_once('=') {
                Some((key, value)) => self.set(key.trim(), value.trim())?,
                None if option == "spot" => self.set("spot", "true")?,
                None => return Err(unknown_or_bare(option)),
            }
        }
        if self.instance.is_empty() {
            self.instance = instance;
        }
        if self.subnets.is_empty() {
            self.subnets = subnets;
        }
        Ok(())
    }

    /// Sets one option to what a user wrote. `instance` and `subnet` add to their lists.
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
                "n" => self.n = number(key, value)?,
                "spot" => self.market = market(value)?,
                "region" => self.region = text(),
                "profile" => self.profile = text(),
                "ami" => self.ami = text(),
                "subnet" => self.subnets.push(value.to_owned()),
                "security-group" => self.security_group = text(),
                "iam-profile" => self.iam_profile = text(),
                "root" => self.root_gib = gib(key, value)?,
                "data" => self.data_gib = Some(gib(key, value)?),
                "address" => self.reach = reach(value)?,
                "allow" => self.allow = Some(value.parse()?),
                "port" => self.port = number(key, value)?,
                "lifetime" => self.lifetime = duration(key, value)?,
                "name" => self.name = text(),
                "owner" => value.clone_into(&mut self.owner),
                _ => return Err(unknown(key)),
            },
        }
        Ok(())
    }

    /// Refuses what cannot work, before anything is asked of AWS.
    pub fn check(&self) -> Result<()> {
        let refuse = |reason: String| Err(Error::Options(reason));
        if self.instance.is_empty() {
            return refuse("ec2 needs an instance type, such as instance=m7g.2xlarge".to_owned());
        }
        for kind in &self.instance {
            let label = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-".contains(c);
            if !kind.contains('.') || !kind.chars().all(label) {
                return refuse(format!("\"{kind}\" is not an instance type such as m7g.2xlarge"));
            }
        }
        if !(1..=MACHINES_MAX).contains(&self.n) {
            return refuse(format!("n={} is not between 1 and {MACHINES_MAX} machines", self.n));
        }
        let volumes = [("root", Some(self.root_gib), ROOT_GIB_MIN), ("data", self.data_gib, 1)];
        for (what, size, min) in volumes {
            if size.is_some_and(|s| !(min..=VOLUME_GIB_MAX).contains(&s)) {
                return refuse(format!("{what} is not between {min}G and {VOLUME_GIB_MAX}G"));
            }
        }
        if !(LIFETIME_MIN..=LIFETIME_MAX).contains(&self.lifetime) {
            return refuse("lifetime is not between 10m and 30d".to_owned());
        }
        if self.port < 1024 {
            return refuse(format!("port={} is below 1024, for the system's own use", self.port));
        }
        if self.reach == Reach::Public && self.security_group.is_none() && self.allow.is_none() {
            return refuse(
                "address=public needs allow=<this host's public address>/32, as \
                 https://checkip.amazonaws.com tells it, or a security-group"
                    .to_owned(),
            );
        }
        self.check_words()
    }

    fn check_words(&self) -> Result<()> {
        if self.tags.len() > TAGS_MAX {
            return Err(Error::Options(format!("more than {TAGS_MAX} tags")));
        }
        for (key, value) in &self.tags {
            if key.is_empty() || key.starts_with("bigslice:") || key.starts_with("aws:") {
                return Err(Error::Options(format!("the tag \"{key}\" is not yours to set")));
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
            if key.is_empty() || key.contains('\0') {
                return Err(Error::Options("a variable of the environment has no name".to_owned()));
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

fn unknown(key: &str) -> Error {
    let alike = OPTIONS
        .iter()
        .map(|option| (strsim::jaro_winkler(key, option), option))
        .filter(|(alike, _)| *alike >= ALIKE_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    Error::Options(match alike {
        Some((_, option)) => format!("ec2 has no option \"{key}\"; did you mean \"{option}\"?"),
        None => format!("ec2 has no option \"{key}\", only {}", OPTIONS.join(", ")),
    })
}

/// An option without a value: perhaps it needs one, perhaps there is no such option.
fn unknown_or_bare(option: &str) -> Error {
    if OPTIONS.contains(&option) {
        Error::Options(format!("the option \"{option}\" of ec2 has no value: {option}=..."))
    } else {
        unknown(option)
    }
}

fn number<N: FromStr>(key: &str, value: &str) -> Result<N> {
    value
        .parse()
        .map_err(|_| Error::Options(format!("{key}={value}: \"{value}\" is not a whole number")))
}

fn market(value: &str) -> Result<Market> {
    match value {
        "true" | "only" => Ok(Market::Spot),
        "fallback" => Ok(Market::SpotOrOnDemand),
        "false" | "no" => Ok(Market::OnDemand),
        _ => Err(Error::Options(format!("spot={value}: say spot, spot=fallback or spot=no"))),
    }
}

fn reach(value: &str) -> Result<Reach> {
    match value {
        "private" => Ok(Reach::Private),
        "public" => Ok(Reach::Public),
        _ => Err(Error::Options(format!("address={value}: say private or public"))),
    }
}

/// A size in GiB: `100G`, `1T`; EC2 knows no smaller unit, and a number alone could be anything.
fn gib(key: &str, value: &str) -> Result<u32> {
    let units = [("GiB", 1), ("GB", 1), ("G", 1), ("TiB", 1024), ("TB", 1024), ("T", 1024)];
    units
        .iter()
        .find_map(|(unit, factor)| {
            value.strip_suffix(unit)?.trim().parse::<u32>().ok()?.checked_mul(*factor)
        })
        .ok_or_else(|| Error::Options(format!("{key}={value}: say a size such as 100G or 1T")))
}

/// A length of time: `30m`, `12h`, `2d`.
fn duration(key: &str, value: &str) -> Result<Duration> {
    let units = [("m", 60), ("h", 60 * 60), ("d", 24 * 60 * 60)];
    units
        .iter()
        .find_map(|(unit, factor)| {
            value.strip_suffix(unit)?.parse::<u64>().ok()?.checked_mul(*factor)
        })
        .map(Duration::from_secs)
        .ok_or_else(|| Error::Options(format!("{key}={value}: say a time such as 90m, 12h or 2d")))
}
