//! `COPY` and `INSERT` write the whole result or nothing.

use crate::world::World;

/// Fails at its millionth row, long after the first files were started.
const FAILS: &str = "(select 1 / (1000000 - value) as a, repeat('x', 20) as b \
                     from range(0, 1500000))";

#[tokio::test(flavor = "multi_thread")]
async fn results_are_counted_and_read_back() {
    let world = World::here().await;
    world
        .rows("create table t as select value as a, concat('t', value) as b from range(0, 10)")
        .await;
    for name in ["x.parquet", "x.csv", "x.json", "x.arrow", "x.csv.gz", "x.tsv"] {
        assert_eq!(world.text(&format!("copy t to '@{name}'")).await, "10");
        let sql = format!("select count(*), sum(a), max(b) from '@{name}'");
        assert_eq!(world.text(&sql).await, "10|45|t9", "{name}");
    }
    assert_eq!(world.files("").iter().filter(|name| name.starts_with('x')).count(), 6);
    world.text("copy t to '@y.csv' options ('format.delimiter' ';')").await;
    assert!(std::fs::read_to_string(world.at("y.csv")).unwrap().starts_with("a;b\n0;t0\n"));
    world.text("copy t to '@folder' stored as parquet").await;
    assert_eq!(world.text("select count(*) from '@folder/'").await, "10");
    world.text("copy t to '@odd.name' stored as csv").await;
    assert!(world.path("odd.name").is_file());
    assert_eq!(world.text("insert into t select 10, 'z'").await, "1");
    assert_eq!(world.text("select count(*) from t").await, "11");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_replaces_a_file_and_spares_a_folder() {
    let world = World::here().await;
    world.text("copy (select 1 as a) to '@x.parquet'").await;
    world.text("copy (select a + 1 as a from '@x.parquet') to '@x.parquet'").await;
    assert_eq!(world.text("select a from '@x.parquet'").await, "2");
    world.text("copy (select 1 as a) to '@out/' stored as csv").await;
    let error = world.error("copy (select 2 as a) to '@out/' stored as csv").await;
    assert!(error.contains("is not empty") && error.contains("INSERT INTO"), "{error}");
    assert_eq!(world.text("select a from '@out'").await, "1");
    world.rows("create external table t stored as csv location '@out/'").await;
    world.text("insert into t values (2)").await;
    assert_eq!(world.text("select sum(a), count(*) from '@out'").await, "3|2");
    let error = world.error("copy (select 1 as a) to '@x.parquet/' stored as csv").await;
    assert!(error.contains("is a file, but the result needs a folder"), "{error}");
    let error = world.error("copy (select 1 as a) to '@x.parquet/deeper/y.csv'").await;
    assert!(error.contains("x.parquet"), "{error}");
    world.rows("create external table f stored as parquet location '@x.parquet'").await;
    let error = world.error("insert into f values (3)").await;
    assert!(error.contains("not a folder"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_result_leaves_nothing() {
    let world = World::here().await;
    for target in [
        "'@x.parquet'",
        "'@x.csv'",
        "'@x.json'",
        "'@x.csv.gz'",
        "'@x.arrow'",
        "'@new/folder/x.parquet'",
        "'@new/' stored as parquet",
    ] {
        let error = world.error(&format!("copy {FAILS} to {target}")).await;
        assert!(error.to_lowercase().contains("divi"), "{target}: {error}");
        assert_eq!(world.files(""), Vec::<String>::new(), "{target}");
    }
    let keyed = "(select 1 / (300000 - value) as a, value % 5 as k from range(0, 400000))";
    world.error(&format!("copy {keyed} to '@k' stored as csv partitioned by (k)")).await;
    assert_eq!(world.files(""), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_result_spares_what_was_there() {
    let world = World::here().await;
    world.text("copy (select 7 as a) to '@x.csv'").await;
    world.error(&format!("copy {FAILS} to '@x.csv'")).await;
    assert_eq!(world.text("select count(*), max(a) from '@x.csv'").await, "1|7");
    world.rows("create external table t (a bigint, b varchar) stored as csv location '@t'").await;
    world.text("insert into t values (1, 'x')").await;
    world.error(&format!("insert into t select * from {FAILS}")).await;
    assert_eq!(world.text("select * from t").await, "1|x");
    assert_eq!(world.files("t").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_result_leaves_nothing() {
    let world = World::here().await;
    let sql = format!(
        "copy (select value as a, repeat('x', 100) as b from range(0, 1000000000)) to '{}'",
        world.at("new/x.csv")
    );
    let query = world.session.sql(&sql).await.unwrap();
    let mut running = tokio::task::JoinSet::new();
    running.spawn(query.collect());
    wait_for("the file to be begun", || !world.files("new").is_empty()).await;
    assert!(!world.path("new/x.csv").exists());
    running.shutdown().await;
    wait_for("nothing to be left", || world.files("").is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn results_of_machines() {
    let world = World::on_machines().await;
    world.text("copy (select value as a from range(0, 100000)) to '@in.parquet'").await;
    let sql =
        "copy (select a % 10 as k, count(*) as n from '@in.parquet' group by 1) to '@out.csv'";
    assert_eq!(world.text(sql).await, "10");
    assert_eq!(world.text("select sum(n) from '@out.csv'").await, "100000");
    let sql = "copy (select 1 / (99999 - a) as x from '@in.parquet') to '@bad.csv'";
    world.error(sql).await;
    assert_eq!(world.files(""), ["in.parquet", "out.csv"]);
    world.session.shutdown().await;
}

async fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !done() {
        assert!(std::time::Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}
