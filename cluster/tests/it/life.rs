//! The ordinary life of a fleet: start, names, states, information, certificates, end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bigslice_cluster::{Connector, Control, Error, Fleet, FleetConfig, LocalProcesses, State};
use futures::{StreamExt, stream};

use super::harness::{DEADLINE, Place, alive, eventually, in_process, local, run, systems};
use super::mtls::served_certificate;

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("life::machines_run_and_end_without_a_trace", machines_run_and_end_without_a_trace),
    ("life::dropping_the_fleet_leaves_nothing", dropping_the_fleet_leaves_nothing),
    ("life::a_service_that_refuses_says_why", a_service_that_refuses_says_why),
    ("life::a_service_that_panics_is_no_machine", a_service_that_panics_is_no_machine),
    ("life::a_process_that_exits_says_why", a_process_that_exits_says_why),
    ("life::a_program_that_is_no_worker_says_why", a_program_that_is_no_worker_says_why),
    ("life::certificates_are_renewed", certificates_are_renewed),
    ("life::a_worker_with_busy_cores_keeps_its_lease", a_worker_with_busy_cores_keeps_its_lease),
    ("life::two_fleets_side_by_side", two_fleets_side_by_side),
    ("life::two_hundred_machines", two_hundred_machines),
];

fn machines_run_and_end_without_a_trace() {
    run(async {
        for system in systems() {
            let place = Place::new();
            let fleet = place.start(Arc::clone(&system), 4).await;
            let machines = fleet.machines();
            let names: Vec<&str> = machines.iter().map(|m| m.name().as_str()).collect();
            assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), 4);
            assert_eq!(names, ["m0", "m1", "m2", "m3"]);
            assert_eq!(fleet.urls().len(), 4);
            for machine in &machines {
                assert_eq!(machine.state(), State::Running);
                let url = machine.url().expect("it runs");
                assert_eq!(Connector::machine_of(url).as_ref(), Some(machine.name()));
                let info = fleet.info(machine).await.expect("it answers");
                assert_eq!(machine.pid().unwrap_or(std::process::id()), info.pid);
                assert!(info.cores > 0 && info.memory_bytes > 0);
                assert!(0 < info.memory_available_bytes);
                assert!(info.memory_available_bytes < info.memory_bytes);
                assert!(0 < info.disk_available_bytes);
                assert!(info.disk_available_bytes < info.disk_bytes);
                assert!(info.load.iter().all(|load| (0.0..10_000.0).contains(load)));
                assert_eq!(info.arch, std::env::consts::ARCH);
                let direct = machine.info().await.expect("it answers");
                assert_eq!((direct.pid, direct.cores), (info.pid, info.cores));
            }
            assert_eq!(place.sessions().len(), 1);
            assert!(fleet.scratch().is_dir());
            assert!(fleet.verify().await.is_empty());
            let pids: Vec<u32> = machines.iter().filter_map(|m| m.pid()).collect();
            assert_eq!(pids.len(), if system.name() == "local" { 4 } else { 0 });
            assert!(pids.iter().all(|pid| alive(*pid)));

            fleet.shutdown().await;
            fleet.shutdown().await;
            assert!(fleet.machines().is_empty());
            assert!(fleet.lost().is_empty(), "{:?}", fleet.lost());
            assert!(machines.iter().all(|m| m.state() == State::Stopped && m.err().is_none()));
            assert!(!pids.iter().any(|pid| alive(*pid)));
            assert!(place.sessions().is_empty());
            let late = fleet.wait_for(1, Duration::from_secs(1)).await;
            assert!(matches!(late, Err(Error::Closed)));
        }
    });
}

fn dropping_the_fleet_leaves_nothing() {
    run(async {
        for system in systems() {
            let place = Place::new();
            let fleet = Fleet::start(system, place.config(2, "spill")).await.expect("it starts");
            let pids: Vec<u32> = fleet.machines().iter().filter_map(|m| m.pid()).collect();
            drop(fleet);
            assert!(!pids.iter().any(|pid| alive(*pid)));
            assert!(place.sessions().is_empty());
        }
    });
}

fn a_service_that_refuses_says_why() {
    run(async {
        for system in systems() {
            let place = Place::new();
            let config = place.config(2, "refuse the cupboard is bare");
            let err = Fleet::start(system, config).await.expect_err("it cannot start");
            assert!(err.to_string().contains("the cupboard is bare"), "{err}");
            assert!(place.sessions().is_empty());
        }
    });
}

fn a_service_that_panics_is_no_machine() {
    run(async {
        for system in systems() {
            let place = Place::new();
            let config = place.config(1, "panic at the disco");
            let err = Fleet::start(system, config).await.expect_err("it cannot start");
            assert!(err.to_string().contains("panicked"), "{err}");
            assert!(place.sessions().is_empty());
        }
    });
}

fn a_process_that_exits_says_why() {
    run(async {
        let place = Place::new();
        let err = Fleet::start(local(), place.config(1, "exit 3")).await.expect_err("it exits");
        let text = err.to_string();
        assert!(text.contains("machine \"m0\" could not start"), "{text}");
        assert!(text.contains("ended with status 3"), "{text}");
        assert!(text.contains("first word of m0\nlast word of m0"), "{text}");
        assert!(place.sessions().is_empty());
    });
}

fn a_program_that_is_no_worker_says_why() {
    run(async {
        let rows = [
            ("/nowhere/at/all", "could not start \"/nowhere/at/all\""),
            ("/bin/true", "ended with status 0"),
            ("/bin/false", "ended with status 1"),
        ];
        for (program, reason) in rows {
            let place = Place::new();
            let system = Arc::new(LocalProcesses::new(Some(program.into())));
            let err = Fleet::start(system, place.config(1, "")).await.expect_err("it cannot start");
            assert!(err.to_string().contains(reason), "{program}: {err}");
            assert!(place.sessions().is_empty());
        }
    });
}

fn certificates_are_renewed() {
    run(async {
        for system in [in_process(), local()] {
            let place = Place::new();
            let config = FleetConfig {
                lease: Duration::from_secs(2),
                certificate_life: Duration::from_secs(4),
                ..place.config(1, "")
            };
            let fleet = Fleet::start(system, config).await.expect("it starts");
            let machine = fleet.machines().remove(0);
            let url = machine.url().expect("it runs").clone();
            let first = served_certificate(&url).await;
            let mut seen = 1;
            let mut last = first.clone();
            // The third certificate is only had with the second, so the first is over by then.
            while seen < 3 {
                tokio::time::sleep(Duration::from_millis(100)).await;
                let now = served_certificate(&url).await;
                if now != last {
                    seen += 1;
                    last = now;
                }
            }
            eventually("the end of the first certificate", || {
                let (_, parsed) =
                    x509_parser::parse_x509_certificate(&first).expect("a certificate");
                (!parsed.validity().is_valid()).then_some(())
            })
            .await;
            assert!(fleet.verify().await.is_empty(), "{:?}", fleet.lost());
            let channel = fleet.connector().connect(&url).await.expect("the new certificates");
            let control = Control::new(machine.name().clone(), channel);
            control.info(DEADLINE).await.expect("a new connection with the new certificates");
            fleet.shutdown().await;
        }
    });
}

fn a_worker_with_busy_cores_keeps_its_lease() {
    run(async {
        let place = Place::new();
        let config = FleetConfig { lease: Duration::from_secs(2), ..place.config(1, "burn") };
        let fleet = Fleet::start(local(), config).await.expect("it starts");
        // Three leases long.
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert!(fleet.verify().await.is_empty(), "{:?}", fleet.lost());
        fleet.shutdown().await;
    });
}

fn two_fleets_side_by_side() {
    run(async {
        let place = Place::new();
        let one = place.start(in_process(), 1).await;
        let two = place.start(in_process(), 1).await;
        assert_ne!(one.session(), two.session());
        assert_eq!(place.sessions().len(), 2);
        // Same name, other session: not the machine that the address means.
        let refused = one.connector().connect(&two.urls()[0]).await;
        assert!(refused.is_err());
        one.shutdown().await;
        assert!(two.verify().await.is_empty());
        two.shutdown().await;
        assert!(place.sessions().is_empty());
    });
}

fn two_hundred_machines() {
    run(async {
        let place = Place::new();
        let fleet = place.start(in_process(), 200).await;
        let machines = fleet.machines();
        let names: BTreeSet<&str> = machines.iter().map(|m| m.name().as_str()).collect();
        assert_eq!(names.len(), 200);
        // Each is called, on a connection of its own; a few at a time, as two cores bear.
        let calls = stream::iter(&machines).map(|machine| fleet.info(machine));
        let infos: Vec<_> = calls.buffer_unordered(8).collect().await;
        let answers = infos.into_iter().filter(|info| matches!(info, Ok(i) if i.cores > 0));
        assert_eq!(answers.count(), 200);
        let folders = std::fs::read_dir(&place.sessions()[0]).expect("a folder").count();
        assert_eq!(folders, 201, "of the driver and of each machine");
        let inspector = fleet.inspector();
        let page = inspector.metrics().await.expect("the metrics of all");
        let ups = page.lines().filter(|l| l.starts_with("bigslice_up{") && l.ends_with(" 1"));
        assert_eq!(ups.count(), 201, "of the driver and of each machine");
        let profile = inspector.profile(Duration::from_millis(200)).await.expect("a profile");
        assert!(profile.missing().is_empty(), "{}", profile.summary());

        fleet.shutdown().await;
        assert!(fleet.lost().is_empty(), "{:?}", fleet.lost());
        assert!(machines.iter().all(|m| m.state() == State::Stopped && m.err().is_none()));
        assert!(place.sessions().is_empty());
    });
}
