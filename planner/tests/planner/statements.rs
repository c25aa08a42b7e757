//! Limits on statements: what would kill the process is refused, what people write passes, and
//! what passes can be planned on a thread with the stack that the engine gives it.

use std::thread;

use bigslice_planner::{Error, StatementLimits, check_statement, check_text};
use datafusion::sql::parser::DFParser;
use tokio::runtime::Builder;

use crate::cluster::single_process;

/// The stack of the engine's planning thread.
const STACK: usize = 64 * 1024 * 1024;

fn list(count: usize, separator: &str, item: impl Fn(usize) -> String) -> String {
    (0..count).map(item).collect::<Vec<_>>().join(separator)
}

fn chained_ctes(count: usize) -> String {
    let ctes = list(count, ", ", |i| {
        let from = if i == 0 { "t".to_owned() } else { format!("c{}", i - 1) };
        format!("c{i} AS (SELECT * FROM {from})")
    });
    format!("WITH {ctes} SELECT * FROM c{}", count - 1)
}

fn joins(count: usize) -> String {
    let joins = list(count, " ", |i| format!("JOIN t t{i} ON t{i}.x = t.x"));
    format!("SELECT count(*) FROM t {joins}")
}

/// Both checks, as the engine applies them.
fn verdict(sql: &str) -> Result<(), Error> {
    let limits = StatementLimits::default();
    check_text(sql, &limits)?;
    for statement in DFParser::parse_sql(sql).expect("it can be parsed") {
        check_statement(&statement, &limits)?;
    }
    Ok(())
}

/// Runs on a thread with the engine's stack, so that a statement that is not refused cannot take
/// the test down.
fn on_large_stack<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = thread::Builder::new().stack_size(STACK).spawn(work).expect("a thread");
    thread.join().expect("the work does not panic")
}

#[test]
fn realistic_statements_pass_and_can_be_planned() {
    let cases = [
        format!("SELECT 1 FROM t WHERE {}", list(300, " OR ", |i| format!("x = {i} AND k = {i}"))),
        format!("SELECT 1 FROM t WHERE {}", list(900, " OR ", |i| format!("x = {i}"))),
        format!("SELECT 1 FROM t WHERE x IN ({})", list(4_000, ", ", |i| i.to_string())),
        format!("SELECT {} FROM t", list(500, ", ", |i| format!("x + {i} AS c{i}"))),
        format!("SELECT CASE {} END FROM t", list(400, " ", |i| format!("WHEN x = {i} THEN {i}"))),
        format!("SELECT * FROM (VALUES {})", list(1_500, ", ", |i| format!("({i}, 'a')"))),
        list(200, " UNION ALL ", |_| "SELECT x FROM t".to_owned()),
        chained_ctes(100),
        joins(40),
        format!("CREATE TABLE wide ({})", list(500, ", ", |i| format!("c{i} BIGINT"))),
    ];
    for sql in cases {
        assert!(verdict(&sql).is_ok(), "{:?} of {}", verdict(&sql), &sql[..80]);
        on_large_stack(move || {
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let context = single_process();
                let table = context.sql("CREATE TABLE t AS SELECT 1 AS x, 2 AS k").await;
                table.expect("it can be made");
                let planned = context.sql(&sql).await.expect("it can be planned");
                planned.create_physical_plan().await.expect("it can be lowered");
            });
        });
    }
}

/// The name of the limit and a statement that exceeds it.
#[test]
fn statements_that_would_kill_the_process_are_refused() {
    let cases = [
        ("operators in one chain", list(20_000, " OR ", |i| format!("a = {i}"))),
        ("tokens", format!("SELECT {}", list(6_000, ",", |i| i.to_string()))),
        ("operators in one chain", format!("SELECT {}", list(4_900, "+", |_| "1".to_owned()))),
        ("set operations", list(1_400, " UNION ALL ", |_| "SELECT 1".to_owned())),
        ("tokens", list(5_000, " UNION ALL ", |_| "SELECT x FROM t".to_owned())),
        ("tokens", chained_ctes(5_000)),
        ("common table expressions", chained_ctes(900)),
        ("joins", joins(600)),
        ("bytes", format!("SELECT '{}'", "a".repeat(1024 * 1024))),
        ("levels of nested expressions", list(2_400, " OR ", |i| format!("x{i}"))),
    ];
    for (what, sql) in cases {
        let sql = if sql.contains("SELECT") { sql } else { format!("SELECT 1 FROM t WHERE {sql}") };
        let refused = on_large_stack(move || verdict(&sql).expect_err("it is refused"));
        let Error::TooLarge { what: found_what, found, limit } = &refused else {
            panic!("{refused}");
        };
        assert_eq!(*found_what, what);
        assert!(found > limit);
        assert!(refused.to_string().contains(&format!("the limit is {limit}")), "{refused}");
    }
}

/// Chains are found wherever the grammar allows an expression.
#[test]
fn chains_are_found_in_every_place() {
    let chain = list(3_500, " + ", |_| "1".to_owned());
    for sql in [
        format!("SELECT f(a, {chain}) FROM t"),
        format!("SELECT * FROM t ORDER BY {chain}"),
        format!("SELECT * FROM t LIMIT {chain}"),
        format!("SELECT * FROM g({chain})"),
        format!("SELECT a[{chain}] FROM t"),
        format!("INSERT INTO t VALUES (1, {chain})"),
        format!("SELECT sum(x) OVER (PARTITION BY {chain}) FROM t"),
        format!("SET a.b = {chain}"),
        format!("EXPLAIN ANALYZE SELECT {chain}"),
    ] {
        let refused = check_text(&sql, &StatementLimits::default()).expect_err(&sql[..40]);
        assert!(refused.to_string().contains("operators in one chain"), "{refused}");
    }
}

/// Depth that no single chain shows is found in the tree.
#[test]
fn depth_of_the_tree_is_counted() {
    let limits = StatementLimits { depth_max: 10, ..StatementLimits::default() };
    let deep = "SELECT ((((((1 + 2) + 3) + 4) + 5) + 6) + 7)";
    let statements = DFParser::parse_sql(deep).expect("it can be parsed");
    let refused = check_statement(&statements[0], &limits).expect_err("it is too deep");
    assert!(refused.to_string().contains("levels of nested expressions"), "{refused}");
    let in_subquery = format!("SELECT * FROM t WHERE x IN ({deep})");
    let statements = DFParser::parse_sql(&in_subquery).expect("it can be parsed");
    assert!(check_statement(&statements[0], &limits).is_err(), "a subquery is walked, too");
}

/// Text that has no tokens is left to the parser, which says what is wrong with it.
#[test]
fn text_without_tokens_is_left_to_the_parser() {
    let limits = StatementLimits::default();
    assert!(check_text("SELECT 'never closed", &limits).is_ok());
    let long = format!("SELECT 'never closed {}", "a ".repeat(20_000));
    assert!(check_text(&long, &limits).is_err());
    assert!(check_text("", &limits).is_ok());
}
