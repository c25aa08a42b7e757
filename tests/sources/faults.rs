//! Faults of plain DataFusion, arrow and parquet that the engine and its file formats work around:
//! plain DataFusion still has them, and our sessions do not. Once plain DataFusion is right in a
//! guard's case, that guard can go.

use std::panic::AssertUnwindSafe;

use datafusion::prelude::SessionContext;
use futures::FutureExt;

use crate::world::{World, lines};

/// The guard, its statements (separated by semicolons, `@` is a folder), and the correct rows of
/// the last of them, or a part of its error message.
const FAULTS: &[(&str, &str, &str)] = &[
    (
        "statement/inserted",
        "CREATE TABLE t (a BIGINT, b BIGINT); INSERT INTO t SELECT x, x FROM (VALUES (1)) AS v(x); \
         SELECT * FROM t",
        "1|1",
    ),
    (
        "statement/lookup: series of timestamps",
        "SELECT count(*) FROM generate_series(CAST('2024-01-01' AS TIMESTAMP(6)), \
         CAST('2024-01-03' AS TIMESTAMP(6)), INTERVAL '1 day')",
        "3",
    ),
    (
        "statement/lookup: views",
        "CREATE TABLE t AS SELECT 1 AS a; CREATE VIEW v AS SELECT * FROM t; DROP TABLE t; \
         CREATE TABLE t AS SELECT 2 AS a; SELECT a FROM v",
        "2",
    ),
    ("base/set: time zones", "SET datafusion.execution.time_zone = 'Nowhere'", "error: time zone"),
    (
        "float_bounds: NaN",
        "COPY (SELECT x FROM (VALUES ('NaN'::double), (1.0::double)) AS t(x)) TO '@t.parquet'; \
         CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION '@t.parquet'; \
         SELECT count(*) FROM t WHERE x > 5",
        "1",
    ),
    (
        "float_bounds: Bloom filters",
        "COPY (SELECT x FROM (VALUES (-('0.0'::double)), (1.0::double), (-1.0::double)) AS t(x)) \
         TO '@t.parquet' OPTIONS ('format.bloom_filter_on_write' true); \
         CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION '@t.parquet'; \
         SELECT count(*) FROM t WHERE x = 0.0",
        "1",
    ),
    (
        "scan/statistics: NaN",
        "COPY (SELECT x FROM (VALUES ('NaN'::double), (1.0::double)) AS t(x)) TO '@t.parquet'; \
         CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION '@t.parquet'; SELECT max(x) FROM t",
        "NaN",
    ),
    (
        "arrow_file: columns in another order",
        "COPY (SELECT 1 AS a, 2 AS b) TO '@d/1.arrow'; COPY (SELECT 2 AS b, 1 AS a) TO '@d/2.arrow'; \
         CREATE EXTERNAL TABLE t STORED AS ARROW LOCATION '@d/'; SELECT a FROM t",
        "1\n1",
    ),
    (
        "adapt: capital letters",
        "COPY (SELECT 1 AS \"Name\") TO '@t.parquet'; \
         CREATE EXTERNAL TABLE t (name BIGINT) STORED AS PARQUET LOCATION '@t.parquet'; \
         SELECT name FROM t",
        "1",
    ),
    (
        "sink/text: nulls in JSON",
        "COPY (SELECT 1 AS i, CAST(NULL AS BIGINT) AS v) TO '@t.json'; \
         CREATE EXTERNAL TABLE t STORED AS JSON LOCATION '@t.json'; SELECT v IS NULL FROM t",
        "true",
    ),
    (
        "sink/text: NaN in JSON",
        "COPY (SELECT 'NaN'::double AS x) TO '@t.json'; \
         CREATE EXTERNAL TABLE t STORED AS JSON LOCATION '@t.json'; SELECT CAST(x AS VARCHAR) FROM t",
        "NaN",
    ),
    (
        "sink/delimited",
        "COPY (SELECT 1 AS a, CAST(NULL AS VARCHAR) AS b UNION ALL SELECT 2, '') TO '@t.csv'; \
         CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '@t.csv' OPTIONS ('format.has_header' true); \
         SELECT a FROM t WHERE b IS NULL",
        "1",
    ),
    (
        "partition_text: nulls",
        "COPY (SELECT nullif(1, 1) AS p, 1 AS x) TO '@t/' STORED AS PARQUET PARTITIONED BY (p); \
         CREATE EXTERNAL TABLE t STORED AS PARQUET PARTITIONED BY (p) LOCATION '@t/'; \
         SELECT p IS NULL, x FROM t",
        "true|1",
    ),
    (
        "partition_text: types",
        "COPY (SELECT TIMESTAMP '2024-01-01 00:00:00' AS p, 1 AS x) TO '@t/' STORED AS PARQUET \
         PARTITIONED BY (p); \
         CREATE EXTERNAL TABLE t STORED AS PARQUET PARTITIONED BY (p) LOCATION '@t/'; \
         SELECT count(p) FROM t",
        "1",
    ),
    (
        "table/options",
        "COPY (SELECT 1 AS a) TO '@t.parquet' OPTIONS ('format.max_row_group_size' 0)",
        "error: max_row_group_size",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_guard_is_still_needed() {
    let mut fixed = Vec::new();
    for (guard, statements, right) in FAULTS {
        let world = World::here().await;
        let statements = statements.replace('@', &world.at(""));
        let outcome = AssertUnwindSafe(plain(&statements)).catch_unwind().await;
        let outcome = outcome.unwrap_or_else(|_| Err("a panic".to_owned()));
        if is_right(&outcome, right) {
            fixed.push(guard);
        }
        world.session.shutdown().await;
    }
    assert!(fixed.is_empty(), "DataFusion has fixed the faults behind these: {fixed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_guard_works_around_its_fault() {
    let mut wrong = Vec::new();
    for (guard, statements, right) in FAULTS {
        let world = World::here().await;
        let outcome = ours(&world, statements).await;
        if !is_right(&outcome, right) {
            wrong.push(format!("{guard}: {outcome:?} for {right}"));
        }
        world.session.shutdown().await;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn is_right(outcome: &Result<String, String>, right: &str) -> bool {
    match (outcome, right.strip_prefix("error: ")) {
        (Ok(rows), None) => rows == right,
        (Err(error), Some(part)) => error.contains(part),
        _ => false,
    }
}

async fn plain(statements: &str) -> Result<String, String> {
    let context = SessionContext::new();
    let mut rows = Vec::new();
    for sql in statements.split("; ") {
        let frame = context.sql(sql).await.map_err(|error| error.to_string())?;
        rows = frame.collect().await.map_err(|error| error.to_string())?;
    }
    Ok(lines(&rows))
}

async fn ours(world: &World, statements: &str) -> Result<String, String> {
    let mut rows = Vec::new();
    for sql in statements.split("; ") {
        rows = world.attempt(sql).await.map_err(|error| error.to_string())?;
    }
    Ok(lines(&rows))
}
