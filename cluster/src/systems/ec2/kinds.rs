//! The instance types: those that a user names, or those with the requested resources, according to
//! EC2's current description of its types. There is no list here that would go out of date.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt;
use std::time::SystemTime;

use aws_sdk_ec2::types::{Filter, InstanceType, InstanceTypeInfo};

use super::api::failed;
use super::spec::Ec2Spec;
use super::value::Market;
use crate::error::{Error, Result, chain};

/// The names of architectures in EC2 and ELF. A type with further ones counts as one of these.
pub(super) const ARCHITECTURES: [&str; 2] = ["x86_64", "arm64"];
const MIB_PER_GIB: i64 = 1024;
/// The number of matching types whose prices are compared, the smallest first: a larger type may be
/// cheaper as spot, but not a far larger one.
const CANDIDATES_MAX: usize = 30;
/// The number of types tried in turn on demand: in each zone, each takes a call.
const CHOSEN_MAX: usize = 8;
/// The number of types from which EC2 chooses for spot, in one call; it recommends ten or more. If
/// there is no spot capacity and on demand is allowed, these are tried in turn.
const SPOT_CHOSEN_MAX: usize = 12;

/// An instance type of the plan.
#[derive(Clone, Debug)]
pub(super) struct Kind {
    pub(super) name: String,
    pub(super) arch: &'static str,
    pub(super) cores: i32,
    memory_mib: i64,
    has_disk: bool,
    /// The lowest spot price in the plan's zones in USD per hour, if requested and known.
    pub(super) spot_usd: Option<f64>,
}

impl Kind {
    fn of(info: &InstanceTypeInfo, archs: &[&'static str]) -> Option<Self> {
        let supported = info.processor_info()?.supported_architectures();
        let arch = archs.iter().find(|arch| supported.iter().any(|a| a.as_str() == **arch))?;
        Some(Self {
            name: info.instance_type()?.as_str().to_owned(),
            arch,
            cores: info.v_cpu_info().and_then(|v| v.default_v_cpus()).unwrap_or(0),
            memory_mib: info.memory_info().and_then(|m| m.size_in_mib()).unwrap_or(0),
            has_disk: info.instance_storage_supported().unwrap_or(false),
            spot_usd: None,
        })
    }

    /// Orders by size; among equal sizes, cheaper or newer types come first. Disks and letters
    /// after the generation (`n`, `d`) cost more.
    fn size(&self) -> impl Ord + use<> {
        let family = self.name.split('.').next().unwrap_or_default();
        let digits = family.chars().filter(char::is_ascii_digit);
        let generation: u32 = digits.collect::<String>().parse().unwrap_or(0);
        let name = self.name.clone();
        (self.cores, self.memory_mib, self.has_disk, family.len(), Reverse(generation), name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, arch, cores, memory_mib, spot_usd, .. } = self;
        write!(f, "{name} ({arch}, {cores} cores, {} GiB", memory_mib / MIB_PER_GIB)?;
        match spot_usd {
            Some(usd) => write!(f, ", now from {usd:.4} USD per hour as spot)"),
            None => f.write_str(")"),
        }
    }
}

/// The types to try, in the order for on demand.
#[derive(Debug)]
pub(super) struct Kinds {
    pub(super) kinds: Vec<Kind>,
    /// The requested resources and the criterion, if they were chosen.
    pub(super) why: Option<String>,
}

/// The types that `spec` names or asks for, with an architecture for which there is a program.
pub(super) async fn resolve(
    spec: &Ec2Spec,
    zones: &[&str],
    archs: &[&'static str],
    ec2: &aws_sdk_ec2::Client,
) -> Result<Kinds> {
    if spec.instance.is_empty() {
        return choose(spec, zones, archs, ec2).await;
    }
    let mut kinds = named(spec, ec2).await?;
    if spec.market != Market::OnDemand {
        price(&mut kinds, zones, ec2).await;
    }
    Ok(Kinds { kinds, why: None })
}

async fn named(spec: &Ec2Spec, ec2: &aws_sdk_ec2::Client) -> Result<Vec<Kind>> {
    let attempt = format!("look up the instance type {}", spec.instance.join(", "));
    // A fleet rejects duplicate pools.
    let mut seen = BTreeSet::new();
    let names: Vec<&String> = spec.instance.iter().filter(|name| seen.insert(*name)).collect();
    let types = names.iter().map(|name| InstanceType::from(name.as_str())).collect();
    let found = ec2.describe_instance_types().set_instance_types(Some(types)).send().await;
    let found = found.map_err(failed(attempt.clone()))?;
    let kind = |name: &String| {
        let mut infos = found.instance_types().iter();
        let info = infos.find(|info| info.instance_type().is_some_and(|t| t.as_str() == name));
        info.and_then(|info| Kind::of(info, &ARCHITECTURES)).ok_or_else(|| Error::Cloud {
            attempt: attempt.clone(),
            code: String::new(),
            reason: format!("there is no {name} with x86_64 or arm64 in this region"),
        })
    };
    names.into_iter().map(kind).collect()
}

async fn choose(
    spec: &Ec2Spec,
    zones: &[&str],
    archs: &[&'static str],
    ec2: &aws_sdk_ec2::Client,
) -> Result<Kinds> {
    let (cores, memory) = (spec.cores.unwrap_or(1), spec.memory_gib.unwrap_or(1));
    let fits = |kind: &Kind| {
        i64::from(kind.cores) >= i64::from(cores)
            && kind.memory_mib >= i64::from(memory) * MIB_PER_GIB
    };
    let mut kinds = all(spec, archs, ec2).await?;
    kinds.retain(fits);
    kinds.sort_by_cached_key(Kind::size);
    let total = kinds.len();
    if total == 0 {
        let missing: Vec<&str> = ARCHITECTURES.into_iter().filter(|a| !archs.contains(a)).collect();
        let more = match missing[..] {
            [other] => format!(", or give a program for others as worker-binary.{other}=PATH"),
            _ => String::new(),
        };
        return Err(Error::Options(format!(
            "no instance type of the region for {} has {cores} cores and {memory} GiB of memory: \
             ask for less{more}",
            archs.join(" or ")
        )));
    }
    kinds.truncate(CANDIDATES_MAX);
    let mut chosen_max = CHOSEN_MAX;
    let mut order = "the smallest";
    if spec.market != Market::OnDemand {
        chosen_max = SPOT_CHOSEN_MAX;
        price(&mut kinds, zones, ec2).await;
        if kinds.iter().any(|kind| kind.spot_usd.is_some()) {
            order = "the cheapest as spot";
        }
        // A stable sort: by size where prices are equal or unknown.
        kinds.sort_by(|a, b| {
            let usd = |kind: &Kind| kind.spot_usd.unwrap_or(f64::INFINITY);
            usd(a).total_cmp(&usd(b))
        });
    }
    kinds.truncate(chosen_max);
    let why = format!("{order} of {total} types with {cores} cores and {memory} GiB or more");
    Ok(Kinds { kinds, why: Some(why) })
}

/// The types suitable for workers: of the current generation, and neither whole hosts, nor with
/// devices that would be paid for in vain, nor with burstable cores.
async fn all(
    spec: &Ec2Spec,
    archs: &[&'static str],
    ec2: &aws_sdk_ec2::Client,
) -> Result<Vec<Kind>> {
    let market = if spec.market == Market::OnDemand { "on-demand" } else { "spot" };
    let filters = [
        ("processor-info.supported-architecture", archs.to_vec()),
        ("current-generation", vec!["true"]),
        ("bare-metal", vec!["false"]),
        ("burstable-performance-supported", vec!["false"]),
        ("supported-usage-class", vec![market]),
    ];
    let filters = filters.map(|(name, values)| {
        let values = values.into_iter().map(str::to_owned).collect();
        Filter::builder().name(name).set_values(Some(values)).build()
    });
    let call = ec2.describe_instance_types().set_filters(Some(filters.to_vec()));
    let mut pages = call.into_paginator().send();
    let mut kinds = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(failed("look up the instance types"))?;
        let plain = page.instance_types().iter().filter(|info| {
            info.gpu_info().is_none()
                && info.fpga_info().is_none()
                && info.inference_accelerator_info().is_none()
                && info.neuron_info().is_none()
                && info.media_accelerator_info().is_none()
        });
        kinds.extend(plain.filter_map(|info| Kind::of(info, archs)));
    }
    Ok(kinds)
}

/// Adds the current spot prices. Goes on without them if they are not available.
async fn price(kinds: &mut [Kind], zones: &[&str], ec2: &aws_sdk_ec2::Client) {
    let types = kinds.iter().map(|kind| InstanceType::from(kind.name.as_str())).collect();
    let call = ec2.describe_spot_price_history().set_instance_types(Some(types));
    let call = call.product_descriptions("Linux/UNIX").start_time(SystemTime::now().into());
    let prices = match call.send().await.map_err(failed("look up the spot prices")) {
        Ok(prices) => prices,
        Err(err) => return tracing::info!(error = %chain(&err), "could not look up spot prices"),
    };
    for kind in kinds {
        let own = prices.spot_price_history().iter().filter(|price| {
            price.instance_type().is_some_and(|t| t.as_str() == kind.name)
                && zones.iter().any(|zone| price.availability_zone() == Some(*zone))
        });
        let usd = own.filter_map(|price| price.spot_price()?.parse::<f64>().ok());
        kind.spot_usd = usd.min_by(f64::total_cmp);
    }
}
