//! Memory limits: the memory of all processes of the program, and the message for a limit that is
//! too small. `benches`, bin `memory`, measures many more statements.

use std::io::Read;
use std::time::Duration;

use tempfile::TempDir;

use crate::command::bigsql;
use bigslice_tests::process::{Process, started_by};

/// The promised factor of the limit. It leaves room for allocations between two measurements, and
/// for an operator that releases memory.
const PROMISE: f64 = 1.25;

/// A million rows of random text: about 70 MB.
const ROWS: &str = "create view a as select value as k, 'padding-' || md5(cast(value as varchar)) \
     as pad from generate_series(0, 999999); ";

/// Runs the program under a limit in MiB; returns its output, and the peak MiB of its processes
/// together (each at its own peak, so rather an overestimate).
fn run(limit: u64, workers: &str, sql: &str) -> (String, u64) {
    let folder = TempDir::new().unwrap();
    let limit = format!("{limit}M");
    let arguments = ["--memory-limit", &limit, "--workers", workers, "--format", "csv", "-c", sql];
    let mut child = bigsql(folder.path(), &arguments).spawn().unwrap();
    let mut most = 0;
    while child.try_wait().unwrap().is_none() {
        let mut processes = started_by(child.id());
        processes.extend(Process::of(child.id()));
        let kib: u64 = processes.iter().filter_map(Process::resident_max_kib).sum();
        most = most.max(kib >> 10);
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    (said, most)
}

#[test]
fn a_limit_is_for_all_that_the_processes_have() {
    let statements = [
        ("select count(*) as n from (select pad from a group by pad)", "n\n1000000\n"),
        (
            "select count(*) as n from (select row_number() over (order by pad) as r from a) \
             where r > 10",
            "n\n999990\n",
        ),
        (
            "select count(*) as n from (select pad, k from a order by pad limit 900000)",
            "n\n900000\n",
        ),
    ];
    for (limit, workers) in [(256, "0"), (640, "2")] {
        for (sql, answer) in statements {
            let (said, most) = run(limit, workers, &format!("{ROWS}{sql}"));
            assert!(said.starts_with(answer), "{limit} {workers} {sql}: {said}");
            let part = most as f64 / limit as f64;
            assert!(part <= PROMISE, "{limit} {workers} {sql}: {most} MiB");
        }
    }
}

#[test]
fn what_no_limit_so_small_can_hold_is_an_error_that_says_so() {
    let (said, most) = run(512, "0", "select array_agg(repeat('x', 100)) from range(9000000)");
    assert!(
        said.contains("not enough memory") && said.contains("raise the memory limit"),
        "{said}"
    );
    assert!(most as f64 <= 512.0 * PROMISE, "{most} MiB: {said}");
}

#[test]
fn a_limit_that_cannot_hold_the_program_is_refused() {
    let (said, _) = run(64, "0", "select 1");
    assert!(said.contains("64 MiB is too small") && said.contains("at least 96 MiB"), "{said}");
    let (said, _) = run(200, "2", "select 1");
    assert!(said.contains("3 processes") && said.contains("at least 288 MiB"), "{said}");
}

#[test]
fn a_folder_that_cannot_be_spilled_to_is_named() {
    let folder = TempDir::new().unwrap();
    let set = format!("temp-root={}", folder.path().join("nowhere").display());
    let sql = format!("{ROWS}select count(distinct pad) from a");
    let arguments = ["--memory-limit", "130M", "--set", &set, "-c", &sql];
    let output = bigsql(folder.path(), &arguments).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("nowhere"), "{said}");
}

#[test]
fn texts_are_compacted_on_workers_as_well() {
    let folder = TempDir::new().unwrap();
    let write = format!("{ROWS}copy a to 'texts' stored as parquet");
    let output = bigsql(folder.path(), &["-c", &write]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let join = "select count(*) as n from 'texts/' a join 'texts/' b on a.pad = b.pad";
    let spread = "distributed.file_scan_config_bytes_per_partition=1";
    let limits =
        ["--workers", "2", "--memory-limit", "640M", "--set", spread, "--format", "csv", "-c"];
    let explain = format!("explain {join}");
    for (sql, expected) in [
        (explain.as_str(), &["CompactViewsExec", "NetworkShuffleExec"][..]),
        (join, &["n\n1000000\n"][..]),
    ] {
        let mut arguments = limits.to_vec();
        arguments.push(sql);
        let output = bigsql(folder.path(), &arguments).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let logged = String::from_utf8_lossy(&output.stderr);
        assert!(expected.iter().all(|part| said.contains(part)), "{said}{logged}");
    }
}
