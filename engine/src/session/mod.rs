//! A session: the catalog, the settings, the machines and the threads that statements run with.
//! [`SessionBuilder`](crate::SessionBuilder) makes it; it hands each statement, parsed and planned,
//! to [`Query`].
//!
//! Shutdown, in order: new queries are refused; pending clean-ups finish; the fleet stops its
//! machines; the stored results of runs are removed; the last clone of the session drops the
//! context, then the threads that compute.

pub(crate) mod args;
pub(crate) mod builder;
pub(crate) mod program;
pub(crate) mod provision;
pub mod testing;
pub(crate) mod worker;

use std::fmt;
use std::sync::Arc;

use bigslice_cluster::{Fleet, Inspector};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::TableReference;
use datafusion::dataframe::DataFrame;
use datafusion::execution::context::SessionContext;
use url::Url;

use crate::base::cpu::on_large_stack;
use crate::base::driver::TableInfo;
use crate::base::history::Kind;
use crate::base::script::{self, Statement};
use crate::error::{Error, Result};
use crate::pipeline::func::registry;
use crate::pipeline::map::{MapFunction, Mapped};
use crate::query::Query;
use crate::row::Row;
use crate::runs::job::{self, Job, Run, Runnable, Runner, Work};
use crate::runs::task::Plan;
use crate::statement::planning;
use crate::tpch;

/// Runs SQL and slices, in this process alone or on machines that it has started.
///
/// A session is cheap to clone; all clones are the same session. Dropping the last clone stops its
/// machines; [`Session::shutdown`] stops them and waits.
#[derive(Clone)]
pub struct Session {
    pub(crate) inner: Arc<Runner>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("config", &self.inner.config).finish_non_exhaustive()
    }
}

/// A machine of the session.
#[derive(Debug, Clone)]
pub struct MachineInfo {
    /// Its name in log lines and in `EXPLAIN STAGES`.
    pub name: String,
    /// Its state.
    pub state: bigslice_cluster::State,
    /// The address that it serves at.
    pub url: Option<Url>,
    /// The id of its process, if it is a process of this computer.
    pub pid: Option<u32>,
}

impl Session {
    /// Splits a script into its statements, each with its position.
    ///
    /// # Errors
    /// When a string, a quoted name or a comment is not closed.
    pub fn statements(&self, script: &str) -> Result<Vec<Statement>> {
        script::split(script)
    }

    /// Parses and plans one statement. Nothing runs before [`Query::stream`].
    ///
    /// # Errors
    /// When the text is not exactly one statement, or the statement is wrong.
    pub async fn sql(&self, sql: &str) -> Result<Query> {
        // Leading blanks stay, so that positions in errors are positions in `sql`.
        let text = sql.trim_end().trim_end_matches(';');
        self.planned(text).await
    }

    /// Parses and plans one statement of a script. Positions in errors are relative to the
    /// statement: [`Statement::position_in_script`] converts them.
    ///
    /// # Errors
    /// When the statement is wrong.
    pub async fn query(&self, statement: &Statement) -> Result<Query> {
        self.planned(&statement.text).await
    }

    async fn planned(&self, text: &str) -> Result<Query> {
        let planned = planning::plan(&self.inner.driver, text).await?;
        Ok(Query::new(Arc::clone(&self.inner), planned))
    }

    /// Runs a slice: an [`Invocation`](crate::Invocation) of a func, or in a session without
    /// machines any [`Slice`](crate::Slice). Returns when all rows are computed; they stay where
    /// they were computed until the [`Run`] is dropped.
    ///
    /// A task that is lost with its machine is retried, and stored results that are lost and still
    /// needed are computed again. Dropping the future ends the run.
    ///
    /// # Errors
    /// When the func, a closure or a source fails, when a verb was given a wrong number, or when a
    /// task was lost too often.
    pub async fn run<R: Runnable>(&self, work: R) -> Result<Run<R::Row>> {
        // The runs that it reads are held until they have been read: after that it can compute them
        // again by itself.
        let (job, _sources) = self.job(work).await?;
        let running = self.inner.journal.begin(Kind::Run, job.name());
        let done = async {
            let _place = self.inner.queries.acquire().await.map_err(|_| Error::Closed)?;
            job.ensure().await
        };
        let done = done.await;
        running.end(&done);
        done?;
        self.inner.journal.count(&job.metrics().await);
        Ok(Run::new(job))
    }

    /// A slice as a table of DataFusion. The slice is computed when the frame is first read, and
    /// only once for as long as the frame or a clone of it exists.
    ///
    /// See [`Run::to_dataframe`] for what runs where.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::expr::{col, lit};
    /// use bigslice::prelude::*;
    ///
    /// let session = Session::builder().build().await?;
    /// let frame = session.to_dataframe(Slice::const_(2, 0..10i64).map(|x| x * x)).await?;
    /// assert_eq!(frame.filter(col("value").gt(lit(30)))?.count().await?, 4);
    /// # Ok::<(), Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// When the func fails, or the shards of a source cannot be found.
    pub async fn to_dataframe<R: Runnable>(&self, work: R) -> Result<DataFrame> {
        let (job, _sources) = self.job(work).await?;
        Run::<R::Row>::new(job).to_dataframe()
    }

    /// The job that computes a slice, and the jobs whose results it reads. Nothing runs yet.
    async fn job<R: Runnable>(&self, work: R) -> Result<(Arc<Job>, Vec<Arc<Job>>)> {
        if self.inner.queries.is_closed() {
            return Err(Error::Closed);
        }
        let (built, call, _held) = match work.into_work()? {
            Work::Call(call, held) => {
                let of = call.clone();
                let handle = self.inner.cpu.handle();
                let build = move || async move { registry().build(&of) };
                // The runs that it reads are held until the job holds them itself.
                (on_large_stack(handle, "building a slice", build).await?, Some(call), held)
            }
            Work::Built(_) if self.inner.fleet.is_some() => {
                return Err(Error::Query {
                    message: "a slice that was not built by a func cannot run on machines".to_owned(),
                    hint: Some(
                        "machines build it by calling a function by its name: put what makes it into \
                         one that is marked with #[bigslice::func], and run what that returns"
                            .to_owned(),
                    ),
                    source: None,
                });
            }
            Work::Built(built) => (built, None, Vec::new()),
        };
        let plan = Plan::of(built);
        plan.check()?;
        self.inner.job(plan, call).await
    }

    /// Calls `function` for each of `items`, on all cores of this computer, or on machines if the
    /// session has them. Results come as they finish, each with the number of its item.
    ///
    /// Items are taken as machines have room and as results are read, so there may be any number of
    /// them. An item whose machine is lost is retried. An item that is lost five times in a row,
    /// fails or panics gives an error in place of its result; the other items go on. Encoded, an
    /// item and a result take at most 63 MiB each. Dropping the results ends the map.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    /// use futures::StreamExt;
    ///
    /// #[bigslice::map]
    /// fn reversed(word: String) -> String {
    ///     word.chars().rev().collect()
    /// }
    ///
    /// let session = Session::builder().build().await?; // or .workers(4)
    /// let words = ["drawer", "stressed"].map(str::to_owned);
    /// let mut results = session.map(reversed, words);
    /// while let Some((n, word)) = results.next().await {
    ///     assert_eq!(word?, ["reward", "desserts"][n]);
    /// }
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    pub fn map<F, I>(&self, function: F, items: I) -> Mapped<F::Output>
    where
        F: MapFunction,
        I: IntoIterator<Item = F::Item, IntoIter: Send + 'static>,
    {
        job::map(&self.inner.tasks, function, items.into_iter())
    }

    /// Makes the result of a run a table that statements can name. It replaces a table of the same
    /// name: a statement sees the old or the new one. (Outside the default schema, a statement may
    /// see no table at that moment.) The table holds the result for as long as it exists. Machines
    /// read most of it from their own disks; parts that were lost are computed again before a
    /// statement reads them.
    ///
    /// # Errors
    /// When the name is not a valid name of a table.
    pub fn register<T: Row>(&self, name: &str, run: &Run<T>) -> Result<()> {
        let table = job::table(run.held()?, &run.schema());
        let reference = TableReference::parse_str(name);
        if self.inner.is_in_default_schema(&reference) {
            self.inner.tables.replace(reference.table(), table);
            return Ok(());
        }
        self.inner.context.deregister_table(name)?;
        self.inner.context.register_table(name, table)?;
        Ok(())
    }

    /// The tables of all catalogs, sorted, without those of `information_schema`.
    pub fn tables(&self) -> Vec<TableInfo> {
        self.inner.table_list()
    }

    /// The columns of a table. The name is written as in a statement.
    ///
    /// # Errors
    /// When there is no such table.
    pub async fn table_schema(&self, name: &str) -> Result<SchemaRef> {
        let provider = self.inner.context.table_provider(TableReference::parse_str(name)).await;
        provider.map(|table| table.schema()).map_err(|_| self.inner.unknown_table(name, None))
    }

    /// The machines, sorted by name; empty in a session without machines.
    pub fn machines(&self) -> Vec<MachineInfo> {
        let Some(fleet) = &self.inner.fleet else { return Vec::new() };
        let machines = fleet.machines();
        machines.iter().map(MachineInfo::of).collect()
    }

    /// The fleet of the session's machines: to call methods of
    /// [services](crate::SessionBuilder::services) on them, to ask for more, or to count them. `None`
    /// in a session without machines.
    ///
    /// ```
    /// use bigslice::cluster::{BoxError, Services};
    /// use bigslice::prelude::*;
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Greeter(String);
    ///
    /// #[bigslice::service]
    /// impl Greeter {
    ///     async fn greet(&self, name: String) -> String {
    ///         format!("{}, {name}", self.0)
    ///     }
    /// }
    ///
    /// #[bigslice::main]
    /// async fn main() -> Result<(), BoxError> {
    ///     let session = Session::builder()
    ///         .machines(MachineKind::InProcess)
    ///         .size(FleetSize::Fixed(2))
    ///         .services(Services::new().with(&Greeter("hello".to_owned()))?)
    ///         .build()
    ///         .await?;
    ///     for machine in session.fleet().unwrap().machines() {
    ///         assert_eq!(machine.call(Greeter::greet, "you".to_owned()).await?, "hello, you");
    ///     }
    ///     session.shutdown().await;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// The session shuts the fleet down: shut down the session, not the fleet.
    pub fn fleet(&self) -> Option<&Fleet> {
        self.inner.fleet.as_ref()
    }

    /// Registers the eight TPC-H tables at a scale factor. Their rows are generated when they are
    /// read.
    ///
    /// # Errors
    /// When the scale is out of range.
    pub fn register_tpch(&self, scale: f64) -> Result<()> {
        tpch::check_scale(scale)?;
        for table in tpch::TableName::ALL {
            let provider = tpch::table_provider(table, scale);
            let replaced = self.inner.context.register_table(table.as_str(), provider);
            replaced?;
        }
        Ok(())
    }

    /// Shows this process and all machines of the session together: their logs, metrics, resources
    /// and work. It takes CPU profiles ([`Inspector::start_profile`]), writes everything into one
    /// archive ([`Inspector::dump`]) and serves it as pages ([`Inspector::serve`], or
    /// [`SessionBuilder::debug`](crate::SessionBuilder::debug) from the start).
    pub fn inspector(&self) -> &Inspector {
        &self.inner.inspector
    }

    /// DataFusion's context of this session, to register tables and functions. Queries that it runs
    /// directly are not retried when a machine is lost.
    pub fn context(&self) -> &SessionContext {
        &self.inner.context
    }

    /// Stops the machines and waits until they are gone. Running queries fail; new ones are
    /// refused.
    pub async fn shutdown(&self) {
        self.inner.queries.close();
        self.inner.cleanup.finish().await;
        if let Some(fleet) = &self.inner.fleet {
            fleet.shutdown().await;
        }
        self.inner.host.close();
    }
}

impl MachineInfo {
    fn of(machine: &bigslice_cluster::Machine) -> Self {
        Self {
            name: machine.name().to_string(),
            state: machine.state(),
            url: machine.url().cloned(),
            pid: machine.pid(),
        }
    }
}
