//! Queries for which DataFusion's own rules return wrong rows, or none. Once one of these tests
//! fails because DataFusion returns the right rows, that shape can be left to DataFusion.

use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::Result;
use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::SessionContext;

const TABLES: &[&str] = &[
    "create table shop as select * from (values (1, 10), (2, 20), (3, 30), (4, null)) s(id, region)",
    "create table ban as select * from (values (10, 5), (20, null), (20, 6), (30, 7)) b(region, item)",
];

/// The rows as text, sorted.
async fn rows(context: &SessionContext, sql: &str) -> Result<Vec<String>> {
    let batches = context.sql(sql).await?.collect().await?;
    let options = FormatOptions::default().with_null("null");
    let mut rows = Vec::new();
    for batch in &batches {
        let columns = batch.columns().iter().map(|c| ArrayFormatter::try_new(c, &options));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            let cells: Vec<String> = columns.iter().map(|c| c.value(row).to_string()).collect();
            rows.push(cells.join(" "));
        }
    }
    rows.sort();
    Ok(rows)
}

async fn with_tables(context: SessionContext) -> SessionContext {
    for table in TABLES {
        context.sql(table).await.unwrap().collect().await.unwrap();
    }
    context
}

async fn ours() -> SessionContext {
    let builder = SessionStateBuilder::new().with_default_features();
    with_tables(SessionContext::new_with_state(crate::install(builder).build())).await
}

async fn is_still_needed(sql: &str, expected: &[&str]) {
    assert_eq!(rows(&ours().await, sql).await.unwrap(), expected, "{sql}");
    let plain = with_tables(SessionContext::new()).await;
    if let Ok(rows) = rows(&plain, sql).await {
        assert_ne!(rows, expected, "DataFusion gives the right rows by itself: {sql}");
    }
}

#[tokio::test]
async fn not_in_with_a_correlation_is_still_needed() {
    let sql =
        "select id from shop where 9 not in (select item from ban where ban.region = shop.region)";
    is_still_needed(sql, &["1", "3", "4"]).await;
}

#[tokio::test]
async fn not_in_below_or_is_still_needed() {
    let sql = "select id from shop where id = 1 or region not in (select region from ban where item is not null \
               union all select null)";
    is_still_needed(sql, &["1"]).await;
}

#[tokio::test]
async fn exists_of_an_aggregate_is_still_needed() {
    let sql = "select id from shop where exists (select count(*) from ban where ban.region = shop.region)";
    is_still_needed(sql, &["1", "2", "3", "4"]).await;
}

#[tokio::test]
async fn exists_as_a_value_is_still_needed() {
    let sql = "select id, exists (select 1 from ban where ban.region = shop.region) from shop";
    is_still_needed(sql, &["1 true", "2 true", "3 true", "4 false"]).await;
}

#[tokio::test]
async fn a_scalar_subquery_with_an_inequality_is_still_needed() {
    let sql = "select id, (select count(*) from ban where ban.region > shop.region) from shop";
    is_still_needed(sql, &["1 3", "2 1", "3 0", "4 0"]).await;
}

#[tokio::test]
async fn a_limit_for_each_row_is_still_needed() {
    let sql = "select id, item from shop left join lateral (select item from ban where ban.region = shop.region \
               order by item desc nulls last limit 1) b on true";
    is_still_needed(sql, &["1 5", "2 6", "3 7", "4 null"]).await;
}

#[tokio::test]
async fn a_second_row_is_an_error() {
    let sql = "select id, (select item from ban where ban.region = shop.region) from shop";
    let error = rows(&ours().await, sql).await.unwrap_err().to_string();
    assert!(error.contains("more than one row"), "{error}");
}

#[tokio::test]
async fn subqueries_that_datafusion_gets_right_are_left_to_it() {
    let context = ours().await;
    let sql = "select id from shop where region not in (select region from ban) and id > (select min(item) from ban)";
    let plan = context.sql(sql).await.unwrap();
    let analyzed = context.state().analyzer().execute_and_check(
        plan.logical_plan().clone(),
        context.state().config_options(),
        |_, _| {},
    );
    let text = analyzed.unwrap().display_indent().to_string();
    assert!(text.contains("NOT IN") && text.contains("<subquery>"), "{text}");
}
