//! Every SQL case of `testdata/sql`, unchanged, on each system. An independent engine made the
//! answers.

use std::sync::atomic::Ordering;

use bigslice::{SessionBuilder, SystemSpec};

use crate::harness::{World, run_cases, small_tasks};

/// The minimum number of queries on machines that must run as several tasks. The others have one
/// input file, or a list of values, or end in the driver after an aggregate without groups. A
/// number and not a fraction: a new case over a list of values takes nothing away.
const SHARED_OUT_MIN: usize = 840;

/// Runs all cases; on machines, asserts that most of them were distributed.
async fn check(system: SystemSpec, change: impl FnOnce(SessionBuilder) -> SessionBuilder) {
    let world = World::with_tables(system.clone(), |b| small_tasks(change(b), &system)).await;
    let (failures, spread) = run_cases(&world.session, &[]).await;
    let log = world.log().join("\n");
    world.close().await;
    assert!(
        failures.is_empty(),
        "{} cases failed on {system}\n\n{}\n{log}",
        failures.len(),
        failures.join("\n\n")
    );
    if system.machines() > 0 {
        let (asked, shared_out) =
            (spread.asked.load(Ordering::Relaxed), spread.shared_out.load(Ordering::Relaxed));
        assert!(
            shared_out >= SHARED_OUT_MIN,
            "only {shared_out} of {asked} queries ran as several tasks on {system}"
        );
    }
}

/// Joins and aggregates shuffle both sides, files are read in ranges, batches are short.
fn shuffles(builder: SessionBuilder) -> SessionBuilder {
    builder
        .set("datafusion.optimizer.hash_join_single_partition_threshold", "0")
        .set("datafusion.optimizer.hash_join_single_partition_threshold_rows", "0")
        .set("datafusion.optimizer.repartition_file_min_size", "1")
        .set("datafusion.execution.batch_size", "500")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_case_in_this_process() {
    check(SystemSpec::Here, |builder| builder.partitions(3)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_case_on_three_machines_in_process() {
    check(SystemSpec::InProcess { machines: 3 }, |b| b.partitions(2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_case_on_three_machines_in_process_by_shuffles() {
    check(SystemSpec::InProcess { machines: 3 }, |b| shuffles(b).partitions(2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_case_on_two_processes() {
    check(SystemSpec::Local { machines: 2 }, |b| shuffles(b).partitions(3)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_stages_shows_how_a_query_is_shared_out() {
    let sql = "EXPLAIN STAGES SELECT l.s, count(*) FROM l JOIN r ON l.k = r.k GROUP BY l.s";
    let system = SystemSpec::InProcess { machines: 3 };
    let world = World::with_tables(system.clone(), |b| small_tasks(shuffles(b), &system)).await;
    let stages = world.run(sql).await;
    world.close().await;
    // Columns: stage, tasks, partitions, inputs, exchange, machines, operators.
    let all = format!("{stages:#?}");
    let head: Vec<_> = stages.iter().filter(|stage| stage[0] == "0").collect();
    assert_eq!(head.len(), 1, "{all}");
    assert_eq!((head[0][1].as_str(), head[0][5].as_str()), ("1", "driver"), "{all}");
    assert!(head[0][4].starts_with("coalesce"), "{all}");
    let on_all = |stage: &&Vec<String>| stage[1] == "3" && stage[5] == "m0, m1, m2";
    assert!(stages.iter().filter(on_all).count() >= 3, "{all}");
    let joins = stages.iter().filter(|stage| stage[6].contains("HashJoin")).collect::<Vec<_>>();
    assert_eq!(joins.len(), 1, "{all}");
    let exchanges: Vec<&str> = joins[0][4].split("; ").collect();
    assert!(exchanges.len() == 2 && exchanges.iter().all(|e| e.starts_with("shuffle")), "{all}");
    // Each stage except the first is read by exactly one other.
    let mut inputs: Vec<&str> = stages.iter().flat_map(|stage| stage[3].split(", ")).collect();
    inputs.retain(|input| *input != "(empty)");
    inputs.sort_unstable();
    let mut ids: Vec<&str> = stages.iter().map(|stage| stage[0].as_str()).collect();
    ids.retain(|id| *id != "0");
    ids.sort_unstable();
    assert_eq!(inputs, ids, "{all}");

    let world = World::with_tables(SystemSpec::Here, |builder| builder).await;
    let stages = world.run(sql).await;
    world.close().await;
    assert_eq!(stages.len(), 1, "{stages:#?}");
    assert_eq!(stages[0][5], "driver");
}
