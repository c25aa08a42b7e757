//! Columns of `key=value` folders: types, pruning, writing.

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

/// Values of every type with a text form, as expressions, each beside another of its type.
const VALUES: &[(&str, &str)] = &[
    ("cast(7 as tinyint)", "cast(-8 as tinyint)"),
    ("cast(7 as smallint)", "cast(-8 as smallint)"),
    ("7", "-9223372036854775808"),
    ("arrow_cast(7, 'UInt8')", "arrow_cast(255, 'UInt8')"),
    ("arrow_cast(7, 'UInt64')", "arrow_cast('18446744073709551615', 'UInt64')"),
    ("1.5::float", "-2.25::float"),
    ("-2.25::double", "'NaN'::double"),
    ("0.0::double", "1e300"),
    ("true", "false"),
    ("date '2024-02-29'", "date '0001-01-01'"),
    ("timestamp '2024-02-29 12:30:00.000001'", "timestamp '1969-12-31 23:59:59'"),
    (
        "arrow_cast('2024-02-29T12:30:00Z', 'Timestamp(ms, \"UTC\")')",
        "arrow_cast('2000-01-01T00:00:00Z', 'Timestamp(ms, \"UTC\")')",
    ),
    ("arrow_cast(1.50, 'Decimal128(10, 2)')", "arrow_cast(-0.01, 'Decimal128(10, 2)')"),
    ("arrow_cast('12:34:56', 'Time64(µs)')", "arrow_cast('00:00:00', 'Time64(µs)')"),
    ("arrow_cast('x', 'Dictionary(Int32, Utf8)')", "arrow_cast('y', 'Dictionary(Int32, Utf8)')"),
    ("arrow_cast('x', 'LargeUtf8')", "arrow_cast('y', 'LargeUtf8')"),
    ("'a/b'", "'a=b'"),
    ("'100%'", "'%2F'"),
    ("'..'", "'.'"),
    ("'007'", "'7'"),
    ("'+7'", "'-0'"),
    ("''", "'NULL'"),
    ("'__HIVE_DEFAULT_PARTITION__'", "' a b '"),
    ("'ü:*?\"<>|\\'", "chr(10)"),
    ("chr(57344)", "concat('0', chr(57344))"),
    ("repeat('x', 200)", "'null'"),
];

async fn come_back(world: &World) {
    for (number, (one, two)) in VALUES.iter().enumerate() {
        let table = format!("'@v{number}/'");
        let rows = format!(
            "(select 1 as n, {one} as p union all select 2, {two} union all select 3, null union all select 4, {one})"
        );
        world.rows(&format!("copy {rows} to {table} stored as parquet partitioned by (p)")).await;
        let sql = format!("select count(*), count(p), count(distinct p) from {table}");
        assert_eq!(world.text(&sql).await, "4|3|2", "{one} and {two}");
        let text = |value: &str| format!("cast({value} as varchar)");
        for (value, found) in [(one, "1\n4"), (two, "2")] {
            let sql = format!(
                "select n from {table} where cast(p as varchar) = {} order by n",
                text(value)
            );
            assert_eq!(world.text(&sql).await, found, "{value}");
            let sql = format!(
                "select n from {table} where cast(p as varchar) <> {} order by n",
                text(value)
            );
            let others = if found == "2" { "1\n4" } else { "2" };
            assert_eq!(world.text(&sql).await, others, "{value}");
        }
        assert_eq!(world.text(&format!("select n from {table} where p is null")).await, "3");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_in_folders_come_back() {
    come_back(&World::here().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_in_folders_come_back_on_machines() {
    come_back(&World::on_machines().await).await;
}

async fn without_a_value(world: &World) {
    for (folder, n) in [
        ("region=EU/year=2024", 1),
        ("region=EU/year=__HIVE_DEFAULT_PARTITION__", 2),
        ("region=__HIVE_DEFAULT_PARTITION__/year=2024", 3),
        ("region=US/year=1999", 4),
    ] {
        world.rows(&format!("copy (select {n} as n) to '@h/{folder}/a.parquet'")).await;
    }
    for (condition, found) in [
        ("region is null", "3"),
        ("region is not null", "1\n2\n4"),
        ("region = 'EU'", "1\n2"),
        ("region <> 'EU'", "4"),
        ("not region = 'EU'", "4"),
        ("region not in ('EU', 'X')", "4"),
        ("region not in ('EU', null)", ""),
        ("region < 'F'", "1\n2"),
        ("region is distinct from 'EU'", "3\n4"),
        ("coalesce(region, 'none') = 'none'", "3"),
        ("year is null", "2"),
        ("year > 2000", "1\n3"),
        ("year <> 2024", "4"),
        ("year between 1990 and 2000 or region is null", "3\n4"),
        ("region <> 'EU' or n = 3", "3\n4"),
        ("year not in (select 1999)", "1\n3"),
    ] {
        let sql = format!("select n from '@h' where {condition} order by n");
        assert_eq!(world.text(&sql).await, found, "{condition}");
    }
    for (sql, found) in [
        (
            "select region, count(*), count(region), max(year) from '@h' group by 1 order by 1 nulls first",
            "|1|0|2024\nEU|2|2|2024\nUS|1|1|1999",
        ),
        (
            "select count(*), count(region), count(year), min(year), min(region) from '@h'",
            "4|3|3|1999|EU",
        ),
        ("select count(*) from '@h' a join '@h' b on a.region = b.region", "5"),
        ("select count(*) from '@h' a left join '@h' b on a.year = b.year where b.n is null", "1"),
        ("select n from '@h' order by region nulls first, n limit 1", "3"),
        ("select n from '@h' order by year desc nulls last, n", "1\n3\n4\n2"),
    ] {
        assert_eq!(world.text(sql).await, found, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_without_a_value_are_null() {
    without_a_value(&World::here().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_without_a_value_are_null_on_machines() {
    without_a_value(&World::on_machines().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_without_a_value_are_inserted() {
    let world = World::here().await;
    for (name, kind, value) in [
        ("i", "int", "0"),
        ("s", "varchar", "'007'"),
        ("d", "date", "'2024-01-01'"),
        ("b", "boolean", "false"),
    ] {
        world
            .rows(&format!(
                "create external table {name} (n int, p {kind}) stored as parquet partitioned by (p) location '@{name}/'"
            ))
            .await;
        world.rows(&format!("insert into {name} values (1, null), (2, {value})")).await;
        let sql = format!("select count(*), count(p) from {name}");
        assert_eq!(world.text(&sql).await, "2|1", "{kind}");
        let sql = format!("select n from {name} where p = {value}");
        assert_eq!(world.text(&sql).await, "2", "{kind}");
    }
}

#[tokio::test]
async fn what_cannot_be_the_name_of_a_folder_is_refused_before_anything_is_written() {
    let world = World::here().await;
    for (rows, words) in [
        ("select 1 as n, [1, 2] as p", "folders cannot be called by it"),
        ("select 1 as n, 2 as q", "no column \"p\""),
        ("select 1 as p", "none is left"),
        ("select 1 as n, repeat('x', 300) as p", "long"),
    ] {
        let sql = format!("copy ({rows}) to '@out/' stored as parquet partitioned by (p)");
        let error = world.error(&sql).await;
        assert!(error.contains(words), "{rows}: {error}");
        assert!(world.files("out").is_empty(), "{rows}");
    }
}
