//! Lost machines: killed, stopped, not replaceable.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bigslice_cluster::{
    Control, Error, Fleet, FleetConfig, Launch, Launched, LogSource, Result, State, System,
};
use rustix::process::Signal;

use super::harness::{
    DEADLINE, Place, alive, eventually, in_process, local, run, signal, stop, systems,
};

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("faults::a_killed_process_is_replaced", a_killed_process_is_replaced),
    ("faults::a_killed_machine_drops_its_calls", a_killed_machine_drops_its_calls),
    ("faults::a_stopped_process_loses_its_lease", a_stopped_process_loses_its_lease),
    ("faults::verify_finds_a_stopped_process", verify_finds_a_stopped_process),
    ("faults::all_machines_killed_again_and_again", all_machines_killed_again_and_again),
    ("faults::starting_is_given_up_and_taken_up", starting_is_given_up_and_taken_up),
];

fn a_killed_process_is_replaced() {
    run(async {
        let place = Place::new();
        let fleet = Fleet::start(local(), place.config(2, "spill")).await.expect("it starts");
        let machines = fleet.machines();
        let mut losses = fleet.losses();
        assert_eq!(*losses.borrow_and_update(), 0);
        let folder = fleet.scratch().parent().expect("a session folder").join("m0");
        assert!(folder.join("deep/rows").is_file());

        signal(machines[0].pid().expect("a process"), Signal::KILL);
        losses.changed().await.expect("a loss");
        assert_eq!(*losses.borrow(), 1);
        assert_eq!(machines[0].wait(State::Stopped).await, State::Stopped);
        let lost = fleet.lost();
        assert_eq!(lost[0].machine, *machines[0].name());
        assert_eq!(lost[0].reason, "killed by signal 9");
        assert_eq!(machines[0].err().as_deref(), Some("killed by signal 9"));

        fleet.wait_for(2, DEADLINE).await.expect("another takes its place");
        let names: Vec<String> = fleet.machines().iter().map(|m| m.name().to_string()).collect();
        assert_eq!(names, ["m1", "m2"]);
        eventually("the lost one's folder to go", || (!folder.exists()).then_some(())).await;
        assert!(fleet.verify().await.len() == 1);
        fleet.shutdown().await;
        assert_eq!(
            place.logged(LogSource::Fleet, Some(machines[0].name())),
            ["lost: killed by signal 9; starting another"]
        );
        assert!(place.sessions().is_empty());
    });
}

fn a_killed_machine_drops_its_calls() {
    run(async {
        let place = Place::new();
        let fleet = place.start(in_process(), 2).await;
        let machine = fleet.machines().remove(1);
        let url = machine.url().expect("it runs").clone();
        let channel = fleet.connector().connect(&url).await.expect("it runs");
        let control = Control::new(machine.name().clone(), channel);
        control.info(DEADLINE).await.expect("it answers");

        machine.kill();
        assert_eq!(machine.wait(State::Stopped).await, State::Stopped);
        assert_eq!(machine.err().as_deref(), Some("killed"));
        let call = control.info(DEADLINE).await;
        assert!(matches!(call, Err(Error::Call { .. })), "{call:?}");
        assert!(fleet.connector().connect(&url).await.is_err());
        fleet.wait_for(2, DEADLINE).await.expect("another takes its place");
        fleet.shutdown().await;
    });
}

fn a_stopped_process_loses_its_lease() {
    run(async {
        let place = Place::new();
        let config = FleetConfig { lease: Duration::from_secs(2), ..place.config(2, "spill") };
        let fleet = Fleet::start(local(), config).await.expect("it starts");
        let machine = fleet.machines().remove(0);
        let pid = machine.pid().expect("a process");
        let mut losses = fleet.losses();
        stop(pid).await;
        losses.changed().await.expect("a loss");
        let lost = fleet.lost();
        assert_eq!(lost[0].machine, *machine.name());
        assert!(lost[0].reason.starts_with("its lease of 2 s lapsed"), "{}", lost[0].reason);
        fleet.wait_for(2, DEADLINE).await.expect("another takes its place");
        eventually("the end of the stopped process", || (!alive(pid)).then_some(())).await;
        fleet.shutdown().await;
        assert_eq!(fleet.lost().len(), 1, "{:?}", fleet.lost());
        assert!(place.sessions().is_empty());
    });
}

fn verify_finds_a_stopped_process() {
    run(async {
        let place = Place::new();
        // A lease so long that it does not matter here.
        let config = FleetConfig { lease: Duration::from_secs(600), ..place.config(2, "") };
        let fleet = Fleet::start(local(), config).await.expect("it starts");
        let machine = fleet.machines().remove(1);
        stop(machine.pid().expect("a process")).await;
        let lost = fleet.verify().await;
        assert_eq!(lost.len(), 1, "{lost:?}");
        assert_eq!(lost[0].machine, *machine.name());
        fleet.wait_for(2, DEADLINE).await.expect("another takes its place");
        fleet.shutdown().await;
        assert!(place.sessions().is_empty());
    });
}

fn all_machines_killed_again_and_again() {
    run(async {
        for system in systems() {
            let place = Place::new();
            let fleet = place.start(system, 3).await;
            let rounds = 10;
            for round in 0..rounds {
                for machine in fleet.machines() {
                    machine.kill();
                    machine.wait(State::Stopped).await;
                }
                fleet.wait_for(3, DEADLINE).await.expect("others take their places");
                assert_eq!(fleet.lost().len(), 3 * (round + 1));
            }
            assert_eq!(fleet.verify().await.len(), 3 * rounds);
            assert_eq!(*fleet.losses().borrow(), 3 * rounds as u64);
            fleet.shutdown().await;
            assert!(place.sessions().is_empty());
        }
    });
}

/// A system that runs out of machines on request.
#[derive(Debug)]
struct Moody {
    inner: Arc<dyn System>,
    empty: AtomicBool,
}

#[async_trait]
impl System for Moody {
    fn name(&self) -> &'static str {
        "moody"
    }

    async fn launch(&self, launch: Launch) -> Result<Launched> {
        if self.empty.load(Ordering::SeqCst) {
            let reason = "there are no machines today".to_owned();
            return Err(Error::Start { machine: launch.machine, reason });
        }
        self.inner.launch(launch).await
    }
}

fn starting_is_given_up_and_taken_up() {
    run(async {
        let place = Place::new();
        let system = Arc::new(Moody { inner: in_process(), empty: AtomicBool::new(false) });
        let fleet = place.start(Arc::clone(&system) as Arc<dyn System>, 2).await;
        system.empty.store(true, Ordering::SeqCst);
        let machine = fleet.machines().remove(0);
        machine.kill();
        machine.wait(State::Stopped).await;
        let err = fleet.wait_for(2, DEADLINE).await.expect_err("there are no machines");
        assert!(matches!(err, Error::TooFew { wanted: 2, running: 1, .. }), "{err}");
        assert!(err.to_string().contains("there are no machines today"), "{err}");
        eventually("the line that says so", || {
            let said = place.logged(LogSource::Fleet, None).join("\n");
            said.contains("5 times in a row, going on with 1 of 2").then_some(())
        })
        .await;

        system.empty.store(false, Ordering::SeqCst);
        fleet.wait_for(2, DEADLINE).await.expect("asked again, it is tried again");
        fleet.shutdown().await;
    });
}
