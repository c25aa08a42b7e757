//! Format options, by their usual names and values; locations that cannot be written to; other
//! files beside those of a table.

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn options_of_reading_are_honoured() {
    for world in [World::here().await, World::on_machines().await] {
        world.write("n.csv", "a;b\nx;NULL\n\"NULL\";3\n;4\n");
        world
            .rows(
                "create external table n stored as csv location '@n.csv' \
                 options (delimiter ';', nullstr 'NULL')",
            )
            .await;
        let rows = world.text("select a, a is null, b from n order by b nulls first").await;
        assert_eq!(rows, "x|false|\nNULL|false|3\n|false|4");
        world.write("d.csv", "d|t\n31.12.2020|01/02/2021 10:11\n");
        world
            .rows(
                "create external table d (d date, t timestamp) stored as csv location '@d.csv' \
                 options (delim '|', date_format '%d.%m.%Y', timestamp_format '%d/%m/%Y %H:%M')",
            )
            .await;
        assert_eq!(world.text("select * from d").await, "2020-12-31|2021-02-01T10:11:00");
        world.write("q.csv", "a\n\"x\"\"y\"\n");
        let error = world
            .error(
                "create external table q stored as csv location '@q.csv' \
                 options ('format.double_quote' 'false')",
            )
            .await;
        assert!(error.contains("closing quote"), "{error}");
        world.session.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_options_are_named() {
    let world = World::here().await;
    world.write("x.csv", "a\n1\n");
    for (option, what) in [
        ("'format.has_header' 'maybe'", "true or false"),
        ("'format.delimiter' '||'", "one ASCII character"),
        ("'format.quote' ''", "\"quote\" cannot be ''"),
        ("delimeter ';'", "did you mean \"delimiter\"?"),
        ("compression 'zip'", "gzip, bzip2, xz, zstd"),
    ] {
        let sql =
            format!("create external table t stored as csv location '@x.csv' options ({option})");
        let error = world.error(&sql).await;
        assert!(error.contains(what), "{option}: {error}");
    }
    for (option, what) in [
        ("compression 'zstd(99)'", "zstd(1) to zstd(22)"),
        ("'format.max_row_group_size' '0'", "from 1 on"),
        ("'format.max_row_group_size' 'abc'", "from 1 on"),
    ] {
        let error =
            world.error(&format!("copy (select 1 as a) to '@x.parquet' options ({option})")).await;
        assert!(error.contains(what), "{option}: {error}");
    }
    for codec in ["zstd", "gzip", "brotli", "none", "snappy", "zstd(5)"] {
        let sql =
            format!("copy (select 1 as a) to '@{codec}.parquet' options (compression '{codec}')");
        world.rows(&sql).await;
        assert_eq!(world.text(&format!("select * from '@{codec}.parquet'")).await, "1");
    }
    let error = world.error("create external table t stored as foo location '@x.csv'").await;
    assert!(error.contains("formats are PARQUET, CSV"), "{error}");
    let error = world.error("copy (select interval '1 day' as i) to '@i.parquet'").await;
    assert!(error.contains("not supported in Parquet"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn results_go_to_files_alone() {
    let world = World::here().await;
    for target in ["-", "/dev/stdout", "/proc/x.csv"] {
        let error = world.error(&format!("copy (select 1 as a) to '{target}' stored as csv")).await;
        assert!(error.contains("COPY writes files"), "{target}: {error}");
    }
    world.write("file", "x");
    let error = world.error("copy (select 1 as a) to '@file/x.csv'").await;
    assert!(error.contains("cannot write") && !error.contains('#'), "{error}");
    assert_eq!(world.files(""), ["file"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_seconds_are_moments_in_parquet() {
    let world = World::here().await;
    world
        .rows(
            "copy (select cast('2024-02-29 10:00:00' as timestamp(0)) as t, \
             [named_struct('x', cast('2024-02-29 10:00:00' as timestamp(0)))] as l, \
             arrow_cast('2024-02-29', 'Date64') as d) to '@x.parquet'",
        )
        .await;
    let types = world
        .text("select arrow_typeof(t), arrow_typeof(l), arrow_typeof(d) from '@x.parquet'")
        .await;
    assert!(types.starts_with("Timestamp(ms)") && !types.contains("(s)"), "{types}");
    assert!(types.ends_with("Date32"), "{types}");
    let rows = world.text("select t, l, d from '@x.parquet'").await;
    assert_eq!(rows, "2024-02-29T10:00:00|[{x: 2024-02-29T10:00:00}]|2024-02-29");
    world.rows("create external table t (t timestamp(0)) stored as parquet location '@t/'").await;
    world.rows("insert into t values (cast('2024-02-29 10:00:00' as timestamp(0)))").await;
    assert_eq!(world.text("select arrow_typeof(t) from '@t/'").await, "Timestamp(ms)");
    assert_eq!(world.text("select count(*) from t where t = '2024-02-29 10:00:00'").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_in_a_folder_is_left_out_without_a_word() {
    let world = World::here().await;
    world.write("d/x.csv", "a\n1\n");
    world.write("d/_logs/y.csv", "a\n2\n");
    assert_eq!(world.text("select * from '@d/'").await, "1");
    world.write("d/more/y.csv", "a\n2\n");
    let error = world.error("select * from '@d/'").await;
    assert!(error.contains("d/more") && error.contains("d/*'"), "{error}");
    assert_eq!(world.text("select * from '@d/*.csv'").await, "1");
    world.write("e/x.csv", "a\n1\n");
    world.write("e/part-0", "a\n2\n");
    let error = world.error("select * from '@e/'").await;
    assert!(error.contains("e/part-0"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_in_the_path_are_columns() {
    for world in [World::here().await, World::on_machines().await] {
        for (a, b) in [(1, "true"), (1, "false"), (2, "true")] {
            world
                .rows(&format!("copy (select {a} as x) to '@h/a={a}/b={b}/c=010/x.parquet'"))
                .await;
        }
        let rows = "select a, b, c, x from '@h/a=1/*/*/*.parquet' order by b";
        assert_eq!(world.text(rows).await, "1|false|010|1\n1|true|010|1");
        assert_eq!(world.text("select sum(a) from '@h/a=1'").await, "2");
        assert_eq!(world.text("select count(*) from '@h/' where b").await, "2");
        world.session.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn results_without_rows_are_read_again() {
    let world = World::here().await;
    world.rows("copy (select 1 as a where false) to '@x.json'").await;
    assert_eq!(world.text("select count(*) from '@x.json'").await, "0");
    world.rows("create external table t (a int) stored as json location '@x.json'").await;
    assert_eq!(world.text("select count(*), count(a) from t").await, "0|0");
    world.rows("copy (select arrow_cast('', 'Binary') as b, arrow_cast(null, 'Binary') as n) to '@b.csv'").await;
    assert_eq!(std::fs::read_to_string(world.path("b.csv")).unwrap(), "b,n\n\"\",\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn decimals_and_floats_are_one_column() {
    let world = World::here().await;
    world.rows("copy (select cast(1.25 as decimal(10, 2)) as x) to '@d/a.parquet'").await;
    world.rows("copy (select cast(2.5 as double) as x) to '@d/b.parquet'").await;
    assert_eq!(world.text("select x from '@d/' where x > 1.2 order by x").await, "1.25\n2.5");
    world.write("e.csv", "x\n1e2\n-2.5E-1\n7\n");
    world.rows("create external table e (x decimal(10, 3)) stored as csv location '@e.csv'").await;
    assert_eq!(world.text("select x from e order by x").await, "-0.250\n7.000\n100.000");
    world.write("i.csv", "x\n1.5\nInfinity\n-Infinity\n");
    assert_eq!(world.text("select x from '@i.csv' order by x").await, "-inf\n1.5\ninf");
    world.write("plain.csv.gz", "a\n1\n");
    assert!(
        world.error("select * from '@plain.csv.gz'").await.contains("not compressed with gzip")
    );
    let error = world.error("set timezone = 'Mars'").await;
    assert!(error.contains("'Mars'"), "{error}");
    let error = world.error("set datafusion.execution.batch_sise = 5").await;
    assert!(error.contains("did you mean"), "{error}");
}
