//! Rows in files.

use bigslice::prelude::*;

use crate::cases;
use crate::world::World;

cases![
    files_are_read_by_the_names_of_fields,
    what_a_file_lacks_is_named,
    types_that_hold_all_values_are_converted_to,
    formats_by_their_endings,
    json_and_arrow_files,
];

#[derive(Row, Debug, PartialEq, PartialOrd)]
struct Flight {
    carrier: String,
    dep_delay: Option<f64>,
}

/// The flights that left New York in 2013: real data, in 12 files.
fn flights() -> String {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    root.join("testdata/flights/flights/*.parquet").to_str().unwrap().to_owned()
}

#[bigslice::func]
fn worst(path: String) -> Result<Slice<(String, (f64, u64))>> {
    Ok(Slice::<Flight>::read_parquet(path)?
        .filter(|f| f.dep_delay.is_some())
        .map(|f| (f.carrier.to_owned(), (f.dep_delay.unwrap_or(0.0), 1u64)))
        .reduce(|(a, m), (b, n)| (a + b, m + n))
        .top_k(3, |(_, (sum, n))| sum / n as f64))
}

async fn files_are_read_by_the_names_of_fields(world: &World) {
    let found = world.rows(worst(flights())).await;
    let found: Vec<_> =
        found.iter().map(|(c, (sum, n))| (c.as_str(), (sum / *n as f64 * 10.0).round())).collect();
    let sql = format!(
        "select carrier, round(avg(dep_delay) * 10) as d from '{}' group by 1 order by 2 desc limit 3",
        flights()
    );
    let right = world.sql(&sql).await;
    for (carrier, delay) in &found {
        assert!(right.contains(&format!("| {carrier}      | {delay:.1} |")), "{found:?}\n{right}");
    }
    assert_eq!(found.len(), 3);
}

#[derive(Row, Debug)]
struct Lacking {
    carier: String,
}

#[derive(Row, Debug)]
struct Narrower {
    dep_delay: Option<i8>,
}

#[bigslice::func]
fn lacking(path: String) -> Result<Slice<Lacking>> {
    Slice::read(path)
}

#[bigslice::func]
fn narrower(path: String) -> Result<Slice<Narrower>> {
    Slice::read(path)
}

#[derive(Row, Debug)]
struct Delay {
    dep_delay: f64,
}

#[bigslice::func]
fn without_nulls(path: String) -> Result<Slice<i64>> {
    Ok(Slice::<Delay>::read(path)?.map(|d| d.dep_delay as i64))
}

async fn what_a_file_lacks_is_named(world: &World) {
    let error = world.error(lacking(flights())).await;
    let text = error.to_string();
    assert!(text.contains("\"carier\"") && text.contains("flights/flights"), "{text}");
    assert!(error.hint().unwrap().contains("carrier"), "{error:?}");
    let text = world.error(narrower(flights())).await.to_string();
    for part in ["\"dep_delay\" of", "is Int", "has Int8", "flights/flights"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let text = world.error(without_nulls(flights())).await.to_string();
    assert!(text.contains("\"dep_delay\" is null in row"), "{text}");
    let text = world.error(lacking(world.path("none.parquet"))).await.to_string();
    assert!(text.contains("none.parquet"), "{text}");
}

#[derive(Row, Debug, PartialEq)]
struct Wide {
    a: i64,
    b: String,
    c: Option<f64>,
}

#[bigslice::func]
fn wide(paths: Vec<String>) -> Result<Slice<Wide>> {
    Slice::read(paths)
}

async fn types_that_hold_all_values_are_converted_to(world: &World) {
    let path = world.path("small.parquet");
    let rows = "select a::smallint as a, b, c::float as c, 1 as more \
                from (values (1, 'x', 0.5), (2, 'y', null)) t(a, b, c)";
    world.sql(&format!("copy ({rows}) to '{path}'")).await;
    let found = world.rows(wide(vec![path])).await;
    let row = |a, b: &str, c| Wide { a, b: b.to_owned(), c };
    assert_eq!(found, [row(1, "x", Some(0.5)), row(2, "y", None)]);
}

#[bigslice::func]
fn csv(path: String) -> Result<Slice<Wide>> {
    Slice::read_csv(path)
}

async fn formats_by_their_endings(world: &World) {
    let rows = "select 7::bigint as a, 'x' as b, 0.5::double as c";
    let paths: Vec<String> =
        ["t.csv", "t.json", "t.parquet", "t.arrow"].iter().map(|name| world.path(name)).collect();
    for path in &paths {
        world.sql(&format!("copy ({rows}) to '{path}'")).await;
    }
    assert_eq!(world.rows(wide(paths.clone())).await.len(), 4);
    assert_eq!(world.rows(csv(paths[0].clone())).await.len(), 1);
    let text = world.error(csv(paths[2].clone())).await.to_string();
    assert!(text.contains("t.parquet") && text.contains("parquet"), "{text}");
}

#[bigslice::func]
fn json(path: String) -> Result<Slice<Wide>> {
    Slice::read_json(path)
}

#[bigslice::func]
fn arrow_ipc(path: String) -> Result<Slice<Wide>> {
    Slice::read_arrow(path)
}

async fn json_and_arrow_files(world: &World) {
    let row = |a, b: &str, c| Wide { a, b: b.to_owned(), c };
    // Fields in any order, additional ones, and missing ones.
    let text = "{\"b\": \"x\", \"a\": 1, \"more\": [1, 2], \"c\": 0.5}\n\
                {\"a\": -2, \"b\": \"\\u00e4 \\\"y\\\"\", \"c\": null}\n\
                {\"a\": 3, \"b\": \"\"}\n";
    std::fs::write(world.path("t.jsonl"), text).unwrap();
    let right = [row(1, "x", Some(0.5)), row(-2, "\u{e4} \"y\"", None), row(3, "", None)];
    assert_eq!(world.rows(json(world.path("t.jsonl"))).await, right);

    let rows = "select 'more' as more, b, c, a from (values (1::bigint, 'x', 0.5::double), \
                (-2, '\u{e4} \"y\"', null), (3, '', null)) t(a, b, c)";
    world.sql(&format!("copy ({rows}) to '{}'", world.path("t.arrow"))).await;
    assert_eq!(world.rows(arrow_ipc(world.path("t.arrow"))).await, right);

    // Large files, whose shards have all rows between them.
    let many = "select value::bigint as a, 'row ' || value as b, value / 4.0 as c \
                from generate_series(0, 49999)";
    for name in ["many.json", "many.arrow"] {
        let path = world.path(name);
        world.sql(&format!("copy ({many}) to '{path}'")).await;
        let read = if name.ends_with("json") { json(path) } else { arrow_ipc(path) };
        let mut found = world.rows(read).await;
        found.sort_unstable_by_key(|row| row.a);
        let right = (0..50_000).map(|n| row(n, &format!("row {n}"), Some(n as f64 / 4.0)));
        assert!(found.into_iter().eq(right), "{name}");
    }

    // Missing files, wrong types, and wrong formats.
    std::fs::write(world.path("bad.json"), "{\"a\": \"one\", \"b\": \"x\"}\n").unwrap();
    let error = world.error(json(world.path("bad.json"))).await;
    assert!(error.is_user_error() && error.to_string().contains("bad.json"), "{error:?}");
    std::fs::write(world.path("bad.arrow"), "this is no Arrow").unwrap();
    let error = world.error(arrow_ipc(world.path("bad.arrow"))).await;
    assert!(error.is_user_error() && error.to_string().contains("bad.arrow"), "{error:?}");
    for error in [
        world.error(json(world.path("t.arrow"))).await,
        world.error(arrow_ipc(world.path("t.jsonl"))).await,
    ] {
        let text = error.to_string();
        assert!(error.is_user_error() && text.contains("/t."), "{error:?}");
        assert!(text.contains("read_json at ") || text.contains("read_arrow at "), "{text}");
    }
}
