//! What one attempt to run a query watches, and why it ends early. Used by
//! [`run`](crate::query::run), which decides whether there is another attempt.

use std::sync::Arc;
use std::time::Duration;

use bigslice_cluster::Fleet;
use bigslice_flight::OverMemory;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::ExecutionPlan;
use futures::StreamExt;
use futures::future::OptionFuture;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::base::cpu::catching_panics;
use crate::base::machines;
use crate::base::recovery::{self, Scope, TaskFailure};
use crate::error::{Error, Result};
use crate::query::holdback::{Gone, ResultWriter};
use crate::query::low_memory::MemoryStrategy;
use crate::runs::job::Located;
use crate::runs::job::Runner;

/// How long an attempt after the loss of a machine waits for its replacement before it continues
/// with fewer machines, and less memory: several times what starting a local process takes.
const REPLACEMENT_WAIT_MAX: Duration = Duration::from_secs(2);

/// How long a query may return no rows after a machine was lost, before the query counts as lost as
/// well. Broken connections report themselves at once; this is for those that do not.
const SILENCE_MAX: Duration = Duration::from_secs(2);

/// Why an attempt ended early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Another attempt would fail as well.
    Stop(Error),
    /// Machines, or connections between them, were lost.
    Lost(String),
    /// There was not enough memory; `instead` may need less.
    Memory { error: Error, instead: Option<MemoryStrategy> },
    /// The reader of the result is gone.
    Cancelled,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Stop(error)
    }
}

impl From<Gone> for Failure {
    fn from(_: Gone) -> Self {
        Self::Cancelled
    }
}

/// The error of a panic.
pub(crate) fn panicked(panic: &str) -> DataFusionError {
    DataFusionError::Execution(format!("a function or an operator panicked: {panic}"))
}

/// Watches the fleet and the memory of this process during one attempt.
pub(crate) struct Watch {
    fleet: Option<(Fleet, watch::Receiver<u64>)>,
    /// Reports when this process has too much memory.
    over_memory: Option<OverMemory>,
    /// The number of machines that were lost earlier.
    before: u64,
    /// Set when a machine is lost: the next rows must come before that.
    silent_until: Option<Instant>,
}

impl Watch {
    /// Waits for a machine to run on, if the session has machines. After `losses` attempts that
    /// lost machines, waits a moment for their replacements.
    pub(crate) async fn start(session: &Runner, losses: usize) -> Result<Self, Failure> {
        let over_memory = session.gauge.as_ref().map(|gauge| gauge.over());
        let Some(fleet) = &session.fleet else {
            return Ok(Self { fleet: None, over_memory, before: 0, silent_until: None });
        };
        if losses > 0 && fleet.wait_for(fleet.size(), REPLACEMENT_WAIT_MAX).await.is_err() {
            tracing::info!("running again on {} of {}", fleet.machines().len(), fleet.size());
        }
        let (losses, before) = (fleet.losses(), fleet.lost_total());
        let fleet_too = Some((fleet.clone(), losses));
        let mut watch = Self { fleet: fleet_too, over_memory, before, silent_until: None };
        watch.restart();
        if !session.config.is_elastic() {
            machines::wait(session).await?;
        }
        Ok(watch)
    }

    /// Ignores the machines that were lost until now.
    pub(crate) fn restart(&mut self) {
        if let Some((fleet, losses)) = &mut self.fleet {
            losses.mark_unchanged();
            self.before = fleet.lost_total();
        }
    }

    /// The next item of the stream, unless a machine is lost and the stream has fallen silent, or
    /// this process has too much memory.
    pub(crate) async fn next(
        &mut self,
        stream: &mut SendableRecordBatchStream,
        result: &ResultWriter<'_>,
    ) -> Result<Option<Result<RecordBatch, DataFusionError>>, Failure> {
        if self.silent_until.is_some() {
            self.silent_until = Some(Instant::now() + SILENCE_MAX);
        }
        loop {
            let silent_until = self.silent_until;
            let silent = OptionFuture::from(silent_until.map(tokio::time::sleep_until));
            let losses = self.fleet.as_mut().map(|(_, losses)| losses);
            let lost = OptionFuture::from(losses.map(watch::Receiver::changed));
            let over = OptionFuture::from(self.over_memory.as_mut().map(OverMemory::happens));
            tokio::select! {
                item = catching_panics(stream.next()) => {
                    return Ok(item.unwrap_or_else(|panic| Some(Err(panicked(&panic)))));
                }
                Some(Ok(())) = lost, if silent_until.is_none() => {
                    self.silent_until = Some(Instant::now() + SILENCE_MAX);
                }
                Some(error) = over => return Ok(Some(Err(error))),
                Some(()) = silent => {
                    let why = self.lost_since().unwrap_or_else(|| "a machine was lost".to_owned());
                    return Err(Failure::Lost(why));
                }
                () = result.closed() => return Err(Failure::Cancelled),
            }
        }
    }

    /// Judges an error of the query. Shards of `located` runs that could not be read are computed
    /// again by the next attempt.
    pub(crate) async fn judge(
        &self,
        error: DataFusionError,
        located: &Option<Arc<Located>>,
        plan: &Arc<dyn ExecutionPlan>,
        text: &str,
        strategy: MemoryStrategy,
    ) -> Failure {
        let fleet = self.fleet.as_ref().map(|(fleet, _)| fleet);
        let scope = Scope::Query { lost_before: self.before };
        match recovery::judge(fleet, scope, error, text).await {
            TaskFailure::Lost(why) => Failure::Lost(why),
            TaskFailure::ShardLost(at, reason) => {
                if let Some(located) = located {
                    located.shard_lost(&at).await;
                }
                Failure::Lost(recovery::unreadable(&reason))
            }
            TaskFailure::Failed(error @ Error::Memory { .. }) => {
                Failure::Memory { error, instead: strategy.instead(plan) }
            }
            failure => Failure::Stop(failure.into()),
        }
    }

    /// Fails if a machine was lost since the attempt began.
    pub(crate) fn nothing_lost(&self) -> Result<(), Failure> {
        self.lost_since().map_or(Ok(()), |why| Err(Failure::Lost(why)))
    }

    /// The losses since the attempt began, in words, if there are any.
    fn lost_since(&self) -> Option<String> {
        let (fleet, _) = self.fleet.as_ref()?;
        recovery::lost_since(fleet, self.before)
    }
}
