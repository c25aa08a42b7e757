//! Machines send their program to new ones, and the driver sends it if they cannot.

use std::sync::Arc;
use std::time::Duration;

use bigslice_cluster::ec2::Ec2;
use bigslice_cluster::{Elastic, Fleet, FleetConfig};
use rustix::process::{Pid, Signal, kill_process};

use super::cloud::{Cloud, DEADLINE, config, eventually};
use super::life::{Place, instance, run, spec};

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("machines_pass_their_program_on", machines_pass_their_program_on),
    (
        "where_a_machine_cannot_the_driver_sends_the_program",
        the_driver_sends_where_a_machine_cannot,
    ),
];

/// A fleet whose machines start one after the other.
fn fleet(cloud: &Cloud, place: &Place, lease: Duration) -> Fleet {
    let ec2 = Ec2::with_config(spec(&cloud.subnet), &config(&cloud.endpoint)).expect("good");
    let fleet = FleetConfig { lease, ..place.config(3, "") };
    let elastic = Elastic { idle: DEADLINE * 9, ..Elastic::default() };
    Fleet::elastic(Arc::new(ec2), fleet, &elastic).expect("a fleet")
}

/// The report of the newest machine about its program.
async fn newest_says(cloud: &Cloud, fleet: &Fleet) -> String {
    let newest = fleet.machines().pop().expect("one runs");
    let id = instance(cloud, &newest).await;
    let console = cloud.hardware.bodies.lock()[&id].console();
    let line = console.lines().find(|line| line.starts_with("the program came from"));
    line.unwrap_or_else(|| panic!("{console}")).to_owned()
}

fn machines_pass_their_program_on() {
    run(async {
        let (cloud, place) = (Cloud::start().await, Place::new());
        let fleet = fleet(&cloud, &place, DEADLINE);
        fleet.wait_for(1, DEADLINE).await.expect("the first");
        assert_eq!(newest_says(&cloud, &fleet).await, "the program came from the driver");
        fleet.wait_for(2, DEADLINE).await.expect("the second");
        let peer = format!("the program came from bigslice://{}/worker/m0", fleet.session());
        assert_eq!(newest_says(&cloud, &fleet).await, peer);
        // It is complete: it runs, and can be sent on again.
        fleet.machines()[0].kill();
        eventually("the loss", async || (fleet.lost_total() == 1).then_some(())).await;
        fleet.wait_for(2, DEADLINE).await.expect("another");
        let peer = format!("the program came from bigslice://{}/worker/m1", fleet.session());
        assert_eq!(newest_says(&cloud, &fleet).await, peer);
        for machine in fleet.machines() {
            fleet.info(&machine).await.expect("it answers");
        }
        fleet.shutdown().await;
        cloud.assert_empty().await;
    });
}

fn the_driver_sends_where_a_machine_cannot() {
    run(async {
        let (cloud, place) = (Cloud::start().await, Place::new());
        // Longer than it takes: the first must not be lost meanwhile.
        let fleet = fleet(&cloud, &place, DEADLINE);
        fleet.wait_for(1, DEADLINE).await.expect("the first");
        let first = fleet.machines().remove(0);
        let id = instance(&cloud, &first).await;
        let worker = cloud.hardware.bodies.lock()[&id].workers()[0];
        let worker = Pid::from_raw(i32::try_from(worker).expect("a pid")).expect("a pid");
        kill_process(worker, Signal::STOP).expect("it stands still");
        fleet.wait_for(2, DEADLINE).await.expect("the second");
        assert_eq!(fleet.lost_total(), 0);
        assert_eq!(newest_says(&cloud, &fleet).await, "the program came from the driver");
        let second = fleet.machines().pop().expect("it runs");
        let id = instance(&cloud, &second).await;
        let console = cloud.hardware.bodies.lock()[&id].console();
        assert!(!console.contains("the program came from bigslice"), "{console}");
        // The third is not sent to the first again.
        fleet.wait_for(3, DEADLINE).await.expect("the third");
        let peer = format!("the program came from bigslice://{}/worker/m1", fleet.session());
        assert_eq!(newest_says(&cloud, &fleet).await, peer);
        fleet.shutdown().await;
        cloud.assert_empty().await;
    });
}
