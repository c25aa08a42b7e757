//! The page of metrics is valid for Prometheus, and has all machines.

use std::collections::{BTreeMap, BTreeSet};

use super::super::harness::{Place, eventually, local, run, systems};
use super::work::{Work, start};

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("inspector::metrics::of_all_machines_on_one_page", of_all_machines_on_one_page),
    ("inspector::metrics::of_a_machine_that_is_gone", of_a_machine_that_is_gone),
];

/// A sample: its name, its labels, its value.
type Sample = (String, BTreeMap<String, String>, f64);

/// Reads a page as the format is defined, and is as strict as `promtool check metrics`: each family
/// has its HELP and TYPE once and before its samples, which stand together; no sample comes twice.
pub(crate) fn parse(page: &str) -> Vec<Sample> {
    let mut samples: Vec<Sample> = Vec::new();
    let (mut helped, mut typed) = (BTreeSet::new(), BTreeMap::new());
    let mut family = String::new();
    assert!(page.ends_with('\n'), "the last line is ended");
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, _) = rest.split_once(' ').expect("a help text");
            assert!(helped.insert(name.to_owned()), "HELP of {name} comes twice");
            name.clone_into(&mut family);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(typed.insert(name.to_owned(), kind.to_owned()).is_none(), "TYPE comes twice");
            assert_eq!(name, family, "TYPE follows its HELP");
        } else {
            let (name, labels, value) = sample(line);
            let kind = &typed[&family];
            let parts = ["_bucket", "_sum", "_count"];
            let of_family = match kind.as_str() {
                "histogram" => parts.iter().any(|part| name == format!("{family}{part}")),
                _ => name == family,
            };
            assert!(of_family, "{line} stands among {family}");
            assert!(kind != "counter" || name.ends_with("_total"), "a counter's name: {line}");
            let again = samples.iter().any(|(n, l, _)| *n == name && *l == labels);
            assert!(!again, "{line} comes twice");
            samples.push((name, labels, value));
        }
    }
    samples
}

fn sample(line: &str) -> Sample {
    let is_name = |name: &str| {
        !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
    };
    let (name, mut rest) = line.split_at(line.find(['{', ' ']).expect("a value"));
    assert!(is_name(name), "{line}");
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"").expect("a label");
            assert!(is_name(label), "{line}");
            let mut value = String::new();
            let mut chars = after.char_indices();
            let end = loop {
                match chars.next().expect("an end of the value") {
                    (end, '"') => break end,
                    (_, '\\') => match chars.next().expect("what is escaped").1 {
                        'n' => value.push('\n'),
                        c @ ('\\' | '"') => value.push(c),
                        c => panic!("\\{c} in {line}"),
                    },
                    (_, c) => value.push(c),
                }
            };
            assert!(labels.insert(label.to_owned(), value).is_none(), "{label} twice in {line}");
            rest = after[end + 1..].trim_start_matches(',');
        }
        rest = &rest[1..];
    }
    let value = rest.strip_prefix(' ').expect("a value").parse().expect("a number");
    (name.to_owned(), labels, value)
}

/// The values of `name` by machine.
fn by_machine(samples: &[Sample], name: &str) -> BTreeMap<String, f64> {
    let of_name = samples.iter().filter(|(n, ..)| n == name);
    of_name.map(|(_, labels, value)| (labels["machine"].clone(), *value)).collect()
}

fn of_all_machines_on_one_page() {
    run(async {
        for system in systems() {
            let within_driver = system.is_within_driver();
            let place = Place::new();
            let fleet = start(&place, system, 3).await;
            let machines = fleet.machines();
            for (n, machine) in machines.iter().enumerate() {
                for _ in 0..=n {
                    machine.call(Work::compute, 1).await.expect("it works");
                }
            }
            let own = prometheus_counter("driver_errands_total", 7);
            fleet.inspector().registry().register(Box::new(own)).expect("a name of its own");
            let page = fleet.inspector().metrics().await.expect("a page");
            let samples = parse(&page);
            let rounds = [("m0", 1.0), ("m1", 2.0), ("m2", 3.0)];
            let rounds = rounds.map(|(machine, n)| (machine.to_owned(), n));
            assert_eq!(by_machine(&samples, "work_rounds_total"), BTreeMap::from(rounds.clone()));
            assert_eq!(by_machine(&samples, "bigslice_service_calls_total"), rounds.into());
            assert_eq!(by_machine(&samples, "bigslice_up").len(), 4);
            assert!(by_machine(&samples, "bigslice_up").values().all(|up| *up == 1.0));
            assert_eq!(by_machine(&samples, "driver_errands_total")["driver"], 7.0);
            assert_eq!(by_machine(&samples, "bigslice_machines_started_total")["driver"], 3.0);
            assert!(by_machine(&samples, "bigslice_port_bytes_total")["m0"] > 100.0);

            // A machine's usage comes with the first renewal of its lease.
            if within_driver {
                let resident = by_machine(&samples, "bigslice_resident_bytes");
                assert_eq!(resident.keys().collect::<Vec<_>>(), ["driver"]);
            } else {
                eventually("the machines' samples", || {
                    (fleet.inspector().series().len() == 4).then_some(())
                })
                .await;
                let samples = parse(&fleet.inspector().metrics().await.expect("a page"));
                let resident = by_machine(&samples, "bigslice_resident_bytes");
                assert_eq!(resident.len(), 4);
                assert!(resident.values().all(|bytes| *bytes > 1e6));
            }
            fleet.shutdown().await;
        }
    });
}

fn prometheus_counter(name: &str, n: u64) -> bigslice_cluster::prometheus::IntCounter {
    let counter =
        bigslice_cluster::prometheus::IntCounter::new(name, "Errands.").expect("a counter");
    counter.inc_by(n);
    counter
}

fn of_a_machine_that_is_gone() {
    run(async {
        let place = Place::new();
        let fleet = start(&place, local(), 2).await;
        let lost = fleet.machines().remove(0);
        super::super::harness::stop(lost.pid().expect("a process")).await;
        // It is silent, but not known to be lost.
        let page = fleet.inspector().metrics().await.expect("a page");
        let up = by_machine(&parse(&page), "bigslice_up");
        assert_eq!(up["m1"], 1.0);
        assert!(up.get("m0").is_none_or(|up| *up == 0.0), "{up:?}");
        assert!(!by_machine(&parse(&page), "work_rounds_total").contains_key("m0"));
        fleet.shutdown().await;
    });
}
