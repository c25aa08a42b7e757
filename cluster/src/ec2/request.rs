//! The call that launches an instance, with everything in it that the instance and its volumes are
//! ever told: tags come with it, not after it, and there is no moment at which it could be forgotten.

use std::time::{Duration, SystemTime};

use aws_sdk_ec2::operation::run_instances::builders::RunInstancesFluentBuilder;
use aws_sdk_ec2::primitives::DateTime;
use aws_sdk_ec2::primitives::DateTimeFormat;
use aws_sdk_ec2::types::{
    BlockDeviceMapping, EbsBlockDevice, HttpTokensState, IamInstanceProfileSpecification,
    InstanceInterruptionBehavior, InstanceMarketOptionsRequest, InstanceMetadataEndpointState,
    InstanceMetadataOptionsRequest, InstanceType, MarketType, ResourceType, ShutdownBehavior,
    SpotInstanceType, SpotMarketOptions, Tag, TagSpecification, VolumeType,
};

use super::kinds::Kind;
use super::plan::{Boot, Place};
use super::spec::Ec2Spec;
use crate::identity::{MachineName, SessionId};

/// Where a second volume is attached; the image's links make the disk known by this name.
pub(super) const DATA_DEVICE: &str = "/dev/sdb";
/// The root device of Amazon Linux, for an image that does not say.
pub(super) const ROOT_DEVICE: &str = "/dev/xvda";
/// Metadata answers do not leave the instance: containers on it do not get its role.
const METADATA_HOPS: i32 = 1;

/// The tag that makes a thing ours; its value is the cluster's name.
pub(super) const CLUSTER_TAG: &str = "bigslice:cluster";
/// The tag after whose time, in RFC 3339, a thing may be removed by anybody.
pub(super) const DEADLINE_TAG: &str = "bigslice:deadline";
pub(super) const OWNER_TAG: &str = "bigslice:owner";
pub(super) const CREATED_TAG: &str = "bigslice:created";
/// Unlike a cluster's name, nobody chooses it: what has it belongs to one driver.
pub(super) const SESSION_TAG: &str = "bigslice:session";
pub(super) const MACHINE_TAG: &str = "bigslice:machine";

/// One machine at one place for one price.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice<'a> {
    pub(super) kind: &'a Kind,
    pub(super) boot: &'a Boot,
    pub(super) place: &'a Place,
    pub(super) spot: bool,
}

/// What all things of a cluster are tagged with.
pub(super) fn tags(spec: &Ec2Spec, session: &SessionId, machine: Option<&MachineName>) -> Vec<Tag> {
    let now = SystemTime::now();
    let cluster = spec.name.as_deref().unwrap_or(session.as_str());
    let name = match machine {
        Some(machine) => format!("bigslice {cluster} {machine}"),
        None => format!("bigslice {cluster}"),
    };
    let mut tags = vec![
        tag("Name", &name),
        tag(CLUSTER_TAG, cluster),
        tag(SESSION_TAG, session.as_str()),
        tag(OWNER_TAG, &spec.owner),
        tag(CREATED_TAG, &time(now)),
        tag(DEADLINE_TAG, &time(now + spec.lifetime)),
    ];
    tags.extend(machine.map(|machine| tag(MACHINE_TAG, machine.as_str())));
    tags.extend(spec.tags.iter().map(|(key, value)| tag(key, value)));
    tags
}

fn tag(key: &str, value: &str) -> Tag {
    Tag::builder().key(key).value(value).build()
}

/// A time to the second, as tags have it.
fn time(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    // Fails only beyond the year 9999.
    DateTime::from_secs(seconds).fmt(DateTimeFormat::DateTime).unwrap_or_default()
}

/// The tags for one kind of resource.
pub(super) fn tagged(resource: ResourceType, tags: &[Tag]) -> TagSpecification {
    TagSpecification::builder().resource_type(resource).set_tags(Some(tags.to_vec())).build()
}

/// Completes the call: exactly one instance, which its own shutdown terminates with its volumes.
/// `token` makes a repeated call find the instance of the first.
pub(super) fn run(
    call: RunInstancesFluentBuilder,
    spec: &Ec2Spec,
    choice: Choice<'_>,
    group: &str,
    tags: &[Tag],
    token: &str,
) -> RunInstancesFluentBuilder {
    let Choice { kind, boot, place, spot } = choice;
    let metadata = InstanceMetadataOptionsRequest::builder()
        .http_endpoint(InstanceMetadataEndpointState::Enabled)
        .http_tokens(HttpTokensState::Required)
        .http_put_response_hop_limit(METADATA_HOPS)
        .build();
    let profile = spec.iam_profile.as_ref().map(|profile| {
        let builder = IamInstanceProfileSpecification::builder();
        if profile.starts_with("arn:") { builder.arn(profile) } else { builder.name(profile) }
            .build()
    });
    let mut call = call
        .min_count(1)
        .max_count(1)
        .client_token(token)
        .image_id(&boot.image)
        .instance_type(InstanceType::from(kind.name.as_str()))
        .subnet_id(&place.subnet)
        .security_group_ids(group)
        .instance_initiated_shutdown_behavior(ShutdownBehavior::Terminate)
        .metadata_options(metadata)
        .set_iam_instance_profile(profile)
        .block_device_mappings(volume(&boot.root_device, spec.root_gib))
        .tag_specifications(tagged(ResourceType::Instance, tags))
        .tag_specifications(tagged(ResourceType::Volume, tags));
    if let Some(gib) = spec.data_gib {
        call = call.block_device_mappings(volume(DATA_DEVICE, gib));
    }
    if spot {
        // No highest price: it would only get the machine taken away more often.
        let options = SpotMarketOptions::builder()
            .spot_instance_type(SpotInstanceType::OneTime)
            .instance_interruption_behavior(InstanceInterruptionBehavior::Terminate)
            .build();
        let market = InstanceMarketOptionsRequest::builder()
            .market_type(MarketType::Spot)
            .spot_options(options)
            .build();
        call = call
            .instance_market_options(market)
            .tag_specifications(tagged(ResourceType::SpotInstancesRequest, tags));
    }
    call
}

fn volume(device: &str, gib: u32) -> BlockDeviceMapping {
    let ebs = EbsBlockDevice::builder()
        .volume_size(i32::try_from(gib).unwrap_or(i32::MAX))
        .volume_type(VolumeType::Gp3)
        .delete_on_termination(true)
        .build();
    BlockDeviceMapping::builder().device_name(device).ebs(ebs).build()
}
