//! One attempt to run a plan from its beginning to its end, and the judgement of what went wrong.
//! Called by [`run`](crate::query::run), which decides whether there is another one.

use std::sync::Arc;
use std::time::Duration;

use bigslice_cluster::Fleet;
use bigslice_flight::OverMemory;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::StreamExt;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::base::cpu::catching_panics;
use crate::base::machines::{self, Company};
use crate::base::recovery::{self, Scope, TaskFailure};
use crate::error::{Error, Result};
use crate::query::holdback::Head;
use crate::query::low_memory::Thrift;
use crate::runs::job::{Located, Missing, Runner};
use crate::statement::planning::{self, Logical};
use bigslice_files::sink::Transaction;

/// How long a run that lost a machine waits for the replacement before it goes on with what is left:
/// several times what a local process takes. What runs on fewer machines has less memory.
const REPLACEMENT_WAIT_MAX: Duration = Duration::from_secs(2);

/// After a machine was lost, how long a query may give no rows before it counts as lost with it.
/// Broken connections make themselves known at once; this is for whoever waits for one that does
/// not.
const SILENCE_MAX: Duration = Duration::from_secs(2);

/// What is attempted.
pub(crate) struct Run {
    pub(crate) session: Arc<Runner>,
    pub(crate) text: Arc<str>,
    /// Optimised already if it gives rows.
    pub(crate) plan: Arc<LogicalPlan>,
    pub(crate) output: Output,
}

/// What a run gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// Rows for the reader.
    Rows,
    /// The number of rows written, once what was written is there to stay.
    Count,
}

/// Why an attempt ended early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It would fail again.
    Stop(Error),
    /// Machines, or connections between them, were lost.
    Lost(String),
    /// The memory did not suffice; how it might, if there is a way.
    Memory { error: Error, instead: Option<Thrift> },
    /// Nobody reads the result any more.
    Cancelled,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Stop(error)
    }
}

/// Runs the plan once, after `losses` attempts that lost machines. Rows go out through `out` as
/// `head` lets them.
pub(crate) async fn attempt(
    run: &Run,
    head: &mut Head,
    out: &mpsc::Sender<RecordBatch>,
    thrift: Thrift,
    losses: usize,
) -> Result<(), Failure> {
    let mut watch = Watch::begin(&run.session, losses).await?;
    let mut state = run.session.state();
    thrift.apply(&mut state, run.session.fleet.is_some());
    let theirs = |e: DataFusionError| Failure::Stop(Error::in_statement(e, &run.text));
    let (transaction, plan, state) = match run.output {
        Output::Rows => (None, (Arc::clone(&run.plan), Logical::Optimized), state),
        Output::Count => {
            let cleanup = run.session.cleanup.clone();
            let begun = Transaction::begin((*run.plan).clone(), &state, cleanup).await;
            let begun = begun.map_err(theirs)?;
            let (transaction, plan) = begun;
            let state = transaction.session(&state);
            (Some(transaction), (Arc::new(plan), Logical::AsWritten), state)
        }
    };
    let outcome = execute(run, state, plan, &mut watch, head, out, thrift).await;
    match (outcome, transaction) {
        (Ok(()), None) => {}
        (Ok(()), Some(transaction)) => transaction.commit().await.map_err(theirs)?,
        (Err(failure), None) => return Err(failure),
        (Err(failure), Some(transaction)) => {
            transaction.rollback().await;
            return Err(failure);
        }
    }
    give(out, head.release()).await
}

/// Plans and runs to the end of the rows.
async fn execute(
    run: &Run,
    mut state: SessionState,
    plan: (Arc<LogicalPlan>, Logical),
    watch: &mut Watch,
    head: &mut Head,
    out: &mpsc::Sender<RecordBatch>,
    thrift: Thrift,
) -> Result<(), Failure> {
    let missing = match *plan.0 {
        LogicalPlan::Explain(_) => Missing::Leave,
        _ => Missing::Compute,
    };
    let placed = async {
        Located::tell(&run.session, &mut state, &plan.0, missing).await?;
        place(run, state, plan, watch).await
    };
    let placed = tokio::select! {
        placed = placed => placed?,
        () = out.closed() => return Err(Failure::Cancelled),
    };
    // A plan for machines that are gone by now could be one for none: all work in this process.
    watch.nothing_lost()?;
    // Its machines are held to the end of the rows.
    let Placed { plan, mut state, _company } = placed;
    planning::tell_workers(&run.session, &mut state).await?;
    let located = state.config().get_extension::<Located>();
    let context = state.task_ctx();
    let start = async { execute_stream(Arc::clone(&plan), context) };
    let mut stream = match catching_panics(start).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(e)) => return Err(watch.judge(e, &located, &plan, &run.text, thrift).await),
        Err(panic) => {
            let error = panicked(&panic);
            return Err(watch.judge(error, &located, &plan, &run.text, thrift).await);
        }
    };
    while let Some(next) = watch.next(&mut stream, out).await? {
        match next {
            Ok(batch) => give(out, head.push(batch)).await?,
            Err(e) => {
                // The rest of the query stops before anyone asks the machines what happened.
                drop(stream);
                return Err(watch.judge(e, &located, &plan, &run.text, thrift).await);
            }
        }
    }
    Ok(())
}

/// A plan, with the machines that it is for.
struct Placed {
    plan: Arc<dyn ExecutionPlan>,
    state: SessionState,
    _company: Option<Company>,
}

/// Plans for the machines that there are, or that come when they are asked for.
async fn place(
    run: &Run,
    mut state: SessionState,
    plan: (Arc<LogicalPlan>, Logical),
    watch: &mut Watch,
) -> Result<Placed, Failure> {
    let session = &run.session;
    let physical = |state, plan| planning::physical(session, state, plan, Arc::clone(&run.text));
    let Some(fleet) = &session.fleet else {
        let (plan, state) = physical(state, plan).await?;
        return Ok(Placed { plan, state, _company: None });
    };
    let (mut demand, mut made) = (None, None);
    if session.config.is_elastic() {
        // As if all machines were there that there may be: how many of them it can use.
        let (whole, same) = physical(state, (Arc::clone(&plan.0), plan.1)).await?;
        let machines = machines::usable(&whole);
        if machines == 0 {
            return Ok(Placed { plan: whole, state: same, _company: None });
        }
        state = same;
        demand = Some(Company::call(session, fleet, machines).await?);
        made = Some((whole, machines));
        // What was lost while it waited it does not miss. Of machines that are always there it does miss one:
        // a plan for those that are left could be one for this process.
        watch.restart();
    }
    let company = Company::hold(session, fleet, demand).await?;
    company.confine(&mut state);
    if let Some((plan, machines)) = made
        && machines <= company.size()
    {
        return Ok(Placed { plan, state, _company: Some(company) });
    }
    let (plan, state) = physical(state, plan).await?;
    Ok(Placed { plan, state, _company: Some(company) })
}

async fn give(out: &mpsc::Sender<RecordBatch>, batches: Vec<RecordBatch>) -> Result<(), Failure> {
    for batch in batches {
        out.send(batch).await.map_err(|_| Failure::Cancelled)?;
    }
    Ok(())
}

fn panicked(panic: &str) -> DataFusionError {
    DataFusionError::Execution(format!("a function or an operator panicked: {panic}"))
}

/// The fleet as one attempt sees it: which machines were lost since it began.
struct Watch {
    fleet: Option<(Fleet, watch::Receiver<u64>)>,
    /// Tells when this process has too much memory.
    over_memory: Option<OverMemory>,
    /// How many were lost before.
    before: u64,
    /// Set when one was lost: until when rows must come.
    silent_until: Option<Instant>,
}

impl Watch {
    /// Waits until there is a machine to run on, if there are to be any; after `losses`, for a
    /// moment, until all are there again.
    async fn begin(session: &Runner, losses: usize) -> Result<Self, Failure> {
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

    /// Only what is lost from now on matters.
    fn restart(&mut self) {
        if let Some((fleet, losses)) = &mut self.fleet {
            losses.mark_unchanged();
            self.before = fleet.lost_total();
        }
    }

    /// The next item of the stream, unless a machine is lost and the stream has fallen silent, or
    /// this process has too much memory.
    async fn next(
        &mut self,
        stream: &mut SendableRecordBatchStream,
        out: &mpsc::Sender<RecordBatch>,
    ) -> Result<Option<Result<RecordBatch, DataFusionError>>, Failure> {
        if self.silent_until.is_some() {
            self.silent_until = Some(Instant::now() + SILENCE_MAX);
        }
        loop {
            let silent_until = self.silent_until;
            tokio::select! {
                item = catching_panics(stream.next()) => {
                    return Ok(item.unwrap_or_else(|panic| Some(Err(panicked(&panic)))));
                }
                () = lost(&mut self.fleet), if silent_until.is_none() => {
                    self.silent_until = Some(Instant::now() + SILENCE_MAX);
                }
                error = over(&mut self.over_memory) => return Ok(Some(Err(error))),
                () = until(silent_until) => {
                    let why = self.lost_since().unwrap_or_else(|| "a machine was lost".to_owned());
                    return Err(Failure::Lost(why));
                }
                () = out.closed() => return Err(Failure::Cancelled),
            }
        }
    }

    /// Judges an error of the query. Shards of `located` runs that could not be read are computed again
    /// by the next attempt.
    async fn judge(
        &self,
        error: DataFusionError,
        located: &Option<Arc<Located>>,
        plan: &Arc<dyn ExecutionPlan>,
        text: &str,
        thrift: Thrift,
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
                Failure::Memory { error, instead: thrift.instead(plan) }
            }
            failure => Failure::Stop(failure.into()),
        }
    }

    /// Fails if a machine was lost since the attempt began.
    fn nothing_lost(&self) -> Result<(), Failure> {
        self.lost_since().map_or(Ok(()), |why| Err(Failure::Lost(why)))
    }

    /// The losses since the attempt began, in words, if there are any.
    fn lost_since(&self) -> Option<String> {
        let (fleet, _) = self.fleet.as_ref()?;
        recovery::lost_since(fleet, self.before)
    }
}

/// Returns when a machine is lost.
async fn lost(fleet: &mut Option<(Fleet, watch::Receiver<u64>)>) {
    let changed = match fleet {
        Some((_, losses)) => losses.changed().await.is_ok(),
        None => false,
    };
    if !changed {
        std::future::pending().await
    }
}

/// Returns when this process has too much memory.
async fn over(over_memory: &mut Option<OverMemory>) -> DataFusionError {
    match over_memory {
        Some(over_memory) => over_memory.happens().await,
        None => std::future::pending().await,
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
