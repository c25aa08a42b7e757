//! Reads the shards of a run one by one, and has lost ones computed again.

use std::sync::{Arc, OnceLock};

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt, TryStreamExt};

use crate::base::recovery::{self, Scope, TaskFailure};
use crate::base::wire::StoredAt;
use crate::error::{Error, Result};
use crate::runs::job::job::{Job, Outcome};
use crate::runs::job::scheduler::LOSSES_MAX;

/// A stream of one shard, whose first batch has been read. All shards that are opened with one
/// `generation` are of one result.
pub(super) async fn open_shard(
    job: Arc<Job>,
    shard: usize,
    schema: SchemaRef,
    generation: &OnceLock<u64>,
) -> Result<SendableRecordBatchStream> {
    let mut losses = 0;
    loop {
        let Outcome { stored, generation: now, .. } = job.ensure().await?;
        same_result(generation, now)?;
        let at = stored.get(shard).cloned();
        let at = at.ok_or_else(|| Error::internal(format!("a run without its shard {shard}")))?;
        let mut rows = job.session()?.host.reader().read(vec![at.clone()], 0, &schema);
        let first = match rows.next().await {
            None => return Ok(rows),
            Some(Ok(first)) => first,
            Some(Err(error)) => {
                recover(&job, shard, &at, error, &mut losses).await?;
                continue;
            }
        };
        // The reader of the rest holds the run.
        let held = Arc::clone(&job);
        let rest = rows.map_err(move |error| {
            let _run = &held;
            match recovery::loss(&error) {
                Some(why) => Error::lost(format!("{why}, after rows of the shard had been read"))
                    .with_hint("read the run again: lost shards are computed again")
                    .into(),
                None => error,
            }
        });
        let all = futures::stream::iter([Ok(first)]).chain(rest);
        return Ok(Box::pin(RecordBatchStreamAdapter::new(schema, all)));
    }
}

/// Checks that the generation `now` is the one that earlier readers with this `generation` have
/// seen.
///
/// # Errors
/// When the result has changed since.
pub(super) fn same_result(generation: &OnceLock<u64>, now: u64) -> Result<()> {
    if *generation.get_or_init(|| now) == now {
        return Ok(());
    }
    let message = "part of the result was lost and recomputed, and no longer matches what was already \
                   read";
    let hint = "read the run again from its first shard, or register its table again";
    Err(Error::lost(message).with_hint(hint))
}

/// A shard could not be read: has it computed again, if that can help.
///
/// # Errors
/// When the shard was not lost, or lost too often.
pub(super) async fn recover(
    job: &Arc<Job>,
    shard: usize,
    at: &StoredAt,
    error: DataFusionError,
    losses: &mut u32,
) -> Result<()> {
    let session = job.session()?;
    match recovery::judge(session.fleet.as_ref(), Scope::Driver, error, "").await {
        TaskFailure::Failed(error) if !error.is_retryable() => return Err(error),
        lost => {
            *losses += 1;
            if *losses == LOSSES_MAX {
                return Err(lost.into());
            }
        }
    }
    drop(session);
    job.shard_lost(shard, at).await;
    Ok(())
}
