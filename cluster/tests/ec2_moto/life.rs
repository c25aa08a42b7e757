//! Instances come up, are used, are lost in each way that there is, and leave nothing behind.

use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

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

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("machines_come_up_are_replaced_and_leave_nothing", machines_come_up_and_leave_nothing),
    ("a_worker_that_is_killed_is_replaced_and_its_instance_ends", a_killed_worker_is_replaced),
    ("a_spot_notice_replaces_the_machine", a_spot_notice_replaces_the_machine),
    ("a_driver_that_is_killed_at_any_point_leaves_no_instance", a_killed_driver_leaves_no_instance),
    ("what_is_past_its_time_is_removed_and_nothing_else", what_is_past_its_time_is_removed),
    ("a_machine_that_does_not_come_up_is_ended", a_failed_start_is_ended),
];

/// A secret that may be nowhere but in the worker.
const CANARY: &str = "canary-5f1c0de";
/// How long ending may take in a cloud that ends at once.
const PATIENCE: Duration = Duration::from_secs(30);

/// Services that print what they were given, or refuse.
pub(crate) fn worker_services() -> ServiceFactory {
    Arc::new(|context: WorkerContext| {
        Box::pin(async move {
            if context.settings == b"refuse".as_slice() {
                return Err("there is no table here".into());
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

/// The specification of machines that have this host's architecture.
pub(crate) fn spec(subnet: &str) -> Ec2Spec {
    let kind = if cfg!(target_arch = "aarch64") { "c6g.large" } else { "c5.large" };
    let mut spec: Ec2Spec =
        format!("ec2:instance={kind},n=3,subnet={subnet}").parse().expect("good");
    spec.env.insert("SECRET".to_owned(), CANARY.to_owned());
    spec
}

struct Place {
    root: PathBuf,
    lines: Arc<Mutex<Vec<LogLine>>>,
    /// Removed at the end, unless the folder is another's.
    _own: Option<TempDir>,
}

impl Place {
    fn new() -> Self {
        let own = tempfile::tempdir().expect("a folder");
        Self { root: own.path().to_owned(), lines: Arc::default(), _own: Some(own) }
    }

    async fn start(
        &self,
        ec2: &Ec2,
        machines: usize,
        settings: &'static str,
    ) -> bigslice_cluster::Result<Fleet> {
        let lines = Arc::clone(&self.lines);
        let config = FleetConfig {
            machines,
            settings: settings.into(),
            temp_root: self.root.clone(),
            log: Arc::new(move |line| lines.lock().push(line)),
            ..FleetConfig::default()
        };
        let system: Arc<dyn System> = Arc::new(ec2.clone());
        Fleet::start(system, config).await
    }

    fn text(&self) -> String {
        let lines = self.lines.lock();
        lines.iter().map(|line| format!("{:?} {}\n", line.source, line.text)).collect()
    }
}

/// The instance of a machine.
async fn instance(cloud: &Cloud, machine: &Machine) -> String {
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
        ec2.finish(PATIENCE).await.expect("all is removed");
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
        ec2.finish(PATIENCE).await.expect("all is removed");
        cloud.assert_empty().await;
    });
}

fn a_spot_notice_replaces_the_machine() {
    run(async {
        let (cloud, place) = (Cloud::start().await, Place::new());
        let mut spec = spec(&cloud.subnet);
        spec.set("spot", "true").expect("an option");
        let ec2 = Ec2::with_config(spec, &config(&cloud.endpoint)).expect("good");
        let fleet = place.start(&ec2, 1, "").await.expect("the fleet starts");
        let id = instance(&cloud, &fleet.machines()[0]).await;
        let lifecycle = cloud.instances().await[0].instance_lifecycle().cloned();
        assert_eq!(lifecycle.expect("a market").as_str(), "spot");
        cloud.hardware.bodies.lock()[&id].metadata.give_notice();
        eventually("the loss", async || (fleet.lost_total() == 1).then_some(())).await;
        let reason = &fleet.lost()[0].reason;
        assert!(reason.starts_with("AWS takes it back: instance-action"), "{reason}");
        fleet.wait_for(1, DEADLINE).await.expect("it is replaced");
        fleet.shutdown().await;
        ec2.finish(PATIENCE).await.expect("all is removed");
        cloud.assert_empty().await;
    });
}

/// A driver of its own, which is killed: starts two machines and says so.
pub(crate) fn drive(arguments: &str) -> ExitCode {
    let arguments: Vec<&str> = arguments.split(',').collect();
    let [endpoint, subnet, name, root] = arguments[..] else { panic!("{arguments:?}") };
    let mut spec = spec(subnet);
    spec.name = Some(name.to_owned());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let ec2 = Ec2::with_config(spec, &config(endpoint)).expect("good");
        let place = Place { root: root.into(), lines: Arc::default(), _own: None };
        let _fleet = place.start(&ec2, 2, "").await.expect("the fleet starts");
        println!("up");
        std::future::pending::<ExitCode>().await
    })
}

/// Starts a driver and kills it: when it has its machines, or before, after some time.
async fn kill_driver(cloud: &Cloud, name: &str, after: Option<Duration>) {
    // A driver that is killed leaves its folder, for the next in the same place to remove.
    let root = tempfile::tempdir().expect("a folder");
    let (endpoint, subnet, root) = (&cloud.endpoint, &cloud.subnet, root.path().display());
    #[expect(clippy::disallowed_methods, reason = "a driver that is killed")]
    let mut driver = Command::new(std::env::current_exe().expect("this program"))
        .arg(format!("drive={endpoint},{subnet},{name},{root}"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut output = std::io::BufReader::new(driver.stdout.take().expect("its output"));
    let said = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut output, &mut line).map(|_| line)
    });
    let said = tokio::time::timeout(after.unwrap_or(DEADLINE), said).await;
    driver.kill().expect("killed");
    driver.wait().expect("its end");
    if after.is_none() {
        assert_eq!(said.expect("in time").expect("joined").expect("a line"), "up\n");
    }
}

fn a_killed_driver_leaves_no_instance() {
    run(async {
        let cloud = Cloud::start().await;
        let ec2 = Ec2::with_config(spec(&cloud.subnet), &config(&cloud.endpoint)).expect("good");
        let step = Duration::from_millis(350);
        let mut launched = 0;
        for i in 1..=10 {
            kill_driver(&cloud, &format!("d{i}"), (i < 10).then_some(step * i)).await;
            launched += cloud.instances().await.len();
        }
        assert!(launched > 0, "no driver had launched anything");
        eventually("the instances to end themselves", async || {
            cloud.instances().await.is_empty().then_some(())
        })
        .await;
        cloud.assert_empty().await;
        assert_eq!(ec2.clusters().list().await.expect("the list"), []);
        // What is left costs nothing, and goes by name.
        assert!(cloud.groups().await > 0);
        for i in 1..=10 {
            ec2.clusters().stop(&format!("d{i}"), PATIENCE).await.expect("its group is removed");
        }
        assert_eq!(cloud.groups().await, 0);
    });
}

/// What a driver of days ago may have left, and what one of now has.
fn what_is_past_its_time_is_removed() {
    run(async {
        let cloud = Cloud::start().await;
        cloud.hardware.hold();
        let tags = |created: &str, deadline: &str| {
            [
                ("bigslice:cluster", "c"),
                ("bigslice:created", created),
                ("bigslice:deadline", deadline),
            ]
            .map(|(key, value)| Tag::builder().key(key).value(value).build())
            .to_vec()
        };
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
        let old = group("old", past).await;
        group("new", future).await;
        let ec2 = Ec2::with_config(spec(&cloud.subnet), &config(&cloud.endpoint)).expect("good");
        let cleared = ec2.clusters().gc().await.expect("it is cleared");
        assert_eq!(cleared, Cleared { instances: vec![late], groups: vec![old] });
        let left = cloud.instances().await;
        let left: Vec<&str> = left.iter().filter_map(|i| i.instance_id()).collect();
        assert!(left.len() == 2 && left.contains(&&*young) && left.contains(&&*other), "{left:?}");
        assert_eq!(cloud.groups().await, 1);
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
        ec2.finish(PATIENCE).await.expect("all is removed");
        cloud.assert_empty().await;
        assert_eq!(cloud.groups().await, 0);
        assert!(place.lines.lock().iter().all(|line| line.source != LogSource::Stdout));
    });
}
