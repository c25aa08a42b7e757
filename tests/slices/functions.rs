//! User functions in SQL and in expressions: scalar and aggregate, over partitions and machines.

use std::collections::BTreeMap;

use bigslice::prelude::*;
use bigslice::row::List;
use chrono::NaiveDate;
use datafusion::logical_expr::col;

use crate::cases;
use crate::world::World;

cases![
    a_function_is_called_by_name,
    null_in_null_out_unless_it_is_an_option,
    arguments_are_converted_where_nothing_is_lost,
    wrong_arguments_are_named,
    errors_and_panics_name_the_function,
    a_constant_call_is_made_once,
    a_function_in_an_expression,
    aggregates_over_groups_and_partitions,
    aggregates_of_nothing,
    aggregates_with_filters_and_windows,
    states_that_own_memory,
    errors_of_aggregates,
];

#[bigslice::udf]
fn gc(seq: &str) -> f64 {
    seq.bytes().filter(|base| matches!(base, b'G' | b'C')).count() as f64 / seq.len() as f64
}

#[bigslice::udf]
fn host(url: &str) -> Option<&str> {
    url.split_once("://").map(|(_, rest)| rest.split('/').next().unwrap_or_default())
}

#[bigslice::udf(name = "or_else")]
fn other(value: Option<i64>, instead: Option<&str>) -> String {
    value.map(|v| v.to_string()).or(instead.map(str::to_owned)).unwrap_or("neither".to_owned())
}

#[bigslice::udf]
fn byte_sum(bytes: &[u8]) -> u64 {
    bytes.iter().map(|b| u64::from(*b)).sum()
}

#[bigslice::udf]
fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[bigslice::udf]
fn joined(words: List<'_, String>, with: &str) -> String {
    words.iter().collect::<Vec<_>>().join(with)
}

#[bigslice::udf]
fn small(x: i8, y: f32) -> f32 {
    f32::from(x) + y
}

#[bigslice::udf]
fn week_later(day: NaiveDate) -> NaiveDate {
    day + chrono::Days::new(7)
}

#[bigslice::udf]
fn up_to(n: u32) -> Vec<u32> {
    (0..n).collect()
}

#[bigslice::udf]
fn parsed(text: &str) -> Result<i64, std::num::ParseIntError> {
    text.parse()
}

#[bigslice::udf]
fn deep(n: i64) -> i64 {
    assert!(n != 13, "thirteen of all");
    n
}

#[bigslice::udf]
fn answer() -> i64 {
    42
}

#[bigslice::udf(volatility = "volatile")]
fn counted() -> u64 {
    static CALLS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    CALLS.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

/// The lines of a result's table, without its border and header.
async fn lines(world: &World, sql: &str) -> Vec<String> {
    let text = world.sql(sql).await;
    let rows = text.lines().filter(|line| line.starts_with('|')).skip(1);
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>().join(" "))
        .collect()
}

async fn failure(world: &World, sql: &str) -> Error {
    match world.session.sql(sql).await {
        Err(error) => error,
        Ok(query) => query.collect().await.unwrap_err(),
    }
}

/// Four files of numbers, so that machines share the partitions.
async fn numbers(world: &World) -> String {
    for part in 0..4 {
        let path = world.path(&format!("numbers/{part}.parquet"));
        let sql = format!(
            "copy (select value as n, value % 7 as k, case when value % 5 = 0 then null else value end \
             as gap, 'r' || (value % 3) as text from range({}, {})) to '{path}'",
            part * 5000,
            (part + 1) * 5000
        );
        world.session.sql(&sql).await.unwrap().collect().await.unwrap();
    }
    world.session.sql("set datafusion.execution.batch_size = 512").await.unwrap();
    format!("'{}/*.parquet'", world.path("numbers"))
}

async fn a_function_is_called_by_name(world: &World) {
    assert_eq!(lines(world, "select gc('GATTACA'), GC('gGcC')").await[0], "0.2857142857142857 0.5");
    assert_eq!(gc("GC"), 1.0);
    let numbers = numbers(world).await;
    let sql = format!("select deep(k + 100) as d, count(*) from {numbers} group by 1 order by 1");
    let found = lines(world, &sql).await;
    assert_eq!(found.len(), 7);
    assert_eq!(found[0], "100 2858");
    let sql = format!("select count(*) from {numbers} where parsed(substr(text, 2)) = 1");
    assert_eq!(lines(world, &sql).await, ["6667"]);
    let sql = format!("select distinct host('http://a.org/' || text) from {numbers}");
    assert_eq!(lines(world, &sql).await, ["a.org"]);
    assert_eq!(lines(world, "select up_to(3), answer()").await, ["[0, 1, 2] 42"]);
    let shown = world.sql("select routine_name from information_schema.routines").await;
    assert!(shown.contains("| gc ") && shown.contains("| geo_mean "), "not listed");
}

async fn null_in_null_out_unless_it_is_an_option(world: &World) {
    let sql = "select gc(s) is null, host(s), or_else(n, s) from (values ('x://y', 1), (null, 2), \
               ('x://z', null), (null, null)) as t(s, n) order by coalesce(s, '~'), n";
    assert_eq!(lines(world, sql).await, ["false y 1", "false z x://z", "true  2", "true  neither"]);
    assert_eq!(lines(world, "select host('none') is null, gc(null) is null").await, ["true true"]);
    let numbers = numbers(world).await;
    let sql = format!("select count(deep(gap)), count(*) from {numbers} where n <> 13");
    assert_eq!(lines(world, &sql).await, ["15999 19999"]);
}

async fn arguments_are_converted_where_nothing_is_lost(world: &World) {
    let sql = "select small(100, 1), small(cast(-3 as bigint), 0.5), byte_sum('ab'), \
               byte_sum(x'0102'), week_later('2013-01-01'), up_to(2)";
    assert_eq!(lines(world, sql).await, ["101.0 -2.5 195 3 2013-01-08 [0, 1]"]);
    for kind in ["varchar", "text", "string"] {
        let sql = format!("select gc(cast('GA' as {kind}))");
        assert_eq!(lines(world, &sql).await, ["0.5"]);
    }
    for arrow in ["LargeUtf8", "Utf8View", "Utf8", "Dictionary(Int32, Utf8)"] {
        let sql =
            format!("select gc(arrow_cast(s, '{arrow}')) from (values ('GA'), ('C')) as t(s)");
        assert_eq!(lines(world, &sql).await, ["0.5", "1.0"], "{arrow}");
    }
    let sql = "select dot([1, 2], [0.5, 0.25]), joined(['a', 'b'], '-'), dot([], [1])";
    assert_eq!(lines(world, sql).await, ["1.0 a-b -0.0"]);
    let error = failure(world, "select small(300, 1)").await.to_string();
    assert!(error.contains("300"), "{error}");
    let error = failure(world, "select dot([1, null], [1, 2])").await.to_string();
    assert!(error.contains("dot at ") && error.contains("\"argument 1[]\" is null"), "{error}");
}

async fn wrong_arguments_are_named(world: &World) {
    let error = failure(world, "select gc(1)").await;
    assert!(error.is_user_error());
    assert_eq!(
        error.to_string(),
        "argument 1 of gc has the type BIGINT, but the function takes VARCHAR"
    );
    let error = failure(world, "select deep(1.5)").await.to_string();
    assert_eq!(error, "argument 1 of deep has the type DOUBLE, but the function takes BIGINT");
    let error = failure(world, "select dot([1])").await.to_string();
    assert!(error.starts_with("dot has 2 arguments (List("), "{error}");
    let error = failure(world, "select geo_mean('x')").await.to_string();
    assert!(error.starts_with("argument 1 of geo_mean has the type VARCHAR"), "{error}");
    let error = failure(world, "select gcc('x')").await;
    assert!(format!("{error} {:?}", error.hint()).contains("gc"), "{error:?}");
}

async fn errors_and_panics_name_the_function(world: &World) {
    let numbers = numbers(world).await;
    let error = failure(world, &format!("select sum(deep(n)) from {numbers}")).await;
    let text = error.to_string();
    assert!(text.starts_with("deep at tests/slices/functions.rs:"), "{text}");
    assert!(text.ends_with(": panicked: thirteen of all"), "{text}");
    assert!(error.is_user_error() && !error.is_retryable(), "{error:?}");
    let error = failure(world, &format!("select max(parsed(text)) from {numbers}")).await;
    let text = error.to_string();
    assert!(text.starts_with("parsed at tests/slices/functions.rs:"), "{text}");
    assert!(text.ends_with(": invalid digit found in string"), "{text}");
    assert!(error.is_user_error() && !error.is_retryable(), "{error:?}");
    // The session and its machines still work.
    assert_eq!(lines(world, &format!("select count(*) from {numbers}")).await, ["20000"]);
}

async fn a_constant_call_is_made_once(world: &World) {
    let plan = world.sql("explain select answer() + 1").await;
    assert!(plan.contains("expr=[43 as answer() + Int64(1)]"), "{plan}");
    let sql = "select count(distinct counted()) from (values (1), (2), (3)) as t(x)";
    assert_eq!(lines(world, sql).await, ["3"]);
}

async fn a_function_in_an_expression(world: &World) {
    let numbers = numbers(world).await;
    let query = format!("create table few as select n, text from {numbers} where n < 4");
    world.session.sql(&query).await.unwrap().collect().await.unwrap();
    let table = world.session.context().table("few").await.unwrap();
    let frame = table.select(vec![or_else_twice(), col("n")]).unwrap();
    let frame = frame.aggregate(vec![], vec![GeoMean::expr(col("n"))]).unwrap();
    let batches = frame.collect().await.unwrap();
    let shown = arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string();
    assert!(shown.contains("| 0.0 "), "{shown}");
}

fn or_else_twice() -> datafusion::logical_expr::Expr {
    other::expr(col("n"), col("text")).alias("twice")
}

#[derive(Clone, Copy, Default, Row)]
struct GeoMean {
    logs: f64,
    n: u64,
}

#[bigslice::udf(aggregate)]
impl GeoMean {
    fn add(&mut self, x: f64) {
        self.logs += x.ln();
        self.n += 1;
    }

    fn merge(&mut self, other: Self) {
        self.logs += other.logs;
        self.n += other.n;
    }

    fn finish(self) -> Option<f64> {
        (self.n > 0).then(|| (self.logs / self.n as f64).exp())
    }
}

/// Counts rows, including nulls, which reveals rows counted twice or never.
#[derive(Clone, Copy, Default, Row)]
struct Tally(u64, u64);

#[bigslice::udf(aggregate)]
impl Tally {
    fn add(&mut self, x: Option<i64>) {
        if x.is_some() { self.0 += 1 } else { self.1 += 1 }
    }

    fn merge(&mut self, other: Self) {
        self.0 += other.0;
        self.1 += other.1;
    }

    fn finish(self) -> String {
        format!("{}+{}", self.0, self.1)
    }
}

/// The longest text, or the first of them in order.
#[derive(Default, Row)]
struct Longest(Option<String>);

#[bigslice::udf(aggregate)]
impl Longest {
    fn add(&mut self, text: &str) -> Result<(), String> {
        if text == "bad" {
            return Err("a bad text".to_owned());
        }
        let order = |text: &str| (text.len(), std::cmp::Reverse(text.to_owned()));
        if self.0.as_deref().is_none_or(|longest| order(longest) < order(text)) {
            self.0 = Some(text.to_owned());
        }
        Ok(())
    }

    fn merge(&mut self, other: Self) -> Result<(), String> {
        other.0.map_or(Ok(()), |text| self.add(&text))
    }

    fn finish(self) -> Option<String> {
        assert!(self.0.as_deref() != Some("unlucky"), "this is what it came to");
        self.0
    }

    fn heap_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, String::capacity)
    }
}

/// The bounds of values; starts with `new`.
#[derive(Clone, Copy, Row)]
struct Span {
    first: i64,
    last: i64,
}

#[bigslice::udf(aggregate, name = "spread")]
impl Span {
    fn new() -> Self {
        Self { first: i64::MAX, last: i64::MIN }
    }

    fn add(&mut self, x: i64) {
        self.first = self.first.min(x);
        self.last = self.last.max(x);
    }

    fn merge(&mut self, other: Self) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }

    fn finish(self) -> i64 {
        self.last.saturating_sub(self.first).max(0)
    }
}

async fn aggregates_over_groups_and_partitions(world: &World) {
    let numbers = numbers(world).await;
    let sql = format!("select tally(gap), spread(n), round(geo_mean(n + 1), 3) from {numbers}");
    let logs: f64 = (1..=20_000).map(|n| f64::from(n).ln()).sum();
    let mean = (logs / 20_000.0).exp();
    assert_eq!(lines(world, &sql).await, [format!("16000+4000 19999 {mean:.3}")]);
    // Few groups, and nearly as many groups as rows.
    for modulus in [7, 15_000] {
        let sql = format!(
            "select n % {modulus} as k, tally(gap), spread(n) from {numbers} group by 1 order by 1"
        );
        let mut right: BTreeMap<i64, (u64, u64, i64, i64)> = BTreeMap::new();
        for n in 0..20_000i64 {
            let (some, none, first, last) =
                right.entry(n % modulus).or_insert((0, 0, i64::MAX, i64::MIN));
            if n % 5 == 0 {
                *none += 1
            } else {
                *some += 1
            }
            (*first, *last) = (n.min(*first), n.max(*last));
        }
        let right = right
            .into_iter()
            .map(|(k, (some, none, first, last))| format!("{k} {some}+{none} {}", last - first));
        assert_eq!(lines(world, &sql).await, right.collect::<Vec<_>>());
    }
}

async fn aggregates_of_nothing(world: &World) {
    let numbers = numbers(world).await;
    let sql = format!(
        "select tally(n), spread(n), geo_mean(n), longest(text) from {numbers} where n < 0"
    );
    assert_eq!(lines(world, &sql).await, ["0+0 0  "]);
    let sql = format!("select k, tally(n) from {numbers} where n < 0 group by k");
    assert!(lines(world, &sql).await.is_empty());
    // Only nulls: nothing was added, but the group exists.
    let sql = "select k, spread(x), geo_mean(x) is null from (values (1, null), (1, null), (2, 5)) as t(k, x) \
               group by k order by k";
    assert_eq!(lines(world, sql).await, ["1 0 true", "2 0 false"]);
    let sql = format!(
        "select a.x, (select spread(n) from {numbers} where k = a.x) from (values (3), (50)) as a(x) \
         order by 1"
    );
    assert_eq!(lines(world, &sql).await, ["3 19992", "50 0"]);
}

async fn aggregates_with_filters_and_windows(world: &World) {
    let numbers = numbers(world).await;
    let sql = format!(
        "select k, tally(n) filter (where n % 2 = 0 and gap is not null) from {numbers} where k < 2 \
         group by k order by k"
    );
    let even = |k: i64| (0..20_000).filter(|n| n % 7 == k && n % 2 == 0 && n % 5 != 0).count();
    assert_eq!(lines(world, &sql).await, [format!("0 {}+0", even(0)), format!("1 {}+0", even(1))]);
    let sql = format!("select tally(n) filter (where gap > 10) from {numbers}");
    assert_eq!(lines(world, &sql).await, ["15992+0"]);
    let sql = format!("select tally(distinct k) from {numbers}");
    assert_eq!(lines(world, &sql).await, ["7+0"]);
    let sql =
        format!("select n, spread(n) over (order by n) from {numbers} where n < 3 order by n");
    assert_eq!(lines(world, &sql).await, ["0 0", "1 1", "2 2"]);
    let sql = format!(
        "select spread(n) over (order by n rows between 1 preceding and current row) from {numbers}"
    );
    let error = failure(world, &sql).await.to_string();
    assert!(error.contains("UNBOUNDED PRECEDING"), "{error}");
}

async fn states_that_own_memory(world: &World) {
    let numbers = numbers(world).await;
    let sql =
        format!("select k, longest(text || n) from {numbers} where k > 4 group by k order by k");
    let longest = |k: i64| {
        let texts = (0..20_000).filter(|n| n % 7 == k).map(|n| format!("r{}{n}", n % 3));
        texts.max_by_key(|text| (text.len(), std::cmp::Reverse(text.clone()))).unwrap()
    };
    assert_eq!(
        lines(world, &sql).await,
        [format!("5 {}", longest(5)), format!("6 {}", longest(6))]
    );
}

async fn errors_of_aggregates(world: &World) {
    let numbers = numbers(world).await;
    let sql = "select longest(x) from (values ('a'), ('bad')) as t(x)";
    let text = failure(world, sql).await.to_string();
    assert!(text.starts_with("longest at tests/slices/functions.rs:"), "{text}");
    assert!(text.ends_with(": a bad text"), "{text}");
    let sql = format!("select k, longest('unlucky') from {numbers} group by k");
    let error = failure(world, &sql).await;
    assert!(error.to_string().ends_with(": panicked: this is what it came to"), "{error}");
    assert!(error.is_user_error() && !error.is_retryable(), "{error:?}");
}
