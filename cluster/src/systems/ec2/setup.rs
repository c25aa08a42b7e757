//! Checks what an account needs before machines can be started in it. Nothing is made in advance: a
//! security group is made and removed with each session, and the owner attaches the policy. The
//! checks ask AWS, by calls that change nothing, whether each step of a launch would be allowed and
//! would find what it needs.

use std::collections::BTreeSet;

use aws_config::SdkConfig;
use aws_sdk_ec2::types::{
    Filter, InstanceType, RequestLaunchTemplateData, ResourceType, Subnet, Tag, TagSpecification,
};
use aws_sdk_ec2::{Client, error::ProvideErrorMetadata};

use super::api::{self, failed};
use super::plan::IMAGE_PARAMETER;
use super::request::CLUSTER_TAG;
use super::spec::Ec2Spec;
use crate::error::{Error, Result, chain};

/// AWS's code for a dry run that would be allowed.
const ALLOWED: &str = "DryRunOperation";
/// The instance type of the dry run.
const TYPE_ASKED_ABOUT: &str = "t3.micro";

/// One checked item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The subject.
    pub what: &'static str,
    /// The finding; or the error and a hint.
    pub found: Result<String, String>,
}

/// Checks all that a launch needs, in the region and with the credentials of `spec` or, if it names
/// none, of the environment. Instance types need not be named.
pub async fn setup(spec: &Ec2Spec) -> Result<Vec<Check>> {
    let config = api::bounded(&api::load(spec).await);
    let region = api::region(spec, &config)?;
    Ok(look(spec, &config, &region).await)
}

async fn look(spec: &Ec2Spec, config: &SdkConfig, region: &str) -> Vec<Check> {
    let ec2 = Client::new(config);
    let check = |what, found: Result<String>| Check { what, found: found.map_err(|e| chain(&e)) };
    let known = credentials(&ec2).await;
    let reached = known.is_ok();
    let mut checks = vec![check("region", Ok(region.to_owned())), check("credentials", known)];
    if !reached {
        // All other checks would fail for the same reason.
        return checks;
    }
    let subnets = subnets(spec, &ec2).await;
    let image = image(spec, &aws_sdk_ssm::Client::new(config)).await;
    let network = subnets.as_ref().map_or_else(|e| Err(again(e)), |found| Ok(named(found)));
    checks.push(check("network", network));
    checks.push(check("image", image.as_ref().map_err(again).cloned()));
    let group = match &spec.security_group {
        Some(group) => super::group::check(&ec2, group).await,
        None => may_make_group(&ec2, subnets.as_deref().unwrap_or_default()).await,
    };
    checks.push(check("security group", group));
    if let (Ok(image), Some(subnet)) = (&image, subnets.ok().as_deref().and_then(<[_]>::first)) {
        checks.push(check("launch", may_launch(spec, &ec2, image, subnet).await));
        checks.push(check("spot", may_launch_spot(&ec2).await));
    }
    checks
}

/// Checks that AWS accepts the credentials and lets them describe resources.
async fn credentials(ec2: &Client) -> Result<String> {
    let attempt = "describe the instances of the account";
    let asked = ec2.describe_instances().max_results(5).send().await;
    asked.map_err(failed(attempt))?;
    Ok("valid, may describe instances".to_owned())
}

async fn subnets(spec: &Ec2Spec, ec2: &Client) -> Result<Vec<Subnet>> {
    let attempt = "look up the subnets";
    let call = match spec.subnets.is_empty() {
        true => {
            let default = Filter::builder().name("default-for-az").values("true").build();
            ec2.describe_subnets().filters(default)
        }
        false => ec2.describe_subnets().set_subnet_ids(Some(spec.subnets.clone())),
    };
    let found = call.send().await.map_err(failed(attempt))?.subnets().to_vec();
    if found.is_empty() {
        return Err(Error::Cloud {
            attempt: attempt.to_owned(),
            code: String::new(),
            reason: "the region has no default network: name one of your own with subnet="
                .to_owned(),
        });
    }
    Ok(found)
}

fn named(subnets: &[Subnet]) -> String {
    let networks: BTreeSet<&str> = subnets.iter().filter_map(Subnet::vpc_id).collect();
    let zones: BTreeSet<&str> = subnets.iter().filter_map(Subnet::availability_zone).collect();
    let list = |set: BTreeSet<&str>| set.into_iter().collect::<Vec<_>>().join(", ");
    format!("{} in {}", list(networks), list(zones))
}

async fn image(spec: &Ec2Spec, ssm: &aws_sdk_ssm::Client) -> Result<String> {
    if let Some(image) = &spec.ami {
        return Ok(image.clone());
    }
    let attempt = "look up the newest Amazon Linux";
    let call = ssm.get_parameter().name(format!("{IMAGE_PARAMETER}x86_64"));
    let found = call.send().await.map_err(failed(attempt))?;
    let image = found.parameter().and_then(|parameter| parameter.value()).map(str::to_owned);
    image.ok_or_else(|| Error::Cloud {
        attempt: attempt.to_owned(),
        code: String::new(),
        reason: "AWS names no image: give one with ami=".to_owned(),
    })
}

/// Checks that a group could be made, by a dry run.
async fn may_make_group(ec2: &Client, subnets: &[Subnet]) -> Result<String> {
    let call = ec2
        .create_security_group()
        .group_name("bigslice-setup")
        .description("checks whether it could be made")
        .set_vpc_id(subnets.first().and_then(|subnet| subnet.vpc_id().map(str::to_owned)))
        .tag_specifications(tagged(ResourceType::SecurityGroup))
        .dry_run(true);
    let asked = call.send().await;
    allowed("make a security group", asked, "one is made with each session and removed with it")
}

/// Checks that an instance could be launched, by a dry run.
async fn may_launch(spec: &Ec2Spec, ec2: &Client, image: &str, subnet: &Subnet) -> Result<String> {
    let kind = spec.instance.first().map_or(TYPE_ASKED_ABOUT, String::as_str);
    let call = ec2
        .run_instances()
        .image_id(image)
        .instance_type(InstanceType::from(kind))
        .min_count(1)
        .max_count(1)
        .set_subnet_id(subnet.subnet_id().map(str::to_owned))
        .tag_specifications(tagged(ResourceType::Instance))
        .tag_specifications(tagged(ResourceType::Volume))
        .dry_run(true);
    allowed("launch an instance", call.send().await, "allowed")
}

/// Checks what spot machines need in addition. Not a fleet: that takes an existing template.
async fn may_launch_spot(ec2: &Client) -> Result<String> {
    // The call needs a value.
    let data = RequestLaunchTemplateData::builder().instance_type(TYPE_ASKED_ABOUT.into()).build();
    let call = ec2
        .create_launch_template()
        .launch_template_name("bigslice-setup")
        .launch_template_data(data)
        .tag_specifications(tagged(ResourceType::LaunchTemplate))
        .dry_run(true);
    // Only IAM could tell whether the role exists, and the driver does not use IAM otherwise.
    let words = "may make launch templates; where there were never spot machines EC2 makes its role with \
                 the first, or the account's owner once: aws iam create-service-linked-role \
                 --aws-service-name spot.amazonaws.com";
    allowed("make the launch template of spot machines", call.send().await, words)
}

/// With the tag that the policy requires.
fn tagged(what: ResourceType) -> TagSpecification {
    let tag = Tag::builder().key(CLUSTER_TAG).value("setup").build();
    TagSpecification::builder().resource_type(what).tags(tag).build()
}

fn allowed<T, E, R>(
    attempt: &str,
    asked: std::result::Result<T, aws_sdk_ec2::error::SdkError<E, R>>,
    words: &str,
) -> Result<String>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug + 'static,
{
    match asked.map_err(failed(attempt)) {
        Err(Error::Cloud { code, .. }) if code == ALLOWED => Ok(words.to_owned()),
        Ok(_) => Ok(words.to_owned()),
        Err(error) => Err(error),
    }
}

/// The same error, for another line.
fn again(error: &Error) -> Error {
    Error::Options(chain(error))
}
