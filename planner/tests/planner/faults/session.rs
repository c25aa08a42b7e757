//! Runs statements in a session of plain DataFusion or of ours.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bigslice_planner::{Catalog, install, materialize_ctes, parse, resolve, rewrite};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::config::Dialect;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::Volatility;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::ObjectName;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use futures::FutureExt;
use tempfile::TempDir;

type Outcome<T> = Result<T, String>;

const NESTING_MAX: usize = 50;

pub(super) fn is_right(outcome: &Outcome<String>, right: &str) -> bool {
    match (outcome, right.strip_prefix("error: ")) {
        (Ok(rows), None) => rows == right,
        (Err(error), Some(part)) => error.contains(part),
        _ => false,
    }
}

/// The rows of the last statement, with cells separated by commas and rows by semicolons. In the
/// text, `{folder}` is a folder for files. A panic is an error, too.
pub(super) async fn rows(sql: &str, ours: bool) -> Outcome<String> {
    let folder = TempDir::new().expect("a folder for files");
    let sql = sql.replace("{folder}", &folder.path().display().to_string());
    let run = async {
        let builder = SessionStateBuilder::new().with_default_features().with_config(config());
        let builder = if ours { install(builder) } else { builder };
        let context = SessionContext::new_with_state(builder.build());
        let mut batches = Vec::new();
        for statement in sql.split("; ") {
            batches = if ours {
                run_ours(&context, statement).await?
            } else {
                let statement = context.state().sql_to_statement(statement, &Dialect::Generic);
                run(&context, statement.map_err(text)?).await?
            };
        }
        shown(&batches)
    };
    AssertUnwindSafe(run).catch_unwind().await.unwrap_or_else(|_| Err("a panic".to_owned()))
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn config() -> SessionConfig {
    SessionConfig::new().with_target_partitions(2)
}

async fn run(context: &SessionContext, statement: Statement) -> Outcome<Vec<RecordBatch>> {
    let plan = context.state().statement_to_plan(statement).await.map_err(text)?;
    let frame = context.execute_logical_plan(plan).await.map_err(text)?;
    frame.collect().await.map_err(text)
}

/// The steps of the engine: parse, rewrite, resolve names, and compute queries of WITH.
async fn run_ours(context: &SessionContext, sql: &str) -> Outcome<Vec<RecordBatch>> {
    let statement = parse(sql, Box::new(GenericDialect {}), NESTING_MAX).map_err(text)?;
    let mut statement = rewrite(statement).map_err(text)?;
    let names = Names::of(context).await;
    resolve(&mut statement, &names).map_err(text)?;
    let Some((statement, ctes)) = materialize_ctes(&statement, &names).map_err(text)? else {
        return run(context, statement).await;
    };
    for cte in ctes {
        let create = format!("CREATE TABLE \"{}\" AS {}", cte.name, cte.query);
        let create = parse(&create, Box::new(GenericDialect {}), NESTING_MAX).map_err(text)?;
        run(context, create).await?;
    }
    run(context, statement).await
}

fn shown(batches: &[RecordBatch]) -> Outcome<String> {
    let options = FormatOptions::new().with_null("null");
    let mut rows = Vec::new();
    for batch in batches {
        let columns = batch.columns().iter();
        let columns = columns.map(|column| ArrayFormatter::try_new(column, &options));
        let columns = columns.collect::<Result<Vec<_>, _>>().map_err(text)?;
        for row in 0..batch.num_rows() {
            let cells = columns.iter().map(|column| column.value(row).to_string());
            rows.push(cells.collect::<Vec<_>>().join(","));
        }
    }
    Ok(rows.join(";"))
}

/// The tables and functions of a session.
struct Names {
    tables: HashMap<String, Vec<String>>,
    state: SessionState,
}

impl Names {
    async fn of(context: &SessionContext) -> Self {
        let mut tables = HashMap::new();
        let schema = context.catalog("datafusion").and_then(|catalog| catalog.schema("public"));
        for name in schema.iter().flat_map(|schema| schema.table_names()) {
            let table = context.table_provider(&name).await.expect("the table exists");
            let fields = table.schema();
            let columns = fields.fields().iter().map(|field| field.name().clone()).collect();
            tables.insert(name, columns);
        }
        Self { tables, state: context.state() }
    }
}

impl Catalog for Names {
    fn columns(&self, table: &ObjectName) -> Option<Vec<String>> {
        self.tables.get(&table.to_string()).cloned()
    }

    fn is_scalar(&self, function: &str) -> bool {
        self.state.scalar_functions().contains_key(function)
    }

    fn is_volatile(&self, function: &str) -> bool {
        let function = self.state.scalar_functions().get(function).map(Arc::clone);
        function.is_some_and(|f| f.signature().volatility == Volatility::Volatile)
    }

    fn folds_names(&self) -> bool {
        true
    }
}
