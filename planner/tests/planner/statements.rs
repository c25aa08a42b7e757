//! Limits on statements: statements that would crash the process are refused, usual ones pass, and
//! those that pass can be planned on a thread with the engine's stack size.

use std::thread;

use bigslice_planner::{Error, StatementLimits, Tokens, check_statement, check_text, parse};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::dialect::GenericDialect;
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

fn parsed(sql: &str) -> Statement {
    parse(sql, Box::new(GenericDialect {}), 50).expect("it can be parsed")
}

/// The checks before the statement is parsed.
fn check_unparsed(sql: &str, limits: &StatementLimits) -> Result<(), Error> {
    check_text(sql, limits)?;
    Tokens::of(sql, Box::new(GenericDialect {}))?.check(limits)
}

/// All checks, as the engine applies them.
fn verdict(sql: &str) -> Result<(), Error> {
    let limits = StatementLimits::default();
    check_unparsed(sql, &limits)?;
    check_statement(&parsed(sql), &limits)
}

/// Runs on a thread with the engine's stack size, so that an accepted statement cannot crash the
/// test.
fn on_large_stack<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = thread::Builder::new().stack_size(STACK).spawn(work).expect("a thread");
    thread.join().expect("the work does not panic")
}

#[test]
fn realistic_statements_pass_and_can_be_planned() {
    let cases = [
        format!("SELECT 1 FROM t WHERE {}", list(300, " OR ", |i| format!("x = {i} AND k = {i}"))),
        format!("SELECT 1 FROM t WHERE {}", list(900, " OR ", |i| format!("x = {i}"))),
        format!("SELECT 1 FROM t WHERE {}", list(3_000, " OR ", |i| format!("x = {i}"))),
        format!("SELECT 1 FROM t WHERE x IN ({})", list(100_000, ", ", |i| i.to_string())),
        format!("SELECT {} FROM t", list(500, ", ", |i| format!("x + {i} AS c{i}"))),
        format!("SELECT CASE {} END FROM t", list(400, " ", |i| format!("WHEN x = {i} THEN {i}"))),
        format!("SELECT * FROM (VALUES {})", list(10_000, ", ", |i| format!("({i}, 'a')"))),
        list(200, " UNION ALL ", |_| "SELECT x FROM t".to_owned()),
        chained_ctes(100),
        joins(40),
    ];
    let wide = format!("CREATE TABLE wide ({})", list(500, ", ", |i| format!("c{i} BIGINT")));
    assert!(verdict(&wide).is_ok(), "{:?}", verdict(&wide));
    for sql in cases {
        assert!(verdict(&sql).is_ok(), "{:?} of {}", verdict(&sql), &sql[..80]);
        on_large_stack(move || {
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let context = single_process();
                let table = context.sql("CREATE TABLE t AS SELECT 1 AS x, 2 AS k").await;
                table.expect("it can be made");
                let state = context.state();
                let planned = state.statement_to_plan(parsed(&sql)).await;
                let planned = planned.expect("it can be planned");
                state.create_physical_plan(&planned).await.expect("it can be lowered");
            });
        });
    }
}

/// The name of the limit and a statement that exceeds it.
#[test]
fn statements_that_would_kill_the_process_are_refused() {
    let cases = [
        ("expressions", list(20_000, " OR ", |i| format!("a = {i}"))),
        ("operators in one chain", format!("SELECT {}", list(4_900, "+", |_| "1".to_owned()))),
        ("set operations", list(1_400, " UNION ALL ", |_| "SELECT 1".to_owned())),
        ("set operations", list(5_000, " UNION ALL ", |_| "SELECT x FROM t".to_owned())),
        ("common table expressions", chained_ctes(5_000)),
        ("common table expressions", chained_ctes(900)),
        ("joins", joins(600)),
        ("bytes", format!("SELECT '{}'", "a".repeat(16 * 1024 * 1024))),
        ("levels of nested expressions", list(2_400, " || ", |i| format!("x{i}"))),
    ];
    for (what, sql) in cases {
        let sql = if sql.contains("SELECT") { sql } else { format!("SELECT 1 FROM t WHERE {sql}") };
        let refused = on_large_stack(move || verdict(&sql).expect_err("it is refused"));
        let Error::TooLarge { what: found_what, found, limit, setting } = &refused else {
            panic!("{refused}");
        };
        assert_eq!(*found_what, what);
        assert!(found > limit);
        assert!(refused.to_string().contains(&format!("the limit is {limit}")), "{refused}");
        assert!(refused.hint().expect("a way out").contains(setting), "{refused}");
    }
}

/// Clauses that a hand-written visitor had missed.
#[test]
fn expressions_are_counted_wherever_they_stand() {
    let limits = StatementLimits { depth_max: 10, ..StatementLimits::default() };
    let deep = "((((((1 + 2) + 3) + 4) + 5) + 6) + 7)";
    for sql in [
        format!("SELECT DISTINCT ON ({deep}) x FROM t"),
        format!("SELECT sum(x) OVER w FROM t WINDOW w AS (PARTITION BY {deep})"),
        format!("SELECT sum(x) OVER (ORDER BY x ROWS {deep} PRECEDING) FROM t"),
        format!("SELECT count(*) FILTER (WHERE x > {deep}) FROM t"),
        format!("SELECT * REPLACE ({deep} AS x) FROM t"),
        format!("FROM t |> WHERE x > {deep}"),
        format!("MERGE INTO t USING u ON t.x = {deep} WHEN MATCHED THEN DELETE"),
        format!("PREPARE p AS SELECT {deep}"),
        format!("COPY (SELECT {deep}) TO 'x.csv'"),
    ] {
        assert!(check_statement(&parsed(&sql), &limits).is_err(), "{sql}");
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
        let refused = check_unparsed(&sql, &StatementLimits::default()).expect_err(&sql[..40]);
        assert!(refused.to_string().contains("operators in one chain"), "{refused}");
    }
}

/// The depth of nested short chains is found in the tree.
#[test]
fn depth_of_the_tree_is_counted() {
    let limits = StatementLimits { depth_max: 10, ..StatementLimits::default() };
    let deep = "SELECT ((((((1 + 2) + 3) + 4) + 5) + 6) + 7)";
    let refused = check_statement(&parsed(deep), &limits).expect_err("it is too deep");
    assert!(refused.to_string().contains("levels of nested expressions"), "{refused}");
    let in_subquery = format!("SELECT * FROM t WHERE x IN ({deep})");
    assert!(check_statement(&parsed(&in_subquery), &limits).is_err(), "a subquery is walked, too");
}

/// Text that cannot be lexed is an error before any token is counted, and long text is not lexed.
#[test]
fn text_that_cannot_be_lexed_is_refused() {
    let limits = StatementLimits::default();
    let open = check_unparsed("SELECT 'never closed", &limits).expect_err("the string is open");
    assert!(open.to_string().contains("Unterminated string literal"), "{open}");
    let long = format!("SELECT 'never closed {}", "a ".repeat(20_000));
    let few = StatementLimits { bytes_max: 10_000, ..limits.clone() };
    assert!(matches!(check_unparsed(&long, &few), Err(Error::TooLarge { .. })));
    assert!(check_unparsed("", &limits).is_ok());
}

/// Tokens are removed from the front without moving the others.
#[test]
fn words_of_ours_are_stripped_before_parsing() {
    let tokens = |sql: &str| Tokens::of(sql, Box::new(GenericDialect {})).expect("it is lexed");
    let mut explained = tokens("explain /* x */ Stages\nselect 1 +");
    assert!(explained.strip_prefix(&["explain", "stages"]));
    let error = explained.parse(50).expect_err("the expression is not complete").to_string();
    assert!(error.contains("EOF"), "{error}");
    let mut wrong = tokens("explain stages\nselect 1 where )");
    assert!(wrong.strip_prefix(&["explain", "stages"]));
    let error = wrong.parse(50).expect_err("there is no condition").to_string();
    assert!(error.contains("Line: 2, Column: 16"), "{error}");
    for sql in ["explain select 1", "explain stages", "select stages", "explain \"stages\" x"] {
        assert!(!tokens(sql).strip_prefix(&["explain", "stages"]), "{sql}");
    }
}

/// More than one statement is an error where the second one starts.
#[test]
fn one_statement_means_one() {
    let parse = |sql| parse(sql, Box::new(GenericDialect {}), 50);
    assert!(parse(" ; select 1;; -- done").is_ok());
    let several = parse("select 1; ; select 2").expect_err("there are two").to_string();
    assert!(several.contains("at Line: 1, Column: 13"), "{several}");
    assert!(parse(";").expect_err("there is none").to_string().contains("no statement"));
}
