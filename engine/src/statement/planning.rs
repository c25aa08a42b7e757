//! From the text of a statement to its logical plan. Everything here runs on a thread of its own
//! with a large stack and a time limit, so that no statement can overflow a stack or block a thread
//! of a runtime.

use std::sync::Arc;

use bigslice_planner::{
    Headers, Labels, MaterializedCte, Tokens, check_statement, check_text, headers,
    materialize_ctes, resolve, rewrite,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::error::DataFusionError;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{
    CreateMemoryTable, DdlStatement, LogicalPlan, Statement as PlanStatement,
};
use datafusion::sql::parser::Statement as Parsed;
use datafusion::sql::sqlparser::ast::Statement as Sql;
use datafusion::sql::sqlparser::dialect::dialect_from_str;

use crate::base::cpu::on_large_stack;
use crate::base::driver::Driver;
use crate::base::limits::statement_limits;
use crate::error::{Error, Result};
use crate::statement::explain;
use crate::statement::inserted::plan_query_first;
use crate::statement::lookup::Lookup;
use crate::statement::materialized::MaterializedTable;
use crate::statement::work::{Planned, Work};
use crate::statement::written::Written;

/// Parses and plans one statement, and optimizes its logical plan.
pub(crate) async fn plan(driver: &Arc<Driver>, text: &str) -> Result<Planned> {
    if driver.queries.is_closed() {
        return Err(Error::Closed);
    }
    let text: Arc<str> = text.into();
    let here = Arc::clone(driver);
    on_large_stack(
        driver.cpu.handle(),
        "planning",
        move || async move { plan_here(&here, text).await },
    )
    .await
}

async fn plan_here(driver: &Driver, sql: Arc<str>) -> Result<Planned> {
    let text = sql.as_ref();
    let state = driver.state();
    let limits = statement_limits(state.config_options());
    check_text(text, &limits)?;
    let mut tokens = tokens(&state, text)?;
    tokens.check(&limits)?;
    let stages = tokens.strip_prefix(&["explain", "stages"]);
    let mut statement = parsed(&state, tokens, text)?;
    check_statement(&statement, &limits)?;
    let headers = headers(&statement);
    let written = Written { text: statement.to_string(), headers: &headers };
    statement = rewrite(statement)?;
    statement = bigslice_files::prepare(statement, &driver.stores)
        .map_err(|e| Error::in_statement(e, text))?;
    let missing = |e: &_| driver.name_missing_table(e, text);
    let of_plan = |e: DataFusionError| missing(&e).unwrap_or_else(|| Error::in_statement(e, text));
    let mut tables = Lookup::of(&state, &statement).await.map_err(of_plan)?;
    let labels = resolve(&mut statement, &tables)?;
    let (statement, materialized) = materialize_first(&state, &mut tables, statement)?;
    let statement = plan_query_first(&mut tables, statement).map_err(of_plan)?;
    let logical = tables.plan(statement).and_then(|plan| written.stored(plan));
    let logical = logical.map_err(of_plan)?;
    let work = classify(driver, logical, stages).await.map_err(|e| match e {
        Failed::Ours(e) => e,
        Failed::Theirs(e) => Error::in_statement(e, text),
    })?;
    let work = optimize(&state, work).map_err(|e| Error::in_statement(e, text))?;
    let schema = labelled(schema_of(&work), &labels, &headers);
    Ok(Planned { text: sql, work, schema, materialized })
}

/// Replaces queries that are computed first by tables, unless one of them cannot be computed by
/// itself: then planning the statement reports the mistake, or the query reads columns of the query
/// around it.
fn materialize_first(
    state: &SessionState,
    tables: &mut Lookup<'_>,
    statement: Parsed,
) -> Result<(Parsed, Vec<Arc<MaterializedTable>>)> {
    let Some((changed, queries)) = materialize_ctes(&statement, tables)? else {
        return Ok((statement, Vec::new()));
    };
    let mut materialized = Vec::with_capacity(queries.len());
    for MaterializedCte { name, query } in queries {
        let query = Parsed::Statement(Box::new(Sql::Query(query)));
        let Ok(plan) = tables.plan(query).and_then(|plan| state.optimize(&plan)) else {
            return Ok((statement, Vec::new()));
        };
        let table = Arc::new(MaterializedTable::new(plan));
        tables.add(&name, Arc::clone(&table) as _);
        materialized.push(table);
    }
    Ok((changed, materialized))
}

/// Optimizes a plan that returns rows: once for all attempts, and here, because only the optimized
/// plan has the final types of its columns. A plan that writes is optimized by its attempt, which
/// first checks the places to write to.
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

/// The tokens of `text`, lexed once, in the dialect that the session is set to.
pub(crate) fn tokens(state: &SessionState, text: &str) -> Result<Tokens> {
    let options = &state.config().options().sql_parser;
    let dialect = dialect_from_str(options.dialect)
        .ok_or_else(|| Error::config(format!("there is no dialect \"{}\"", options.dialect)))?;
    Tokens::of(text, dialect).map_err(|e| Error::in_statement(e, text))
}

/// The one statement that the tokens of `text` are.
pub(crate) fn parsed(state: &SessionState, tokens: Tokens, text: &str) -> Result<Parsed> {
    let nesting_max = state.config().options().sql_parser.recursion_limit.get();
    tokens.parse(nesting_max).map_err(|e| Error::in_statement(e, text))
}

/// The columns with the names that the statement gives them.
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

/// The work that a plan asks for.
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
        // Only now is it known what a prepared statement does; looking it up changes nothing.
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
        // EXPLAIN ANALYZE of a statement that writes returns the plan that it ran.
        Work::Write(plan) if matches!(**plan, LogicalPlan::Analyze(_)) => {
            Arc::clone(plan.schema().inner())
        }
        Work::Write(_) => Arc::new(Schema::new(vec![Field::new("count", DataType::UInt64, false)])),
        Work::Stages(_) => explain::stages_schema(),
        Work::CreateTable(_) | Work::Command(_) => Arc::new(Schema::empty()),
    }
}
