//! Each format, by file, folder and pattern, compressed or not, in this process and on machines.

use std::fs::File;

use crate::avro;
use crate::world::World;

/// Rows in each file of [`write_files`].
const ROWS: i64 = 500;

/// All files that are read: name and number of rows.
const NAMES: &[&str] = &[
    "x.parquet",
    "x.csv",
    "x.csv.gz",
    "x.csv.zst",
    "x.csv.bz2",
    "x.csv.xz",
    "x.tsv",
    "x.tsv.gz",
    "x.json",
    "x.jsonl.gz",
    "x.ndjson.zst",
    "x.arrow",
    "x.avro",
    "array.json",
    "stream.arrow",
    "quoted.csv",
];

/// Writes the columns `a` (0..) and `b` (text) in all formats.
async fn write_files(world: &World) {
    let rows = format!("(select value as a, concat('t', value) as b from range(0, {ROWS}))");
    for name in NAMES {
        let path = world.at(&format!("{name}.folder/{name}"));
        match *name {
            "x.avro" => {
                let rows: Vec<(i64, String)> = (0..ROWS).map(|a| (a, format!("t{a}"))).collect();
                let rows: Vec<(i64, &str)> = rows.iter().map(|(a, b)| (*a, b.as_str())).collect();
                world.write(&format!("{name}.folder/{name}"), avro::file(&rows));
            }
            "array.json" => {
                let rows: Vec<String> =
                    (0..ROWS).map(|a| format!("{{\"a\":{a},\"b\":\"t{a}\"}}")).collect();
                world.write("array.json.folder/array.json", format!("[{}]", rows.join(",\n")));
            }
            "quoted.csv" => {
                let rows: String = (0..ROWS).map(|a| format!("{a},\"t{a}\nmore\"\n")).collect();
                world.write("quoted.csv.folder/quoted.csv", format!("a,b\n{rows}"));
            }
            "stream.arrow" => {
                let batches = world.rows(&format!("select * from {rows}")).await;
                std::fs::create_dir(world.at("stream.arrow.folder")).expect("a folder");
                let file = File::create(path).expect("a file");
                let schema = batches[0].schema();
                let mut writer = arrow::ipc::writer::StreamWriter::try_new(file, &schema).unwrap();
                for batch in &batches {
                    writer.write(batch).unwrap();
                }
                writer.finish().unwrap();
            }
            _ => {
                let written = world.text(&format!("copy {rows} to '{path}'")).await;
                assert_eq!(written, ROWS.to_string(), "{name}");
            }
        }
    }
}

async fn check(world: &World) {
    let sum = ROWS * (ROWS - 1) / 2;
    for name in NAMES {
        for place in [
            format!("@{name}.folder/{name}"),
            format!("@{name}.folder/"),
            format!("@{name}.folder"),
            format!("@{name}.folder/*"),
            format!("@*/{name}"),
        ] {
            let sql = format!(
                "select count(*), sum(a), min(b) like 't0%', count(distinct b) from '{place}'"
            );
            assert_eq!(world.text(&sql).await, format!("{ROWS}|{sum}|true|{ROWS}"), "{place}");
        }
        let sql =
            format!("select a, b from '@{name}.folder/{name}' where a between 8 and 9 order by a");
        let text = world.text(&sql).await;
        assert!(text.starts_with("8|t8"), "{name}: {text}");
        let sql = format!("select count(*) from (select b from '@{name}.folder' limit 7)");
        assert_eq!(world.text(&sql).await, "7", "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_format_in_this_process() {
    let world = World::here().await;
    write_files(&world).await;
    check(&world).await;
    several(&world).await;
    world.session.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_format_on_machines() {
    let world = World::on_machines().await;
    write_files(&world).await;
    check(&world).await;
    for sql in several(&world).await {
        let stages = world.text(&format!("explain stages {sql}")).await;
        assert!(stages.contains("SealedScan"), "{stages}");
    }
    world.session.shutdown().await;
}

/// Queries over unsplittable files: each is assigned to one partition of one task.
async fn several(world: &World) -> Vec<String> {
    let mut queries = Vec::new();
    for name in ["x.csv.gz", "x.avro", "array.json", "stream.arrow"] {
        let file = std::fs::read(world.at(&format!("{name}.folder/{name}"))).unwrap();
        for copy in 0..7 {
            world.write(&format!("{name}.folder/{copy}{name}"), &file);
        }
        let sql = format!("select count(*), count(distinct b) from '@{name}.folder'");
        assert_eq!(world.text(&sql).await, format!("{}|{ROWS}", 8 * ROWS), "{name}");
        queries.push(sql);
    }
    queries
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_read_as_they_are_now() {
    let world = World::here().await;
    for rows in [3, 5, 5, 4] {
        let first = 1000 - rows;
        let sql = format!(
            "copy (select value as a from range({first}, {})) to '@x.parquet'",
            first + rows
        );
        world.text(&sql).await;
        let sql = "select count(*), min(a) from '@x.parquet'";
        assert_eq!(world.text(sql).await, format!("{rows}|{first}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_come_later_are_seen() {
    let world = World::here().await;
    world.write("t/a.csv", "a,b\n1,x\n");
    world.rows("create external table t stored as csv location '@t/'").await;
    world.rows("create view v as select * from '@t/*.csv'").await;
    assert_eq!(world.text("select count(*) from t").await, "1");
    world.write("t/b.csv", "a,b\n2,y\n");
    assert_eq!(world.text("select count(*) from t").await, "2");
    assert_eq!(world.text("select count(*) from v").await, "2");
    std::fs::remove_file(world.path("t/a.csv")).unwrap();
    assert_eq!(world.text("select * from t").await, "2|y");
    assert_eq!(world.text("select * from v").await, "2|y");
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_of_several_files_are_united() {
    let world = World::here().await;
    world.text("copy (select 1 as a, 'x' as b) to '@t/1.parquet'").await;
    world.text("copy (select 2.5 as a, date '2020-01-01' as c) to '@t/2.parquet'").await;
    let text = world.text("select a, b, c from '@t' order by a").await;
    assert_eq!(text, "1.0|x|\n2.5||2020-01-01");
    world.write("c/1.csv", "a,b\n1,x\n");
    world.write("c/2.csv", "a,b\n2.5,7\n");
    assert_eq!(world.text("select a, b from '@c' order by a").await, "1.0|x\n2.5|7");
    world.write("j/1.json", "{\"a\":1}\n");
    world.write("j/2.json", "{\"a\":2,\"b\":{\"c\":[1,2]}}\n");
    assert_eq!(world.text("select a, b['c'][2] from '@j' order by a").await, "1|\n2|2");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_with_spaces_and_other_letters() {
    let world = World::here().await;
    world.write("o dir/ü & [1] %20.csv", "a\n1\n");
    assert_eq!(world.text("select a from '@o dir/ü & [1] %20.csv'").await, "1");
    assert_eq!(world.text("select a from '@o dir/'").await, "1");
    assert_eq!(world.text("select a from '@o*/ü*.csv'").await, "1");
    assert_eq!(world.text("select a from '@x/../o dir'").await, "1");
    world.text("copy (select 2 as a) to '@o dir/ö %20.csv'").await;
    assert_eq!(world.text("select a from '@o dir/ö %20.csv'").await, "2");
    let url = format!("file://{}", world.at("o%20dir/%C3%B6%20%2520.csv"));
    assert_eq!(world.text(&format!("select a from '{url}'")).await, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_home_folder_is_known_by_its_sign() {
    let home = tempfile::TempDir::new().unwrap();
    std::fs::write(home.path().join("x.csv"), "a\n1\n").unwrap();
    let world = World::in_environment(&[("HOME", home.path().to_str().unwrap())]).await;
    assert_eq!(world.text("select a from '~/x.csv'").await, "1");
    world.text("copy (select 2 as a) to '~/y.csv'").await;
    assert_eq!(std::fs::read_to_string(home.path().join("y.csv")).unwrap(), "a\n2\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn external_tables_take_options() {
    let world = World::here().await;
    world.write("t/x.txt", "1;x\n2;y\n");
    world
        .rows(
            "create external table t (a int, b varchar) stored as csv location '@t/x.txt' \
             options ('format.delimiter' ';', 'format.has_header' 'false')",
        )
        .await;
    assert_eq!(world.text("select sum(a), max(b) from t").await, "3|y");
    world.write("u/part-0", "{\"a\":1}\n");
    world.rows("create external table u stored as json location '@u'").await;
    assert_eq!(world.text("select a from u").await, "1");
    world.write("g/x.csv.gz", {
        world.text("copy (select 1 as a) to '@y.csv.gz'").await;
        std::fs::read(world.at("y.csv.gz")).unwrap()
    });
    world.rows("create external table g stored as csv location '@g/x.csv.gz'").await;
    assert_eq!(world.text("select a from g").await, "1");
}
