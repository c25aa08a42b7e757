//! One query per rule of ours that plain DataFusion gets wrong. If one of these tests fails because
//! the plain result is right, the rule that it names can go.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::datasource::{MemTable, TableProvider};
use datafusion::execution::SessionStateBuilder;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::prelude::{SessionConfig, SessionContext};
use tempfile::TempDir;

use super::{ours_for, rules};
use crate::settings::PlannerSettings;

/// The tables. Ids are ordered, so that row groups are pruned by a filter.
const TABLES: [(&str, &str); 3] = [
    ("orders", "SELECT value AS id, value % 7 AS k, 100000 + value AS amount FROM range(0, 2000)"),
    ("payments", "SELECT value AS id, value % 5 AS k, 5000 - value AS amount FROM range(0, 2000)"),
    ("customers", "SELECT value AS id, value % 3 AS k, value AS amount FROM range(0, 900)"),
];

struct Sessions {
    plain: SessionContext,
    ours: SessionContext,
    _folder: TempDir,
}

impl Sessions {
    async fn new(settings: &[&str]) -> Self {
        let folder = TempDir::new().expect("a folder for test data");
        let config = || SessionConfig::new().with_target_partitions(4).with_batch_size(64);
        let plain = SessionContext::new_with_config(config());
        let builder = SessionStateBuilder::new().with_default_features().with_config(config());
        let ours = SessionContext::from(crate::install(builder).build());
        for (table, rows) in TABLES {
            let file = folder.path().join(format!("{table}.parquet"));
            let file = file.display();
            let written = format!(
                "COPY ({rows}) TO '{file}' STORED AS PARQUET OPTIONS \
                 ('format.max_row_group_size' 100)"
            );
            run(&plain, &written).await;
            for context in [&plain, &ours] {
                let created =
                    format!("CREATE EXTERNAL TABLE {table} STORED AS PARQUET LOCATION '{file}'");
                run(context, &created).await;
            }
        }
        let column = Field::new("id", DataType::Int64, true);
        let empty = MemTable::try_new(Arc::new(Schema::new(vec![column])), vec![vec![]; 2]);
        let empty: Arc<dyn TableProvider> = Arc::new(empty.expect("a table"));
        for context in [&plain, &ours] {
            context.register_table("empty", Arc::clone(&empty)).expect("a new name");
            for setting in settings {
                run(context, &format!("SET {setting}")).await;
            }
        }
        Self { plain, ours, _folder: folder }
    }

    /// Asserts that our rows are right, and that plain DataFusion's are not.
    async fn differ(&self, sql: &str, right: &[&str]) {
        assert_eq!(run(&self.ours, sql).await, right, "{sql}");
        let plain = attempted(&self.plain, sql).await;
        assert_ne!(plain.as_deref(), Ok(right.map_owned().as_slice()), "plain is right: {sql}");
    }
}

trait MapOwned {
    fn map_owned(&self) -> Vec<String>;
}

impl MapOwned for [&str] {
    fn map_owned(&self) -> Vec<String> {
        self.iter().map(|row| (*row).to_owned()).collect()
    }
}

async fn run(context: &SessionContext, sql: &str) -> Vec<String> {
    attempted(context, sql).await.expect("the statement runs")
}

/// The rows as text; an error or a panic as text, too.
async fn attempted(context: &SessionContext, sql: &str) -> Result<Vec<String>, String> {
    let (context, sql) = (context.clone(), sql.to_owned());
    let mut rows = tokio::task::JoinSet::new();
    rows.spawn(async move { context.sql(&sql).await?.collect().await });
    let rows = rows.join_next().await.ok_or("no rows")?;
    let batches = rows.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
    let options = FormatOptions::default().with_null("NULL");
    let mut rows = Vec::new();
    for batch in &batches {
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column, &options).expect("it can be printed"))
            .collect();
        for row in 0..batch.num_rows() {
            let cells: Vec<_> = columns.iter().map(|c| c.value(row).to_string()).collect();
            rows.push(cells.join("|"));
        }
    }
    Ok(rows)
}

#[test]
fn every_rule_of_ours_takes_the_place_of_one() {
    let theirs = PhysicalOptimizer::new().rules;
    let replaced = theirs.iter().filter(|rule| {
        let ours = ours_for(Arc::clone(rule));
        !Arc::ptr_eq(&ours, rule)
    });
    let mut names: Vec<_> = replaced.map(|rule| rule.name().to_owned()).collect();
    names.dedup();
    assert_eq!(
        names,
        [
            "aggregate_statistics",
            "FilterPushdown",
            "EnsureRequirements",
            "ProjectionPushdown",
            "LimitAggregation",
            "LimitPushPastWindows",
            "ProjectionPushdown",
            "FilterPushdown(Post)",
        ]
    );
    assert!(rules().len() > theirs.len());
}

#[tokio::test]
async fn small_build_sides_are_collected() {
    let sessions = Sessions::new(&[
        "datafusion.optimizer.hash_join_single_partition_threshold = 0",
        "datafusion.optimizer.hash_join_single_partition_threshold_rows = 0",
    ])
    .await;
    let is_collected = async |tables: &str| {
        let sql = format!("EXPLAIN SELECT count(*) FROM {tables}");
        run(&sessions.ours, &sql).await.concat().contains("mode=CollectLeft")
    };
    let small = "orders AS o JOIN customers AS c ON o.id = c.id";
    let equal = "orders AS o JOIN payments AS p ON o.id = p.id";
    assert!(!is_collected(small).await, "the rule is off");
    let settings = PlannerSettings::collecting(1 << 20);
    sessions.ours.state_ref().write().config_mut().options_mut().extensions.insert(settings);
    assert!(is_collected(small).await);
    assert!(!is_collected(equal).await, "with four partitions, the build side is too large");
    run(&sessions.ours, "SET planner.collect_build_bytes = 1000").await;
    assert!(!is_collected(small).await, "the build side does not fit");
}

#[tokio::test]
async fn gathering_again_is_still_needed() {
    let sessions = Sessions::new(&[]).await;
    let sql = "SELECT DISTINCT n FROM \
               (SELECT id, count(*) AS n FROM empty GROUP BY id ORDER BY id OFFSET 0) \
               ORDER BY n";
    sessions.differ(sql, &[]).await;
}

#[tokio::test]
async fn filters_of_all_aggregates_are_still_needed() {
    let sessions = Sessions::new(&[]).await;
    sessions
        .differ(
            "SELECT min(amount) AS lo, max(id + k) AS hi FROM customers WHERE id >= 0",
            &["0|901"],
        )
        .await;
}

#[tokio::test]
async fn groups_limited_by_position_are_still_needed() {
    let sessions = Sessions::new(&[]).await;
    for (sql, right) in [
        (
            "SELECT k, max(id) AS m, count(*) OVER () AS n FROM orders GROUP BY k \
             ORDER BY m DESC LIMIT 2",
            ["4|1999|7", "3|1998|7"],
        ),
        ("SELECT k % 2 AS k FROM (SELECT DISTINCT k FROM orders) t ORDER BY k LIMIT 2", ["0", "0"]),
    ] {
        sessions.differ(sql, &right).await;
    }
}

#[tokio::test]
async fn projections_above_sort_merge_joins_are_still_needed() {
    let sessions = Sessions::new(&["datafusion.optimizer.prefer_hash_join = false"]).await;
    sessions
        .differ(
            "SELECT o.k AS ok, p.k AS pk FROM orders o JOIN payments p \
             ON o.k = p.k AND o.id < 3 AND p.id < 3 AND o.amount > p.amount + o.id ORDER BY 1, 2",
            &["0|0", "1|1", "2|2"],
        )
        .await;
}

#[tokio::test]
async fn joins_of_equal_nulls_are_still_to_be_kept_apart() {
    let sessions = Sessions::new(&[]).await;
    let maybe = "(SELECT id, k, nullif(k, 1) AS n FROM customers WHERE id < 9)";
    for (sql, right) in [
        (
            format!(
                "SELECT count(*) AS n FROM {maybe} a JOIN {maybe} b ON (a.n IS NOT DISTINCT FROM b.n) \
                 JOIN orders c ON b.id = c.id"
            ),
            "27",
        ),
        (
            format!(
                "SELECT count(*) AS n FROM {maybe} a JOIN {maybe} b ON (a.k IS NOT DISTINCT FROM b.k) \
                 WHERE a.n = b.n"
            ),
            "18",
        ),
    ] {
        sessions.differ(&sql, &[right]).await;
    }
}

#[tokio::test]
async fn sorts_above_window_functions_are_still_to_be_kept_whole() {
    let sessions = Sessions::new(&[]).await;
    sessions
        .differ(
            "SELECT k, max(v) AS m, count(*) OVER () AS n FROM \
             (SELECT k, row_number() OVER (PARTITION BY k ORDER BY id) AS v FROM orders) t \
             GROUP BY k HAVING k > 1 ORDER BY k LIMIT 2",
            &["2|286|5", "3|286|5"],
        )
        .await;
}
