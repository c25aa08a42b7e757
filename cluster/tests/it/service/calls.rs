//! Successful calls: values there and back, the caller, from machine to machine.

use std::time::Duration;

use bigslice_cluster::{
    Address, Blob, CallError, FleetConfig, Remote, Role, Services, State, service,
};
use futures::future::join_all;
use serde::{Deserialize, Serialize};

use super::super::harness::{DEADLINE, Place, in_process, run, systems};
use super::probe::{Fussy, Probe, ProbeMethods};
use super::{probes, start};

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("service::calls::values_travel", values_travel),
    ("service::calls::methods_are_still_methods", methods_are_still_methods),
    ("service::calls::many_at_a_time", many_at_a_time),
    ("service::calls::a_call_waits_for_its_machine", a_call_waits_for_its_machine),
    ("service::calls::from_machine_to_machine", from_machine_to_machine),
    ("service::calls::two_services_on_one_machine", two_services_on_one_machine),
];

fn values_travel() {
    run(async {
        for system in systems() {
            let place = Place::new();
            let fleet = start(&place, system, 2).await;
            for machine in fleet.machines() {
                let greeting = machine.call(Probe::greet, "you".to_owned()).await.expect("it can");
                assert_eq!(greeting, format!("hello you from {}, true", machine.name()));
                assert_eq!(machine.call(Probe::add, (40, 2)).await, Ok(42));
                assert_eq!(machine.call(Probe::halve, 42).await, Ok(21));
                assert_eq!(machine.call(Probe::halve, 42).timeout(DEADLINE).await, Ok(21));
                let (caller, address) = machine.call(Probe::caller, ()).await.expect("it can");
                assert_eq!((caller.role, &caller.session), (Role::Driver, fleet.session()));
                assert_eq!(Some(address), machine.address());
                let blob = Blob::from(vec![3; 1 << 20]);
                assert_eq!(machine.call(Probe::echo, blob.clone()).await, Ok(blob));
                // State is the machine's own, and outlives a call.
                assert_eq!(machine.call(Probe::counted, ()).await.expect("it can").calls, 1);
            }
            fleet.shutdown().await;
        }
    });
}

fn methods_are_still_methods() {
    run(async {
        let probe = Probe::greeting("hello");
        assert_eq!(probe.add(1, 2).await, 3);
        assert_eq!(probe.counted().await.calls, 1);
    });
}

fn many_at_a_time() {
    run(async {
        for system in systems() {
            let place = Place::new();
            let fleet = start(&place, system, 2).await;
            let machines = fleet.machines();
            let calls = (0..1000).map(|n| machines[n % 2].call(Probe::add, (n as u64, 1)));
            let sums: Result<Vec<u64>, CallError> = join_all(calls).await.into_iter().collect();
            assert_eq!(sums, Ok((1..=1000).collect()));
            for machine in &machines {
                assert_eq!(machine.call(Probe::counted, ()).await.expect("it can").calls, 500);
            }
            fleet.shutdown().await;
        }
    });
}

fn a_call_waits_for_its_machine() {
    run(async {
        let place = Place::new();
        let fleet = start(&place, in_process(), 1).await;
        let lost = fleet.machines().remove(0);
        lost.kill();
        lost.wait(State::Stopped).await;
        fleet.wait_for(1, DEADLINE).await.expect("another takes its place");
        let next = fleet.machines().remove(0);
        assert_eq!(next.call(Probe::add, (1, 1)).await, Ok(2));
        fleet.shutdown().await;
    });
}

fn from_machine_to_machine() {
    run(async {
        for system in systems() {
            let place = Place::new();
            let fleet = start(&place, system, 3).await;
            let machines = fleet.machines();
            let route: Vec<Address> =
                machines.iter().map(|m| m.address().expect("it runs")).collect();
            let (half, callers) =
                machines[0].call(Probe::halve_at, (route.clone(), 8)).await.expect("it can");
            assert_eq!(half, 4);
            let names: Vec<&str> = callers.iter().map(|peer| peer.machine.as_str()).collect();
            assert_eq!(names, ["m1", "m2", "m0", "driver"]);
            let roles: Vec<Role> = callers.iter().map(|peer| peer.role).collect();
            assert_eq!(roles, [Role::Worker, Role::Worker, Role::Worker, Role::Driver]);
            assert!(callers.iter().all(|peer| peer.session == *fleet.session()));

            // An address is a value and grants no access: another session's driver is refused here.
            let elsewhere = Place::new();
            let stranger = start(&elsewhere, in_process(), 1).await;
            let text = serde_json::to_string(&route[0]).expect("it is text");
            let address: Address = serde_json::from_str(&text).expect("it is an address");
            let remote = Remote::new(address, stranger.connector());
            let refused = remote.call(Probe::add, (1, 2)).timeout(Duration::from_secs(20)).await;
            assert!(matches!(refused, Err(CallError::Transport(_))), "{refused:?}");
            let friend = Remote::new(route[0].clone(), fleet.connector());
            assert_eq!(friend.call(Probe::add, (1, 2)).await, Ok(3));
            stranger.shutdown().await;
            fleet.shutdown().await;
        }
    });
}

fn two_services_on_one_machine() {
    #[derive(Serialize, Deserialize)]
    struct Unused;

    #[service]
    impl Unused {
        async fn nothing(&self) {}
    }

    run(async {
        let place = Place::new();
        let services = probes().with(&Fussy::default()).expect("it can be encoded");
        let twice = services.clone().with(&Fussy::default()).expect_err("it is there");
        assert!(twice.to_string().ends_with("it is already in the list"), "{twice}");
        let config = FleetConfig { services, ..place.config(1, "") };
        let fleet = bigslice_cluster::Fleet::start(in_process(), config).await.expect("it starts");
        let machine = fleet.machines().remove(0);
        assert_eq!(machine.call(Fussy::ready, ()).await, Ok(true));
        assert_eq!(machine.call(Probe::add, (1, 2)).await, Ok(3));
        let Err(CallError::Refused(refused)) = machine.call(Unused::nothing, ()).await else {
            panic!("it was not started");
        };
        assert!(refused.reason.contains("has no service \"it::service::calls::Unused\""));
        assert!(
            refused.reason.contains("it::service::probe::Fussy\", \"it::service::probe::Probe")
        );
        fleet.shutdown().await;

        let none = place.start(in_process(), 1).await;
        let refused = none.machines()[0].call(Probe::add, (1, 2)).await.expect_err("none");
        assert!(refused.to_string().contains("started without services"), "{refused}");
        none.shutdown().await;
        assert!(Services::new().with(&Unused).is_ok());
    });
}
