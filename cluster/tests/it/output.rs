//! The output of workers arrives complete, in order, under their names.

use std::io::{Write, stderr, stdout};

use bigslice_cluster::{Fleet, LogSource};

use super::harness::{Place, local, run};

pub(crate) const TESTS: &[(&str, fn())] = &[("output::arrives_by_name", arrives_by_name)];

const LINES: usize = 5000;
const LONG: usize = 200_000;

/// The output of a worker in these tests.
pub(crate) fn print() {
    for n in 0..LINES {
        writeln!(stdout(), "out {n}").expect("standard output");
        writeln!(stderr(), "err {n}").expect("standard error");
    }
    writeln!(stdout(), "{}", "x".repeat(LONG)).expect("standard output");
    stdout().write_all(b"not \xff UTF-8\r\n\nno end").expect("standard output");
    stdout().flush().expect("standard output");
}

fn arrives_by_name() {
    run(async {
        let place = Place::new();
        let fleet = Fleet::start(local(), place.config(2, "print")).await.expect("it starts");
        let machines = fleet.machines();
        fleet.shutdown().await;
        for machine in machines {
            let err = place.logged(LogSource::Stderr, Some(machine.name()));
            let expected: Vec<String> = (0..LINES).map(|n| format!("err {n}")).collect();
            assert!(err == expected, "{} lines of standard error", err.len());

            let out = place.logged(LogSource::Stdout, Some(machine.name()));
            let (numbered, rest) = out.split_at(LINES);
            assert!(numbered.iter().enumerate().all(|(n, line)| *line == format!("out {n}")));
            let (end, long) = rest.split_last_chunk::<3>().map(|(l, e)| (e, l)).expect("an end");
            assert_eq!(end, &["not \u{fffd} UTF-8", "", "no end"].map(str::to_owned));
            // A line that is too long arrives in pieces, none of it lost.
            assert!(long.len() > 1);
            assert_eq!(long.concat(), "x".repeat(LONG));
        }
    });
}
