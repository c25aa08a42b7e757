//! Faults of plain DataFusion that this crate's syntax rewrites and its rule for set operations
//! work around. Once one of these tests fails, the rewrite can go.

use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::{DFParser, Statement};
use datafusion::sql::sqlparser::ast::{Expr, SetExpr, Statement as Sql};

const A: &str = "(VALUES (1, 10), (2, 20)) a(k, x)";
const B: &str = "(VALUES (2, 200), (4, 400)) b(k, y)";

/// DataFusion's result, or its error.
async fn plain(sql: &str) -> Result<String, String> {
    let context = SessionContext::new();
    let frame = context.sql(sql).await.map_err(|e| e.to_string())?;
    let batches = frame.collect().await.map_err(|e| e.to_string())?;
    Ok(pretty_format_batches(&batches).expect("a table").to_string())
}

fn first_column(sql: &str) -> Expr {
    let statement = DFParser::parse_sql(sql).expect("it can be parsed").pop_front();
    let Some(Statement::Statement(statement)) = statement else { panic!("a statement") };
    let Sql::Query(query) = *statement else { panic!("a query") };
    let SetExpr::Select(select) = *query.body else { panic!("a select") };
    match select.projection.into_iter().next() {
        Some(datafusion::sql::sqlparser::ast::SelectItem::UnnamedExpr(expr)) => expr,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_dialect_of_operators_is_still_needed() {
    let Expr::IsDistinctFrom(_, right) = first_column("SELECT a IS DISTINCT FROM b AND c") else {
        panic!("the right side no longer swallows AND")
    };
    assert!(matches!(*right, Expr::BinaryOp { .. }));
    // Read as (p = s) LIKE 'a'.
    assert!(matches!(first_column("SELECT p = s LIKE 'a'"), Expr::Like { .. }));
    // Read as (1 || 2) * 3.
    let Expr::BinaryOp { left, .. } = first_column("SELECT 1 || 2 * 3") else {
        panic!("an operator")
    };
    assert!(matches!(*left, Expr::BinaryOp { .. }));
}

#[tokio::test]
async fn names_of_using_are_still_needed() {
    let rows = plain(&format!("SELECT k FROM {A} FULL JOIN {B} USING (k)")).await.expect("rows");
    assert!(!rows.contains('4'), "{rows}");
    assert!(plain("SELECT k, k FROM (VALUES (1)) t(k)").await.is_err());
    assert!(plain("SELECT UserID FROM (SELECT 1 AS \"UserID\") t").await.is_err());
}

#[tokio::test]
async fn set_all_is_still_needed() {
    let sql =
        "SELECT x FROM (VALUES (1), (1), (1)) l(x) INTERSECT ALL SELECT x FROM (VALUES (1)) r(x)";
    let rows = plain(sql).await.expect("rows");
    assert_eq!(rows.matches("| 1 |").count(), 3, "{rows}");
}

#[tokio::test]
async fn drawn_is_still_needed() {
    let sql = "WITH u AS (SELECT uuid() AS k FROM (VALUES (1), (2)) t(a)) \
               SELECT count(*) FROM u a JOIN u b ON a.k = b.k";
    let rows = plain(sql).await.expect("rows");
    assert!(rows.contains("| 0 "), "{rows}");
}

/// Each of these clauses is ignored: it changes nothing.
#[tokio::test]
async fn clauses_are_still_passed_over() {
    let t = "(VALUES (1), (2)) t(n)";
    for (with, without) in [
        (
            format!("SELECT count(*) FROM {t} TABLESAMPLE BERNOULLI (0)"),
            format!("SELECT count(*) FROM {t}"),
        ),
        (
            format!("SELECT n FROM {t} GROUP BY n WITH ROLLUP ORDER BY n"),
            format!("SELECT n FROM {t} ORDER BY n"),
        ),
        (format!("SELECT n FROM {t} PREWHERE n > 1"), format!("SELECT n FROM {t}")),
        (format!("SELECT n FROM {t} FOR UPDATE"), format!("SELECT n FROM {t}")),
        (format!("SELECT abs(n) OVER () AS n FROM {t}"), format!("SELECT abs(n) AS n FROM {t}")),
        (
            "WITH RECURSIVE a AS (SELECT 1 AS n UNION ALL SELECT 2 LIMIT 1) SELECT count(*) FROM a"
                .to_owned(),
            format!("SELECT count(*) FROM {t}"),
        ),
    ] {
        assert_eq!(plain(&with).await, plain(&without).await, "{with}");
    }
}

#[tokio::test]
async fn patterns_are_still_needed() {
    assert!(plain("SELECT s LIKE 'a!%' ESCAPE '!' FROM (VALUES ('a%')) t(s)").await.is_err());
    let rows = plain("SELECT 'abc' SIMILAR TO 'b'").await;
    assert!(!rows.as_ref().is_ok_and(|rows| rows.contains("false")), "{rows:?}");
}

#[tokio::test]
async fn spaces_to_trim_and_the_empty_grouping_set_are_still_refused() {
    assert!(plain("SELECT trim(BOTH FROM ' x ')").await.is_err());
    assert!(plain("SELECT count(*) FROM (VALUES (1)) t(n) GROUP BY ()").await.is_err());
}
