//! From text to plan. Everything here runs on a thread of its own with a large stack and a time
//! limit, so that no statement can overflow a stack or hold a thread of a runtime:
//! [`query`] makes the logical plan, [`physical`] one to run, for each attempt anew.

use std::sync::Arc;

use bigslice_planner::{StatementLimits, check_statement, check_text, rewrite};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::error::DataFusionError;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{
    CreateMemoryTable, DdlStatement, LogicalPlan, Statement as PlanStatement,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::sql::parser::Statement as Parsed;
use datafusion_distributed::DistributedExt;
use http::HeaderMap;

use crate::cpu::on_large_stack;
use crate::error::{Error, Result};
use crate::query::{Query, Work};
use crate::session::Inner;
use crate::{explain, script, settings, sink, source};

/// Parses and plans one statement, up to its logical plan.
pub(crate) async fn query(session: &Arc<Inner>, text: &str) -> Result<Query> {
    if session.queries.is_closed() {
        return Err(Error::Closed);
    }
    check_text(text, &StatementLimits::default())?;
    let text: Arc<str> = text.into();
    let inner = Arc::clone(session);
    let words = Arc::clone(&text);
    let (work, schema) = on_large_stack(session.cpu.handle(), "planning", move || async move {
        plan(&inner, &words).await
    })
    .await?;
    Ok(Query { session: Arc::clone(session), text, work, schema })
}

async fn plan(session: &Arc<Inner>, text: &str) -> Result<(Work, SchemaRef)> {
    let state = session.state();
    let stages = script::explain_stages(text);
    let statement = parse(&state, stages.as_deref().unwrap_or(text))?;
    check_statement(&statement, &StatementLimits::default())?;
    let statement = rewrite(statement)?;
    let statement = source::prepare(statement, &session.stores).map_err(|e| Error::of(&e, text))?;
    let missing = |e: &_| session.name_missing_table(e, text);
    let logical = state.statement_to_plan(statement).await;
    let logical = logical.map_err(|e| missing(&e).unwrap_or_else(|| Error::of(&e, text)))?;
    let work = classify(session, logical, stages.is_some()).await.map_err(|e| match e {
        Failed::Ours(e) => e,
        Failed::Theirs(e) => Error::of(&e, text),
    })?;
    let work = optimize(&state, work).map_err(|e| Error::of(&e, text))?;
    let schema = schema_of(&work);
    Ok((work, schema))
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

fn parse(state: &SessionState, text: &str) -> Result<Parsed> {
    let dialect = state.config().options().sql_parser.dialect;
    state.sql_to_statement(text, &dialect).map_err(|e| Error::of(&e, text))
}

enum Failed {
    Ours(Error),
    Theirs(DataFusionError),
}

/// What is to be done with a plan.
async fn classify(
    session: &Arc<Inner>,
    plan: LogicalPlan,
    stages: bool,
) -> std::result::Result<Work, Failed> {
    if stages {
        return match plan {
            LogicalPlan::Ddl(_) | LogicalPlan::Statement(_) | LogicalPlan::Explain(_) => {
                let message = "only a query has stages";
                Err(Failed::Ours(Error::syntax(message, None)))
            }
            plan => Ok(Work::Stages(Arc::new(plan))),
        };
    }
    Ok(match plan {
        // What a prepared statement does is known only now; looking it up changes nothing.
        plan @ LogicalPlan::Statement(PlanStatement::Execute(_)) => {
            let frame = session.context.execute_logical_plan(plan).await;
            let (_, plan) = frame.map_err(Failed::Theirs)?.into_parts();
            Work::Rows(Arc::new(plan))
        }
        LogicalPlan::Ddl(DdlStatement::CreateMemoryTable(create)) => {
            Work::CreateTable(Box::new(create))
        }
        plan @ (LogicalPlan::Ddl(_) | LogicalPlan::Statement(_)) => Work::Command(Box::new(plan)),
        plan if sink::writes(&plan) => Work::Write(Arc::new(plan)),
        plan @ (LogicalPlan::Dml(_) | LogicalPlan::Copy(_)) => Work::Write(Arc::new(plan)),
        plan => Work::Rows(Arc::new(plan)),
    })
}

fn schema_of(work: &Work) -> SchemaRef {
    match work {
        Work::Rows(plan) => Arc::clone(plan.schema().inner()),
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
    session: &Arc<Inner>,
    state: SessionState,
    (plan, logical): (Arc<LogicalPlan>, Logical),
    text: Arc<str>,
) -> Result<(Arc<dyn ExecutionPlan>, SessionState)> {
    on_large_stack(session.cpu.handle(), "planning", move || async move {
        let planned = match logical {
            Logical::AsWritten => state.create_physical_plan(&plan).await,
            Logical::Optimized => state.query_planner().create_physical_plan(&plan, &state).await,
        };
        Ok((planned.map_err(|e| Error::of(&e, &text))?, state))
    })
    .await
}

/// Adds to `state` what the workers of its query must know: changed settings, and how to open the
/// stores that the plan, which is made by now, reads.
pub(crate) async fn tell_workers(session: &Inner, state: &mut SessionState) -> Result<()> {
    if session.fleet.is_none() {
        return Ok(());
    }
    let mut headers = HeaderMap::new();
    settings::add_to_headers(state.config_options(), &mut headers)?;
    let stores = session.stores.for_workers().await.map_err(|e| Error::of(&e, ""))?;
    settings::add_stores(&stores, &mut headers)?;
    state
        .config_mut()
        .set_distributed_passthrough_headers(headers)
        .map_err(|e| Error::internal(e.to_string()))
}
