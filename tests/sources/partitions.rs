//! Columns of `key=value` folders: their types, reading less by them, writing them.

use crate::world::World;

async fn world_with_folders() -> World {
    let world = World::here().await;
    for (year, month, rows) in [(2013, "01", 1), (2013, "02", 2), (2014, "01", 4)] {
        let rows: String = (0..rows).map(|a| format!("{a}\n")).collect();
        world.write(&format!("t/year={year}/month={month}/x.csv"), format!("a\n{rows}"));
    }
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_are_columns_with_types() {
    let world = world_with_folders().await;
    let sql = "select year, month, count(*) from '@t' group by 1, 2 order by 1, 2";
    assert_eq!(world.text(sql).await, "2013|1|1\n2013|2|2\n2014|1|4");
    let sql = "select count(*) from '@t/**/*.csv' where year = 2013 and month = 2";
    assert_eq!(world.text(sql).await, "2");
    assert_eq!(world.text("select arrow_typeof(year) from '@t' limit 1").await, "Int64");
    world.write("d/day=2013-01-01/x.csv", "a\n1\n");
    world.write("d/day=__HIVE_DEFAULT_PARTITION__/x.csv", "a\n2\n");
    let sql = "select day, a from '@d' order by a";
    assert_eq!(world.text(sql).await, "2013-01-01|1\n|2");
    assert_eq!(world.text("select a from '@d' where day is null").await, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_on_a_folder_reads_that_folder_alone() {
    let world = world_with_folders().await;
    world.write("t/year=2014/month=01/y.csv", "a\nnot a number\n");
    world
        .rows(
            "create external table t (a bigint, year bigint, month varchar) stored as csv \
             partitioned by (year, month) location '@t/'",
        )
        .await;
    assert_eq!(world.text("select count(a) from t where year = 2013").await, "3");
    assert!(world.error("select sum(a) from t").await.contains("not a number"));
    let plan = world.text("explain select a from t where year = 2013 and month = '02'").await;
    assert!(plan.contains("month=02") && !plan.contains("month=01"), "{plan}");
}

#[tokio::test(flavor = "multi_thread")]
async fn results_in_folders_read_back() {
    let world = World::here().await;
    let rows = "(select value as a, value % 3 as k, concat('x', value % 2) as s from range(0, 60))";
    let sql = format!("copy {rows} to '@out' stored as parquet partitioned by (k, s)");
    assert_eq!(world.text(&sql).await, "60");
    assert!(world.files("out").contains(&"k=2".to_owned()));
    let sql = "select count(*), sum(a), count(distinct k), count(distinct s) from '@out/'";
    assert_eq!(world.text(sql).await, "60|1770|3|2");
    world
        .rows(
            "create external table t (a bigint, k bigint, s varchar) stored as parquet \
             partitioned by (k, s) location '@out/'",
        )
        .await;
    world.text("insert into t values (1000, 7, 'new')").await;
    assert_eq!(world.text("select a, s from '@out' where k = 7").await, "1000|new");
}
