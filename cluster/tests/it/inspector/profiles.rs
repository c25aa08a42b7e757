//! Profiles of several processes, read as `go tool pprof` reads them.

use std::io::Read;
use std::time::Duration;

use bigslice_cluster::{Fleet, Grouping, Hertz, Profile, State};
use flate2::read::GzDecoder;
use futures::future::join_all;
use parking_lot::Mutex;
use prost::Message;

use super::super::harness::{Place, eventually, in_process, local, run, stop};
use super::work::{Work, start};

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("inspector::profiles::of_all_machines_in_one", of_all_machines_in_one),
    ("inspector::profiles::of_machines_within_the_driver", of_machines_within_the_driver),
    ("inspector::profiles::of_one_thing_from_begin_to_end", of_one_thing_from_begin_to_end),
    ("inspector::profiles::without_a_machine_that_dies", without_a_machine_that_dies),
];

/// A process has one profile at a time, and these tests are one process.
static ONE: Mutex<()> = Mutex::new(());

/// `perftools.profiles.Profile`, as far as the tests look at it, by its published field numbers.
#[derive(Clone, PartialEq, Message)]
struct Proto {
    #[prost(message, repeated, tag = "1")]
    sample_type: Vec<Pair>,
    #[prost(message, repeated, tag = "2")]
    sample: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    strings: Vec<String>,
    #[prost(int64, tag = "10")]
    duration_nanos: i64,
    #[prost(int64, tag = "12")]
    period: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Pair {
    #[prost(int64, tag = "1")]
    a: i64,
    #[prost(int64, tag = "2")]
    b: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(uint64, repeated, tag = "1")]
    location: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
    #[prost(message, repeated, tag = "3")]
    label: Vec<Pair>,
}

#[derive(Clone, PartialEq, Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(message, repeated, tag = "4")]
    line: Vec<Line>,
}

#[derive(Clone, PartialEq, Message)]
struct Line {
    #[prost(uint64, tag = "1")]
    function: u64,
}

#[derive(Clone, PartialEq, Message)]
struct Function {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    name: i64,
}

/// Stacks by the label `machine`: each with its functions, the innermost first, and its
/// nanoseconds.
fn stacks(profile: &Profile) -> Vec<(String, Vec<String>, i64)> {
    let mut bytes = Vec::new();
    GzDecoder::new(&*profile.to_pprof()).read_to_end(&mut bytes).expect("it is compressed");
    let read = Proto::decode(&*bytes).expect("a profile");
    let text = |n: i64| read.strings[usize::try_from(n).expect("an index")].clone();
    assert_eq!(read.strings[0], "");
    let types: Vec<_> = read.sample_type.iter().map(|t| (text(t.a), text(t.b))).collect();
    let expected = [("samples", "count"), ("cpu", "nanoseconds")];
    assert_eq!(types, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    assert!(read.duration_nanos > 0 && read.period > 0);
    let function = |id: u64| text(read.function.iter().find(|f| f.id == id).expect("it").name);
    let name = |id: &u64| {
        let location = read.location.iter().find(|l| l.id == *id).expect("it is there");
        function(location.line[0].function)
    };
    let stack = |sample: &Sample| {
        let machine = sample.label.iter().find(|l| text(l.a) == "machine").expect("the label");
        (text(machine.b), sample.location.iter().map(name).collect(), sample.value[1])
    };
    read.sample.iter().map(stack).collect()
}

/// Seconds on `machine` within `function`.
fn seconds(profile: &Profile, machine: &str, function: &str) -> f64 {
    let stacks = stacks(profile);
    let within = |names: &[String]| names.iter().any(|name| name.contains(function));
    let nanos = stacks.iter().filter(|(m, names, _)| m == machine && within(names));
    nanos.map(|(.., nanos)| *nanos as f64 / 1e9).sum()
}

async fn work(fleet: &Fleet, millis: u64) {
    let machines = fleet.machines();
    let calls = machines.iter().map(|machine| machine.call(Work::compute, millis));
    for sum in join_all(calls).await {
        sum.expect("it works");
    }
}

fn of_all_machines_in_one() {
    let _one = ONE.lock();
    run(async {
        let place = Place::new();
        let fleet = start(&place, local(), 3).await;
        let inspector = fleet.inspector().clone();
        let profile = inspector.profile(Duration::from_millis(1500));
        let working = async {
            loop {
                work(&fleet, 100).await;
            }
        };
        let profile = tokio::select! {
            profile = profile => profile.expect("a profile"),
            () = working => unreachable!("it works for ever"),
        };
        assert!(profile.missing().is_empty(), "{}", profile.summary());
        let machines: Vec<&str> = profile.machines().map(|name| name.as_str()).collect();
        assert_eq!(machines, ["driver", "m0", "m1", "m2"]);
        for machine in ["m0", "m1", "m2"] {
            let ground = seconds(&profile, machine, "grind_the_numbers");
            assert!(ground > 0.1, "{ground} s on {machine}");
            // Whole stacks: the thread that runs services is at their other end.
            assert!(seconds(&profile, machine, "tokio::runtime") > ground / 2.0);
        }
        assert_eq!(seconds(&profile, "driver", "grind_the_numbers"), 0.0);
        let svg = profile.to_flame_graph(Grouping::ByMachine);
        assert!(svg.starts_with("<?xml") && svg.ends_with("</svg>\n"));
        for expected in ["m0 (", "m2 (", "grind_the_numbers"] {
            assert!(svg.contains(expected), "no {expected}");
        }
        // An interrupted system call does no damage, and another profile can be taken.
        work(&fleet, 10).await;
        let again = inspector.profile(Duration::from_millis(200)).await.expect("another");
        assert!(again.missing().is_empty(), "{}", again.summary());
        assert_eq!(fleet.lost_total(), 0);
        fleet.shutdown().await;
    });
}

fn of_machines_within_the_driver() {
    let _one = ONE.lock();
    run(async {
        let place = Place::new();
        let fleet = start(&place, in_process(), 3).await;
        let profiling = fleet.inspector().start_profile(Hertz::default()).await.expect("it begins");
        let twice =
            fleet.inspector().start_profile(Hertz::default()).await.expect_err("one at a time");
        assert!(twice.to_string().contains("already"), "{twice}");
        work(&fleet, 500).await;
        let profile = profiling.finish().await.expect("a profile");
        assert_eq!(profile.machines().count(), 1);
        assert!(seconds(&profile, "driver", "grind_the_numbers") > 0.1);
        fleet.shutdown().await;
    });
}

fn of_one_thing_from_begin_to_end() {
    let _one = ONE.lock();
    run(async {
        let place = Place::new();
        let fleet = start(&place, local(), 1).await;
        let inspector = fleet.inspector().clone();
        let given_up = inspector.start_profile(Hertz::default()).await.expect("it begins");
        drop(given_up);
        // Cancelling one makes room for the next on all machines, as soon as a machine that still
        // reads its debug information has done so.
        let began = std::time::Instant::now();
        let profiling = loop {
            match inspector.start_profile(Hertz::new(200).expect("a frequency")).await {
                Ok(profiling) => break profiling,
                Err(err) => assert!(began.elapsed() < Duration::from_secs(60), "{err}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        work(&fleet, 700).await;
        // A machine that starts while it is taken is part of it.
        fleet.machines()[0].kill();
        fleet.losses().wait_for(|n| *n == 1).await.expect("a loss");
        fleet.wait_for(1, Duration::from_secs(30)).await.expect("another machine");
        // It first reads its debug information.
        work(&fleet, 5000).await;
        let profile = profiling.finish().await.expect("a profile");
        assert!(seconds(&profile, "m1", "grind_the_numbers") > 0.1, "{}", profile.summary());
        assert!(profile.lasted() >= Duration::from_millis(1400));
        let missing: Vec<_> = profile.missing().keys().map(|name| name.as_str()).collect();
        assert_eq!(missing, ["m0"]);
        let reason = &profile.missing()[&fleet.lost()[0].machine];
        assert!(reason.ends_with("the machine has ended: killed by signal 9"), "{reason}");
        fleet.shutdown().await;
    });
}

fn without_a_machine_that_dies() {
    let _one = ONE.lock();
    run(async {
        let place = Place::new();
        let fleet = start(&place, local(), 2).await;
        let profiling = fleet.inspector().start_profile(Hertz::default()).await.expect("it begins");
        let machines = fleet.machines();
        stop(machines[0].pid().expect("a process")).await;
        eventually("the stopped one to be lost", || {
            (machines[0].state() == State::Stopped).then_some(())
        })
        .await;
        let profile = profiling.finish().await.expect("a profile of the others");
        assert!(profile.missing()[machines[0].name()].contains("lease"), "{}", profile.summary());
        assert!(profile.machines().any(|name| name == machines[1].name()));
        fleet.shutdown().await;
    });
}
