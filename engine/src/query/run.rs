//! The life of a query, in one chain. The numbers are those of ARCHITECTURE.md.
//!
//! 1. *Parse and plan*, 2. *optimize*: [`plan`](crate::statement::planning::plan), when the query is
//!    made. [`Query::stream`](crate::Query::stream) then calls [`rows`]:
//! 3. *Lower*, 4. *distribute*: [`physical`], in each attempt.
//! 5. *Run*, 6. *return*: [`run_once`], within an [`attempt`].
//! 7. *Recover*: [`run_with_retries`] decides whether there is another attempt.
//!
//! ```text
//! attempt ─┬─ success ─────────────────────────────► the rest of the rows, done
//!          ├─ the statement is at fault ───────────► its error
//!          ├─ no memory ────── no rows sent yet ───► again, with less memory, twice at most
//!          └─ a machine lost ─┬─ no rows sent yet ─► again, at most 3 times
//!                             └─ rows sent ────────► an error that says so
//! ```
//!
//! The session's own threads compute the rows, which reach the reader through a short queue.

use std::sync::Arc;

use bigslice_cluster::LogLine;
use bigslice_files::sink::Transaction;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion_distributed::DistributedExt;
use http::HeaderMap;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::base::cpu::{catching_panics, on_large_stack};
use crate::base::history::Kind;
use crate::base::machines::{self, HeldMachines};
use crate::base::settings;
use crate::error::{Error, Result};
use crate::query::attempt::{Failure, Watch, panicked};
use crate::query::distribute::{distribute, lower};
use crate::query::holdback::{Head, ResultWriter};
use crate::query::low_memory::MemoryStrategy;
use crate::query::stored;
use crate::query::stream::Rows;
use crate::runs::job::{Located, Missing, Runner};
use crate::statement::materialized::MaterializedTable;

/// How often a query runs again after machines were lost.
pub(crate) const RUNS_AGAIN_MAX: usize = 3;

/// Batches in the queue between the task that computes them and the reader.
const BATCHES_QUEUED_MAX: usize = 2;

/// A statement with rows to compute, for all its attempts.
pub(crate) struct Execution {
    pub(crate) runner: Arc<Runner>,
    pub(crate) text: Arc<str>,
    /// Optimized if the output is rows.
    pub(crate) plan: Arc<LogicalPlan>,
    pub(crate) output: Output,
}

/// The output of an [`Execution`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// Rows for the reader.
    Rows,
    /// The number of rows written, once they are written for good.
    Count,
}

/// Steps 3 to 7: the rows of `execution`, computed on the session's own threads after the tables
/// that it reads.
pub(crate) fn rows(
    execution: Execution,
    tables: Vec<Arc<MaterializedTable>>,
    schema: SchemaRef,
) -> SendableRecordBatchStream {
    let (sender, receiver) = mpsc::channel(BATCHES_QUEUED_MAX);
    let mut task = JoinSet::new();
    let handle = execution.runner.cpu.handle().clone();
    let entry = execution.runner.journal.begin(Kind::Query, &execution.text);
    let work = async move {
        let done = async {
            for table in &tables {
                compute(table, &execution).await?;
            }
            run_with_retries(&execution, &sender).await
        };
        let done = done.await;
        // A reader that is gone has cancelled the query, even if the abort of this task comes
        // later.
        if done.is_err() || !sender.is_closed() {
            entry.end(&done);
        }
        done
    };
    task.spawn_on(work, &handle);
    Box::pin(Rows::new(schema, receiver, task))
}

/// Computes a table that the statement of `execution` reads.
async fn compute(table: &MaterializedTable, execution: &Execution) -> Result<()> {
    if table.is_computed() {
        return Ok(());
    }
    let (sender, mut receiver) = mpsc::channel(BATCHES_QUEUED_MAX);
    let Execution { runner, text, .. } = execution;
    let query = Execution {
        runner: Arc::clone(runner),
        text: Arc::clone(text),
        plan: Arc::clone(&table.plan),
        output: Output::Rows,
    };
    let runtime = runner.context.runtime_env();
    let pool = &runtime.memory_pool;
    let receive = async move {
        let mut batches: Vec<RecordBatch> = Vec::new();
        while let Some(batch) = receiver.recv().await {
            table.reserve(&batch, pool).map_err(|e| Error::in_statement(e, text))?;
            batches.push(batch);
        }
        Ok::<_, Error>(batches)
    };
    let send = async move {
        let done = run_with_retries(&query, &sender).await;
        drop(sender);
        done
    };
    let (received, done) = futures::join!(receive, send);
    let batches = received?;
    done?;
    let partitions = runner.config.partitions_per_task();
    let batches = stored::with_schema(batches, table.columns());
    let filled = batches.and_then(|batches| table.fill(batches, partitions));
    filled.map_err(|e| Error::in_statement(e, text))
}

/// Step 7: attempts an execution until it succeeds or there is nothing left to try.
async fn run_with_retries(execution: &Execution, out: &mpsc::Sender<RecordBatch>) -> Result<()> {
    let runner = &execution.runner;
    let _running = runner.queries.acquire().await.map_err(|_| Error::Closed)?;
    let head = Head::new(match (execution.output, &runner.fleet) {
        (Output::Count, _) => usize::MAX,
        (Output::Rows, Some(_)) => runner.config.head_bytes,
        // With a limit, so that a query that runs out of memory late can run again.
        (Output::Rows, None) if runner.config.memory_limit.is_some() => runner.config.head_bytes,
        (Output::Rows, None) => 0,
    });
    let mut result = ResultWriter::new(head, out);
    let (mut strategy, mut losses) = (MemoryStrategy::Usual, 0);
    loop {
        let failure = match attempt(execution, &mut result, strategy, losses).await {
            Ok(()) => return Ok(()),
            Err(failure) => failure,
        };
        if runner.queries.is_closed() {
            return Err(Error::Closed);
        }
        match failure {
            Failure::Cancelled => return Ok(()),
            Failure::Stop(error) => return Err(error),
            Failure::Memory { error, instead } => {
                let Some(next) = instead.filter(|_| !result.has_sent()) else { return Err(error) };
                strategy = next;
                say(runner, format!("{error}; running the query again {}", strategy.text()));
            }
            Failure::Lost(why) if result.has_sent() => return Err(lost_after_rows(&why)),
            Failure::Lost(why) if losses == RUNS_AGAIN_MAX => return Err(lost_for_good(&why)),
            Failure::Lost(why) => {
                losses += 1;
                let which = format!("{losses} of {RUNS_AGAIN_MAX}");
                say(runner, format!("{why}; running the query again ({which})"));
            }
        }
        result.restart();
    }
}

fn lost_after_rows(why: &str) -> Error {
    Error::Lost {
        message: format!("{why}, after rows of the result had been returned"),
        hint: Some(
            "run the query again; it would have run again by itself if no rows had been returned. \
             A larger head (\"head_bytes\") holds more of them back"
                .to_owned(),
        ),
        source: None,
    }
}

fn lost_for_good(why: &str) -> Error {
    let runs = RUNS_AGAIN_MAX + 1;
    Error::lost(format!("{why}; the query was run {runs} times"))
}

fn say(runner: &Runner, text: String) {
    (runner.config.log)(LogLine::of_fleet(text));
}

/// Steps 3 to 6: one attempt, after `losses` attempts that lost machines. What it writes is
/// committed or rolled back as a whole.
async fn attempt(
    execution: &Execution,
    result: &mut ResultWriter<'_>,
    strategy: MemoryStrategy,
    losses: usize,
) -> Result<(), Failure> {
    let runner = &execution.runner;
    let mut watch = Watch::start(runner, losses).await?;
    let mut state = runner.state();
    strategy.apply(&mut state, runner.fleet.is_some());
    let failed = |e: DataFusionError| Failure::Stop(Error::in_statement(e, &execution.text));
    if execution.output == Output::Rows {
        let logical = Arc::clone(&execution.plan);
        let attempt = Attempt { execution, logical, state, strategy };
        run_once(attempt, &mut watch, result).await?;
    } else {
        let cleanup = runner.cleanup.clone();
        let transaction = Transaction::begin((*execution.plan).clone(), &state, cleanup).await;
        let (transaction, logical) = transaction.map_err(failed)?;
        let state = transaction.session(&state);
        let attempt = Attempt { execution, logical: Arc::new(logical), state, strategy };
        match run_once(attempt, &mut watch, result).await {
            Ok(()) => transaction.commit().await.map_err(failed)?,
            Err(failure) => {
                transaction.rollback().await;
                return Err(failure);
            }
        }
    }
    Ok(result.finish().await?)
}

/// One attempt.
struct Attempt<'a> {
    execution: &'a Execution,
    /// The plan of the execution; if it writes, with the places where this attempt writes.
    logical: Arc<LogicalPlan>,
    state: SessionState,
    strategy: MemoryStrategy,
}

/// Plans and runs to the end of the rows.
async fn run_once(
    attempt: Attempt<'_>,
    watch: &mut Watch,
    result: &mut ResultWriter<'_>,
) -> Result<(), Failure> {
    let Attempt { execution, logical, mut state, strategy } = attempt;
    let Execution { runner, text, .. } = execution;
    let missing = match *logical {
        LogicalPlan::Explain(_) => Missing::Leave,
        _ => Missing::Compute,
    };
    let planned = async {
        let located = Located::find(runner, &mut state, &logical, missing).await?;
        let placed = place(execution, logical, state, watch).await?;
        Ok::<_, Failure>((located, placed))
    };
    let (located, placed) = tokio::select! {
        planned = planned => planned?,
        () = result.closed() => return Err(Failure::Cancelled),
    };
    // If machines are gone by now, the plan may be for none of them: all work in this process.
    watch.nothing_lost()?;
    // Holds the machines to the end of the rows.
    let Placed { plan, mut state, _machines } = placed;

    // 5. Run.
    add_worker_headers(runner, &mut state).await?;
    let context = state.task_ctx();
    let start = async { execute_stream(Arc::clone(&plan), context) };
    let mut stream = match catching_panics(start).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(e)) => return Err(watch.judge(e, &located, &plan, text, strategy).await),
        Err(panic) => {
            return Err(watch.judge(panicked(&panic), &located, &plan, text, strategy).await);
        }
    };

    // 6. Return.
    while let Some(next) = watch.next(&mut stream, result).await? {
        match next {
            Ok(batch) => result.push(batch).await?,
            Err(e) => {
                // The rest of the query stops before the machines are asked what happened.
                drop(stream);
                return Err(watch.judge(e, &located, &plan, text, strategy).await);
            }
        }
    }
    Ok(())
}

/// A plan, with the machines that it is for.
struct Placed {
    plan: Arc<dyn ExecutionPlan>,
    state: SessionState,
    _machines: Option<HeldMachines>,
}

/// Plans for the machines that are there, or that come on demand.
async fn place(
    execution: &Execution,
    logical: Arc<LogicalPlan>,
    mut state: SessionState,
    watch: &mut Watch,
) -> Result<Placed, Failure> {
    let runner = &execution.runner;
    let Some(fleet) = &runner.fleet else {
        let (plan, state) = physical(execution, logical, state).await?;
        return Ok(Placed { plan, state, _machines: None });
    };
    let (mut demand, mut made) = (None, None);
    if runner.config.is_elastic() {
        // A plan for the largest possible fleet shows how many machines the query can use.
        let (whole, same) = physical(execution, Arc::clone(&logical), state).await?;
        let machines = machines::usable(&whole);
        if machines == 0 {
            return Ok(Placed { plan: whole, state: same, _machines: None });
        }
        state = same;
        demand = Some(HeldMachines::call(runner, fleet, machines).await?);
        made = Some((whole, machines));
        // A machine that was lost during the wait is not missed here. In a fleet of fixed size it
        // is: a plan for the machines that are left could be one for this process.
        watch.restart();
    }
    let held = HeldMachines::hold(runner, fleet, demand).await?;
    held.confine(&mut state);
    if let Some((plan, machines)) = made
        && machines <= held.size()
    {
        return Ok(Placed { plan, state, _machines: Some(held) });
    }
    let (plan, state) = physical(execution, logical, state).await?;
    Ok(Placed { plan, state, _machines: Some(held) })
}

/// Steps 3 and 4: the plan to run, made with `state`, which is returned with it. On a thread with a
/// large stack, as step 1.
pub(crate) async fn physical(
    execution: &Execution,
    logical: Arc<LogicalPlan>,
    state: SessionState,
) -> Result<(Arc<dyn ExecutionPlan>, SessionState)> {
    let Execution { runner, text, output, .. } = execution;
    let (runner, text, output) = (Arc::clone(runner), Arc::clone(text), *output);
    let handle = runner.cpu.handle().clone();
    let work = move || async move {
        let planned = async {
            // 2. Optimize, if the output is a count: only this attempt knows where it writes.
            let logical = match output {
                Output::Rows => logical,
                Output::Count => Arc::new(state.optimize(&logical)?),
            };
            // 3. Lower.
            let plan = lower(&logical, &state).await?;
            if runner.fleet.is_none() {
                return Ok(plan);
            }
            // 4. Distribute: cut into stages of tasks, guarded and checked.
            distribute(plan, &logical, &state, &runner.config).await
        };
        let planned: Result<_, DataFusionError> = planned.await;
        Ok((planned.map_err(|e| Error::in_statement(e, &text))?, state))
    };
    on_large_stack(&handle, "planning", work).await
}

/// Adds to `state` what the workers must know to run a plan: changed settings, and how to open the
/// stores that it reads.
async fn add_worker_headers(runner: &Runner, state: &mut SessionState) -> Result<()> {
    if runner.fleet.is_none() {
        return Ok(());
    }
    let mut headers = HeaderMap::new();
    settings::add_to_headers(state.config_options(), &mut headers)?;
    let stores = runner.stores.for_workers().await?;
    settings::add_stores(&stores, &mut headers)?;
    state
        .config_mut()
        .set_distributed_passthrough_headers(headers)
        .map_err(|e| Error::internal(e.to_string()))
}
