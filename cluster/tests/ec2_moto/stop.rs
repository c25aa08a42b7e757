//! Actions of others on a cluster: its owner in another shell stops it or reads its consoles, also
//! after the driver was killed; another user terminates or stops an instance.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bigslice_cluster::ec2::{Cleared, Clusters, Ec2};
use bigslice_cluster::{Fleet, FleetConfig};

use super::cloud::{Cloud, DEADLINE, config, eventually};
use super::killed::{Point, kill_driver};
use super::life::{Place, instance, run, spec};
use super::spot::templates;

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("a_cluster_is_stopped_from_another_shell", a_cluster_is_stopped),
    ("a_cluster_without_its_driver_is_read_and_stopped", a_killed_drivers_cluster_is_stopped),
    ("an_instance_that_is_gone_is_noticed_within_seconds", a_gone_instance_is_noticed),
];

/// So long that nothing is noticed by the lease.
const LEASE: Duration = Duration::from_secs(600);
/// The meaning of "within seconds": three times the pause between two checks.
const SECONDS: Duration = Duration::from_secs(10);

/// As another process has them.
fn other_shell(cloud: &Cloud) -> Clusters {
    let ec2 = Ec2::with_config(spec(&cloud.subnet), &config(&cloud.endpoint)).expect("good");
    ec2.clusters()
}

async fn fleet(cloud: &Cloud, place: &Place, options: &[(&str, &str)], machines: usize) -> Fleet {
    let mut spec = spec(&cloud.subnet);
    for (key, value) in options {
        spec.set(key, value).expect("an option");
    }
    let ec2 = Ec2::with_config(spec, &config(&cloud.endpoint)).expect("good");
    let config = FleetConfig { lease: LEASE, ..place.config(machines, "") };
    Fleet::start(Arc::new(ec2), config).await.expect("the fleet starts")
}

fn a_cluster_is_stopped() {
    run(async {
        let (cloud, place) = (Cloud::start().await, Place::new());
        let fleet = fleet(&cloud, &place, &[("spot", "true"), ("name", "night")], 2).await;
        let shell = other_shell(&cloud);
        let consoles = shell.logs("night").await.expect("the consoles");
        let machines: Vec<_> = consoles.iter().map(|console| &*console.machine).collect();
        assert_eq!(machines, ["m0", "m1"]);
        assert!(consoles.iter().all(|console| !console.text.is_empty()), "{consoles:?}");
        let running = cloud.instances().await;
        let running = running.iter().filter_map(|i| i.instance_id().map(str::to_owned));
        let running: Vec<String> = running.collect();

        // The driver starts replacements, which take longer to boot than `stop` takes to check
        // again.
        cloud.hardware.hold();
        let cleared = shell.stop("night", DEADLINE).await.expect("it is stopped");
        assert!(cleared.instances.len() > 2, "those that were started instead: {cleared:?}");
        assert!(running.iter().all(|id| cleared.instances.contains(id)), "{cleared:?}");
        assert_eq!((cleared.groups.len(), cleared.templates.len()), (1, 1));
        cloud.assert_empty().await;
        assert_eq!(cloud.groups().await, 0);
        assert!(templates(&cloud.client, None).await.is_empty());
        let lost = fleet.lost();
        assert_eq!(lost.len(), 2);
        for loss in lost {
            assert!(loss.reason.starts_with("the instance is terminated (Client.User"), "{loss:?}");
        }
        // Its driver reports it and gives up.
        assert!(place.text().contains("no machine could be started 5 times in a row"));
        assert_eq!(shell.list().await.expect("the list"), []);
        assert_eq!(shell.stop("night", DEADLINE).await.expect("nothing"), Cleared::default());
        fleet.shutdown().await;
        cloud.assert_empty().await;
    });
}

fn a_killed_drivers_cluster_is_stopped() {
    run(async {
        let cloud = Cloud::start().await;
        assert!(kill_driver(&cloud, Point::AllRun, false).await > 0, "it has left machines");
        eventually("them to end themselves", async || {
            cloud.instances().await.is_empty().then_some(())
        })
        .await;
        let shell = other_shell(&cloud);
        // Their output can still be read.
        let consoles = shell.logs("AllRun").await.expect("the consoles");
        let machines: Vec<_> = consoles.iter().map(|console| &*console.machine).collect();
        assert_eq!(machines, ["m0", "m1"]);
        assert!(consoles.iter().all(|console| !console.text.is_empty()), "{consoles:?}");
        // Removal of one's own resources needs no wait.
        let cleared = shell.stop("AllRun", DEADLINE).await.expect("it is stopped");
        assert_eq!((cleared.instances.len(), cleared.groups.len()), (0, 1));
        assert_eq!(cloud.groups().await, 0);
        assert_eq!(shell.stop("AllRun", DEADLINE).await.expect("nothing"), Cleared::default());
        cloud.assert_empty().await;
    });
}

fn a_gone_instance_is_noticed() {
    run(async {
        let (cloud, place) = (Cloud::start().await, Place::new());
        let fleet = fleet(&cloud, &place, &[], 2).await;
        let [first, second] = &fleet.machines()[..] else { panic!("two machines") };
        let (first, second) = (instance(&cloud, first).await, instance(&cloud, second).await);
        for (nth, id) in [&first, &second].into_iter().enumerate() {
            let state = if nth == 0 { "terminated" } else { "stopped" };
            match state {
                "terminated" => cloud.terminate(id).await,
                _ => {
                    let call = cloud.client.stop_instances().instance_ids(id);
                    call.send().await.expect("it is stopped");
                }
            }
            let began = Instant::now();
            eventually(state, async || (fleet.lost_total() > nth as u64).then_some(())).await;
            assert!(began.elapsed() < SECONDS, "{state}: {:?}", began.elapsed());
            let lost = fleet.lost();
            let reason = &lost[nth].reason;
            assert!(
                reason.starts_with(&format!("the instance is {state} (Client.User")),
                "{reason}"
            );
        }
        fleet.wait_for(2, DEADLINE).await.expect("both are replaced");
        // A stopped instance has a disk that costs, until it is terminated.
        eventually("the stopped one to be terminated", async || {
            cloud.instances().await.iter().all(|i| i.instance_id() != Some(&second)).then_some(())
        })
        .await;
        fleet.shutdown().await;
        cloud.assert_empty().await;
        assert_eq!(cloud.groups().await, 0);
    });
}
