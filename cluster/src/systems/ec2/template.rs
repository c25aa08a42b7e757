//! The launch templates of a session's spot machines. EC2 launches a fleet only from a template.
//! Ours has what all machines of an architecture have in common, so that one call makes it and one
//! removes it for any number of machines. The parts of one machine are in that machine's own call:
//! above all its user data, so that its secret is in no template that others in the account may
//! read.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{ResourceType, Tag};

use super::api::failed;
use super::plan::Boot;
use super::request::{self, tagged};
use super::spec::Ec2Spec;
use crate::error::{Error, Result};

/// The prefix of the names of our templates.
const NAME: &str = "bigslice-";

/// Makes a template for machines of this image. Returns its id.
pub(super) async fn create(
    ec2: &Client,
    spec: &Ec2Spec,
    boot: &Boot,
    group: &str,
    tags: &[Tag],
) -> Result<String> {
    let token = uuid::Uuid::new_v4().simple().to_string();
    let made = ec2
        .create_launch_template()
        .client_token(&token)
        .launch_template_name(format!("{NAME}{token}"))
        .version_description("spot machines of one bigslice session")
        .launch_template_data(request::template(spec, boot, group, tags))
        .tag_specifications(tagged(ResourceType::LaunchTemplate, tags))
        .send()
        .await
        .map_err(failed("make the launch template of spot machines"))?;
    let id = made.launch_template().and_then(|template| template.launch_template_id());
    id.map(str::to_owned).ok_or(Error::Closed)
}

/// Removes a template. Instances launched from it do not need it.
pub(super) async fn delete(ec2: &Client, template: &str) -> Result<()> {
    let attempt = format!("remove the launch template {template}");
    let deleted = ec2.delete_launch_template().launch_template_id(template).send().await;
    match deleted.map_err(failed(attempt)) {
        Err(err) if super::api::templateless(&err) => Ok(()),
        deleted => deleted.map(drop),
    }
}
