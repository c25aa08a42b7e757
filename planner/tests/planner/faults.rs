//! DataFusion faults that our rules and functions work around: plain DataFusion still has them, and
//! our sessions do not. Once a guard's case fails for plain DataFusion, that guard can go.

use bigslice_planner::{install, rewrite};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::error::Result;
use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};

/// The guard, a query, and its correct rows, or a part of its error message.
const FAULTS: &[(&str, &str, &str)] = &[
    (
        "in_lists",
        "SELECT x IN (1) AND x IN (2), x NOT IN (1) OR x NOT IN (2) FROM (VALUES (NULL), (1)) AS t(x) ORDER BY x NULLS FIRST",
        "null,null;false,true",
    ),
    (
        "simplify: regex",
        "SELECT x ~ '.*' FROM (VALUES (NULL), ('a')) AS t(x) ORDER BY x",
        "true;null",
    ),
    ("simplify: backslash", r"SELECT x ~ 'a\\b' FROM (VALUES ('a\b')) AS t(x)", "true"),
    (
        "simplify: half a second",
        "SELECT count(*) FROM (SELECT CAST(x AS TIMESTAMP(0)) AS t FROM (VALUES ('2024-01-01 00:00:00')) AS v(x)) WHERE t < TIMESTAMP '2024-01-01 00:00:00.5'",
        "1",
    ),
    ("simplify: signs", "SELECT -(x & 3) FROM (VALUES (6)) AS t(x)", "-2"),
    (
        "leaves",
        "SELECT count(*) FROM (SELECT s['a'] AS f, s AS w FROM (SELECT named_struct('a', random()) AS s FROM generate_series(1, 9)) AS q) AS t WHERE f <> w['a']",
        "0",
    ),
    (
        "aggregates_some_rows",
        "SELECT min(1) FILTER (WHERE true) FROM (SELECT count(*) AS n FROM (VALUES (1), (2)) AS t(x)) AS q WHERE n > 1",
        "1",
    ),
    (
        "unnest: NOT IN of a nullable value",
        "SELECT count(*) FROM generate_series(1, 2) AS t(id) WHERE nullif(1, id) NOT IN (SELECT 1)",
        "0",
    ),
    (
        "unnest: NOT IN of a value that becomes a constant",
        "SELECT count(*) FROM (VALUES (1)) AS t(id) WHERE coalesce(1, id) NOT IN (SELECT x FROM (VALUES (NULL), (2)) AS u(x))",
        "0",
    ),
    (
        "volatile_once",
        "SELECT count(*) BETWEEN 400 AND 800 FROM generate_series(1, 5000) WHERE random() BETWEEN 0.45 AND 0.55",
        "true",
    ),
    (
        "at_time_zone",
        "SELECT CAST(TIMESTAMP '2024-01-01 03:00:00' AT TIME ZONE 'UTC' AT TIME ZONE 'America/New_York' AS TIMESTAMP)",
        "2023-12-31T22:00:00",
    ),
    (
        "cast_time: a skipped local time",
        "SELECT TIMESTAMP '2024-03-10 02:30:00' AT TIME ZONE 'America/New_York' AT TIME ZONE 'UTC'",
        "2024-03-10T07:30:00",
    ),
    (
        "shift_time",
        "SELECT (TIMESTAMP '2024-03-09 02:30:00' AT TIME ZONE 'America/New_York' + INTERVAL '1 day') AT TIME ZONE 'UTC'",
        "2024-03-10T07:30:00",
    ),
    (
        "cast_time: text",
        "SELECT CAST(TIMESTAMP '2024-01-01 12:00:00' AS VARCHAR)",
        "2024-01-01 12:00:00",
    ),
    ("time: without seconds", "SELECT TIMESTAMP '2024-01-01 12:00'", "2024-01-01T12:00:00"),
    (
        "time: the year 9999",
        "SELECT TIMESTAMP '9999-12-31 00:00:00' > TIMESTAMP '2024-01-01 00:00:00'",
        "true",
    ),
    (
        "time_order: the year 9999",
        "SELECT d > TIMESTAMP '2024-01-01 00:00:00' FROM (VALUES (DATE '9999-12-31')) AS t(d)",
        "true",
    ),
    ("time_order: intervals", "SELECT INTERVAL '24 hours' = INTERVAL '1 day'", "true"),
    (
        "date_part: a difference of timestamps",
        "SELECT extract(hour FROM TIMESTAMP '2024-01-02 02:00:00' - TIMESTAMP '2024-01-01 00:00:00')",
        "2",
    ),
    (
        "date_part: the year 3000",
        "SELECT count(*) FROM (VALUES (TIMESTAMP '2024-01-01 00:00:00')) AS t(x) WHERE extract(year FROM x) < 3000",
        "1",
    ),
    (
        "date_trunc",
        "SELECT date_trunc('year', CAST(DATE '9999-12-31' AS TIMESTAMP(6)))",
        "9999-01-01T00:00:00",
    ),
    (
        "round_parts: floats",
        "SELECT CAST(x AS INTEGER) FROM (VALUES (0.5::double), (1.5::double), (2.5::double), (-1.7::double)) AS t(x) ORDER BY x",
        "-2;1;2;3",
    ),
    ("headers: casts", "SELECT CAST(x AS BIGINT) FROM (VALUES (2), (1)) AS t(x) ORDER BY x", "1;2"),
    (
        "window_types",
        "SELECT lag(i, 1, 0.5) OVER (ORDER BY i) FROM (VALUES (1), (2)) AS t(i) ORDER BY i",
        "0.5;1.0",
    ),
    (
        "interval_mean",
        "SELECT avg(i) = INTERVAL '2 days' FROM (VALUES (INTERVAL '1 day'), (INTERVAL '3 days')) AS t(i)",
        "true",
    ),
    (
        "mixed_numbers: rows",
        "SELECT (a, 1) = (b, 1) FROM (SELECT 0.1 + 1e-16 AS a, cast('0.1' AS DECIMAL(3, 1)) AS b) AS t",
        "false",
    ),
    (
        "mixed_values",
        "SELECT x FROM (VALUES (1e300), (cast('1.25' AS DECIMAL(5, 2)))) AS t(x) ORDER BY x",
        "1.25;1e300",
    ),
    (
        "number_texts: numbers and dates",
        "SELECT 1 UNION ALL SELECT DATE '2024-01-01'",
        "error: column 1 of a UNION is",
    ),
    (
        "range_frames",
        "SELECT count(*) OVER (ORDER BY b) FROM (VALUES (X'01'), (X'02')) AS t(b) ORDER BY b",
        "1;2",
    ),
    (
        "nullable",
        "SELECT (SELECT 1 FROM (VALUES (1)) AS u(a) WHERE a > 5) IS NULL, (SELECT count(*) FROM (VALUES (1)) AS u(a) HAVING count(*) > 5) IS NULL",
        "true,true",
    ),
    (
        "recomputed",
        "SELECT bool_or(x) OVER (ORDER BY i ROWS 1 PRECEDING) FROM (VALUES (1, true), (2, false), (3, false)) AS t(i, x) ORDER BY i",
        "true;true;false",
    ),
    (
        "mean",
        "SELECT avg(x) FROM (VALUES (1::decimal(5, 2)), (2::decimal(5, 2)), (2::decimal(5, 2))) AS t(x)",
        "1.666667",
    ),
    (
        "sliding",
        "SELECT sum(x) OVER (ORDER BY i ROWS 1 PRECEDING) FROM (VALUES (1, 1e20::double), (2, 1::double), (3, 1::double)) AS t(i, x) ORDER BY i",
        "1e20;1e20;2.0",
    ),
    (
        "distinct",
        "SELECT sum(DISTINCT x) FROM (VALUES (9223372036854775807), (1)) AS t(x)",
        "error: verflow",
    ),
    (
        "percentile",
        "SELECT median(x) FROM (VALUES (1.1::decimal(3, 1)), (1.2::decimal(3, 1))) AS t(x)",
        "1.15",
    ),
    ("overrides: lists as text", "SELECT length([1, 22, 333]), reverse([1, 22])", "3,[22, 1]"),
    ("overrides: regexes", "SELECT regexp_replace('ab', '(b)', '$1')", "a$1"),
    ("overrides: sorted", "SELECT array_sort([2, NULL, 1])", "[1, 2, null]"),
    ("overrides: to_char", "SELECT to_char(TIMESTAMP '2024-02-03 04:05:06', 'YYYY/MM')", "2024/02"),
    (
        "overrides: whole decimals",
        "SELECT ceil(x) FROM (VALUES (9.99::decimal(3, 2))) AS t(x)",
        "10",
    ),
    ("overrides: choices", "SELECT greatest([1], [NULL])", "[null]"),
    ("time_units", "SELECT TIME '01:00:00' IN (arrow_cast('01:00:00', 'Time32(Second)'))", "true"),
    ("calls: power", "SELECT 2 ^ 3", "8.0"),
    ("calls: any", "SELECT 1 = ANY([2, NULL])", "null"),
    ("calls: mod", "SELECT mod(7, 4)", "3"),
    ("calls: a list of rows", "SELECT ARRAY(SELECT 1)", "[1]"),
    ("ordinals", "SELECT DISTINCT abs(x) FROM (VALUES (2), (-1)) AS t(x) ORDER BY abs(x)", "1;2"),
    ("lateral: rows in IN", "SELECT (1, 2) IN (SELECT 1, 2)", "true"),
    (
        "lateral: series",
        "SELECT n, g.value FROM (VALUES (2)) AS t(n), generate_series(1, t.n) AS g(value) ORDER BY 2",
        "2,1;2,2",
    ),
    ("decimals", "SELECT 1.005::decimal(8, 2)", "1.01"),
    ("decimal_literals", "SELECT x * 0.15 FROM (VALUES (19.90::decimal(6, 2))) AS t(x)", "2.9850"),
    ("quotient", "SELECT x / 3 FROM (VALUES (2.00::decimal(6, 2))) AS t(x)", "0.666667"),
    (
        "reshape: rollup",
        "SELECT x, count(*) FROM (VALUES (1), (1)) AS t(x) GROUP BY ROLLUP (x, x) ORDER BY x, 2",
        "1,2;1,2;null,2",
    ),
    (
        "windows: a definition in ORDER BY",
        "SELECT x FROM (VALUES (1), (2)) AS t(x) WINDOW w AS (ORDER BY x DESC) ORDER BY row_number() OVER w",
        "2;1",
    ),
    (
        "short_circuit",
        "SELECT count(*) FROM (VALUES (1, 0), (4, 2)) AS t(x, y) WHERE y <> 0 AND x / y > 1",
        "1",
    ),
    (
        "kept_order",
        "SELECT string_agg(s, ',') FROM (SELECT s FROM (VALUES (2, 'b'), (1, 'a')) AS t(i, s) ORDER BY i) AS q",
        "a,b",
    ),
    (
        "min_max: no groups",
        "SELECT max(x) FROM (VALUES (-('NaN'::double)), (1.0::double)) AS t(x)",
        "NaN",
    ),
    (
        "min_max: groups",
        "SELECT g, min(x) FROM (VALUES (1, 1.0::double), (1, 'NaN'::double)) AS t(g, x) GROUP BY g",
        "1,1.0",
    ),
    ("text_calls", "SELECT left([12, 3], 2)", "error: left"),
    (
        "numbers: filtered arguments",
        "SELECT k, sum(x / y) FILTER (WHERE y <> 0) FROM (VALUES (1, 1, 0), (1, 4, 2)) AS t(k, x, y) GROUP BY k",
        "1,2",
    ),
    (
        "numbers: duplicate keys",
        "SELECT k, array_agg(x ORDER BY y, y) FROM (VALUES (1, 2, 3), (1, 3, 2)) AS t(k, x, y) GROUP BY k",
        "1,[3, 2]",
    ),
    (
        "nulled_properties",
        "SELECT a FROM (SELECT value % 3 AS a, value AS b FROM generate_series(1, 9)) AS t WHERE a = 1 GROUP BY ROLLUP (a, b) ORDER BY a NULLS FIRST LIMIT 1",
        "null",
    ),
    (
        "days_between",
        "SELECT count(*) FROM (SELECT DATE '2024-01-01' + CAST(value AS INTEGER) AS d FROM generate_series(1, 3)) AS t WHERE d - DATE '2024-01-01' > 1",
        "2",
    ),
    (
        "requirements",
        "SELECT a FROM (SELECT a FROM (VALUES (1), (2), (3), (4), (5), (6), (7)) AS t(a) LIMIT 4 OFFSET 3) AS q ORDER BY a DESC",
        "7;6;5;4",
    ),
    (
        "shield",
        "SELECT count(*) FROM (SELECT value AS x, value % 2 AS y FROM generate_series(1, 4)) AS a LEFT JOIN (SELECT value AS z FROM generate_series(0, 9)) AS b ON z <> y AND y <> 0 AND x / y > z",
        "5",
    ),
];

#[tokio::test]
async fn each_guard_is_still_needed() {
    let plain = SessionContext::new_with_config(config());
    let mut fixed = Vec::new();
    for (guard, sql, right) in FAULTS {
        if is_right(&rows(&plain, sql, false).await, right) {
            fixed.push(guard);
        }
    }
    assert!(fixed.is_empty(), "DataFusion has fixed the faults behind these: {fixed:?}");
}

#[tokio::test]
async fn each_guard_works_around_its_fault() {
    let builder = SessionStateBuilder::new().with_default_features().with_config(config());
    let ours = SessionContext::new_with_state(install(builder).build());
    let mut wrong = Vec::new();
    for (guard, sql, right) in FAULTS {
        let outcome = rows(&ours, sql, true).await;
        if !is_right(&outcome, right) {
            wrong.push(format!("{guard}: {outcome:?} for {right}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn is_right(outcome: &Result<String>, right: &str) -> bool {
    match (outcome, right.strip_prefix("error: ")) {
        (Ok(rows), None) => rows == right,
        (Err(error), Some(part)) => error.to_string().contains(part),
        _ => false,
    }
}

fn config() -> SessionConfig {
    SessionConfig::new().with_target_partitions(2)
}

/// The rows of a query, with cells separated by commas and rows by semicolons.
async fn rows(context: &SessionContext, sql: &str, ours: bool) -> Result<String> {
    let state = context.state();
    let dialect = state.config_options().sql_parser.dialect;
    let mut statement = state.sql_to_statement(sql, &dialect)?;
    if ours {
        statement = rewrite(statement).expect("no clause is refused");
    }
    let plan = state.statement_to_plan(statement).await?;
    let batches = context.execute_logical_plan(plan).await?.collect().await?;
    let options = FormatOptions::new().with_null("null");
    let mut rows = Vec::new();
    for batch in batches {
        let columns = batch.columns().iter();
        let columns = columns.map(|column| ArrayFormatter::try_new(column, &options));
        let columns = columns.collect::<std::result::Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            let cells = columns.iter().map(|column| column.value(row).to_string());
            rows.push(cells.collect::<Vec<_>>().join(","));
        }
    }
    Ok(rows.join(";"))
}
