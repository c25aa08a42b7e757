//! Physical planning with machines: DataFusion's planner, the guards before the cut, the cut by
//! datafusion-distributed, the guards after it, and the check that the cut cannot change the
//! answer. Called by [`run`](crate::query::run) and [`explain`] through the session's
//! query planner; what comes out is ready to run.
//!
//! ```text
//! logical plan ─► Uncut ────────────► datafusion-distributed ─► Checked ─► plan to run
//!                 DataFusion's own     cuts at exchanges         guard, check;
//!                 plan, then prepare                             refused: one task per stage
//! ```

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bigslice_cluster::{LogLine, LogSink};
use datafusion::catalog::Session;
use datafusion::common::Result;
use datafusion::execution::SessionState;
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use datafusion_distributed::{DistributedConfig, DistributedExec};

use crate::base::config::Config;
use crate::base::driver::AsksForMachines;
use crate::error::Error;
use crate::query::sendable;
use crate::statement::explain;

/// The planner below the cut.
#[derive(Debug, Default)]
pub(crate) struct Uncut;

#[async_trait]
impl QueryPlanner for Uncut {
    async fn create_physical_plan(
        &self,
        plan: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let plan = DefaultPhysicalPlanner::default().create_physical_plan(plan, session).await?;
        Ok(bigslice_planner::prepare(plan, session.config_options()).map_err(Error::from)?)
    }
}

/// The planner above the cut.
pub(crate) struct Checked {
    cut: Arc<dyn QueryPlanner + Send + Sync>,
    /// Whether machines are there for a query that has asked for them, and for no other.
    on_demand: bool,
    /// Whether machines are other computers, with other disks.
    remote: bool,
    log: LogSink,
}

impl fmt::Debug for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { on_demand, remote, .. } = self;
        let mut checked = f.debug_struct("Checked");
        checked.field("on_demand", on_demand).field("remote", remote).finish_non_exhaustive()
    }
}

impl Checked {
    /// Guards what `cut` makes for machines such as `config` has.
    pub(crate) fn above(cut: Arc<dyn QueryPlanner + Send + Sync>, config: &Config) -> Self {
        let (on_demand, remote) = (config.is_elastic(), config.system.is_remote());
        Self { cut, on_demand, remote, log: Arc::clone(&config.log) }
    }

    async fn planned(
        &self,
        plan: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let cut = self.guarded(plan, session).await?;
        let refused = match bigslice_planner::check(&cut) {
            Ok(()) => return Ok(cut),
            Err(e) if e.is_unsafe_distribution() => e,
            Err(e) => return Err(Error::from(e).into()),
        };
        tracing::info!("a cut was refused, planning with one task per stage: {refused}");
        // One task sees all rows of its stage, as one process would.
        let Some(state) = session.as_any().downcast_ref::<SessionState>() else {
            return Err(Error::from(refused).into());
        };
        let mut state = state.clone();
        let options = state.config_mut().options_mut();
        DistributedConfig::from_config_options_mut(options)?.max_tasks_per_stage = 1;
        let whole = self.guarded(plan, &state).await?;
        bigslice_planner::check(&whole).map_err(Error::from)?;
        Ok(whole)
    }

    async fn guarded(
        &self,
        plan: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let asks = session.config().get_extension::<AsksForMachines>().is_some();
        if self.on_demand && !asks {
            return Uncut.create_physical_plan(plan, session).await;
        }
        if self.remote && bigslice_files::reads_files_here(plan)? {
            let text = "the query runs in this process, not on the machines: it reads files of this \
                        computer, which they do not see (those of a bucket they do)";
            (self.log)(LogLine::of_fleet(text));
            return Uncut.create_physical_plan(plan, session).await;
        }
        let cut = self.cut.create_physical_plan(plan, session).await?;
        if let Some(obstacle) = sendable::obstacle(&cut) {
            tracing::info!("the query runs in this process: {obstacle}");
            return Uncut.create_physical_plan(plan, session).await;
        }
        Ok(bigslice_planner::guard(cut, session.config_options()).map_err(Error::from)?)
    }
}

#[async_trait]
impl QueryPlanner for Checked {
    async fn create_physical_plan(
        &self,
        plan: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let LogicalPlan::Explain(explained) = plan else {
            return self.planned(plan, session).await;
        };
        let shown = self.cut.create_physical_plan(plan, session).await?;
        match explain::wants_cut(explained) {
            true => {
                let cut = self.planned(&explained.plan, session).await?;
                Ok(if cut.is::<DistributedExec>() {
                    explain::with_cut(&shown, &cut)
                } else {
                    shown
                })
            }
            false => Ok(shown),
        }
    }
}
