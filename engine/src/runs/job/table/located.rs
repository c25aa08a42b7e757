//! The locations of the runs that a statement reads, found before it is planned. They are part of
//! the session configuration that the statement is planned and run with, which holds the runs.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use datafusion::catalog::Session;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::source_as_provider;
use datafusion::error::DataFusionError;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use futures::StreamExt;

use crate::base::cpu::on_large_stack;
use crate::base::wire::{RunId, StoredAt};
use crate::error::{Error, Result};
use crate::runs::job::Runner;
use crate::runs::job::job::{Job, Outcome};
use crate::runs::job::reading::same_result;
use crate::runs::job::table::RunTable;
use crate::runs::job::table::pieces::{Piece, dealt};
use crate::runs::job::table::scan::Reading;
use crate::runs::task::ShardReader;

/// Most shards that are probed at a time.
const SHARDS_PROBED_MAX: usize = 8;

/// What to do about a run with missing shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Compute them.
    Compute,
    /// Leave it as it is: the statement is an EXPLAIN.
    Leave,
}

/// The runs that one statement reads, and where their shards are.
#[derive(Debug)]
pub(crate) struct Located {
    runs: HashMap<RunId, (Arc<Job>, Outcome)>,
    reader: Arc<ShardReader>,
}

impl Located {
    /// Finds the runs that `plan` reads, if there are machines to read them: without machines the
    /// driver reads all. [`RunTable`] finds them in `state`.
    pub(crate) async fn find(
        session: &Arc<Runner>,
        state: &mut SessionState,
        plan: &Arc<LogicalPlan>,
        missing: Missing,
    ) -> Result<Option<Arc<Self>>> {
        if session.fleet.is_none() || session.runs.is_empty() {
            return Ok(None);
        }
        let plan = Arc::clone(plan);
        let find = move || async move { runs_of(&plan).map_err(Error::from) };
        let found = on_large_stack(session.cpu.handle(), "planning", find).await?;
        let mut runs = HashMap::new();
        for (job, generation) in found {
            let outcome = match missing {
                Missing::Compute => Some(job.ensure().await?),
                Missing::Leave => job.there(session),
            };
            if let Some(outcome) = outcome {
                same_result(&generation, outcome.generation)?;
                runs.insert(job.id(), (job, outcome));
            }
        }
        if runs.is_empty() {
            return Ok(None);
        }
        let located = Arc::new(Self { runs, reader: Arc::clone(session.host.reader()) });
        // In the configuration, because `TableProvider::scan` is given nothing else of ours.
        state.config_mut().set_extension(Arc::clone(&located));
        Ok(Some(located))
    }

    /// How to read a run from its machines; `None` if it was not located.
    pub(super) fn scan(&self, job: &Arc<Job>, state: &dyn Session) -> Option<Reading> {
        let (held, outcome) = self.runs.get(&job.id())?;
        let shards = outcome.stored.iter().zip(&outcome.sizes);
        let whole: Arc<[_]> = shards.filter_map(|(at, size)| Piece::of_shard(at, size)).collect();
        let share = dealt(&whole, 1, state.config().target_partitions()).pop()?;
        let (reader, held) = (Some(Arc::clone(&self.reader)), Some(Arc::clone(held)));
        Some(Reading::Stored { share, whole: Some(whole), reader, held })
    }

    /// A shard could not be read. Probes the other shards of its run; lost ones are computed again
    /// when the run is next read.
    pub(crate) async fn shard_lost(&self, at: &StoredAt) {
        for (job, outcome) in self.runs.values().filter(|(job, _)| job.files() == at.run) {
            job.shard_lost(at.task as usize, at).await;
            let others = outcome.stored.clone().into_iter().enumerate();
            let others = others.filter(|(_, other)| other != at).collect::<Vec<_>>();
            let probed = futures::stream::iter(others).map(|(shard, other)| {
                let (job, reader) = (Arc::clone(job), Arc::clone(&self.reader));
                async move {
                    if !job.can_begin(&other, &reader).await {
                        job.shard_lost(shard, &other).await;
                    }
                }
            });
            probed.buffer_unordered(SHARDS_PROBED_MAX).collect::<()>().await;
        }
    }
}

/// A run that a plan reads, and the generation of its result.
type Read = (Arc<Job>, Arc<OnceLock<u64>>);

/// The runs that `plan` reads, those in views included.
fn runs_of(plan: &LogicalPlan) -> Result<Vec<Read>, DataFusionError> {
    let mut found = Vec::new();
    let mut open = vec![plan.clone()];
    while let Some(plan) = open.pop() {
        plan.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node {
                if let Some(view) = scan.source.get_logical_plan() {
                    open.push(view.into_owned());
                } else if let Ok(provider) = source_as_provider(&scan.source)
                    && let Some(table) = provider.downcast_ref::<RunTable>()
                {
                    found.push((Arc::clone(&table.job), Arc::clone(&table.generation)));
                }
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
    Ok(found)
}
