//! The driver's part of the page of metrics: the usage of machines, and their number.

use crate::observe::metrics::fleet_stats::FleetStats;
use crate::observe::metrics::wire::{Family, Kind};
use crate::observe::usage::Usage;

fn one(name: &str, help: &str, kind: Kind, value: f64) -> Family {
    Family::numbers(name, help, kind, [(Vec::new(), value)])
}

fn by(label: &str, values: &[(&str, f64)]) -> Vec<(Vec<(String, String)>, f64)> {
    let labelled =
        |(name, value): &(&str, f64)| (vec![(label.to_owned(), (*name).to_owned())], *value);
    values.iter().map(labelled).collect()
}

/// 1 if a machine has answered, otherwise 0.
pub(crate) fn up_family(up: bool) -> Family {
    let help = "1 if the machine answered when this page was made.";
    one("bigslice_up", help, Kind::Gauge, f64::from(u8::from(up)))
}

/// The resource usage of a process.
pub(crate) fn usage_families(usage: &Usage) -> Vec<Family> {
    let mut families = vec![
        Family::numbers(
            "bigslice_cpu_seconds_total",
            "Processor time of the process in seconds.",
            Kind::Counter,
            by("mode", &[("user", usage.cpu_user_seconds), ("system", usage.cpu_system_seconds)]),
        ),
        one("bigslice_cores", "Cores of the process.", Kind::Gauge, f64::from(usage.cores)),
        one(
            "bigslice_resident_bytes",
            "Main memory of the process.",
            Kind::Gauge,
            usage.resident_bytes as f64,
        ),
        Family::numbers(
            "bigslice_memory_bytes",
            "Main memory of the host, total and available without swapping.",
            Kind::Gauge,
            by(
                "part",
                &[
                    ("total", usage.memory_bytes as f64),
                    ("available", usage.memory_available_bytes as f64),
                ],
            ),
        ),
        Family::numbers(
            "bigslice_disk_bytes",
            "The file system of the temporary files.",
            Kind::Gauge,
            by(
                "part",
                &[
                    ("total", usage.disk_bytes as f64),
                    ("available", usage.disk_available_bytes as f64),
                ],
            ),
        ),
        Family::numbers(
            "bigslice_network_bytes_total",
            "Bytes that the host has sent and received.",
            Kind::Counter,
            by(
                "direction",
                &[
                    ("in", usage.network_received_bytes as f64),
                    ("out", usage.network_sent_bytes as f64),
                ],
            ),
        ),
        one("bigslice_load", "The host's load over a minute.", Kind::Gauge, f64::from(usage.load)),
    ];
    families.extend(usage.oom_kills.map(|kills| {
        let help = "Processes that the host has killed because memory ran out.";
        one("bigslice_oom_kills_total", help, Kind::Counter, kills as f64)
    }));
    families
}

/// The numbers of machines.
pub(crate) fn fleet_families(stats: &FleetStats) -> Vec<Family> {
    let total = |name: &str, help: &str, n: u64| one(name, help, Kind::Counter, n as f64);
    vec![
        Family::numbers(
            "bigslice_machines",
            "Machines by state; those on probation are also running.",
            Kind::Gauge,
            by(
                "state",
                &[
                    ("wanted", stats.wanted as f64),
                    ("starting", stats.starting as f64),
                    ("running", stats.running as f64),
                    ("on_probation", stats.on_probation as f64),
                ],
            ),
        ),
        total(
            "bigslice_machines_started_total",
            "Machines that were started.",
            stats.started_total,
        ),
        total("bigslice_machines_lost_total", "Machines that were lost.", stats.lost_total),
        total(
            "bigslice_machines_released_total",
            "Machines that were released because they were not needed any more.",
            stats.released_total,
        ),
    ]
}
