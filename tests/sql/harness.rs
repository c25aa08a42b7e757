//! Sessions on the three systems, the tables of all cases, and the driver that runs `.slt` files on
//! them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bigslice::testing::TestHooks;
use bigslice::{LogLine, Session, SessionBuilder, SystemSpec};
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Record, Runner};
use tempfile::TempDir;

use crate::cells;
use bigslice_tests::process::{Process, until, until_gone};

/// The program of local processes: the differential tester, which becomes a worker when it is
/// started as one. A test program has no `main` of its own.
const PROGRAM: &str = env!("CARGO_BIN_EXE_differential");

/// Time limit for a machine to end.
const END_DEADLINE: Duration = Duration::from_secs(20);

/// The folder of the test data.
pub(crate) fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").join("testdata")
}

/// The tables of all cases, each with its path under [`testdata`].
pub(crate) fn tables() -> Vec<(String, String)> {
    let data = std::fs::read_dir(testdata().join("sql/data")).expect("the tables of the cases");
    let mut tables: Vec<_> = data
        .map(|entry| entry.expect("a folder").file_name().to_string_lossy().into_owned())
        .map(|name| (name.clone(), format!("sql/data/{name}/")))
        .collect();
    tables.push(("flights".to_owned(), "flights/flights/".to_owned()));
    for name in ["airlines", "airports", "planes", "weather"] {
        tables.push((name.to_owned(), format!("flights/{name}.parquet")));
    }
    tables.sort();
    tables
}

/// Settings for small tasks, so that the small tables of the cases are divided: by default, one
/// task would read each table.
pub(crate) fn small_tasks(builder: SessionBuilder, system: &SystemSpec) -> SessionBuilder {
    match system {
        SystemSpec::Here => builder,
        _ => builder.set("distributed.file_scan_config_bytes_per_partition", "1"),
    }
}

/// A session under test, its log, and its temporary folder.
pub(crate) struct World {
    pub(crate) session: Session,
    log: Arc<Mutex<Vec<LogLine>>>,
    folder: TempDir,
}

impl World {
    /// A session on `system`, configured by `change`.
    pub(crate) async fn new(
        system: SystemSpec,
        change: impl FnOnce(SessionBuilder) -> SessionBuilder,
    ) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let log = Arc::<Mutex<Vec<LogLine>>>::default();
        let lines = Arc::clone(&log);
        let builder = Session::builder()
            .system(system)
            .program(PROGRAM)
            .temp_root(folder.path())
            .log(Arc::new(move |line| lines.lock().expect("no panic holds it").push(line)));
        let session = change(builder).build().await.expect("a session");
        Self { session, log, folder }
    }

    /// The same with the tables of the cases.
    pub(crate) async fn with_tables(
        system: SystemSpec,
        change: impl FnOnce(SessionBuilder) -> SessionBuilder,
    ) -> Self {
        let world = Self::new(system, change).await;
        world.register(testdata().to_str().expect("a path in UTF-8")).await;
        world
    }

    /// Registers the tables of the cases, from the test data at `base`.
    pub(crate) async fn register(&self, base: &str) {
        for (name, place) in tables() {
            let sql =
                format!("CREATE EXTERNAL TABLE {name} STORED AS PARQUET LOCATION '{base}/{place}'");
            self.run(&sql).await;
        }
    }

    /// Runs a statement that must succeed, and returns its rows.
    pub(crate) async fn run(&self, sql: &str) -> Vec<Vec<String>> {
        self.try_run(sql).await.unwrap_or_else(|err| panic!("{sql}\n  failed: {err}"))
    }

    /// Runs a statement.
    pub(crate) async fn try_run(&self, sql: &str) -> Result<Vec<Vec<String>>, bigslice::Error> {
        Ok(cells::rows(&self.session.sql(sql).await?.collect().await?))
    }

    /// All lines of the log so far, each with its machine.
    pub(crate) fn log(&self) -> Vec<String> {
        let lines = self.log.lock().expect("no panic holds it");
        let machine = |line: &LogLine| match &line.machine {
            Some(machine) => format!("{machine}: {}", line.text),
            None => line.text.clone(),
        };
        lines.iter().map(machine).collect()
    }

    /// The processes of running machines.
    pub(crate) fn processes(&self) -> Vec<(String, Process)> {
        let machines = self.session.machines().into_iter();
        machines.filter_map(|m| Some((m.name, Process::of(m.pid?)?))).collect()
    }

    /// Waits until `n` machines run.
    pub(crate) async fn wait_for_machines(&self, n: usize) {
        until(END_DEADLINE, "all machines back", || async { self.session.machines().len() == n })
            .await;
    }

    /// Ends the session, and asserts that no process and no file is left.
    pub(crate) async fn close(self) {
        let processes: Vec<_> = self.processes().into_iter().map(|(_, process)| process).collect();
        self.session.shutdown().await;
        drop(self.session);
        until_gone(&processes, END_DEADLINE).await;
        until(END_DEADLINE, "an empty temporary folder", || async {
            std::fs::read_dir(self.folder.path()).is_ok_and(|mut left| left.next().is_none())
        })
        .await;
    }
}

/// The number of queries, and of those that ran as several tasks on machines.
#[derive(Debug, Default)]
pub(crate) struct Spread {
    pub(crate) asked: AtomicUsize,
    pub(crate) shared_out: AtomicUsize,
}

/// A session, for the driver of the cases.
pub(crate) struct Db {
    session: Session,
    spread: Arc<Spread>,
}

/// An error message of the session.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

impl From<bigslice::Error> for Failure {
    fn from(err: bigslice::Error) -> Self {
        Self(err.to_string())
    }
}

impl Db {
    /// Counts a query, and whether its plan has a stage of several tasks.
    async fn count(&self, sql: &str) -> Result<(), Failure> {
        let head = sql.trim_start().get(..4).unwrap_or_default().to_ascii_lowercase();
        if self.session.machines().is_empty() || (head != "sele" && head != "with") {
            return Ok(());
        }
        let stages = self.session.sql(&format!("EXPLAIN STAGES {sql}")).await?.collect().await?;
        let tasks =
            cells::rows(&stages).iter().filter_map(|row| row[1].parse::<usize>().ok()).max();
        self.spread.asked.fetch_add(1, Ordering::Relaxed);
        self.spread.shared_out.fetch_add(usize::from(tasks > Some(1)), Ordering::Relaxed);
        Ok(())
    }
}

#[async_trait]
impl AsyncDB for Db {
    type Error = Failure;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Failure> {
        let query = self.session.sql(sql).await?;
        if !query.returns_rows() {
            query.collect().await?;
            return Ok(DBOutput::StatementComplete(0));
        }
        self.count(sql).await?;
        let types = query.schema().fields().iter().map(|f| cells::letter(f.data_type())).collect();
        let rows = cells::rows(&query.collect().await?);
        Ok(DBOutput::Rows { types, rows })
    }

    async fn shutdown(&mut self) {}
}

/// Runs the `.slt` files called `names` (all if empty) and returns the failures.
pub(crate) async fn run_cases(session: &Session, names: &[&str]) -> (Vec<String>, Arc<Spread>) {
    let folder = std::fs::read_dir(testdata().join("sql")).expect("the cases");
    let mut files: Vec<_> = folder.map(|entry| entry.expect("a file").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "slt"));
    let stem = |path: &PathBuf| path.file_stem().map(|s| s.to_string_lossy().into_owned());
    files.retain(|path| names.is_empty() || stem(path).is_some_and(|s| names.contains(&&*s)));
    files.sort();
    assert!(files.len() >= names.len().max(1), "no cases called {names:?}");

    let label = if session.machines().is_empty() { "here" } else { "machines" };
    let spread = Arc::<Spread>::default();
    let mut failures = Vec::new();
    for file in files {
        let (session, spread) = (session.clone(), Arc::clone(&spread));
        let mut runner = Runner::new(move || {
            let db = Db { session: session.clone(), spread: Arc::clone(&spread) };
            async move { Ok::<_, Failure>(db) }
        });
        runner.with_column_validator(sqllogictest::strict_column_validator);
        runner.add_label(label);
        for record in sqllogictest::parse_file(&file).expect("a file of cases") {
            if matches!(record, Record::Halt { .. }) {
                break;
            }
            if let Err(err) = runner.run_async(record).await {
                failures.push(err.to_string());
            }
        }
    }
    (failures, spread)
}
