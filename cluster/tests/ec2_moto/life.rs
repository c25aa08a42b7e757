//! Instances start, are used, are lost in every way, and leave nothing behind.

use std::path::PathBuf;
use std::sync::Arc;

use aws_sdk_ec2::primitives::{DateTime, DateTimeFormat};
use aws_sdk_ec2::types::{ResourceType, Tag, TagSpecification};
use bigslice_cluster::ec2::{Cleared, Ec2, Ec2Spec};
use bigslice_cluster::{
    Fleet, FleetConfig, LogLine, LogSource, Machine, ServiceFactory, System, WorkerContext,
};
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tonic::service::Routes;

use super::cloud::{Cloud, DEADLINE, config, eventually};
use super::spot::{template, templates};

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("machines_come_up_are_replaced_and_leave_nothing", machines_come_up_and_leave_nothing),
    ("a_worker_that_is_killed_is_replaced_and_its_instance_ends", a_killed_worker_is_replaced),
    ("a_spot_notice_replaces_the_machine", a_spot_notice_replaces_the_machine),
    ("a_hint_replaces_the_machine_if_it_is_to", a_hint_replaces_the_machine_if_it_is_to),
    ("files_and_units_come_before_the_worker", files_and_units_come_before_the_worker),
    ("what_is_past_its_time_is_removed_and_nothing_else", what_is_past_its_time_is_removed),
    ("a_machine_that_does_not_come_up_is_ended", a_failed_start_is_ended),
];

/// A secret that may be only in the worker.
pub(crate) const CANARY: &str = "canary-5f1c0de";

/// Services that print their settings, or fail.
pub(crate) fn worker_services() -> ServiceFactory {
    Arc::new(|context: WorkerContext| {
        Box::pin(async move {
            if context.settings == b"refuse".as_slice() {
                return Err("there is no table here".into());
            }
            if let Ok(words) = std::fs::metadata("data/words") {
                println!("{} has {} bytes of words", context.machine, words.len());
            }
            let secret = std::env::vars().any(|(_, value)| value == CANARY);
            println!("{} is at {} with secret {secret}", context.machine, context.url.authority());
            Ok(Routes::default())
        })
    })
}

pub(crate) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        tokio::time::timeout(DEADLINE * 2, test).await.expect("the test does not hang");
    });
}

/// The specification of machines with this host's architecture.
pub(crate) fn spec(subnet: &str) -> Ec2Spec {
    let kind = if cfg!(target_arch = "aarch64") { "c6g.large" } else { "c5.large" };
    let mut spec: Ec2Spec =
        format!("ec2:instance={kind},n=3,subnet={subnet}").parse().expect("good");
    spec.env.insert("SECRET".to_owned(), CANARY.to_owned());
    spec
}

pub(crate) struct Place {
    root: PathBuf,
    pub(crate) lines: Arc<Mutex<Vec<LogLine>>>,
    /// Removed at the end, unless the folder is another's.
    _own: Option<TempDir>,
}

impl Place {
    pub(crate) fn new() -> Self {
        let own = tempfile::tempdir().expect("a folder");
        Self { root: own.path().to_owned(), lines: Arc::default(), _own: Some(own) }
    }

    /// A place in a folder of another's.
    pub(crate) fn at(root: &str) -> Self {
        Self { root: root.into(), lines: Arc::default(), _own: None }
    }

    pub(crate) fn config(&self, machines: usize, settings: &'static str) -> FleetConfig {
        let lines = Arc::clone(&self.lines);
        FleetConfig {
            machines,
            settings: settings.into(),
            temp_root: self.root.clone(),
            log: Arc::new(move |line| lines.lock().push(line)),
            ..FleetConfig::default()
        }
    }

    pub(crate) async fn start(
        &self,
        ec2: &Ec2,
        machines: usize,
        settings: &'static str,
    ) -> bigslice_cluster::Result<Fleet> {
        let system: Arc<dyn System> = Arc::new(ec2.clone());
        Fleet::start(system, self.config(machines, settings)).await
    }

    pub(crate) fn text(&self) -> String {
        let lines = self.lines.lock();
        lines.iter().map(|line| format!("{:?} {}\n", line.source, line.text)).collect()
    }
}

/// The instance of a machine.
pub(crate) async fn instance(cloud: &Cloud, machine: &Machine) -> String {
    let instances = cloud.instances().await;
    let named = instances.iter().find(|i| {
        i.tags().iter().any(|tag| {
            tag.key() == Some("bigslice:machine") && tag.value() == Some(machine.name().as_str())
        })
    });
    named.and_then(|i| i.instance_id()).expect("its instance").to_owned()
}

fn machines_come_up_and_leave_nothing() {
    run(async {
        let (cloud, place) = (Cloud::start().await, Place::new());
        let ec2 = Ec2::with_config(spec(&cloud.subnet), &config(&cloud.endpoint)).expect("good");
        let plan = ec2.plan().await.expect("a plan").to_string();
        assert!(plan.starts_with("3 machines in eu-west-1: c"), "{plan}");
        assert!(plan.contains("2 cores, 4 GiB), on demand"), "{plan}");
        let fleet = place.start(&ec2, 3, "").await.expect("the fleet starts");
        for machine in fleet.machines() {
            assert_eq!(fleet.info(&machine).await.expect("it answers").os, "linux");
            let id = instance(&cloud, &machine).await;
            let asked = cloud.hardware.bodies.lock()[&id].asked();
            for timer in ["bigslice-boot --on-active=900", "bigslice-life --on-active=86400"] {
                assert!(asked.contains(timer), "{asked}");
            }
            eventually("the boot timer to be stopped", async || {
                let asked = cloud.hardware.bodies.lock()[&id].asked();
                asked.contains("stop bigslice-boot.timer").then_some(())
            })
            .await;
            let data = cloud.hardware.user_data(&id).await;
            assert!(!String::from_utf8_lossy(&data).contains(CANARY));
        }
        eventually("each to have printed", async || {
            (place.text().matches("with secret true").count() == 3).then_some(())
        })
        .await;
        assert!(!place.text().contains(CANARY), "{}", place.text());
        let listed = ec2.clusters().list().await.expect("the list");
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].name, fleet.session().as_str());
        assert_eq!(listed[0].machines.keys().collect::<Vec<_>>(), ["m0", "m1", "m2"]);

        let lost = fleet.machines()[0].clone();
        cloud.terminate(&instance(&cloud, &lost).await).await;
        eventually("the loss", async || (fleet.lost_total() == 1).then_some(())).await;
        fleet.wait_for(3, DEADLINE).await.expect("it is replaced");
        assert!(fleet.machines().iter().all(|machine| machine.name() != lost.name()));

        assert_eq!(cloud.groups().await, 1);
        fleet.shutdown().await;
        cloud.assert_empty().await;
        assert_eq!(cloud.groups().await, 0);
        assert_eq!(ec2.clusters().gc().await.expect("nothing"), Cleared::default());
    });
}

fn a_killed_worker_is_replaced() {
    run(async {
        let (cloud, place) = (Cloud::start().await, Place::new());
        let ec2 = Ec2::with_config(spec(&cloud.subnet), &config(&cloud.endpoint)).expect("good");
        let fleet = place.start(&ec2, 1, "").await.expect("the fleet starts");
        let machine = fleet.machines()[0].clone();
        let id = instance(&cloud, &machine).await;
        let workers = cloud.hardware.bodies.lock()[&id].workers();
        assert_eq!(workers.len(), 1);
        let pid = Pid::from_raw(i32::try_from(workers[0]).expect("a pid")).expect("a pid");
        kill_process(pid, Signal::KILL).expect("killed");
        eventually("the loss", async || (fleet.lost_total() == 1).then_some(())).await;
        assert_eq!(fleet.lost()[0].reason, "killed by signal 9");
        fleet.wait_for(1, DEADLINE).await.expect("it is replaced");
        eventually("its instance to end", async || {
            cloud.instances().await.iter().all(|i| i.instance_id() != Some(&id)).then_some(())
        })
        .await;
        fleet.shutdown().await;
        cloud.assert_empty().await;
        assert_eq!(cloud.groups().await, 0);
    });
}

fn a_spot_notice_replaces_the_machine() {
    run(async {
        let (cloud, place) = (Cloud::start().await, Place::new());
        let mut spec = spec(&cloud.subnet);
        spec.set("spot", "true").expect("an option");
        let ec2 = Ec2::with_config(spec, &config(&cloud.endpoint)).expect("good");
        let fleet = place.start(&ec2, 1, "").await.expect("the fleet starts");
        let machine = fleet.machines()[0].clone();
        let id = instance(&cloud, &machine).await;
        let lifecycle = cloud.instances().await[0].instance_lifecycle().cloned();
        assert_eq!(lifecycle.expect("a market").as_str(), "spot");
        cloud.hardware.bodies.lock()[&id].metadata.give_hint();
        let hint = "AWS has raised the risk that it takes this machine back";
        eventually("the hint", async || place.text().contains(hint).then_some(())).await;
        assert!(machine.is_trusted(), "a hint is only told");

        cloud.hardware.bodies.lock()[&id].metadata.give_notice();
        eventually("the notice", async || machine.leaving().map(drop)).await;
        assert!(fleet.ready().is_empty());
        fleet.info(&machine).await.expect("what is on it can still be read");
        fleet.wait_for(1, DEADLINE).await.expect("another comes before it goes");
        assert_eq!(fleet.ready()[0].name().as_str(), "m1");
        assert_eq!((fleet.machines().len(), fleet.lost_total()), (2, 0));
        cloud.terminate(&id).await;
        eventually("the loss", async || (fleet.lost_total() == 1).then_some(())).await;
        let reason = &fleet.lost()[0].reason;
        assert!(
            reason.ends_with("; AWS will take the spot instance back at 2030-01-01T00:00:00Z"),
            "{reason}"
        );
        fleet.shutdown().await;
        cloud.assert_empty().await;
        assert_eq!(cloud.groups().await, 0);
    });
}

fn a_hint_replaces_the_machine_if_it_is_to() {
    run(async {
        let (cloud, place) = (Cloud::start().await, Place::new());
        let mut spec = spec(&cloud.subnet);
        spec.set("spot", "true").expect("an option");
        spec.set("rebalance", "replace").expect("an option");
        let ec2 = Ec2::with_config(spec, &config(&cloud.endpoint)).expect("good");
        let fleet = place.start(&ec2, 1, "").await.expect("the fleet starts");
        let machine = fleet.machines()[0].clone();
        let id = instance(&cloud, &machine).await;
        cloud.hardware.bodies.lock()[&id].metadata.give_hint();
        fleet.wait_for(1, DEADLINE).await.expect("it runs");
        eventually("another", async || {
            fleet.ready().first().filter(|m| m.name().as_str() == "m1").map(drop)
        })
        .await;
        assert!(machine.leaving().is_some());
        fleet.shutdown().await;
        cloud.assert_empty().await;
    });
}

fn files_and_units_come_before_the_worker() {
    run(async {
        let (cloud, place) = (Cloud::start().await, Place::new());
        let here = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            let path = here.path().join(name);
            std::fs::write(&path, text).expect("written");
            path
        };
        let elsewhere = here.path().join("there/deep/tool");
        let mut spec = spec(&cloud.subnet);
        // Far more than user data could hold.
        let words = "genome ".repeat(1 << 16);
        spec.files.insert("data/words".to_owned(), write("words", &words));
        let tool = write("tool", "#!/bin/sh\n");
        std::fs::set_permissions(&tool, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .expect("a mode");
        spec.files.insert(elsewhere.to_str().expect("text").to_owned(), tool.clone());
        spec.units.push(write("setup.service", "[Service]\nExecStart=/bin/true\n"));
        let ec2 = Ec2::with_config(spec.clone(), &config(&cloud.endpoint)).expect("good");
        let fleet = place.start(&ec2, 1, "").await.expect("the fleet starts");
        let has = format!("has {} bytes of words", words.len());
        eventually("the worker to see its file", async || {
            place.text().contains(&has).then_some(())
        })
        .await;
        let mode = std::fs::metadata(&elsewhere).expect("it is there").permissions();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o755);
        let id = instance(&cloud, &fleet.machines()[0]).await;
        let asked = cloud.hardware.bodies.lock()[&id].asked();
        let at = |what: &str| asked.find(what).unwrap_or_else(|| panic!("{what}: {asked}"));
        assert!(at("/units/setup.service") < at("systemctl start setup.service"));
        fleet.shutdown().await;
        cloud.assert_empty().await;

        // A unit that fails keeps the machine from starting, with the reason.
        spec.units.push(write("bad.service", "[Service]\nExecStart=/bin/false\n"));
        let ec2 = Ec2::with_config(spec.clone(), &config(&cloud.endpoint)).expect("good");
        let failed = place.start(&ec2, 1, "").await.expect_err("it cannot start").to_string();
        assert!(failed.contains("could not start bad.service: it is bad"), "{failed}");
        cloud.assert_empty().await;

        // A missing file is noticed before anything is launched.
        std::fs::remove_file(&tool).expect("removed");
        let ec2 = Ec2::with_config(spec, &config(&cloud.endpoint)).expect("good");
        let failed = place.start(&ec2, 1, "").await.expect_err("it cannot start").to_string();
        assert!(failed.contains("could not read"), "{failed}");
        assert_eq!(cloud.groups().await, 0);
    });
}

/// A time as tags have it.
fn minutes_ago(minutes: u64) -> String {
    let at = std::time::SystemTime::now() - std::time::Duration::from_secs(60 * minutes);
    DateTime::from(at).fmt(DateTimeFormat::DateTime).expect("a time")
}

/// Resources that a driver of days ago may have left, and those of a current one.
fn what_is_past_its_time_is_removed() {
    run(async {
        let cloud = Cloud::start().await;
        cloud.hardware.hold();
        let tagged = |session: &str, created: &str, deadline: &str| {
            [
                ("bigslice:cluster", "c"),
                ("bigslice:session", session),
                ("bigslice:created", created),
                ("bigslice:deadline", deadline),
            ]
            .map(|(key, value)| Tag::builder().key(key).value(value).build())
            .to_vec()
        };
        let tags = |created: &str, deadline: &str| tagged("s", created, deadline);
        let (past, future) = ("2020-01-01T00:00:00Z", "2100-01-01T00:00:00Z");
        let launch = async |tags: Option<Vec<Tag>>| {
            let tagged = TagSpecification::builder().resource_type(ResourceType::Instance);
            let call = cloud.client.run_instances().image_id("ami-12c6146b").min_count(1);
            let call = call.max_count(1).subnet_id(&cloud.subnet);
            let call = call.tag_specifications(tagged.set_tags(tags).build());
            let launched = call.send().await.expect("an instance");
            launched.instances()[0].instance_id().expect("its id").to_owned()
        };
        let late = launch(Some(tags(past, past))).await;
        let young = launch(Some(tags(past, future))).await;
        let other = launch(Some(vec![Tag::builder().key("team").value("x").build()])).await;
        let group = async |name: &str, created: &str| {
            let tagged = TagSpecification::builder()
                .resource_type(ResourceType::SecurityGroup)
                .set_tags(Some(tags(created, future)))
                .build();
            let call = cloud.client.create_security_group().group_name(name).description(name);
            let made = call.tag_specifications(tagged).send().await.expect("a group");
            made.group_id().expect("its id").to_owned()
        };
        // Resources older than the ten minutes in which an instance may still start, and younger
        // ones.
        let (old, new) = (minutes_ago(11), minutes_ago(9));
        let old = group("old", &old).await;
        group("new", &new).await;
        // Of a session that has no instances; of one that has; and one whose first is on its way.
        let unused = template(&cloud.client, "unused", tagged("t", past, future)).await;
        let used = template(&cloud.client, "used", tagged("s", past, future)).await;
        let new = template(&cloud.client, "new", tagged("u", &new, future)).await;
        let ec2 = Ec2::with_config(spec(&cloud.subnet), &config(&cloud.endpoint)).expect("good");
        let cleared = ec2.clusters().gc().await.expect("it is cleared");
        assert_eq!(
            cleared,
            Cleared { instances: vec![late], groups: vec![old], templates: vec![unused] }
        );
        let left = cloud.instances().await;
        let left: Vec<&str> = left.iter().filter_map(|i| i.instance_id()).collect();
        assert!(left.len() == 2 && left.contains(&&*young) && left.contains(&&*other), "{left:?}");
        assert_eq!(cloud.groups().await, 1);
        let left = templates(&cloud.client, None).await;
        let left: Vec<&str> = left.iter().filter_map(|t| t.launch_template_id()).collect();
        assert_eq!(left, [&used, &new]);
        assert_eq!(ec2.clusters().gc().await.expect("nothing"), Cleared::default());
    });
}

fn a_failed_start_is_ended() {
    run(async {
        let (cloud, place) = (Cloud::start().await, Place::new());
        let ec2 = Ec2::with_config(spec(&cloud.subnet), &config(&cloud.endpoint)).expect("good");
        let failed = place.start(&ec2, 1, "refuse").await.expect_err("it cannot start").to_string();
        assert!(failed.contains("instance i-"), "{failed}");
        assert!(failed.contains("there is no table here"), "{failed}");
        cloud.assert_empty().await;
        assert_eq!(cloud.groups().await, 0);
        assert!(place.lines.lock().iter().all(|line| line.source != LogSource::Stdout));
    });
}
