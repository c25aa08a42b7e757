//! Spot machines from fleets: they start, are used, and leave neither instances nor templates. moto
//! launches for a fleet what its template and its call say together, but ignores some of the
//! template; [`complete`] adds the rest, as far as the hardware here needs it.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{
    Filter, Instance, InstanceAttributeName, LaunchTemplate, RequestLaunchTemplateData,
    ResourceType, Tag, TagSpecification,
};
use bigslice_cluster::ec2::Ec2;

use super::cloud::{Cloud, DEADLINE, config, eventually};
use super::life::{Place, instance, run, spec};

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("spot_machines_come_from_fleets_and_leave_no_template", spot_machines_come_and_go),
    ("a_start_that_is_given_up_leaves_nothing", a_start_that_is_given_up_leaves_nothing),
];

/// The launch templates of one session, or all of ours.
pub(crate) async fn templates(client: &Client, session: Option<&str>) -> Vec<LaunchTemplate> {
    let filter = match session {
        Some(session) => Filter::builder().name("tag:bigslice:session").values(session),
        None => Filter::builder().name("tag-key").values("bigslice:cluster"),
    };
    let found = client.describe_launch_templates().filters(filter.build()).send().await;
    found.expect("the templates").launch_templates().to_vec()
}

/// A launch template with these tags; its id.
pub(crate) async fn template(client: &Client, name: &str, tags: Vec<Tag>) -> String {
    let tagged = TagSpecification::builder().resource_type(ResourceType::LaunchTemplate);
    let call = client.create_launch_template().launch_template_name(name);
    let call = call.launch_template_data(RequestLaunchTemplateData::builder().build());
    let made = call.tag_specifications(tagged.set_tags(Some(tags)).build()).send().await;
    let made = made.expect("a template");
    made.launch_template().and_then(|made| made.launch_template_id()).expect("its id").to_owned()
}

/// Adds the parts of the template that moto ignores in an instance of a fleet: its security group,
/// and the effect of its own shutdown.
pub(crate) async fn complete(client: &Client, instance: &Instance) {
    let mut tags = instance.tags().iter();
    let session = tags.find(|tag| tag.key() == Some("bigslice:session")).and_then(Tag::value);
    let (Some(session), Some(_)) = (session, instance.instance_lifecycle()) else { return };
    // A session that has ended meanwhile also ends its instances.
    let Some(template) = templates(client, Some(session)).await.pop() else { return };
    let versions = client.describe_launch_template_versions().versions("1");
    let versions = versions.set_launch_template_id(template.launch_template_id).send().await;
    let Ok(versions) = versions else { return };
    let [version] = versions.launch_template_versions() else { panic!("{versions:?}") };
    let data = version.launch_template_data().expect("what it says");
    let id = instance.instance_id().expect("an id");
    let behaviour = data.instance_initiated_shutdown_behavior().expect("a behaviour").as_str();
    let call = client.modify_instance_attribute().instance_id(id).value(behaviour);
    let call = call.attribute(InstanceAttributeName::InstanceInitiatedShutdownBehavior);
    call.send().await.expect("its shutdown terminates it");
    let call = client.modify_instance_attribute().instance_id(id);
    let call = call.set_groups(Some(data.security_group_ids().to_vec()));
    call.send().await.expect("it is in the group");
}

fn spot_machines_come_and_go() {
    run(async {
        let (cloud, place) = (Cloud::start().await, Place::new());
        let mut spec = spec(&cloud.subnet);
        spec.set("spot", "fallback").expect("an option");
        let ec2 = Ec2::with_config(spec, &config(&cloud.endpoint)).expect("good");
        let fleet = place.start(&ec2, 3, "").await.expect("the fleet starts");
        let session = fleet.session().as_str();
        let [template] = &templates(&cloud.client, Some(session)).await[..] else {
            panic!("one for all machines")
        };
        let fleets = cloud.client.describe_fleets().send().await.expect("the fleets");
        assert_eq!(fleets.fleets().len(), 3);
        for fleet in fleets.fleets() {
            assert_eq!(fleet.r#type().map(|kind| kind.as_str()), Some("instant"));
            let from = fleet.launch_template_configs()[0].launch_template_specification();
            let from = from.and_then(|from| from.launch_template_id());
            assert_eq!(from, template.launch_template_id());
        }
        for machine in fleet.machines() {
            assert_eq!(fleet.info(&machine).await.expect("it answers").os, "linux");
            let id = instance(&cloud, &machine).await;
            let all = cloud.instances().await;
            let own = all.iter().find(|i| i.instance_id() == Some(&id)).expect("it");
            assert_eq!(own.instance_lifecycle().map(|kind| kind.as_str()), Some("spot"));
            assert_eq!(own.subnet_id(), Some(&*cloud.subnet));
            let groups: Vec<_> = own.security_groups().iter().map(|g| g.group_id()).collect();
            assert_eq!(groups, [cloud.group_ids().await.first().map(String::as_str)]);
        }
        eventually("each to have printed", async || {
            (place.text().matches("with secret true").count() == 3).then_some(())
        })
        .await;
        // One that AWS takes back is replaced from the same template.
        let first = instance(&cloud, &fleet.machines()[0]).await;
        cloud.terminate(&first).await;
        eventually("the loss", async || (fleet.lost_total() == 1).then_some(())).await;
        fleet.wait_for(3, DEADLINE).await.expect("it is replaced");
        assert_eq!(templates(&cloud.client, None).await.len(), 1);
        fleet.shutdown().await;
        cloud.assert_empty().await;
        assert_eq!(cloud.groups().await, 0);
        assert!(templates(&cloud.client, None).await.is_empty());
    });
}

fn a_start_that_is_given_up_leaves_nothing() {
    run(async {
        let (cloud, place) = (Cloud::start().await, Place::new());
        let mut spec = spec(&cloud.subnet);
        spec.set("spot", "true").expect("an option");
        let ec2 = Ec2::with_config(spec, &config(&cloud.endpoint)).expect("good");
        // The group is there, the template is being made, and other machines wait for both.
        tokio::select! {
            _ = place.start(&ec2, 3, "") => panic!("that was too fast"),
            () = eventually("the group", async || {
                (cloud.groups().await > 0).then_some(())
            }) => {}
        }
        ec2.finish(DEADLINE).await.expect("all is removed");
        cloud.assert_empty().await;
        assert_eq!(cloud.groups().await, 0);
        assert!(templates(&cloud.client, None).await.is_empty());
        let listed = ec2.clusters().list().await.expect("the list");
        assert_eq!(listed, []);
    });
}
