//! Fleets that follow the demand for their machines, and machines on probation.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bigslice_cluster::faults::{Faults, Links};
use bigslice_cluster::{
    Elastic, Error, Fleet, FleetConfig, FleetStats, InProcess, Launch, Launched, LogSource, Result,
    State, System,
};

use super::harness::{DEADLINE, Place, alive, eventually, in_process, run, systems};

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("elastic::machines_come_with_a_demand_and_go_without", machines_come_and_go),
    ("elastic::whoever_waits_asks_for_machines", whoever_waits_asks_for_machines),
    ("elastic::a_machine_that_is_held_stays", a_machine_that_is_held_stays),
    ("elastic::machines_start_in_batches", machines_start_in_batches),
    ("elastic::a_lost_machine_is_replaced_if_it_is_wanted", a_lost_machine_is_replaced_if_wanted),
    ("elastic::what_cannot_start_is_said_once_and_given_up", what_cannot_start_is_said_once),
    ("elastic::more_than_the_limit_is_refused_at_once", more_than_the_limit_is_refused_at_once),
    ("elastic::a_suspected_machine_is_trusted_when_it_answers", a_suspected_machine),
    ("elastic::a_machine_that_falls_silent_gets_no_work", a_machine_that_falls_silent),
];

/// Released as soon as a test can see it.
const SHORT: Duration = Duration::from_millis(300);
/// Never released in a test's time.
const LONG: Duration = Duration::from_secs(600);

fn elastic(slots_per_machine: usize, idle: Duration) -> Elastic {
    Elastic { slots_per_machine, idle, ..Elastic::default() }
}

/// A fleet whose keeper is woken by events only: its leases are renewed in minutes.
fn start(place: &Place, system: Arc<dyn System>, max: usize, elastic: &Elastic) -> Fleet {
    let config = FleetConfig { lease: LONG, ..place.config(max, "spill") };
    Fleet::elastic(system, config, elastic).expect("a fleet")
}

async fn stats(fleet: &Fleet, what: &str, wanted: impl Fn(&FleetStats) -> bool) -> FleetStats {
    eventually(what, || Some(fleet.stats()).filter(|stats| wanted(stats))).await
}

fn machines_come_and_go() {
    run(async {
        for system in systems() {
            let place = Place::new();
            let fleet = start(&place, system, 5, &elastic(2, SHORT));
            assert_eq!(fleet.stats(), FleetStats::default());
            assert_eq!((fleet.size(), fleet.size_max()), (0, 5));

            let mut demand = fleet.demand(3);
            let other = fleet.demand(1);
            stats(&fleet, "machines for 4 slots", |c| c.running == 2).await;
            demand.set(100);
            fleet.wait_for(5, DEADLINE).await.expect("no more than the limit");
            assert_eq!(fleet.size(), 5);
            let machines = fleet.machines();
            for machine in &machines {
                fleet.info(machine).await.expect("it answers");
            }
            let pids: Vec<u32> = machines.iter().filter_map(|m| m.pid()).collect();

            // Down to the demand of the other, then to zero.
            drop(demand);
            stats(&fleet, "one machine", |c| c.running == 1).await;
            drop(other);
            for machine in &machines {
                assert_eq!(machine.wait(State::Stopped).await, State::Stopped);
                assert_eq!(machine.err(), None);
            }
            assert!(!pids.iter().any(|pid| alive(*pid)));
            let folders = || std::fs::read_dir(&place.sessions()[0]).expect("a folder").count();
            eventually("only the driver's folder", || (folders() == 1).then_some(())).await;

            // And up again, under other names.
            let _demand = fleet.demand(1);
            fleet.wait_for(1, DEADLINE).await.expect("one more");
            assert_eq!(fleet.machines()[0].name().as_str(), "m5");
            let counts = fleet.stats();
            assert_eq!(
                (counts.started_total, counts.released_total, counts.lost_total),
                (6, 5, 0),
                "{counts:?}"
            );
            fleet.shutdown().await;
            assert!(place.sessions().is_empty());
        }
    });
}

fn whoever_waits_asks_for_machines() {
    run(async {
        let place = Place::new();
        let elastic = Elastic { machines_min: 1, ..elastic(1, SHORT) };
        let fleet = start(&place, in_process(), 4, &elastic);
        fleet.wait_for(3, DEADLINE).await.expect("they are started");
        stats(&fleet, "the least number of machines", |c| c.running == 1).await;
        assert_eq!(fleet.stats().released_total, 2);
        fleet.shutdown().await;
        let late = fleet.wait_for(1, DEADLINE).await;
        assert!(matches!(late, Err(Error::Closed)));
    });
}

fn a_machine_that_is_held_stays() {
    run(async {
        let place = Place::new();
        let fleet = start(&place, in_process(), 3, &elastic(1, SHORT));
        fleet.wait_for(3, DEADLINE).await.expect("they are started");
        let machines = fleet.machines();
        let holds = [machines[0].hold().expect("it runs"), machines[0].hold().expect("it runs")];
        assert_eq!(holds[0].machine().name(), machines[0].name());
        for machine in &machines[1..] {
            machine.wait(State::Stopped).await;
            assert!(machine.hold().is_none());
        }
        let [one, other] = holds;
        drop(one);
        let gone = tokio::time::timeout(SHORT * 3, machines[0].wait(State::Stopped)).await;
        assert!(gone.is_err(), "it is still held");
        fleet.info(&machines[0]).await.expect("it answers");
        drop(other);
        machines[0].wait(State::Stopped).await;
        assert_eq!(fleet.stats().released_total, 3);
        fleet.shutdown().await;
    });
}

/// A system that counts its work, takes its time, and has no machines on request.
#[derive(Debug)]
struct Slow {
    inner: Arc<dyn System>,
    empty: AtomicBool,
    launching: AtomicUsize,
    most: AtomicUsize,
}

impl Slow {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: in_process(),
            empty: AtomicBool::new(false),
            launching: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        })
    }
}

#[async_trait]
impl System for Slow {
    fn name(&self) -> &'static str {
        "slow"
    }

    async fn launch(&self, launch: Launch) -> Result<Launched> {
        let now = self.launching.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(20)).await;
        self.launching.fetch_sub(1, Ordering::SeqCst);
        if self.empty.load(Ordering::SeqCst) {
            let reason = "the quota is used up".to_owned();
            return Err(Error::Start { machine: launch.machine, reason });
        }
        self.inner.launch(launch).await
    }
}

fn machines_start_in_batches() {
    run(async {
        let place = Place::new();
        let system = Slow::new();
        let elastic = Elastic { batch_max: 3, ..elastic(1, LONG) };
        let fleet = start(&place, Arc::clone(&system) as _, 10, &elastic);
        let _demand = fleet.demand(100);
        fleet.wait_for(1, DEADLINE).await.expect("work begins with the first");
        assert!(fleet.stats().running < 10);
        fleet.wait_for(10, DEADLINE).await.expect("all of them");
        assert_eq!(system.most.load(Ordering::SeqCst), 3);
        fleet.shutdown().await;
    });
}

fn a_lost_machine_is_replaced_if_wanted() {
    run(async {
        let place = Place::new();
        let fleet = start(&place, in_process(), 2, &elastic(1, SHORT));
        let demand = fleet.demand(2);
        fleet.wait_for(2, DEADLINE).await.expect("they are started");
        let first = fleet.machines().remove(0);
        first.kill();
        first.wait(State::Stopped).await;
        fleet.wait_for(2, DEADLINE).await.expect("another takes its place");
        let holds: Vec<_> = fleet.machines().iter().filter_map(|m| m.hold()).collect();
        drop(demand);
        eventually("the end of the demand", || (fleet.size() == 0).then_some(())).await;
        let second = fleet.machines().remove(0);
        second.kill();
        second.wait(State::Stopped).await;
        drop(holds);
        stats(&fleet, "nobody to be left", |c| c.running + c.starting == 0).await;
        let counts = fleet.stats();
        assert_eq!((counts.started_total, counts.lost_total, counts.released_total), (3, 2, 1));
        fleet.shutdown().await;
        let said = |machine| place.logged(LogSource::Fleet, Some(machine));
        assert_eq!(said(first.name()), ["lost: killed; starting another"]);
        assert_eq!(said(second.name()), ["lost: killed"]);
    });
}

fn what_cannot_start_is_said_once() {
    run(async {
        let place = Place::new();
        let system = Slow::new();
        system.empty.store(true, Ordering::SeqCst);
        let fleet = start(&place, Arc::clone(&system) as _, 8, &elastic(1, LONG));
        let demand = fleet.demand(8);
        let began = Instant::now();
        let err = fleet.wait_for(1, DEADLINE).await.expect_err("there are no machines");
        assert!(matches!(err, Error::TooFew { wanted: 1, running: 0, .. }), "{err}");
        assert!(err.to_string().contains("the quota is used up"), "{err}");
        assert!(began.elapsed() < DEADLINE / 2, "it was given up, not waited for");
        let said = eventually("what is said", || {
            Some(place.logged(LogSource::Fleet, None)).filter(|said| said.len() >= 2)
        })
        .await;
        assert_eq!(
            said,
            [
                "could not start: the quota is used up; retrying at most 5 times in a row",
                "could not start: the quota is used up; no machine could be started 5 times in a \
                 row, going on with 0 of 8",
            ]
        );

        // Without further requests, nothing is tried. A request changes that.
        stats(&fleet, "the end of the last tries", |c| c.starting == 0).await;
        system.empty.store(false, Ordering::SeqCst);
        let more = fleet.demand(1);
        stats(&fleet, "all machines", |c| c.running == 8).await;
        drop((demand, more));
        fleet.shutdown().await;
        assert_eq!(place.logged(LogSource::Fleet, None).len(), 2);
    });
}

fn more_than_the_limit_is_refused_at_once() {
    run(async {
        let place = Place::new();
        let fleet = start(&place, in_process(), 2, &elastic(1, SHORT));
        let began = Instant::now();
        let err = fleet.wait_for(3, DEADLINE).await.expect_err("there are never three");
        assert!(err.to_string().contains("the fleet has at most 2"), "{err}");
        assert!(began.elapsed() < DEADLINE / 2);
        fleet.shutdown().await;
    });
}

async fn faulty(place: &Place, machines: usize, lease: Duration) -> (Fleet, Faults) {
    let faults = Faults::new(1);
    let services = super::harness::worker_services();
    let system = Arc::new(InProcess::new(services).with_faults(faults.clone()));
    let config = FleetConfig { lease, ..place.config(machines, "") };
    (Fleet::start(system, config).await.expect("it starts"), faults)
}

fn a_suspected_machine() {
    run(async {
        let place = Place::new();
        let (fleet, faults) = faulty(&place, 2, LONG).await;
        let machine = fleet.machines().remove(0);
        let links = Links::Of(machine.name().clone());
        faults.cut(links.clone());
        machine.suspect("a connection from m1 broke");
        machine.suspect("another connection from m1 broke");
        assert!(!machine.is_trusted());
        let ready: Vec<_> = fleet.ready().iter().map(|m| m.name().to_string()).collect();
        assert_eq!(ready, ["m1"]);
        assert_eq!(fleet.machines().len(), 2);
        assert_eq!(fleet.stats().on_probation, 1);
        // It is asked now, not when its lease is due.
        let held = faults.fired().held;
        eventually("a question to it", || (faults.fired().held > held).then_some(())).await;
        assert!(!machine.is_trusted());
        faults.mend(&links);
        eventually("its answer", || machine.is_trusted().then_some(())).await;
        assert_eq!(fleet.ready().len(), 2);

        // The second time an answer is not enough.
        let began = Instant::now();
        machine.suspect("a connection from m1 broke again");
        eventually("the end of its probation", || machine.is_trusted().then_some(())).await;
        assert!(began.elapsed() >= Duration::from_secs(1));
        assert!(fleet.lost().is_empty());
        fleet.shutdown().await;
    });
}

fn a_machine_that_falls_silent() {
    run(async {
        let place = Place::new();
        let (fleet, faults) = faulty(&place, 2, Duration::from_secs(4)).await;
        let machine = fleet.machines().remove(1);
        faults.pause(machine.name());
        eventually("the driver's doubts", || (!machine.is_trusted()).then_some(())).await;
        assert_eq!(fleet.ready().len(), 1);
        assert_eq!(fleet.machines().len(), 2, "it is not lost yet");
        faults.resume(machine.name());
        eventually("its answer", || machine.is_trusted().then_some(())).await;
        assert_eq!(faults.fired().pauses, 1);
        assert!(fleet.lost().is_empty(), "{:?}", fleet.lost());
        fleet.shutdown().await;
    });
}
