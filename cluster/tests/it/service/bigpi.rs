//! The example `bigpi` as its users run it: a program, on machines of both systems. It is also the
//! other program of the tests that programs must not be mixed.
//!
//! `cargo test` builds examples before this; `cargo test --test it` alone does not.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use bigslice_cluster::{Fleet, LocalProcesses};
use tempfile::TempDir;

use super::super::harness::{Place, run};

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("service::bigpi::estimates_pi", estimates_pi),
    ("service::bigpi::says_what_it_cannot_do", says_what_it_cannot_do),
    ("service::bigpi::is_no_worker_of_another_program", is_no_worker_of_another_program),
];

/// The example's program: examples lie beside the folder of tests.
fn program() -> PathBuf {
    let this = std::env::current_exe().expect("this program");
    let built = this.parent().and_then(std::path::Path::parent).expect("the folder of the build");
    let program = built.join("examples/bigpi");
    assert!(program.is_file(), "{} is not there; build the examples first", program.display());
    program
}

/// The output of the program, with a temporary folder that must be empty in the end.
#[expect(clippy::disallowed_methods, reason = "the program under test is a process")]
fn bigpi(arguments: &[&str]) -> Output {
    let temp = TempDir::new().expect("a folder");
    let output = Command::new(program())
        .args(arguments)
        .env("TMPDIR", temp.path())
        .stdin(Stdio::null())
        .output()
        .expect("it runs");
    let left = std::fs::read_dir(temp.path()).expect("a folder").count();
    assert_eq!(left, 0, "files are left behind");
    output
}

fn estimates_pi() {
    let rows: [&[&str]; 3] = [
        &["--samples", "1000001", "--workers", "3"],
        &["--samples=1000001", "--system=local:3"],
        &["--samples", "1000001", "--system", "in-process:3"],
    ];
    let estimates = rows.map(|arguments| {
        let output = bigpi(arguments);
        let err = String::from_utf8(output.stderr).expect("text");
        assert!(output.status.success(), "{err}");
        for line in ["m0: ", "m1: ", "m2: "] {
            assert!(err.lines().any(|l| l.starts_with(line) && l.contains(" of 33333")), "{err}");
        }
        let out = String::from_utf8(output.stdout).expect("text");
        out.lines().last().expect("the estimate").parse::<f64>().expect("a number")
    });
    // The seeds depend on the machines, not on the system.
    assert!(estimates.iter().all(|pi| *pi == estimates[0]), "{estimates:?}");
    // Three standard deviations.
    assert!((estimates[0] - std::f64::consts::PI).abs() < 0.005, "{estimates:?}");
}

fn says_what_it_cannot_do() {
    let rows: [(&[&str], &str); 4] = [
        (&["--samples", "0"], "\"0\" is not a number above 0"),
        (
            &["--system", "cloud:3"],
            "\"cloud:3\" is not \"in-process:N\" or \"local:N\", nor \"ec2:OPTIONS\"",
        ),
        (&["--darts", "3"], "\"--darts\" is not one of"),
        (&["--samples"], "\"--samples\" needs a value"),
    ];
    for (arguments, reason) in rows {
        let output = bigpi(arguments);
        let err = String::from_utf8(output.stderr).expect("text");
        assert!(err.starts_with(&format!("bigpi: {reason}")), "{err}");
        assert!(!output.status.success() && output.stdout.is_empty());
    }
}

fn is_no_worker_of_another_program() {
    run(async {
        let place = Place::new();
        let system = Arc::new(LocalProcesses::new(Some(program())));
        let err = Fleet::start(system, place.config(1, "")).await.expect_err("it is another");
        let text = err.to_string();
        assert!(text.contains("driver and worker have different services"), "{text}");
        let theirs = "\n+ bigpi::Circle::sample (u64, u64) -> u64 at cluster/examples/bigpi.rs:";
        assert!(text.contains(theirs), "{text}");
        let ours = "\n- it::service::probe::Probe::add (u64, u64) -> u64 at cluster/tests/it/";
        assert!(text.contains(ours), "{text}");
        assert!(place.sessions().is_empty());
    });
}
