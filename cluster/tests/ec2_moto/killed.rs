//! A driver that is killed while it provisions, while its machines run, while one is replaced or
//! while it ends leaves nothing that costs. Its caretaker, or `gc`, removes the free resources.

use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::Arc;

use aws_sdk_ec2::types::{Instance, InstanceStateName, LaunchTemplate, Tag};
use bigslice_cluster::ec2::{Cleared, Ec2, Ec2Spec};
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::cloud::{AWS_SECRET, Cloud, config, eventually, instances, state};
use super::life::{Place, run, spec};
use super::spot::{template, templates};

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("a_driver_that_is_killed_at_any_point_leaves_nothing", a_killed_driver_leaves_nothing),
    ("a_caretaker_removes_what_a_killed_driver_leaves", a_caretaker_removes_the_rest),
];

/// Where a driver is killed, in the order of its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Point {
    GroupMade,
    TemplateMade,
    FirstOrdered,
    AllOrdered,
    Boots,
    AwaitsDriver,
    ProgramArrives,
    WorkerRuns,
    OneEnrolled,
    AllRun,
    OneReplaced,
    Ends,
}

impl Point {
    /// Some are killed with spot machines, whose launch is different, and once further on.
    fn spot(self) -> bool {
        matches!(self, Self::TemplateMade | Self::FirstOrdered | Self::OneReplaced)
    }
}

const POINTS: [Point; 12] = [
    Point::GroupMade,
    Point::TemplateMade,
    Point::FirstOrdered,
    Point::AllOrdered,
    Point::Boots,
    Point::AwaitsDriver,
    Point::ProgramArrives,
    Point::WorkerRuns,
    Point::OneEnrolled,
    Point::AllRun,
    Point::OneReplaced,
    Point::Ends,
];
const MACHINES: usize = 2;

/// A driver of its own, which is killed: starts machines and reports them, and ends on request.
pub(crate) fn drive(arguments: &str) -> ExitCode {
    let arguments: Vec<&str> = arguments.split(',').collect();
    let [endpoint, subnet, spot, name, root, cared] = arguments[..] else {
        panic!("{arguments:?}")
    };
    let mut spec = spec(subnet);
    spec.set("spot", spot).expect("an option");
    spec.name = Some(name.to_owned());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let ec2 = match cared {
            "true" => Ec2::new(spec).await,
            _ => Ec2::with_config(spec, &config(endpoint)),
        };
        let ec2 = ec2.expect("good");
        let fleet = Place::at(root).start(&ec2, MACHINES, "").await.expect("the fleet starts");
        println!("up");
        let told = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
        told.await.expect("joined").expect("a line");
        fleet.shutdown().await;
        ExitCode::SUCCESS
    })
}

/// A driver with its output.
struct Driver {
    process: Child,
    input: ChildStdin,
    said: Arc<Mutex<Vec<String>>>,
    name: String,
    /// A driver that is killed leaves its folder, for the next in the same place to remove.
    _root: TempDir,
}

impl Driver {
    /// A driver with a caretaker finds the cloud in its environment, and so does its caretaker.
    fn start(cloud: &Cloud, point: Point, cared: bool) -> Self {
        let (name, spot) = (format!("{point:?}"), point.spot());
        let root = tempfile::tempdir().expect("a folder");
        let (endpoint, subnet, at) = (&cloud.endpoint, &cloud.subnet, root.path().display());
        #[expect(clippy::disallowed_methods, reason = "a driver that is killed")]
        let mut process = Command::new(std::env::current_exe().expect("this program"))
            .arg(format!("drive={endpoint},{subnet},{spot},{name},{at},{cared}"))
            .env("AWS_ENDPOINT_URL", endpoint)
            .env("AWS_REGION", "eu-west-1")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", AWS_SECRET)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let output = BufReader::new(process.stdout.take().expect("its output"));
        let said = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&said);
        // Ends with the driver.
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                heard.lock().push(line);
            }
        });
        let input = process.stdin.take().expect("its input");
        Self { process, input, said, name, _root: root }
    }

    /// Its instances, including those that have ended.
    async fn instances(&self, cloud: &Cloud) -> Vec<Instance> {
        let own = |instance: &Instance| {
            let mut tags = instance.tags().iter();
            tags.any(|t| t.key() == Some("bigslice:cluster") && t.value() == Some(&self.name))
        };
        instances(&cloud.client).await.into_iter().filter(own).collect()
    }

    async fn up(&self) {
        eventually("the driver to be up", async || {
            self.said.lock().iter().any(|line| line == "up").then_some(())
        })
        .await;
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // It may have ended before.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns true if a process listens there, without connecting.
fn listens(address: &str) -> bool {
    let address: Ipv4Addr = address.parse().expect("an address");
    let port = Ec2Spec::default().port;
    let local = format!("{:08X}:{port:04X}", u32::from_le_bytes(address.octets()));
    let sockets = std::fs::read_to_string("/proc/net/tcp").expect("the sockets");
    sockets.lines().any(|line| {
        let mut words = line.split_whitespace().skip(1);
        // 0A is LISTEN.
        words.next() == Some(&local) && words.nth(1) == Some("0A")
    })
}

/// Returns true if the driver has reached a point that is visible in the cloud.
async fn reached(cloud: &Cloud, driver: &Driver, point: Point) -> bool {
    let own = driver.instances(cloud).await;
    let any_body = |is: &dyn Fn(&super::cloud::Body) -> bool| {
        let bodies = cloud.hardware.bodies.lock();
        own.iter().filter_map(|i| bodies.get(i.instance_id()?)).any(is)
    };
    match point {
        Point::GroupMade => cloud.groups().await > 0,
        Point::TemplateMade => !templates(&cloud.client, None).await.is_empty(),
        Point::FirstOrdered => !own.is_empty(),
        Point::AllOrdered => own.len() == MACHINES,
        Point::Boots => any_body(&|body| body.asked().contains("bigslice-life")),
        Point::AwaitsDriver => own.iter().filter_map(Instance::private_ip_address).any(listens),
        Point::ProgramArrives => any_body(&|body| body.program_size() > 0),
        Point::WorkerRuns => any_body(&|body| !body.workers().is_empty()),
        Point::OneEnrolled => any_body(&|body| body.asked().contains("stop bigslice-boot.timer")),
        Point::AllRun => driver.said.lock().iter().any(|line| line == "up"),
        Point::OneReplaced => own.len() > MACHINES,
        Point::Ends => own.iter().any(|i| state(i) != Some(InstanceStateName::Running)),
    }
}

/// Starts a driver and kills it there. Returns the number of instances that it leaves for the
/// moment.
pub(crate) async fn kill_driver(cloud: &Cloud, point: Point, cared: bool) -> usize {
    let mut driver = Driver::start(cloud, point, cared);
    match point {
        Point::OneReplaced => {
            driver.up().await;
            let first = driver.instances(cloud).await[0].instance_id().expect("its id").to_owned();
            cloud.terminate(&first).await;
        }
        Point::Ends => {
            driver.up().await;
            driver.input.write_all(b"end\n").expect("told");
        }
        _ => {}
    }
    let what = format!("{point:?}");
    eventually(&what, async || reached(cloud, &driver, point).await.then_some(())).await;
    driver.process.kill().expect("killed");
    driver.process.wait().expect("its end");
    let own = driver.instances(cloud).await;
    own.iter().filter(|i| state(i) == Some(InstanceStateName::Running)).count()
}

/// Makes the same templates again, with the same tags except for an old time: moto keeps the tags
/// that a template was made with.
async fn age(cloud: &Cloud, left: &[LaunchTemplate]) {
    for old in left {
        let (id, name) = (old.launch_template_id(), old.launch_template_name());
        let call = cloud.client.delete_launch_template().set_launch_template_id(id.map(Into::into));
        call.send().await.expect("it is there");
        let then = Tag::builder().key("bigslice:created").value("2020-01-01T00:00:00Z").build();
        let others = old.tags().iter().filter(|tag| tag.key() != then.key()).cloned();
        let tags = others.chain([then.clone()]).collect();
        template(&cloud.client, name.expect("a name"), tags).await;
    }
}

fn a_killed_driver_leaves_nothing() {
    run(async {
        let cloud = Cloud::start().await;
        let ec2 = Ec2::with_config(spec(&cloud.subnet), &config(&cloud.endpoint)).expect("good");
        for point in POINTS {
            let left = kill_driver(&cloud, point, false).await;
            let expected = match point {
                // The group alone, or with the template, or an order that was on its way.
                Point::GroupMade | Point::TemplateMade => 0..=MACHINES,
                Point::Ends => 0..=MACHINES - 1,
                _ => 1..=MACHINES,
            };
            assert!(expected.contains(&left), "{point:?}: {left} instances");
        }
        eventually("the instances to end themselves", async || {
            cloud.instances().await.is_empty().then_some(())
        })
        .await;
        cloud.assert_empty().await;
        assert_eq!(ec2.clusters().list().await.expect("the list"), []);

        // Groups and templates cost nothing. One that may be waiting for its first instance is not
        // removed...
        let groups = cloud.group_ids().await;
        // A driver that ends may have come as far as to remove its own.
        assert!([POINTS.len(), POINTS.len() - 1].contains(&groups.len()), "{groups:?}");
        let left = templates(&cloud.client, None).await;
        assert_eq!(left.len(), POINTS.iter().filter(|point| point.spot()).count());
        assert_eq!(ec2.clusters().gc().await.expect("it is cleared"), Cleared::default());
        // ...as they would be after ten minutes.
        let then = Tag::builder().key("bigslice:created").value("2020-01-01T00:00:00Z").build();
        let call = cloud.client.create_tags().set_resources(Some(groups.clone())).tags(then);
        call.send().await.expect("an hour passes");
        age(&cloud, &left).await;
        let cleared = ec2.clusters().gc().await.expect("it is cleared");
        assert_eq!((cleared.instances.len(), cleared.groups.len()), (0, groups.len()));
        assert_eq!(cleared.templates.len(), left.len());
        assert_eq!(cloud.groups().await, 0);
        assert!(templates(&cloud.client, None).await.is_empty());
        assert_eq!(ec2.clusters().gc().await.expect("nothing"), Cleared::default());
    });
}

/// The process ids of the caretakers of drivers in that cloud.
fn caretakers(cloud: &Cloud) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").expect("processes").filter_map(|entry| {
        let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let read = |file: &str| std::fs::read(format!("/proc/{pid}/{file}")).ok();
        let has = |text: Vec<u8>, word: &str| text.split(|b| *b == 0).any(|w| w == word.as_bytes());
        let own = has(read("cmdline")?, "--bigslice-caretaker")
            && has(read("environ")?, &format!("AWS_ENDPOINT_URL={}", cloud.endpoint));
        own.then_some(pid)
    });
    processes.collect()
}

fn a_caretaker_removes_the_rest() {
    run(async {
        let cloud = Cloud::start().await;
        let ec2 = Ec2::with_config(spec(&cloud.subnet), &config(&cloud.endpoint)).expect("good");
        for point in POINTS {
            kill_driver(&cloud, point, true).await;
        }
        eventually("the groups to be removed", async || (cloud.groups().await == 0).then_some(()))
            .await;
        eventually("the templates to be removed", async || {
            templates(&cloud.client, None).await.is_empty().then_some(())
        })
        .await;
        cloud.assert_empty().await;
        assert_eq!(ec2.clusters().gc().await.expect("nothing"), Cleared::default());
        eventually("the caretakers to end", async || caretakers(&cloud).is_empty().then_some(()))
            .await;

        // A service manager sends this to all processes of the service.
        let mut driver = Driver::start(&cloud, Point::AllRun, true);
        driver.up().await;
        let pid = i32::try_from(caretakers(&cloud)[0]).ok().and_then(Pid::from_raw);
        for signal in [Signal::HUP, Signal::INT, Signal::TERM] {
            kill_process(pid.expect("a pid"), signal).expect("sent");
        }
        driver.process.kill().expect("killed");
        driver.process.wait().expect("its end");
        eventually("the group to be removed", async || (cloud.groups().await == 0).then_some(()))
            .await;
        eventually("the caretaker to end", async || caretakers(&cloud).is_empty().then_some(()))
            .await;

        // A driver that ends by itself leaves it nothing to do, and ends it first.
        let mut driver = Driver::start(&cloud, Point::AllRun, true);
        driver.up().await;
        assert_eq!(caretakers(&cloud).len(), 1);
        driver.input.write_all(b"end\n").expect("told");
        eventually("the driver to end", async || driver.process.try_wait().expect("its end")).await;
        assert_eq!(caretakers(&cloud), [0; 0]);
        assert_eq!(cloud.groups().await, 0);
        cloud.assert_empty().await;
    });
}
