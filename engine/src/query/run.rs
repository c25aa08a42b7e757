//! Runs a statement. Its rows are made by a task of the session's own threads and flow through a
//! short queue to whoever reads the stream; what happens when a machine is lost is decided here:
//!
//! ```text
//! attempt ─┬─ ended well ────────────────────────────────► the rest of the rows, done
//!          ├─ the statement is at fault ─────────────────► its error
//!          ├─ no memory ── no rows given out yet ────────► again, with more thrift, twice at most
//!          └─ a machine lost ─┬─ no rows given out yet ──► again, at most 3 times
//!                             └─ rows given out ─────────► an error that says so
//! ```

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bigslice_cluster::LogLine;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::catalog::MemTable;
use datafusion::datasource::provider_as_source;
use datafusion::error::DataFusionError;
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream};
use datafusion::logical_expr::{CreateMemoryTable, DdlStatement, LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_plan::EmptyRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{Stream, TryStreamExt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::base::cpu::on_large_stack;
use crate::base::history::Kind;
use crate::error::{Error, Result};
use crate::query::attempt::{self, Failure, Output, Run};
use crate::query::holdback::Head;
use crate::query::low_memory::Thrift;
use crate::runs::job::{Located, Missing, Runner};
use crate::statement::drawn::DrawnTable;
use crate::statement::explain;
use crate::statement::planning::{self, Logical};
use crate::statement::work::{Planned, Work};

/// How often a query is run again after machines were lost.
pub const RUNS_AGAIN_MAX: usize = 3;

/// Batches between the task that makes them and whoever reads them.
const BATCHES_QUEUED_MAX: usize = 2;

/// Starts a statement; gives the stream of its rows.
pub(crate) async fn start(
    session: Arc<Runner>,
    planned: Planned,
) -> Result<SendableRecordBatchStream> {
    let Planned { text, work, schema, drawn } = planned;
    let first = match &work {
        Work::Rows(plan) if matches!(**plan, LogicalPlan::Explain(_)) => Vec::new(),
        _ => drawn,
    };
    match work {
        Work::Rows(plan) => {
            Ok(rows(first, Run { session, text, plan, output: Output::Rows }, schema))
        }
        Work::Write(plan) => {
            Ok(rows(first, Run { session, text, plan, output: Output::Count }, schema))
        }
        Work::Stages(plan) => stages(&session, plan, text).await,
        Work::CreateTable(create) => {
            create_table(&session, *create, first, text).await?;
            Ok(Box::pin(EmptyRecordBatchStream::new(schema)))
        }
        Work::Command(plan) => {
            command(&session, *plan, text).await?;
            Ok(Box::pin(EmptyRecordBatchStream::new(schema)))
        }
    }
}

/// The stream of the rows of `run`, made on the session's own threads.
fn rows(first: Vec<Arc<DrawnTable>>, run: Run, schema: SchemaRef) -> SendableRecordBatchStream {
    let (sender, receiver) = mpsc::channel(BATCHES_QUEUED_MAX);
    let mut task = JoinSet::new();
    let handle = run.session.cpu.handle().clone();
    let running = run.session.journal.begin(Kind::Query, &run.text);
    let work = async move {
        let done = async {
            for table in &first {
                compute(table, &run).await?;
            }
            to_the_end(&run, &sender).await
        };
        let done = done.await;
        // Whoever read the rows may have gone before this task is told so by an abort.
        if done.is_err() || !sender.is_closed() {
            running.end(&done);
        }
        done
    };
    task.spawn_on(work, &handle);
    Box::pin(Rows { schema, receiver, task })
}

/// Computes what the statement of `run` reads as a table.
async fn compute(table: &DrawnTable, run: &Run) -> Result<()> {
    if table.is_computed() {
        return Ok(());
    }
    let (sender, mut receiver) = mpsc::channel(BATCHES_QUEUED_MAX);
    let query = Run {
        session: Arc::clone(&run.session),
        text: Arc::clone(&run.text),
        plan: Arc::clone(&table.plan),
        output: Output::Rows,
    };
    let runtime = run.session.context.runtime_env();
    let pool = &runtime.memory_pool;
    let take = async move {
        let mut batches: Vec<RecordBatch> = Vec::new();
        while let Some(batch) = receiver.recv().await {
            table.reserve(&batch, pool).map_err(|e| Error::in_statement(e, &run.text))?;
            batches.push(batch);
        }
        Ok::<_, Error>(batches)
    };
    let send = async move {
        let done = to_the_end(&query, &sender).await;
        drop(sender);
        done
    };
    let (taken, done) = futures::join!(take, send);
    let batches = taken?;
    done?;
    let partitions = run.session.config.partitions_per_task();
    let batches = of_schema(batches, table.columns());
    let filled = batches.and_then(|batches| table.fill(batches, partitions));
    filled.map_err(|e| Error::in_statement(e, &run.text))
}

/// Attempts a run until it ends well or nothing more may be tried.
async fn to_the_end(run: &Run, out: &mpsc::Sender<RecordBatch>) -> Result<()> {
    let _running = run.session.queries.acquire().await.map_err(|_| Error::Closed)?;
    let mut head = Head::new(match (run.output, &run.session.fleet) {
        (Output::Count, _) => usize::MAX,
        (Output::Rows, Some(_)) => run.session.config.head_bytes,
        // Under a limit, so that a plan that runs out of memory late may still be made anew.
        (Output::Rows, None) if run.session.config.memory_limit.is_some() => {
            run.session.config.head_bytes
        }
        (Output::Rows, None) => 0,
    });
    let mut again = 0;
    let mut thrift = Thrift::Usual;
    loop {
        let failure = match attempt::attempt(run, &mut head, out, thrift, again).await {
            Ok(()) => return Ok(()),
            Err(failure) => failure,
        };
        if run.session.queries.is_closed() {
            return Err(Error::Closed);
        }
        match failure {
            Failure::Cancelled => return Ok(()),
            Failure::Stop(error) => return Err(error),
            Failure::Memory { error, instead } => {
                let Some(next) = instead.filter(|_| !head.released()) else { return Err(error) };
                thrift = next;
                let how = thrift.text();
                say(&run.session, format!("{error}; running the query again {how}"));
            }
            Failure::Lost(why) => {
                if head.released() {
                    return Err(lost_after_rows(&why));
                }
                if again == RUNS_AGAIN_MAX {
                    return Err(lost_for_good(&why));
                }
                again += 1;
                say(
                    &run.session,
                    format!("{why}; running the query again ({again} of {RUNS_AGAIN_MAX})"),
                );
            }
        }
        head.clear();
    }
}

fn lost_after_rows(why: &str) -> Error {
    Error::Lost {
        message: format!("{why}, after rows of the result had been given out"),
        hint: Some(
            "run the query again; a result of which nothing was given out would have been made \
             again by itself. A larger head (\"head_bytes\") holds more of it back"
                .to_owned(),
        ),
        source: None,
    }
}

fn lost_for_good(why: &str) -> Error {
    let runs = RUNS_AGAIN_MAX + 1;
    Error::lost(format!("{why}; the query was run {runs} times"))
}

fn say(session: &Runner, text: String) {
    (session.config.log)(LogLine::of_fleet(text));
}

/// What a reader holds of a running query. Dropping it cancels the query: the task is aborted,
/// and with it the plan is dropped, which ends its tasks on all machines.
struct Rows {
    schema: SchemaRef,
    receiver: mpsc::Receiver<RecordBatch>,
    task: JoinSet<Result<()>>,
}

impl Stream for Rows {
    type Item = Result<RecordBatch, DataFusionError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(batch) = ready!(self.receiver.poll_recv(cx)) {
            return Poll::Ready(Some(named(batch, &self.schema)));
        }
        // No more rows: the task says whether that is all of them.
        let outcome = match ready!(self.task.poll_join_next(cx)) {
            None | Some(Ok(Ok(()))) => return Poll::Ready(None),
            Some(Ok(Err(error))) => error,
            Some(Err(join)) => Error::internal(format!("the query's task: {join}")),
        };
        Poll::Ready(Some(Err(outcome.into())))
    }
}

/// The rows under the names that the statement gives its columns: those in the plan all differ.
fn named(batch: RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, DataFusionError> {
    let of_plan = batch.schema();
    let names = || of_plan.fields().iter().zip(schema.fields());
    if names().all(|(field, shown)| field.name() == shown.name()) {
        return Ok(batch);
    }
    let fields: Vec<_> =
        names().map(|(field, shown)| field.as_ref().clone().with_name(shown.name())).collect();
    let shown = Schema::new_with_metadata(fields, of_plan.metadata().clone());
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let (_, columns, _) = batch.into_parts();
    Ok(RecordBatch::try_new_with_options(Arc::new(shown), columns, &options)?)
}

impl RecordBatchStream for Rows {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

async fn stages(
    session: &Arc<Runner>,
    plan: Arc<LogicalPlan>,
    text: Arc<str>,
) -> Result<SendableRecordBatchStream> {
    let mut state = session.state();
    Located::tell(session, &mut state, &plan, Missing::Leave).await?;
    let (plan, _) = planning::physical(session, state, (plan, Logical::Optimized), text).await?;
    let batch = explain::stages(&plan, &session.machine_names())?;
    let stream = futures::stream::iter([Ok(batch)]);
    Ok(Box::pin(RecordBatchStreamAdapter::new(explain::stages_schema(), stream)))
}

/// Runs a statement that changes the session.
async fn command(session: &Arc<Runner>, plan: LogicalPlan, text: Arc<str>) -> Result<()> {
    crate::base::set::check(&plan, session.state().config_options())?;
    let inner = Arc::clone(session);
    on_large_stack(session.cpu.handle(), "the statement", move || async move {
        let done = inner.context.execute_logical_plan(plan).await;
        done.map(drop).map_err(|e| Error::in_statement(e, &text))
    })
    .await
}

/// Runs the query below a `CREATE TABLE` like any other, then lets DataFusion make the table of
/// its rows.
async fn create_table(
    session: &Arc<Runner>,
    create: CreateMemoryTable,
    first: Vec<Arc<DrawnTable>>,
    text: Arc<str>,
) -> Result<()> {
    let exists = session.context.table_exist(create.name.clone());
    let exists = exists.map_err(|e| Error::in_statement(e, &text))?;
    let plan = Arc::clone(&create.input);
    let schema = match plan.as_ref() {
        // Columns that are declared one by one, without a query.
        LogicalPlan::EmptyRelation(_) => Arc::clone(plan.schema().inner()),
        _ => nullable(plan.schema().inner()),
    };
    let needed = !exists || create.or_replace;
    let batches: Vec<RecordBatch> = if needed {
        let run = Run {
            session: Arc::clone(session),
            text: Arc::clone(&text),
            plan,
            output: Output::Rows,
        };
        rows(first, run, Arc::clone(&schema)).try_collect().await?
    } else {
        Vec::new()
    };
    let scan = table_of(batches, &schema).map_err(|e| Error::in_statement(e, &text))?;
    let create = CreateMemoryTable { input: Arc::new(scan), ..create };
    let ddl = LogicalPlan::Ddl(DdlStatement::CreateMemoryTable(create));
    command(session, ddl, text).await
}

/// The columns of a table made of a query's rows: that none of these has a null does not forbid nulls in those to come.
fn nullable(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    let fields: Vec<_> = fields.collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// A scan of `batches`, with the names and types of `schema`.
fn table_of(batches: Vec<RecordBatch>, schema: &SchemaRef) -> Result<LogicalPlan, DataFusionError> {
    let table = MemTable::try_new(Arc::clone(schema), vec![of_schema(batches, schema)?])?;
    LogicalPlanBuilder::scan("rows", provider_as_source(Arc::new(table)), None)?.build()
}

/// What an operator makes may say less of itself than the plan does: that a column has no
/// nulls, or its metadata.
fn of_schema(
    batches: Vec<RecordBatch>,
    schema: &SchemaRef,
) -> Result<Vec<RecordBatch>, DataFusionError> {
    let batches = batches.into_iter().map(|batch| {
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let columns = batch.columns().to_vec();
        Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
    });
    batches.collect()
}
