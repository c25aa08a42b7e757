//! Steps 3 and 4 in the life of a query on machines: [`lower`] makes the plan of one process, and
//! [`distribute`] divides it into stages of tasks. Called by [`run`](crate::query::run); the result
//! is ready to run.
//!
//! ```text
//! logical plan ─► lower ─► prepare ─► cut ─► guard ─► check ─► plan to run
//!                 step 3   step 4     │               └ refused: cut into one task per stage
//!                                     └ cannot be sent: the plan of one process
//! ```

use std::sync::Arc;

use async_trait::async_trait;
use bigslice_cluster::LogLine;
use bigslice_planner::Trusted;
use datafusion::catalog::Session;
use datafusion::common::{Result, internal_datafusion_err};
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::{Explain, LogicalPlan};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use datafusion_distributed::{DistributedConfig, DistributedExec, SessionStateBuilderExt};

use crate::base::config::Config;
use crate::base::memory::compact_views::CompactViewsExec;
use crate::error::Error;
use crate::query::sendable;
use crate::statement::explain;

type Plan = Arc<dyn ExecutionPlan>;

/// Step 3: the plan of one process for an optimized logical plan.
pub(crate) async fn lower(logical: &LogicalPlan, session: &dyn Session) -> Result<Plan> {
    DefaultPhysicalPlanner::default().create_physical_plan(logical, session).await
}

/// Step 4: divides `lowered`, the plan of `logical`, into stages of tasks for machines such as
/// `config` has, and checks that the division cannot change the answer.
///
/// A plan that cannot run on machines stays as it is: it runs in this process.
pub(crate) async fn distribute(
    lowered: Plan,
    logical: &LogicalPlan,
    session: &dyn Session,
    config: &Config,
) -> Result<Plan> {
    if let LogicalPlan::Explain(explain) = logical {
        return explained(lowered, explain, session, config).await;
    }
    let prepared = prepare(lowered)?;
    if config.system.is_remote() && bigslice_files::reads_files_here(logical)? {
        let text = "the query runs in this process, because it reads files of this computer, which \
                    the machines cannot see (they can read a bucket)";
        (config.log)(LogLine::of_fleet(text));
        return Ok(prepared);
    }
    let plan = guarded(&prepared, logical, session).await?;
    let refused = match check(&plan) {
        Ok(()) => return Ok(plan),
        Err(e) if e.is_unsafe_distribution() => e,
        Err(e) => return Err(Error::from(e).into()),
    };
    tracing::info!("the plan was refused, distributing with one task per stage: {refused}");
    // One task sees all rows of its stage, as one process would.
    let Some(state) = session.as_any().downcast_ref::<SessionState>() else {
        return Err(Error::from(refused).into());
    };
    let mut state = state.clone();
    let options = state.config_mut().options_mut();
    DistributedConfig::from_config_options_mut(options)?.max_tasks_per_stage = 1;
    let plan = guarded(&prepared, logical, &state).await?;
    check(&plan).map_err(Error::from)?;
    Ok(plan)
}

/// `EXPLAIN`: DataFusion's explanation, which shows the plan of one process, with the distributed
/// plan in its place.
async fn explained(
    lowered: Plan,
    explain: &Explain,
    session: &dyn Session,
    config: &Config,
) -> Result<Plan> {
    if !explain::wants_distributed(explain) {
        return Ok(lowered);
    }
    let plan = lower(&explain.plan, session).await?;
    let plan = Box::pin(distribute(plan, &explain.plan, session, config)).await?;
    Ok(match plan.is::<DistributedExec>() {
        true => explain::with_distributed(&lowered, &plan),
        false => lowered,
    })
}

fn check(plan: &Plan) -> Result<(), bigslice_planner::Error> {
    let row_wise = vec![CompactViewsExec::NAME.to_owned()];
    bigslice_planner::check_with(plan, &Trusted { row_wise, ..Trusted::default() })
}

fn prepare(lowered: Plan) -> Result<Plan> {
    Ok(bigslice_planner::prepare(lowered).map_err(Error::from)?)
}

/// `prepared`, cut into stages and guarded; unchanged if the stages could not be sent.
async fn guarded(prepared: &Plan, logical: &LogicalPlan, session: &dyn Session) -> Result<Plan> {
    let plan = cut(Arc::clone(prepared), logical, session).await?;
    if let Some(obstacle) = sendable::obstacle(&plan) {
        tracing::info!("the query runs in this process: {obstacle}");
        return Ok(Arc::clone(prepared));
    }
    Ok(bigslice_planner::guard(plan).map_err(Error::from)?)
}

/// Cuts `prepared` into stages at its exchanges. datafusion-distributed 4.0 offers this only as a
/// query planner on top of another one, so the other one returns the plan that is there already.
async fn cut(prepared: Plan, logical: &LogicalPlan, session: &dyn Session) -> Result<Plan> {
    let mut builder = SessionStateBuilder::new()
        .with_query_planner(Arc::new(Prepared(prepared)))
        .with_distributed_planner();
    let planner = builder.query_planner().take();
    let planner = planner.ok_or_else(|| internal_datafusion_err!("there is no planner to cut"))?;
    planner.create_physical_plan(logical, session).await
}

/// The planner below the one that cuts.
#[derive(Debug)]
struct Prepared(Plan);

#[async_trait]
impl QueryPlanner for Prepared {
    async fn create_physical_plan(&self, _: &LogicalPlan, _: &dyn Session) -> Result<Plan> {
        Ok(Arc::clone(&self.0))
    }
}

/// The planner of the session's context: steps 3 and 4 for plans that DataFusion's own methods run,
/// such as `DataFrame::collect`.
#[derive(Debug)]
pub(crate) struct ContextPlanner {
    pub(crate) config: Config,
}

#[async_trait]
impl QueryPlanner for ContextPlanner {
    async fn create_physical_plan(
        &self,
        logical: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Plan> {
        let lowered = lower(logical, session).await?;
        // Machines that come and go are started by statements of the session, not by these plans.
        if self.config.is_elastic() {
            return prepare(lowered);
        }
        distribute(lowered, logical, session, &self.config).await
    }
}
