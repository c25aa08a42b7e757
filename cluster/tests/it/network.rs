//! Network faults between in-process machines: the product's reaction to them, that they occur as
//! set and drawn, and that they are counted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bigslice_cluster::faults::{Event, Fault, FaultSchedule, Faults, Links, When};
use bigslice_cluster::{
    Control, Error, Fleet, FleetConfig, InProcess, Machine, MachineInfo, MachineName, Result,
    ServiceFactory, State, System, WorkerContext,
};
use parking_lot::Mutex;
use tonic::service::Routes;

use super::harness::{DEADLINE, Place, eventually, run, worker_services};

pub(crate) const TESTS: &[(&str, fn())] = &[
    (
        "network::a_fault_in_bytes_breaks_a_call_and_no_more",
        a_fault_in_bytes_breaks_a_call_and_no_more,
    ),
    ("network::a_lost_reply_is_an_error_though_the_request_took_effect", a_lost_reply),
    ("network::the_same_seed_does_the_same_harm", the_same_seed_does_the_same_harm),
    ("network::a_storm_delays_calls_and_loses_no_machine", a_storm),
    ("network::two_machines_cut_off_from_each_other", two_machines_cut_off_from_each_other),
    ("network::what_waits_at_a_cut_arrives_after_it", what_waits_at_a_cut_arrives_after_it),
    ("network::a_machine_cut_off_from_all_is_lost", a_machine_cut_off_from_all_is_lost),
    ("network::a_paused_machine_goes_on", a_paused_machine_goes_on),
    ("network::a_machine_paused_past_its_lease_is_lost", a_machine_paused_past_its_lease_is_lost),
    ("network::a_slow_network_is_slow", a_slow_network_is_slow),
    ("network::the_seed_chooses_who_is_killed", the_seed_chooses_who_is_killed),
];

/// Only the test's own calls reach a machine: leases are renewed in minutes.
const LONG: Duration = Duration::from_secs(600);
/// The longest wait for a lost request.
const PATIENCE: Duration = Duration::from_secs(2);

fn system(faults: &Faults) -> Arc<dyn System> {
    Arc::new(InProcess::new(worker_services()).with_faults(faults.clone()))
}

async fn start(place: &Place, faults: &Faults, machines: usize, lease: Duration) -> Fleet {
    let config = FleetConfig { lease, ..place.config(machines, "") };
    Fleet::start(system(faults), config).await.expect("it starts")
}

/// Asks on a new connection.
async fn ask(fleet: &Fleet, machine: &Machine) -> Result<MachineInfo> {
    let channel = fleet.connector().connect(machine.url().expect("it runs")).await?;
    Control::new(name(machine), channel).info(PATIENCE).await
}

fn name(machine: &Machine) -> MachineName {
    machine.name().clone()
}

/// The number of faults of each kind.
fn times(faults: &Faults, fault: Fault) -> u64 {
    let fired = faults.fired();
    match fault {
        Fault::Reset => fired.resets,
        Fault::Truncate => fired.truncations,
        Fault::Drop => fired.drops,
        Fault::Duplicate => fired.duplicates,
        Fault::Flip => fired.flips,
    }
}

fn a_fault_in_bytes_breaks_a_call_and_no_more() {
    run(async {
        let kinds = [Fault::Reset, Fault::Truncate, Fault::Drop, Fault::Duplicate, Fault::Flip];
        let place = Place::new();
        let faults = Faults::new(1);
        let fleet = start(&place, &faults, 2, LONG).await;
        let machine = fleet.machines().remove(0);
        let (driver, m0) = (MachineName::driver(), name(&machine));
        for fault in kinds {
            // In the handshake, and in the messages after it; in the request, and in the answer.
            for after in [100, 1200] {
                for links in [
                    Links::OneWay(driver.clone(), m0.clone()),
                    Links::OneWay(m0.clone(), driver.clone()),
                ] {
                    let before = times(&faults, fault);
                    faults
                        .set(links.clone(), FaultSchedule::none().fault(fault, When::After(after)));
                    let broken = ask(&fleet, &machine).await;
                    let text = format!("{fault:?} after {after} on {links:?}: {broken:?}");
                    assert!(
                        matches!(broken, Err(Error::Connect { .. } | Error::Call { .. })),
                        "{text}"
                    );
                    assert!(times(&faults, fault) > before, "{text}");
                    faults.clear();
                    ask(&fleet, &machine).await.expect("it answers again");
                }
            }
        }
        assert!(faults.events().iter().all(|event| [&event.from, &event.to].contains(&&m0)));
        assert!(fleet.verify().await.is_empty());
        fleet.shutdown().await;
        assert!(place.sessions().is_empty());
    });
}

fn a_lost_reply() {
    run(async {
        let place = Place::new();
        let faults = Faults::new(1);
        let fleet = start(&place, &faults, 1, LONG).await;
        let machine = fleet.machines().remove(0);
        let url = machine.url().expect("it runs").clone();
        let channel = fleet.connector().connect(&url).await.expect("it runs");
        let control = Control::new(name(&machine), channel);
        control.info(DEADLINE).await.expect("it answers");

        let back = Links::OneWay(name(&machine), MachineName::driver());
        faults.set(back, FaultSchedule::none().fault(Fault::Truncate, When::After(0)));
        let told = control.shutdown(DEADLINE).await;
        assert!(matches!(told, Err(Error::Call { .. })), "{told:?}");
        assert!(faults.fired().truncations >= 1);
        // It was delivered all the same.
        machine.wait(State::Stopped).await;
        assert_eq!(machine.err().as_deref(), Some("stopped"));
        faults.clear();
        fleet.shutdown().await;
    });
}

/// The first fault in each direction of each connection.
fn firsts(faults: &Faults) -> BTreeMap<(MachineName, MachineName, u64), (u64, Fault)> {
    let mut firsts = BTreeMap::new();
    for Event { from, to, connection, offset, fault } in faults.events() {
        firsts.entry((from, to, connection)).or_insert((offset, fault));
    }
    firsts
}

fn the_same_seed_does_the_same_harm() {
    run(async {
        let mut seen = Vec::new();
        for seed in [11, 11, 12] {
            let place = Place::new();
            let faults = Faults::new(seed);
            let schedule = FaultSchedule::none()
                .fault(Fault::Flip, When::Every(4000))
                .fault(Fault::Reset, When::Every(4000));
            faults.set(Links::All, schedule);
            let fleet = Fleet::start(system(&faults), place.config(1, "")).await.expect("it runs");
            let machine = fleet.machines().remove(0);
            // Some of the calls succeed.
            while firsts(&faults).len() < 12 {
                drop(ask(&fleet, &machine).await);
            }
            seen.push(firsts(&faults));
            faults.clear();
            fleet.shutdown().await;
        }
        let same = |a: usize, b: usize| {
            let both = seen[a].iter().filter_map(|(at, fault)| Some((fault, seen[b].get(at)?)));
            let (same, other): (Vec<_>, Vec<_>) = both.partition(|(a, b)| a == b);
            (same.len(), other.len())
        };
        let (equal, unequal) = same(0, 1);
        assert!(equal >= 8 && unequal == 0, "{equal} {unequal}: {seen:#?}");
        let (equal, unequal) = same(0, 2);
        assert!(unequal > equal, "{equal} {unequal}: {seen:#?}");
    });
}

fn a_storm() {
    run(async {
        let place = Place::new();
        let faults = Faults::new(5);
        let fleet = start(&place, &faults, 3, Duration::from_secs(10)).await;
        let schedule = FaultSchedule::none()
            .jitter(Duration::from_millis(2))
            .fault(Fault::Reset, When::Every(20_000))
            .fault(Fault::Truncate, When::Every(20_000))
            .fault(Fault::Drop, When::Every(20_000))
            .fault(Fault::Duplicate, When::Every(20_000))
            .fault(Fault::Flip, When::Every(20_000));
        faults.set(Links::All, schedule);
        let mut broken = 0;
        for _ in 0..12 {
            for machine in fleet.machines() {
                // Answers that arrive are correct.
                loop {
                    match ask(&fleet, &machine).await {
                        Ok(info) => break assert_eq!(info.pid, std::process::id()),
                        Err(_) => broken += 1,
                    }
                }
            }
        }
        let fired = faults.fired();
        assert!(broken > 0 && fired.delays > 0, "seed {}: {broken} {fired:?}", faults.seed());
        let done = fired.resets + fired.truncations + fired.drops + fired.duplicates + fired.flips;
        assert!(done >= broken, "seed {}: {broken} {fired:?}", faults.seed());
        assert!(fleet.lost().is_empty(), "seed {}: {:?}", faults.seed(), fleet.lost());
        faults.clear();
        fleet.shutdown().await;
    });
}

fn two_machines_cut_off_from_each_other() {
    run(async {
        let contexts: Arc<Mutex<Vec<WorkerContext>>> = Arc::default();
        let known = Arc::clone(&contexts);
        let services: ServiceFactory = Arc::new(move |context| {
            known.lock().push(context);
            Box::pin(async { Ok(Routes::default()) })
        });
        let place = Place::new();
        let faults = Faults::new(1);
        let system = Arc::new(InProcess::new(services).with_faults(faults.clone()));
        let config = FleetConfig { lease: LONG, ..place.config(3, "") };
        let fleet = Fleet::start(system, config).await.expect("it starts");
        let machines = fleet.machines();
        let (m0, m1) = (name(&machines[0]), name(&machines[1]));
        let url = |n: usize| machines[n].url().expect("it runs").clone();
        let of = |name: &MachineName| {
            let contexts = contexts.lock();
            contexts.iter().find(|c| c.machine == *name).expect("it runs").connector.clone()
        };

        // One way is enough: a handshake needs both.
        for links in [Links::Between(m0.clone(), m1.clone()), Links::OneWay(m0.clone(), m1.clone())]
        {
            let held = faults.fired().held;
            faults.cut(links.clone());
            for (from, to) in [(&m0, 1), (&m1, 0)] {
                let err = of(from).connect(&url(to)).await.expect_err("it is cut off");
                assert!(err.to_string().contains("no answer within 3 s"), "{err}");
            }
            assert!(faults.fired().held >= held + 2);
            of(&m0).connect(&url(2)).await.expect("others are reached");
            assert!(fleet.verify().await.is_empty(), "the driver reaches all");
            faults.mend(&links);
            of(&m0).connect(&url(1)).await.expect("it is mended");
            of(&m1).connect(&url(0)).await.expect("it is mended");
        }
        contexts.lock().clear();
        fleet.shutdown().await;
        assert!(place.sessions().is_empty());
    });
}

fn what_waits_at_a_cut_arrives_after_it() {
    run(async {
        let place = Place::new();
        let faults = Faults::new(1);
        let fleet = start(&place, &faults, 1, LONG).await;
        let machine = fleet.machines().remove(0);
        let url = machine.url().expect("it runs").clone();
        let channel = fleet.connector().connect(&url).await.expect("it runs");
        let control = Control::new(name(&machine), channel);
        let links = Links::Of(name(&machine));
        faults.cut(links.clone());
        let before = faults.fired().held;
        let mended = async {
            eventually("the request to wait", || (faults.fired().held > before).then_some(()))
                .await;
            faults.mend(&links);
        };
        let (answer, ()) = tokio::join!(control.info(DEADLINE), mended);
        answer.expect("the connection outlived the cut");
        fleet.shutdown().await;
    });
}

fn a_machine_cut_off_from_all_is_lost() {
    run(async {
        let place = Place::new();
        let faults = Faults::new(1);
        let fleet = start(&place, &faults, 2, Duration::from_secs(1)).await;
        let machine = fleet.machines().remove(1);
        let mut losses = fleet.losses();
        faults.cut(Links::Of(name(&machine)));
        losses.changed().await.expect("a loss");
        let lost = fleet.lost();
        assert_eq!(lost[0].machine, name(&machine));
        assert!(faults.fired().held >= 1);
        fleet.wait_for(2, DEADLINE).await.expect("another takes its place");
        fleet.shutdown().await;
        assert_eq!(fleet.lost().len(), 1, "{:?}", fleet.lost());
        assert!(place.sessions().is_empty());
    });
}

fn a_paused_machine_goes_on() {
    run(async {
        let place = Place::new();
        let faults = Faults::new(1);
        let fleet = start(&place, &faults, 1, LONG).await;
        let machine = fleet.machines().remove(0);
        assert!(faults.pause(&name(&machine)));
        assert!(!faults.pause(&name(&machine)), "it is paused already");
        assert!(!faults.pause(&MachineName::worker(7)), "there is no such machine");
        let before = faults.fired().held;
        let resumed = async {
            eventually("the request to wait", || (faults.fired().held > before).then_some(()))
                .await;
            faults.resume(&name(&machine));
        };
        let (answer, ()) = tokio::join!(ask(&fleet, &machine), resumed);
        answer.expect("it goes on");
        assert_eq!(faults.fired().pauses, 1);
        fleet.shutdown().await;
    });
}

fn a_machine_paused_past_its_lease_is_lost() {
    run(async {
        let place = Place::new();
        let faults = Faults::new(1);
        let fleet = start(&place, &faults, 2, Duration::from_secs(1)).await;
        let machine = fleet.machines().remove(0);
        let mut losses = fleet.losses();
        faults.pause(&name(&machine));
        losses.changed().await.expect("a loss");
        let lost = fleet.lost();
        assert_eq!(lost[0].machine, name(&machine));
        // The machine cannot report it, because it is paused.
        assert!(lost[0].reason.starts_with("its lease of 1 s lapsed"), "{}", lost[0].reason);
        assert_eq!(faults.fired().pauses, 1);
        fleet.wait_for(2, DEADLINE).await.expect("another takes its place");
        assert_eq!(faults.machines().len(), 2);
        fleet.shutdown().await;
        assert!(faults.machines().is_empty());
    });
}

fn a_slow_network_is_slow() {
    run(async {
        let place = Place::new();
        let faults = Faults::new(1);
        let fleet = start(&place, &faults, 1, LONG).await;
        let machine = fleet.machines().remove(0);
        // A handshake of one round trip and a call of one more; each way counts.
        faults.set(Links::All, FaultSchedule::none().delay(Duration::from_millis(50)));
        let began = Instant::now();
        ask(&fleet, &machine).await.expect("it is slow, no more");
        assert!(began.elapsed() >= Duration::from_millis(200), "{:?}", began.elapsed());
        let delays = faults.fired().delays;
        assert!(delays >= 4, "{delays}");

        // The two certificates alone are 1000 bytes.
        faults.set(Links::All, FaultSchedule::none().bytes_per_second(4000));
        let began = Instant::now();
        ask(&fleet, &machine).await.expect("it is slow, no more");
        assert!(began.elapsed() >= Duration::from_millis(200), "{:?}", began.elapsed());
        assert!(faults.fired().delays > delays);
        faults.clear();
        fleet.shutdown().await;
    });
}

fn the_seed_chooses_who_is_killed() {
    run(async {
        let mut killed = Vec::new();
        for seed in [3, 3, 4] {
            let place = Place::new();
            let faults = Faults::new(seed);
            let fleet = start(&place, &faults, 4, LONG).await;
            let mut names = Vec::new();
            for round in 1..=6 {
                names.push(faults.kill_any().expect("one lives"));
                eventually("the loss", || (fleet.lost_total() == round).then_some(())).await;
                fleet.wait_for(4, DEADLINE).await.expect("another takes its place");
            }
            assert_eq!(faults.fired().kills, 6);
            let lost: Vec<MachineName> = fleet.lost().into_iter().map(|l| l.machine).collect();
            assert_eq!(lost, names);
            killed.push(names);
            fleet.shutdown().await;
            assert_eq!(faults.kill_any(), None);
        }
        assert_eq!(killed[0], killed[1]);
        assert_ne!(killed[0], killed[2]);
    });
}
