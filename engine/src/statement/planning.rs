//! From text to plan. Everything here runs on a thread of its own with a large stack and a time
//! limit, so that no statement can overflow a stack or hold a thread of a runtime:
//! [`plan`] makes the logical plan, [`physical`] one to run, for each attempt anew.

use std::sync::Arc;

use bigslice_planner::{
    Headers, Labels, MaterializedCte, check_statement, check_text, headers, materialize_ctes,
    parse, resolve, rewrite,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::error::DataFusionError;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{
    CreateMemoryTable, DdlStatement, LogicalPlan, Statement as PlanStatement,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::sql::parser::Statement as Parsed;
use datafusion::sql::sqlparser::ast::Statement as Sql;
use datafusion::sql::sqlparser::dialect::dialect_from_str;
use datafusion_distributed::DistributedExt;
use http::HeaderMap;

use crate::base::cpu::on_large_stack;
use crate::base::driver::Driver;
use crate::base::limits::statement_limits;
use crate::base::script;
use crate::base::settings;
use crate::error::{Error, Result};
use crate::statement::drawn::DrawnTable;
use crate::statement::explain;
use crate::statement::lookup::Lookup;
use crate::statement::work::{Planned, Work};
use crate::statement::written::Written;

/// Parses and plans one statement, up to its logical plan.
pub(crate) async fn plan(driver: &Arc<Driver>, text: &str) -> Result<Planned> {
    if driver.queries.is_closed() {
        return Err(Error::Closed);
    }
    let limits = statement_limits(driver.context.state_ref().read().config_options());
    check_text(text, &limits)?;
    let text: Arc<str> = text.into();
    let here = Arc::clone(driver);
    on_large_stack(
        driver.cpu.handle(),
        "planning",
        move || async move { plan_here(&here, text).await },
    )
    .await
}

async fn plan_here(driver: &Driver, words: Arc<str>) -> Result<Planned> {
    let text = words.as_ref();
    let state = driver.state();
    let stages = script::explain_stages(text);
    let mut statement = parsed(&state, stages.as_deref().unwrap_or(text))?;
    check_statement(&statement, &statement_limits(state.config_options()))?;
    let headers = headers(&statement);
    let written = Written { text: statement.to_string(), headers: &headers };
    statement = rewrite(statement)?;
    statement = bigslice_files::prepare(statement, &driver.stores)
        .map_err(|e| Error::in_statement(e, text))?;
    let missing = |e: &_| driver.name_missing_table(e, text);
    let of_plan = |e: DataFusionError| missing(&e).unwrap_or_else(|| Error::in_statement(e, text));
    let mut tables = Lookup::of(&state, &statement).await.map_err(of_plan)?;
    let labels = resolve(&mut statement, &tables)?;
    let (statement, drawn) = draw_first(&state, &mut tables, statement)?;
    let logical = tables.plan(statement).and_then(|plan| written.stored(plan));
    let logical = logical.map_err(of_plan)?;
    let work = classify(driver, logical, stages.is_some()).await.map_err(|e| match e {
        Failed::Ours(e) => e,
        Failed::Theirs(e) => Error::in_statement(e, text),
    })?;
    let work = optimize(&state, work).map_err(|e| Error::in_statement(e, text))?;
    let schema = labelled(schema_of(&work), &labels, &headers);
    Ok(Planned { text: words, work, schema, drawn })
}

/// Puts tables in the place of queries that are computed first, unless one of them cannot be computed by itself: then
/// the statement says what is wrong with it, or it reads columns of the query around it.
fn draw_first(
    state: &SessionState,
    tables: &mut Lookup<'_>,
    statement: Parsed,
) -> Result<(Parsed, Vec<Arc<DrawnTable>>)> {
    let Some((changed, queries)) = materialize_ctes(&statement, tables)? else {
        return Ok((statement, Vec::new()));
    };
    let mut drawn = Vec::with_capacity(queries.len());
    for MaterializedCte { name, query } in queries {
        let query = Parsed::Statement(Box::new(Sql::Query(query)));
        let Ok(plan) = tables.plan(query).and_then(|plan| state.optimize(&plan)) else {
            return Ok((statement, Vec::new()));
        };
        let table = Arc::new(DrawnTable::new(plan));
        tables.add(&name, Arc::clone(&table) as _);
        drawn.push(table);
    }
    Ok((changed, drawn))
}

/// Optimises what gives rows: once, however often it is attempted, and here, because only the
/// optimised plan has the final types of its columns. What is to be written is optimised by its
/// attempt, which first checks where to.
fn optimize(state: &SessionState, work: Work) -> Result<Work, DataFusionError> {
    let optimized = |plan: &LogicalPlan| state.optimize(plan).map(Arc::new);
    Ok(match work {
        Work::Rows(plan) => Work::Rows(optimized(&plan)?),
        Work::Stages(plan) => Work::Stages(optimized(&plan)?),
        Work::CreateTable(create) => {
            let input = optimized(&create.input)?;
            Work::CreateTable(Box::new(CreateMemoryTable { input, ..*create }))
        }
        other => other,
    })
}

/// The one statement that `text` holds, in the dialect that the session is set to.
pub(crate) fn parsed(state: &SessionState, text: &str) -> Result<Parsed> {
    let options = &state.config().options().sql_parser;
    let dialect = dialect_from_str(options.dialect)
        .ok_or_else(|| Error::config(format!("there is no dialect \"{}\"", options.dialect)))?;
    parse(text, dialect, options.recursion_limit.get()).map_err(|e| Error::in_statement(e, text))
}

/// The columns under the names that the statement gives them.
fn labelled(schema: SchemaRef, labels: &Labels, headers: &Headers) -> SchemaRef {
    if labels.is_empty() && headers.is_empty() {
        return schema;
    }
    let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let shown = labels.shown(&names);
    let shown: Vec<_> = shown.iter().map(String::as_str).collect();
    let fields = schema.fields().iter().zip(headers.over(&shown));
    let fields: Vec<_> =
        fields.map(|(field, name)| field.as_ref().clone().with_name(name)).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

enum Failed {
    Ours(Error),
    Theirs(DataFusionError),
}

/// What is to be done with a plan.
async fn classify(
    driver: &Driver,
    plan: LogicalPlan,
    stages: bool,
) -> std::result::Result<Work, Failed> {
    if stages {
        return match plan {
            LogicalPlan::Ddl(_) | LogicalPlan::Statement(_) | LogicalPlan::Explain(_) => {
                let message = "only a query has stages";
                Err(Failed::Ours(Error::statement(message, None)))
            }
            plan => Ok(Work::Stages(Arc::new(plan))),
        };
    }
    if let LogicalPlan::Analyze(analyze) = &plan
        && matches!(*analyze.input, LogicalPlan::Ddl(_) | LogicalPlan::Statement(_))
    {
        let message = "EXPLAIN ANALYZE runs a query, COPY or INSERT, and no other statement";
        return Err(Failed::Ours(Error::statement(message, None)));
    }
    Ok(match plan {
        // What a prepared statement does is known only now; looking it up changes nothing.
        plan @ LogicalPlan::Statement(PlanStatement::Execute(_)) => {
            let frame = driver.context.execute_logical_plan(plan).await;
            let (_, plan) = frame.map_err(Failed::Theirs)?.into_parts();
            Work::Rows(Arc::new(plan))
        }
        LogicalPlan::Ddl(DdlStatement::CreateMemoryTable(create)) => {
            Work::CreateTable(Box::new(create))
        }
        plan @ (LogicalPlan::Ddl(_) | LogicalPlan::Statement(_)) => Work::Command(Box::new(plan)),
        plan if bigslice_files::sink::writes(&plan) => Work::Write(Arc::new(plan)),
        plan @ (LogicalPlan::Dml(_) | LogicalPlan::Copy(_)) => Work::Write(Arc::new(plan)),
        plan => Work::Rows(Arc::new(plan)),
    })
}

fn schema_of(work: &Work) -> SchemaRef {
    match work {
        Work::Rows(plan) => Arc::clone(plan.schema().inner()),
        // EXPLAIN ANALYZE of what writes gives the plan that it ran.
        Work::Write(plan) if matches!(**plan, LogicalPlan::Analyze(_)) => {
            Arc::clone(plan.schema().inner())
        }
        Work::Write(_) => Arc::new(Schema::new(vec![Field::new("count", DataType::UInt64, false)])),
        Work::Stages(_) => explain::stages_schema(),
        Work::CreateTable(_) | Work::Command(_) => Arc::new(Schema::empty()),
    }
}

/// What has been done to a logical plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Logical {
    /// It is as the statement says.
    AsWritten,
    /// The optimizer's rules were applied.
    Optimized,
}

/// The plan to run, made with `state`, which comes back with it.
pub(crate) async fn physical(
    driver: &Driver,
    state: SessionState,
    (plan, logical): (Arc<LogicalPlan>, Logical),
    text: Arc<str>,
) -> Result<(Arc<dyn ExecutionPlan>, SessionState)> {
    on_large_stack(driver.cpu.handle(), "planning", move || async move {
        let planned = match logical {
            Logical::AsWritten => state.create_physical_plan(&plan).await,
            Logical::Optimized => state.query_planner().create_physical_plan(&plan, &state).await,
        };
        Ok((planned.map_err(|e| Error::in_statement(e, &text))?, state))
    })
    .await
}

/// Adds to `state` what the workers of its query must know: changed settings, and how to open the
/// stores that the plan, which is made by now, reads.
pub(crate) async fn tell_workers(driver: &Driver, state: &mut SessionState) -> Result<()> {
    if driver.fleet.is_none() {
        return Ok(());
    }
    let mut headers = HeaderMap::new();
    settings::add_to_headers(state.config_options(), &mut headers)?;
    let stores = driver.stores.for_workers().await?;
    settings::add_stores(&stores, &mut headers)?;
    state
        .config_mut()
        .set_distributed_passthrough_headers(headers)
        .map_err(|e| Error::internal(e.to_string()))
}
