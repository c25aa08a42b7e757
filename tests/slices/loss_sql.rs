//! Machines lost while expressions and statements run. Each case asserts that its fault happened.

use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use bigslice::expr::{col, sum};
use bigslice::prelude::*;

use crate::loss::{
    Case, SHARDS, go, kill_one, right, seen, session, slow_rows, tasks_seen, waits_on,
};

pub(crate) const CASES: &[Case] = &[
    ("a_worker_is_killed_while_expressions_are_computed", || {
        Box::pin(a_worker_is_killed_while_expressions_are_computed())
    }),
    ("a_worker_is_killed_while_a_statement_reads_a_table", || {
        Box::pin(a_worker_is_killed_while_a_statement_reads_a_table())
    }),
];

/// The sums of [`right`], doubled, by expressions alone.
#[bigslice::func]
fn slow_totals(folder: String) -> Result<Slice<(u64, u64)>> {
    let totals = slow_rows(folder).aggregate::<(u64, u64)>([col("_0")], [sum(col("_1"))])?;
    totals.sql("select _0, _1 + _1 from self where _0 >= 0")
}

async fn a_worker_is_killed_while_expressions_are_computed() {
    let (session, folder) = session(3).await;
    let run = session.run(slow_totals(seen(&folder)));
    let kill = async {
        while !waits_on(&folder, session.machines()[0].pid.unwrap()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        kill_one(&session);
        go(&folder);
        std::future::pending().await
    };
    let run = tokio::select! { run = run => run.unwrap(), () = kill => unreachable!() };
    let mut found = run.collect().await.unwrap();
    found.sort_unstable();
    assert!(found.into_iter().eq(right().into_iter().map(|(key, sum)| (key, 2 * sum))));
    let begun = tasks_seen(&folder);
    assert!(begun > SHARDS, "the fault did not fire");
    assert!(begun < 2 * SHARDS, "everything was computed again: {begun} tasks");

    // Its output on another machine is lost as well.
    let before = run.tasks_started().await;
    kill_one(&session);
    assert_eq!(run.rows().await.unwrap(), 10);
    assert!(run.tasks_started().await > before, "the fault did not fire");
    session.shutdown().await;
}

const ROWS: i64 = 400_000;

/// Total number of rows that reach [`slowly`].
const MARKS: i64 = 40;

/// Incompressible numbers beside those that count.
#[bigslice::func]
fn numbers() -> Slice<(i64, i64)> {
    let scramble = 0x9e37_79b9_7f4a_7c15_u64 as i64;
    Slice::const_(SHARDS, 0..ROWS).map(move |n| (n.wrapping_mul(scramble), n))
}

/// The same number. A few take a while, and create a file that names the process.
#[bigslice::udf(volatility = "volatile")]
fn slowly(n: i64, folder: &str) -> i64 {
    if n % (ROWS / MARKS) == 0 {
        let files = std::fs::read_dir(folder).unwrap().count();
        std::fs::write(format!("{folder}/{n}-{files}-{}", std::process::id()), "").unwrap();
        std::thread::sleep(Duration::from_millis(100));
    }
    n
}

async fn a_worker_is_killed_while_a_statement_reads_a_table() {
    let (session, folder) = session(3).await;
    let run = session.run(numbers()).await.unwrap();
    session.register("numbers", &run).unwrap();
    let begun = run.tasks_started().await;
    let text = format!("select sum(slowly(_1, '{}')) from numbers", seen(&folder));
    let statement = async { session.sql(&text).await.unwrap().collect().await };
    let kill = async {
        let end = format!("-{}", session.machines()[0].pid.unwrap());
        let seen = folder.path().join("seen");
        let called = || {
            let names = std::fs::read_dir(&seen).unwrap().map(|file| file.unwrap().file_name());
            names.filter(|name| name.to_str().unwrap().ends_with(&end)).count()
        };
        while called() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        kill_one(&session);
        std::future::pending().await
    };
    let batches = tokio::select! { done = statement => done.unwrap(), () = kill => unreachable!() };
    assert_eq!(batches[0].column(0).as_primitive::<Int64Type>().value(0), ROWS * (ROWS - 1) / 2);
    // The statement ran again, and the machine's part of the run was recomputed.
    assert!(tasks_seen(&folder) > MARKS as usize, "the fault did not fire");
    let again = run.tasks_started().await - begun;
    assert!((1..SHARDS as u64).contains(&again), "{again} of {SHARDS} tasks were begun again");
    session.shutdown().await;
}
