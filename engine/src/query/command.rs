//! Statements that are not queries: those that change the session, and `EXPLAIN STAGES`. Called by
//! [`Query::stream`](crate::Query::stream).

use std::sync::Arc;

use datafusion::arrow::record_batch::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::{CreateMemoryTable, DdlStatement, LogicalPlan};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::TryStreamExt;

use crate::base::cpu::on_large_stack;
use crate::base::set;
use crate::error::{Error, Result};
use crate::query::run::{self, Execution, Output};
use crate::query::stored;
use crate::runs::job::{Located, Missing, Runner};
use crate::statement::explain;
use crate::statement::materialized::MaterializedTable;

/// Runs a statement that changes the session: `CREATE`, `DROP`, `SET`.
pub(crate) async fn command(runner: &Arc<Runner>, plan: LogicalPlan, text: Arc<str>) -> Result<()> {
    set::check(&plan, runner.state().config_options())?;
    let here = Arc::clone(runner);
    on_large_stack(runner.cpu.handle(), "the statement", move || async move {
        let done = here.context.execute_logical_plan(plan).await;
        done.map(drop).map_err(|e| Error::in_statement(e, &text))
    })
    .await
}

/// Runs `EXPLAIN STAGES`: one row for each stage of a query that is not run.
pub(crate) async fn stages(execution: &Execution) -> Result<SendableRecordBatchStream> {
    let Execution { runner, plan, .. } = execution;
    let mut state = runner.state();
    Located::find(runner, &mut state, plan, Missing::Leave).await?;
    let (plan, _) = run::physical(execution, Arc::clone(plan), state).await?;
    let batch = explain::stages(&plan, &runner.machine_names())?;
    let stream = futures::stream::iter([Ok(batch)]);
    Ok(Box::pin(RecordBatchStreamAdapter::new(explain::stages_schema(), stream)))
}

/// Runs the query of a `CREATE TABLE` like any other, then has DataFusion create a table with its
/// rows.
pub(crate) async fn create_table(
    runner: &Arc<Runner>,
    create: CreateMemoryTable,
    tables: Vec<Arc<MaterializedTable>>,
    text: Arc<str>,
) -> Result<()> {
    let exists = runner.context.table_exist(create.name.clone());
    let exists = exists.map_err(|e| Error::in_statement(e, &text))?;
    let plan = Arc::clone(&create.input);
    let schema = match plan.as_ref() {
        // Columns that are declared one by one, without a query.
        LogicalPlan::EmptyRelation(_) => Arc::clone(plan.schema().inner()),
        _ => stored::nullable(plan.schema().inner()),
    };
    let needed = !exists || create.or_replace;
    let batches: Vec<RecordBatch> = if needed {
        let (runner, text) = (Arc::clone(runner), Arc::clone(&text));
        let query = Execution { runner, text, plan, output: Output::Rows };
        run::rows(query, tables, Arc::clone(&schema)).try_collect().await?
    } else {
        Vec::new()
    };
    let scan = stored::table_of(batches, &schema).map_err(|e| Error::in_statement(e, &text))?;
    let create = CreateMemoryTable { input: Arc::new(scan), ..create };
    let ddl = LogicalPlan::Ddl(DdlStatement::CreateMemoryTable(create));
    command(runner, ddl, text).await
}
