//! What a [`Ec2Spec`] comes to in an account and region: image, architecture, subnets. Asked once,
//! before anything is launched; [`Plan`] shows itself as the line that a user sees first.

use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

use aws_sdk_ec2::types::{Filter, InstanceType};

use super::api::failed;
use super::program::Program;
use super::spec::{Ec2Spec, Market};
use crate::error::{Error, Result, chain};

/// Where AWS says which image of Amazon Linux is the newest.
pub(super) const IMAGE_PARAMETER: &str =
    "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-";
/// What EC2 and ELF know; a type with others besides is asked for one of these.
const ARCHITECTURES: [&str; 2] = ["x86_64", "arm64"];
const MIB_PER_GIB: i64 = 1024;

/// An instance type of the plan.
#[derive(Clone, Debug)]
pub(super) struct Kind {
    pub(super) name: String,
    pub(super) arch: &'static str,
    cores: i32,
    memory_gib: i64,
    /// The lowest spot price in the plan's zones, in USD per hour, if it is asked for and known.
    spot_usd: Option<f64>,
}

/// A subnet of the plan.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) subnet: String,
    pub(super) zone: String,
    pub(super) cidr: String,
}

/// What machines of an architecture boot from and run.
#[derive(Clone, Debug)]
pub(super) struct Boot {
    pub(super) image: String,
    /// The name of the image's root device.
    pub(super) root_device: String,
    pub(super) program: Program,
}

/// What will be started.
#[derive(Clone, Debug)]
pub struct Plan {
    /// In the order of the specification.
    pub(super) kinds: Vec<Kind>,
    /// By architecture.
    pub(super) boots: BTreeMap<&'static str, Boot>,
    /// In the order in which they are tried.
    pub(super) places: Vec<Place>,
    pub(super) vpc: String,
    market: Market,
    n: usize,
    region: String,
    volume_gib: u32,
    lifetime_hours: u64,
}

impl Plan {
    /// The cores of a machine: of the type that has fewest, as any of them may come.
    pub fn cores(&self) -> usize {
        let cores = self.kinds.iter().filter_map(|kind| usize::try_from(kind.cores).ok()).min();
        cores.unwrap_or(1).max(1)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = if self.n == 1 { "" } else { "s" };
        write!(f, "{} machine{s} in {}: ", self.n, self.region)?;
        for (i, kind) in self.kinds.iter().enumerate() {
            let or = if i == 0 { "" } else { " or " };
            let Kind { name, arch, cores, memory_gib, spot_usd } = kind;
            write!(f, "{or}{name} ({arch}, {cores} cores, {memory_gib} GiB")?;
            match spot_usd {
                Some(usd) => write!(f, ", now from {usd:.4} USD per hour as spot)")?,
                None => f.write_str(")")?,
            }
        }
        let market = match self.market {
            Market::OnDemand => "on demand",
            Market::Spot => "spot",
            Market::SpotOrOnDemand => "spot, else on demand",
        };
        let zones: Vec<&str> = self.places.iter().map(|p| p.zone.as_str()).collect();
        write!(
            f,
            ", {market}, one zone of {}, {} GiB of volumes each, for at most {} hours",
            zones.join(" "),
            self.volume_gib,
            self.lifetime_hours
        )
    }
}

/// Asks AWS what `spec` needs to be known.
pub(super) async fn resolve(
    spec: &Ec2Spec,
    ec2: &aws_sdk_ec2::Client,
    ssm: &aws_sdk_ssm::Client,
    region: &str,
) -> Result<Plan> {
    let mut kinds = kinds(spec, ec2).await?;
    let mut boots = BTreeMap::new();
    for kind in &kinds {
        if !boots.contains_key(kind.arch) {
            boots.insert(kind.arch, boot(spec, ec2, ssm, kind.arch).await?);
        }
    }
    let (vpc, places) = places(spec, ec2).await?;
    if spec.market != Market::OnDemand {
        price(&mut kinds, &places, ec2).await;
    }
    Ok(Plan {
        kinds,
        boots,
        places,
        vpc,
        market: spec.market,
        n: spec.n,
        region: region.to_owned(),
        volume_gib: spec.root_gib + spec.data_gib.unwrap_or(0),
        lifetime_hours: spec.lifetime.as_secs() / (60 * 60),
    })
}

async fn kinds(spec: &Ec2Spec, ec2: &aws_sdk_ec2::Client) -> Result<Vec<Kind>> {
    let attempt = format!("look up the instance type {}", spec.instance.join(", "));
    let types = spec.instance.iter().map(|name| InstanceType::from(name.as_str())).collect();
    let found = ec2.describe_instance_types().set_instance_types(Some(types)).send().await;
    let found = found.map_err(failed(attempt.clone()))?;
    let known = |name: &String| {
        let info = found
            .instance_types()
            .iter()
            .find(|info| info.instance_type().is_some_and(|t| t.as_str() == name))?;
        let processor = info.processor_info()?;
        let arch = ARCHITECTURES
            .into_iter()
            .find(|arch| processor.supported_architectures().iter().any(|a| a.as_str() == *arch))?;
        let memory = info.memory_info().and_then(|m| m.size_in_mib()).unwrap_or(0);
        Some(Kind {
            name: name.clone(),
            arch,
            cores: info.v_cpu_info().and_then(|v| v.default_v_cpus()).unwrap_or(0),
            memory_gib: memory / MIB_PER_GIB,
            spot_usd: None,
        })
    };
    let kind = |name| {
        known(name).ok_or_else(|| Error::Cloud {
            attempt: attempt.clone(),
            code: String::new(),
            reason: format!("there is no {name} with x86_64 or arm64 in this region"),
        })
    };
    spec.instance.iter().map(kind).collect()
}

/// Enters what spot machines cost now. Goes on without if that is not to be had: it is for show.
async fn price(kinds: &mut [Kind], places: &[Place], ec2: &aws_sdk_ec2::Client) {
    let types = kinds.iter().map(|kind| InstanceType::from(kind.name.as_str())).collect();
    let call = ec2.describe_spot_price_history().set_instance_types(Some(types));
    let call = call.product_descriptions("Linux/UNIX").start_time(SystemTime::now().into());
    let prices = match call.send().await.map_err(failed("look up the spot prices")) {
        Ok(prices) => prices,
        Err(err) => return tracing::info!(error = %chain(&err), "prices are not known"),
    };
    for kind in kinds {
        let own = prices.spot_price_history().iter().filter(|price| {
            price.instance_type().is_some_and(|t| t.as_str() == kind.name)
                && places.iter().any(|place| price.availability_zone() == Some(&place.zone))
        });
        let usd = own.filter_map(|price| price.spot_price()?.parse::<f64>().ok());
        kind.spot_usd = usd.min_by(f64::total_cmp);
    }
}

async fn boot(
    spec: &Ec2Spec,
    ec2: &aws_sdk_ec2::Client,
    ssm: &aws_sdk_ssm::Client,
    arch: &'static str,
) -> Result<Boot> {
    let reading = spec.clone();
    let program = tokio::task::spawn_blocking(move || Program::find(&reading, arch)).await;
    let program = program.map_err(|e| Error::Options(format!("could not read it: {e}")))??;
    let image = match &spec.ami {
        Some(image) => image.clone(),
        None => {
            let name = format!("{IMAGE_PARAMETER}{arch}");
            let attempt = "look up the newest Amazon Linux";
            let found = ssm.get_parameter().name(name).send().await.map_err(failed(attempt))?;
            found
                .parameter()
                .and_then(|parameter| parameter.value())
                .map(str::to_owned)
                .ok_or_else(|| nothing(attempt, "AWS names no image: give one with ami="))?
        }
    };
    let attempt = format!("look up the image {image}");
    let found = ec2.describe_images().image_ids(&image).send().await;
    let found = found.map_err(failed(attempt.clone()))?;
    let found = found
        .images()
        .first()
        .ok_or_else(|| nothing(&attempt, "there is no such image in this region"))?;
    if let Some(other) = found.architecture().filter(|a| a.as_str() != arch) {
        return Err(nothing(
            &attempt,
            &format!("it is for {}, the instance type for {arch}", other.as_str()),
        ));
    }
    let root_device = found.root_device_name().unwrap_or(super::request::ROOT_DEVICE).to_owned();
    Ok(Boot { image, root_device, program })
}

async fn places(spec: &Ec2Spec, ec2: &aws_sdk_ec2::Client) -> Result<(String, Vec<Place>)> {
    let attempt = "look up the subnets";
    let mut request = ec2.describe_subnets();
    if spec.subnets.is_empty() {
        let default = Filter::builder().name("default-for-az").values("true").build();
        request = request.filters(default);
    } else {
        request = request.set_subnet_ids(Some(spec.subnets.clone()));
    }
    let found = request.send().await.map_err(failed(attempt))?;
    let mut subnets = Vec::new();
    for subnet in found.subnets() {
        if let (Some(id), Some(zone), Some(vpc)) =
            (subnet.subnet_id(), subnet.availability_zone(), subnet.vpc_id())
        {
            let cidr = subnet.cidr_block().unwrap_or_default().to_owned();
            let place = Place { subnet: id.to_owned(), zone: zone.to_owned(), cidr };
            subnets.push((vpc.to_owned(), place));
        }
    }
    let order = |place: &Place| spec.subnets.iter().position(|wanted| *wanted == place.subnet);
    subnets.sort_by_key(|(_, place)| (order(place), place.zone.clone()));
    let Some((vpc, _)) = subnets.first().cloned() else {
        return Err(nothing(attempt, "the region has no default network: name one with subnet="));
    };
    if subnets.iter().any(|(other, _)| *other != vpc) {
        return Err(Error::Options("the subnets are not all of one network (VPC)".to_owned()));
    }
    Ok((vpc, subnets.into_iter().map(|(_, place)| place).collect()))
}

fn nothing(attempt: &str, reason: &str) -> Error {
    Error::Cloud { attempt: attempt.to_owned(), code: String::new(), reason: reason.to_owned() }
}
