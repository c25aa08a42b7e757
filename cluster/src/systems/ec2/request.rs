//! All settings of an instance and its volumes, in the call that launches it: tags are part of the
//! call, so the instance is never untagged. There are two forms, which must say the same:
//! RunInstances, and the launch template for CreateFleet.

use std::time::{Duration, SystemTime};

use aws_sdk_ec2::operation::run_instances::builders::RunInstancesFluentBuilder;
use aws_sdk_ec2::primitives::DateTime;
use aws_sdk_ec2::primitives::DateTimeFormat;
use aws_sdk_ec2::types::{
    BlockDeviceMapping, EbsBlockDevice, HttpTokensState, IamInstanceProfileSpecification,
    InstanceMetadataEndpointState, InstanceMetadataOptionsRequest, InstanceType,
    LaunchTemplateBlockDeviceMappingRequest, LaunchTemplateEbsBlockDeviceRequest,
    LaunchTemplateHttpTokensState, LaunchTemplateIamInstanceProfileSpecificationRequest,
    LaunchTemplateInstanceMetadataEndpointState, LaunchTemplateInstanceMetadataOptionsRequest,
    LaunchTemplateTagSpecificationRequest, RequestLaunchTemplateData, ResourceType,
    ShutdownBehavior, Tag, TagSpecification, VolumeType,
};

use super::kinds::Kind;
use super::plan::{Boot, Place};
use super::spec::Ec2Spec;
use crate::identity::{MachineName, SessionId};

/// Where a second volume is attached; the image's links name the disk by it.
pub(super) const DATA_DEVICE: &str = "/dev/sdb";
/// Metadata answers do not leave the instance: containers on it do not get its role.
const METADATA_HOPS: i32 = 1;

/// The tag that marks our resources; its value is the cluster's name.
pub(super) const CLUSTER_TAG: &str = "bigslice:cluster";
/// The tag with the time, in RFC 3339, after which anyone may remove a resource.
pub(super) const DEADLINE_TAG: &str = "bigslice:deadline";
pub(super) const OWNER_TAG: &str = "bigslice:owner";
pub(super) const CREATED_TAG: &str = "bigslice:created";
/// Unlike a cluster's name, it is not chosen by a user: its resources belong to one driver.
pub(super) const SESSION_TAG: &str = "bigslice:session";
pub(super) const MACHINE_TAG: &str = "bigslice:machine";

/// One machine in one zone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice<'a> {
    pub(super) kind: &'a Kind,
    pub(super) boot: &'a Boot,
    pub(super) place: &'a Place,
}

/// The tags of all resources of a cluster.
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

/// A time to the second, as in tags.
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

/// Completes the call: exactly one instance, which terminates with its volumes when it shuts down.
/// `token` makes a repeated call find the instance of the first.
pub(super) fn run(
    call: RunInstancesFluentBuilder,
    spec: &Ec2Spec,
    choice: Choice<'_>,
    group: &str,
    tags: &[Tag],
    token: &str,
) -> RunInstancesFluentBuilder {
    let Choice { kind, boot, place } = choice;
    let metadata = InstanceMetadataOptionsRequest::builder()
        .http_endpoint(InstanceMetadataEndpointState::Enabled)
        .http_tokens(HttpTokensState::Required)
        .http_put_response_hop_limit(METADATA_HOPS)
        .build();
    let profile = spec.iam_profile.as_ref().map(|profile| {
        let builder = IamInstanceProfileSpecification::builder();
        if is_arn(profile) { builder.arn(profile) } else { builder.name(profile) }.build()
    });
    let volume = |(device, gib)| {
        let ebs = EbsBlockDevice::builder()
            .volume_size(gib)
            .volume_type(VolumeType::Gp3)
            .delete_on_termination(true);
        BlockDeviceMapping::builder().device_name(device).ebs(ebs.build()).build()
    };
    call.min_count(1)
        .max_count(1)
        .client_token(token)
        .image_id(&boot.image)
        .instance_type(InstanceType::from(kind.name.as_str()))
        .subnet_id(&place.subnet)
        .security_group_ids(group)
        .instance_initiated_shutdown_behavior(ShutdownBehavior::Terminate)
        .metadata_options(metadata)
        .set_iam_instance_profile(profile)
        .set_block_device_mappings(Some(volumes(spec, boot).map(volume).collect()))
        .tag_specifications(tagged(ResourceType::Instance, tags))
        .tag_specifications(tagged(ResourceType::Volume, tags))
}

/// The same for instances launched by a fleet, without the parts that are known only then: type,
/// subnet, user data, and the tags of the instance. `tags` are those of the spot requests, which
/// come from here alone.
pub(super) fn template(
    spec: &Ec2Spec,
    boot: &Boot,
    group: &str,
    tags: &[Tag],
) -> RequestLaunchTemplateData {
    let metadata = LaunchTemplateInstanceMetadataOptionsRequest::builder()
        .http_endpoint(LaunchTemplateInstanceMetadataEndpointState::Enabled)
        .http_tokens(LaunchTemplateHttpTokensState::Required)
        .http_put_response_hop_limit(METADATA_HOPS)
        .build();
    let profile = spec.iam_profile.as_ref().map(|profile| {
        let builder = LaunchTemplateIamInstanceProfileSpecificationRequest::builder();
        if is_arn(profile) { builder.arn(profile) } else { builder.name(profile) }.build()
    });
    let volume = |(device, gib)| {
        let ebs = LaunchTemplateEbsBlockDeviceRequest::builder()
            .volume_size(gib)
            .volume_type(VolumeType::Gp3)
            .delete_on_termination(true);
        let mapping = LaunchTemplateBlockDeviceMappingRequest::builder().device_name(device);
        mapping.ebs(ebs.build()).build()
    };
    let spot_requests = LaunchTemplateTagSpecificationRequest::builder()
        .resource_type(ResourceType::SpotInstancesRequest)
        .set_tags(Some(tags.to_vec()));
    RequestLaunchTemplateData::builder()
        .image_id(&boot.image)
        .security_group_ids(group)
        .instance_initiated_shutdown_behavior(ShutdownBehavior::Terminate)
        .metadata_options(metadata)
        .set_iam_instance_profile(profile)
        .set_block_device_mappings(Some(volumes(spec, boot).map(volume).collect()))
        .tag_specifications(spot_requests.build())
        .build()
}

fn is_arn(profile: &str) -> bool {
    profile.starts_with("arn:")
}

/// The device and the size in GiB of each volume.
fn volumes<'a>(spec: &Ec2Spec, boot: &'a Boot) -> impl Iterator<Item = (&'a str, i32)> + use<'a> {
    let root = (&*boot.root_device, spec.root_gib);
    let all = std::iter::once(root).chain(spec.data_gib.map(|gib| (DATA_DEVICE, gib)));
    all.map(|(device, gib)| (device, i32::try_from(gib).unwrap_or(i32::MAX)))
}
