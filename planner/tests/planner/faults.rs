//! The faults of DataFusion that rules and functions of ours mend: plain DataFusion has them still, and a session of ours
//! has not. When a guard's case here fails for plain DataFusion, that guard can go.

use bigslice_planner::{install, rewrite};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::error::Result;
use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};

/// What mends it, a query, and the rows that it has.
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
        "drawn_once",
        "SELECT count(*) BETWEEN 400 AND 800 FROM generate_series(1, 5000) WHERE random() BETWEEN 0.45 AND 0.55",
        "true",
    ),
    (
        "at_time_zone",
        "SELECT CAST(TIMESTAMP '2024-01-01 03:00:00' AT TIME ZONE 'UTC' AT TIME ZONE 'America/New_York' AS TIMESTAMP)",
        "2023-12-31T22:00:00",
    ),
    (
        "cast_time: a local time that is left out",
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
        "date_part: what two timestamps differ by",
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
];

#[tokio::test]
async fn each_guard_is_still_needed() {
    let plain = SessionContext::new_with_config(config());
    let mut mended = Vec::new();
    for (guard, sql, right) in FAULTS {
        if matches!(rows(&plain, sql, false).await, Ok(rows) if rows == *right) {
            mended.push(guard);
        }
    }
    assert!(mended.is_empty(), "DataFusion has mended what these are for: {mended:?}");
}

#[tokio::test]
async fn each_guard_mends_its_fault() {
    let builder = SessionStateBuilder::new().with_default_features().with_config(config());
    let ours = SessionContext::new_with_state(install(builder).build());
    let mut wrong = Vec::new();
    for (guard, sql, right) in FAULTS {
        match rows(&ours, sql, true).await {
            Ok(rows) if rows == *right => {}
            Ok(rows) => wrong.push(format!("{guard}: {rows} for {right}")),
            Err(error) => wrong.push(format!("{guard}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn config() -> SessionConfig {
    SessionConfig::new().with_target_partitions(2)
}

/// The rows of a query, cells apart by commas and rows by semicolons.
async fn rows(context: &SessionContext, sql: &str, ours: bool) -> Result<String> {
    let state = context.state();
    let dialect = state.config_options().sql_parser.dialect;
    let mut statement = state.sql_to_statement(sql, &dialect)?;
    if ours {
        statement = rewrite(statement).expect("it has no clause that is refused");
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
