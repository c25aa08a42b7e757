//! Runs as SQL tables, read by the machines that run the statement.

use std::collections::BTreeSet;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, UInt64Type};
use bigslice::prelude::*;

use crate::cases;
use crate::world::{World, remove_shards};

cases![
    machines_read_the_shards_of_a_table,
    columns_and_limits_of_a_table,
    a_table_with_itself_and_with_files,
    a_table_of_no_rows,
    a_plan_names_the_run,
    shards_of_a_table_that_are_lost_are_made_again,
    a_table_is_written_by_the_machines,
];

const ROWS: i64 = 400_000;

/// Incompressible numbers: enough for a task on each machine.
fn scrambled(n: i64) -> i64 {
    n.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as i64)
}

#[bigslice::func]
fn numbers(shards: usize, n: i64) -> Slice<(i64, i64, String)> {
    Slice::const_(shards, 0..n).map(|n| (scrambled(n), n, format!("{}", n % 7)))
}

/// The process that it is called in.
#[bigslice::udf(volatility = "volatile")]
fn process_of(_n: i64) -> u64 {
    u64::from(std::process::id())
}

async fn rows(world: &World, sql: &str) -> Vec<RecordBatch> {
    world.session.sql(sql).await.unwrap().collect().await.unwrap()
}

/// The only number in the result of a statement.
async fn number(world: &World, sql: &str) -> i64 {
    let batches = rows(world, sql).await;
    let column = batches.iter().find(|batch| batch.num_rows() > 0).unwrap().column(0);
    column.as_primitive::<Int64Type>().value(0)
}

/// The stages of a statement: their number, tasks, machines and operators.
async fn stages(world: &World, sql: &str) -> Vec<(u64, u64, String, String)> {
    let mut found = Vec::new();
    for batch in rows(world, &format!("explain stages {sql}")).await {
        let numbers = |n: usize| batch.column(n).as_primitive::<UInt64Type>().clone();
        let texts = |n: usize| batch.column(n).as_string::<i32>().clone();
        for row in 0..batch.num_rows() {
            let text = |n: usize| texts(n).value(row).to_owned();
            found.push((numbers(0).value(row), numbers(1).value(row), text(5), text(6)));
        }
    }
    found
}

async fn machines_read_the_shards_of_a_table(world: &World) {
    let run = world.done(numbers(3, ROWS)).await;
    world.session.register("numbers", &run).unwrap();
    let sql = "select sum(_1), count(distinct _0), min(_2) from numbers where _1 % 3 = 0";
    let batches = rows(world, sql).await;
    let sum = (0..ROWS).filter(|n| n % 3 == 0).sum::<i64>();
    assert_eq!(batches[0].column(0).as_primitive::<Int64Type>().value(0), sum);
    let keys = batches[0].column(1).as_primitive::<Int64Type>().value(0);
    assert_eq!(keys, (0..ROWS).filter(|n| n % 3 == 0).count() as i64);

    let machines = world.session.machines();
    let stages = stages(world, sql).await;
    let reads = stages.iter().filter(|(.., operators)| operators.contains("RunScan"));
    let reads: Vec<_> = reads.collect();
    assert_eq!(reads.len(), 1, "{stages:?}");
    let (_, tasks, places, _) = reads[0];
    if machines.is_empty() {
        assert_eq!(places, "driver");
        return;
    }
    assert_eq!(*tasks, machines.len() as u64, "{stages:?}");
    assert!(machines.iter().all(|machine| places.contains(&machine.name)), "{stages:?}");
    // The process that read a row computes with it.
    let found = rows(world, "select distinct process_of(_1) from numbers").await;
    let found: BTreeSet<u64> = found
        .iter()
        .flat_map(|batch| batch.column(0).as_primitive::<UInt64Type>().values().to_vec())
        .collect();
    let of_machines = machines.iter().filter_map(|machine| machine.pid).map(u64::from);
    let of_machines: BTreeSet<u64> = of_machines.collect();
    if !of_machines.is_empty() {
        assert_eq!(found, of_machines, "the driver is {}", std::process::id());
    }
}

async fn columns_and_limits_of_a_table(world: &World) {
    let run = world.done(numbers(4, 50_000)).await;
    world.session.register("numbers", &run).unwrap();
    assert_eq!(number(world, "select count(*) from numbers").await, 50_000);
    assert_eq!(number(world, "select count(*) from numbers where _2 = '3'").await, 7143);
    assert_eq!(number(world, "select sum(_1) from numbers").await, 49_999 * 25_000);
    let some = rows(world, "select _2, _1 from numbers limit 1234").await;
    assert_eq!(some.iter().map(RecordBatch::num_rows).sum::<usize>(), 1234);
    for batch in &some {
        let (texts, numbers) = (batch.column(0), batch.column(1).as_primitive::<Int64Type>());
        let texts = texts.as_string_opt::<i32>();
        for (row, n) in numbers.values().iter().enumerate().take(50) {
            if let Some(texts) = texts {
                assert_eq!(texts.value(row), (n % 7).to_string());
            }
        }
    }
    let last = rows(world, "select _1 from numbers order by _1 desc limit 3 offset 2").await;
    let last = arrow::compute::concat_batches(&last[0].schema(), &last).unwrap();
    assert_eq!(last.column(0).as_primitive::<Int64Type>().values(), &[49_997, 49_996, 49_995]);
}

async fn a_table_with_itself_and_with_files(world: &World) {
    let run = world.done(numbers(2, 20_000)).await;
    let other = world.done(numbers(5, ROWS)).await;
    world.session.register("few", &run).unwrap();
    world.session.register("many", &other).unwrap();
    let sql = "select count(*) from few a join few b on a._1 = b._1 + 1";
    assert_eq!(number(world, sql).await, 19_999);
    let sql = "select sum(many._1) from many join few on many._0 = few._0";
    assert_eq!(number(world, sql).await, 19_999 * 10_000);
    let sql = "select count(*) from (select _1 from few union all select _1 from many)";
    assert_eq!(number(world, sql).await, 20_000 + ROWS);
    let sql = "select count(*) from many where _1 not in (select _1 from few)";
    assert_eq!(number(world, sql).await, ROWS - 20_000);
    let path = world.path("copied.parquet");
    rows(world, &format!("copy (select _1 as n from few) to '{path}'")).await;
    let sql = format!("select sum(f.n) from '{path}' f join many on f.n = many._1");
    assert_eq!(number(world, &sql).await, 19_999 * 10_000);
}

async fn a_table_of_no_rows(world: &World) {
    let run = world.done(numbers(3, 0)).await;
    world.session.register("none", &run).unwrap();
    assert_eq!(number(world, "select count(*) from none").await, 0);
    assert!(rows(world, "select * from none").await.iter().all(|batch| batch.num_rows() == 0));
    let sql = "select count(*) from (select _0 from none group by 1)";
    assert_eq!(number(world, sql).await, 0);
}

async fn a_plan_names_the_run(world: &World) {
    let run = world.done(numbers(3, 1000)).await;
    world.session.register("numbers", &run).unwrap();
    let plan = world.sql("explain select _1 from numbers where _2 = '1'").await;
    let right = format!("RunScan: {run:?} of slices::tables::numbers, shards=3");
    assert!(plan.contains(&right), "{plan}");
    assert!(plan.contains("columns=[_1, _2]"), "{plan}");
}

async fn shards_of_a_table_that_are_lost_are_made_again(world: &World) {
    let run = world.done(numbers(6, ROWS)).await;
    world.session.register("numbers", &run).unwrap();
    let (begun, sum) = (run.tasks_started().await, ROWS * (ROWS - 1) / 2);
    assert_eq!(number(world, "select sum(_1) from numbers").await, sum);
    assert_eq!(run.tasks_started().await, begun);
    remove_shards(world.folder.path());
    assert_eq!(number(world, "select sum(_1) from numbers").await, sum);
    assert_eq!(run.tasks_started().await, begun + 6, "the fault did not fire");
    if world.session.machines().is_empty() {
        // The driver has already returned rows of a shard to the statement when it finds damage
        // further on.
        return;
    }
    // A damaged one, in the middle.
    let file = world.files_of(&run, "0-4-").pop().unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 64].fill(7);
    std::fs::write(&file, bytes).unwrap();
    assert_eq!(number(world, "select sum(_1) from numbers").await, sum);
    assert_eq!(run.tasks_started().await, begun + 7, "the fault did not fire");
}

async fn a_table_is_written_by_the_machines(world: &World) {
    let run = world.done(numbers(3, ROWS)).await;
    world.session.register("numbers", &run).unwrap();
    let folder = world.path("written");
    let sql = format!("copy (select _1, _2 from numbers) to '{folder}/' stored as parquet");
    rows(world, &sql).await;
    let sum = number(world, &format!("select sum(_1) from '{folder}/*.parquet'")).await;
    assert_eq!(sum, ROWS * (ROWS - 1) / 2);
}
