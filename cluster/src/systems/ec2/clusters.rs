//! Clusters as seen by any user of the account, by the tags that all of their resources have from
//! the start: list them, end them, and remove what a killed driver has left.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use aws_sdk_ec2::Client;
use aws_sdk_ec2::primitives::{DateTime, DateTimeFormat};
use aws_sdk_ec2::types::{Filter, Instance, InstanceStateName, Tag};
use tokio::time::Instant;

use super::api::{self, failed};
use super::request::{CLUSTER_TAG, CREATED_TAG, DEADLINE_TAG, MACHINE_TAG, OWNER_TAG, SESSION_TAG};
use super::spec::Ec2Spec;
use super::{group, template};
use crate::error::{Error, Result, chain};
use crate::identity::SessionId;

/// The pause between two checks of instances that are ending.
const PAUSE: Duration = Duration::from_secs(2);
/// EC2 takes up to a thousand ids in a call and recommends a hundred.
const IDS_MAX: usize = 100;
/// A live driver checks its machines every few seconds and replaces missing ones: a cluster that
/// has had none for this long is over.
const QUIET: Duration = Duration::from_secs(10);
/// Groups and templates are made before the first instance, so a younger one may still be waiting
/// for it. In between are five calls (group, rule, two templates, launch), and one that is
/// throttled to its last attempt pauses for 111 s in all. A driver whose group is removed after a
/// launch that hung makes another.
const UNUSED_AGE_MIN: Duration = Duration::from_secs(10 * 60);

/// The machines of one driver.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// Its name: the user's choice, or the session's id.
    pub name: String,
    /// The owner.
    pub owner: String,
    /// When its oldest machine was launched, in RFC 3339.
    pub created: String,
    /// The machines that have not ended, with their instance ids and types.
    pub machines: BTreeMap<String, (String, String)>,
}

/// The removed resources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cleared {
    /// Instances, by id.
    pub instances: Vec<String>,
    /// Security groups, by id.
    pub groups: Vec<String>,
    /// Launch templates, by id.
    pub templates: Vec<String>,
}

/// All clusters of an account in one region.
#[derive(Clone, Debug)]
pub struct Clusters {
    ec2: Client,
}

/// The console output of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Console {
    /// The machine's name in its session.
    pub machine: String,
    /// The instance's id.
    pub instance: String,
    /// Its output since it was started, as far as AWS has it: some seconds late, and for many types
    /// only the output of booting. Up to 64 KiB.
    pub text: String,
}

impl Clusters {
    pub(super) fn new(ec2: Client) -> Self {
        Self { ec2 }
    }

    /// The clusters of the account and region that AWS tools would use here, unless others are
    /// given.
    pub async fn open(region: Option<String>, profile: Option<String>) -> Result<Self> {
        let spec = Ec2Spec { region, profile, ..Ec2Spec::default() };
        let config = api::bounded(&api::load(&spec).await);
        api::region(&spec, &config)?;
        Ok(Self::new(Client::new(&config)))
    }

    /// The running clusters, by name.
    pub async fn list(&self) -> Result<Vec<Cluster>> {
        let mut clusters = BTreeMap::<String, Cluster>::new();
        for instance in self.instances(None).await? {
            let tag = |key| tag(instance.tags(), key).unwrap_or_default().to_owned();
            let name = tag(CLUSTER_TAG);
            let cluster = clusters.entry(name.clone()).or_insert_with(|| Cluster {
                name,
                owner: tag(OWNER_TAG),
                created: tag(CREATED_TAG),
                ..Cluster::default()
            });
            cluster.created = cluster.created.clone().min(tag(CREATED_TAG));
            let kind = instance.instance_type().map(ToString::to_string).unwrap_or_default();
            let id = instance.instance_id().unwrap_or_default().to_owned();
            // Machines of two clusters that share a name may have the same name.
            let machine = tag(MACHINE_TAG);
            let machine = if cluster.machines.contains_key(&machine) {
                format!("{machine} {id}")
            } else {
                machine
            };
            cluster.machines.insert(machine, (id, kind));
        }
        Ok(clusters.into_values().collect())
    }

    /// Ends all machines of the clusters with that name, waits until they are gone and removes
    /// their security groups and launch templates.
    ///
    /// A live driver replaces them: the replacements are ended too, until the driver gives up,
    /// which it does after five attempts. New work would start machines again; only the end of the
    /// driver prevents it.
    pub async fn stop(&self, name: &str, patience: Duration) -> Result<Cleared> {
        self.stop_tagged((CLUSTER_TAG, name), patience, QUIET).await
    }

    /// The same for the machines of one session, under any name.
    pub(super) async fn stop_session(
        &self,
        session: &SessionId,
        patience: Duration,
    ) -> Result<Cleared> {
        self.stop_tagged((SESSION_TAG, session.as_str()), patience, Duration::ZERO).await
    }

    /// Ends all instances with the tag until there have been none for `quiet`.
    async fn stop_tagged(
        &self,
        tag: (&str, &str),
        patience: Duration,
        quiet: Duration,
    ) -> Result<Cleared> {
        let began = Instant::now();
        let mut instances: Vec<String> = Vec::new();
        let mut last_alive = None;
        loop {
            let mut alive = self.instances(Some(tag)).await?;
            let now = Instant::now();
            if !alive.is_empty() {
                last_alive = Some(now);
            }
            if last_alive.is_none_or(|last| alive.is_empty() && now >= last + quiet) {
                break;
            }
            if !alive.is_empty() && now >= began + patience {
                return Err(Error::Cloud {
                    attempt: format!("stop the cluster \"{}\"", tag.1),
                    code: String::new(),
                    reason: format!(
                        "after {} s there are instances still, that take long to end or that a \
                         driver starts instead: end the driver, then try again",
                        patience.as_secs()
                    ),
                });
            }
            alive.retain(|i| instances.iter().all(|id| i.instance_id() != Some(id)));
            instances.extend(self.terminate(&alive).await?);
            tokio::time::sleep(PAUSE).await;
        }
        let mut groups = Vec::new();
        for (group, _) in self.groups(Some(tag)).await? {
            group::delete(&self.ec2, &group).await?;
            groups.push(group);
        }
        let mut templates = Vec::new();
        for (template, _) in self.templates(Some(tag)).await? {
            template::delete(&self.ec2, &template).await?;
            templates.push(template);
        }
        Ok(Cleared { instances, groups, templates })
    }

    /// The console output of a cluster's machines, by machine, including those that have ended, for
    /// as long as EC2 keeps it: an hour or so.
    pub async fn logs(&self, name: &str) -> Result<Vec<Console>> {
        let mut consoles = Vec::new();
        for instance in self.described(vec![ours(Some((CLUSTER_TAG, name)))]).await? {
            let id = instance.instance_id().unwrap_or_default().to_owned();
            let machine = tag(instance.tags(), MACHINE_TAG).unwrap_or_default().to_owned();
            let state = instance.state().and_then(|state| state.name());
            let text = match api::console(&self.ec2, &id).await {
                // The output of the others is still useful.
                Err(err) if state == Some(&InstanceStateName::Terminated) => {
                    tracing::info!(instance = id, error = %chain(&err), "could not read the console");
                    String::new()
                }
                text => text?,
            };
            consoles.push(Console { machine, instance: id, text });
        }
        consoles.sort_by(|a, b| (&a.machine, &a.instance).cmp(&(&b.machine, &b.instance)));
        Ok(consoles)
    }

    /// Removes abandoned resources: instances past their deadline; security groups without
    /// instances, and launch templates of sessions without instances, that are older than ten
    /// minutes.
    pub async fn gc(&self) -> Result<Cleared> {
        let now = SystemTime::now();
        let all = self.instances(None).await?;
        let late = |i: &Instance| time(i.tags(), DEADLINE_TAG).is_some_and(|at| at < now);
        let late: Vec<Instance> = all.iter().filter(|i| late(i)).cloned().collect();
        let instances = self.terminate(&late).await?;
        let old =
            |tags: &[Tag]| time(tags, CREATED_TAG).is_some_and(|at| at + UNUSED_AGE_MIN < now);
        let mut groups = Vec::new();
        for (group, tags) in self.groups(None).await? {
            let used = all.iter().flat_map(Instance::security_groups);
            let used = used.filter_map(|g| g.group_id()).any(|id| id == group);
            if old(&tags) && !used {
                match group::delete(&self.ec2, &group).await {
                    Ok(()) => groups.push(group),
                    // Its driver has launched another meanwhile.
                    Err(Error::Cloud { code, .. }) if code == "DependencyViolation" => {
                        tracing::info!(group, "a security group is in use again, not removed");
                    }
                    Err(err) => return Err(err),
                }
            }
        }
        let mut templates = Vec::new();
        for (template, tags) in self.templates(None).await? {
            let session = tag(&tags, SESSION_TAG);
            let used =
                all.iter().any(|i| session.is_some() && tag(i.tags(), SESSION_TAG) == session);
            if old(&tags) && !used {
                template::delete(&self.ec2, &template).await?;
                templates.push(template);
            }
        }
        Ok(Cleared { instances, groups, templates })
    }

    /// The instances with a tag, or all of ours, that are not terminated.
    async fn instances(&self, tag: Option<(&str, &str)>) -> Result<Vec<Instance>> {
        let states = ["pending", "running", "shutting-down", "stopping", "stopped"];
        let states = states.map(str::to_owned).to_vec();
        let alive = Filter::builder().name("instance-state-name").set_values(Some(states)).build();
        self.described(vec![ours(tag), alive]).await
    }

    async fn described(&self, filters: Vec<Filter>) -> Result<Vec<Instance>> {
        let call = self.ec2.describe_instances().set_filters(Some(filters));
        let mut pages = call.into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(failed("list the instances"))?;
            found.extend(page.reservations().iter().flat_map(|r| r.instances()).cloned());
        }
        Ok(found)
    }

    async fn groups(&self, tag: Option<(&str, &str)>) -> Result<Vec<(String, Vec<Tag>)>> {
        let call = self.ec2.describe_security_groups().filters(ours(tag));
        let mut pages = call.into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(failed("list the security groups"))?;
            for group in page.security_groups() {
                let id = group.group_id().unwrap_or_default().to_owned();
                found.push((id, group.tags().to_vec()));
            }
        }
        Ok(found)
    }

    async fn templates(&self, tag: Option<(&str, &str)>) -> Result<Vec<(String, Vec<Tag>)>> {
        let call = self.ec2.describe_launch_templates().filters(ours(tag));
        let mut pages = call.into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(failed("list the launch templates"))?;
            for template in page.launch_templates() {
                let id = template.launch_template_id().unwrap_or_default().to_owned();
                found.push((id, template.tags().to_vec()));
            }
        }
        Ok(found)
    }

    async fn terminate(&self, instances: &[Instance]) -> Result<Vec<String>> {
        let ids: Vec<String> =
            instances.iter().filter_map(|i| i.instance_id().map(str::to_owned)).collect();
        for ids in ids.chunks(IDS_MAX) {
            let call = self.ec2.terminate_instances().set_instance_ids(Some(ids.to_vec()));
            call.send().await.map_err(failed("terminate instances"))?;
        }
        Ok(ids)
    }
}

/// The filter for our tag, or for one of our tags with a value.
fn ours(tag: Option<(&str, &str)>) -> Filter {
    match tag {
        Some((key, value)) => Filter::builder().name(format!("tag:{key}")).values(value).build(),
        None => Filter::builder().name("tag-key").values(CLUSTER_TAG).build(),
    }
}

fn tag<'a>(tags: &'a [Tag], key: &str) -> Option<&'a str> {
    tags.iter().find(|tag| tag.key() == Some(key)).and_then(Tag::value)
}

fn time(tags: &[Tag], key: &str) -> Option<SystemTime> {
    let time = DateTime::from_str(tag(tags, key)?, DateTimeFormat::DateTime).ok()?;
    SystemTime::try_from(time).ok()
}
