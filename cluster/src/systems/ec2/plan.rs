//! The plan of an [`Ec2Spec`] in an account and region: image, architecture, subnets. Made once,
//! before anything is launched; [`Plan`] displays the line that a user sees first.

use std::collections::BTreeMap;
use std::fmt;

use aws_sdk_ec2::types::{Filter, Image};

use super::api::failed;
use super::kinds::{self, Kind, Kinds};
use super::payload::{self, Payload};
use super::program::{self, Program};
use super::spec::Ec2Spec;
use super::value::Market;
use crate::error::{Error, Result};

/// The parameter with the newest image of Amazon Linux.
pub(super) const IMAGE_PARAMETER: &str =
    "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-";

/// The root device of Amazon Linux, for an image that does not name one.
const ROOT_DEVICE: &str = "/dev/xvda";

/// A subnet of the plan.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) subnet: String,
    pub(super) zone: String,
    pub(super) cidr: String,
}

/// The image and program of an architecture.
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
    /// In the order in which they are tried on demand; for spot, EC2 chooses among them.
    pub(super) kinds: Vec<Kind>,
    /// By architecture.
    pub(super) boots: BTreeMap<&'static str, Boot>,
    /// In the order in which they are tried.
    pub(super) places: Vec<Place>,
    pub(super) vpc: String,
    /// The payload of each machine.
    pub(super) payload: Vec<Payload>,
    /// How the types were chosen, if they were.
    why: Option<String>,
    market: Market,
    n: usize,
    region: String,
    volume_gib: u32,
    lifetime_hours: u64,
}

impl Plan {
    /// The cores of a machine: of the type with the fewest, because any of them may be launched.
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
            write!(f, "{or}{kind}")?;
        }
        if let Some(why) = &self.why {
            write!(f, ", chosen as {why}")?;
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
        )?;
        let prices = self.kinds.iter().filter_map(|kind| kind.spot_usd);
        match prices.min_by(f64::total_cmp) {
            Some(usd) if self.n > 1 => {
                write!(f, ", all together from {:.2} USD per hour", usd * self.n as f64)
            }
            _ => Ok(()),
        }
    }
}

/// Asks AWS for what `spec` leaves open.
pub(super) async fn resolve(
    spec: &Ec2Spec,
    ec2: &aws_sdk_ec2::Client,
    ssm: &aws_sdk_ssm::Client,
    region: &str,
) -> Result<Plan> {
    let reading = spec.clone();
    let payload = tokio::task::spawn_blocking(move || payload::pack(&reading)).await;
    let payload = payload.map_err(|e| Error::Options(format!("could not read files: {e}")))??;
    let mut archs = program::architectures(spec);
    if let (Some(image), true) = (&spec.ami, spec.instance.is_empty()) {
        let only = describe_image(ec2, image).await?.architecture().cloned();
        archs.retain(|arch| only.as_ref().is_none_or(|only| only.as_str() == *arch));
    }
    let (vpc, places) = places(spec, ec2).await?;
    let zones: Vec<&str> = places.iter().map(|place| place.zone.as_str()).collect();
    let Kinds { kinds, why } = kinds::resolve(spec, &zones, &archs, ec2).await?;
    let mut boots = BTreeMap::new();
    for kind in &kinds {
        if !boots.contains_key(kind.arch) {
            boots.insert(kind.arch, boot(spec, ec2, ssm, kind.arch).await?);
        }
    }
    Ok(Plan {
        kinds,
        boots,
        places,
        vpc,
        payload,
        why,
        market: spec.market,
        n: spec.n,
        region: region.to_owned(),
        volume_gib: spec.root_gib + spec.data_gib.unwrap_or(0),
        lifetime_hours: spec.lifetime.as_secs() / (60 * 60),
    })
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
    let found = describe_image(ec2, &image).await?;
    if let Some(other) = found.architecture().filter(|a| a.as_str() != arch) {
        return Err(nothing(
            &look_up(&image),
            &format!("it is for {}, the instance type for {arch}", other.as_str()),
        ));
    }
    let root_device = found.root_device_name().unwrap_or(ROOT_DEVICE).to_owned();
    Ok(Boot { image, root_device, program })
}

fn look_up(image: &str) -> String {
    format!("look up the image {image}")
}

async fn describe_image(ec2: &aws_sdk_ec2::Client, image: &str) -> Result<Image> {
    let found = ec2.describe_images().image_ids(image).send().await;
    let found = found.map_err(failed(look_up(image)))?;
    let missing = || nothing(&look_up(image), "there is no such image in this region");
    found.images().first().cloned().ok_or_else(missing)
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
