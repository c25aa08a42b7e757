//! Starts machines with the exchange on their ports, and a driver's session over a folder of
//! Parquet files; the same session without machines gives the answers to compare with.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bigslice_cluster::{Connector, Fleet, FleetConfig, InProcess, ServiceFactory};
use bigslice_flight::{
    Channels, ExchangeOptions, WorkerService, distributed_driver, distributed_worker, guard_stream,
    worker_routes,
};
use bytes::Bytes;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Int64Type, Schema};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{SendableRecordBatchStream, SessionStateBuilder};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::physical_plan::displayable;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use datafusion_distributed::WorkerQueryContext;
use futures::TryStreamExt;
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::host::{Asked, Host};

/// Far longer than any test takes, unless it hangs.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// The counters of the functions of a test.
#[derive(Debug, Default)]
pub(crate) struct Probe {
    /// Batches that `slow` has worked on, on all machines.
    pub(crate) slow_batches: AtomicUsize,
    /// The requests to the hosts of tasks, on all machines.
    pub(crate) asked: Arc<Asked>,
}

pub(crate) struct Cluster {
    pub(crate) fleet: Fleet,
    pub(crate) probe: Arc<Probe>,
    /// The credentials of the workers.
    pub(crate) worker_connectors: Arc<Mutex<Vec<Connector>>>,
    data: Data,
    cpu: Arc<OwnRuntime>,
}

/// A runtime that may be dropped anywhere.
struct OwnRuntime(Option<Runtime>);

impl OwnRuntime {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime can be built");
        Self(Some(runtime))
    }

    fn handle(&self) -> tokio::runtime::Handle {
        self.0.as_ref().expect("taken in drop only").handle().clone()
    }
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Cluster {
    pub(crate) async fn start(machines: usize, data: Data) -> Self {
        let probe = Arc::new(Probe::default());
        let worker_connectors = Arc::new(Mutex::new(Vec::new()));
        let cpu = Arc::new(OwnRuntime::new());
        let services = services(&probe, &worker_connectors, &cpu);
        let config = FleetConfig {
            machines,
            settings: Bytes::new(),
            lease: Duration::from_secs(10),
            temp_root: data.folder.path().to_owned(),
            log: Arc::new(|_| {}),
            certificate_life: Duration::from_secs(3600),
            ..FleetConfig::default()
        };
        let fleet = Fleet::start(Arc::new(InProcess::new(services)), config)
            .await
            .expect("the machines start");
        Self { fleet, probe, worker_connectors, data, cpu }
    }

    /// The runtime that machines compute on.
    pub(crate) fn cpu_id(&self) -> tokio::runtime::Id {
        self.cpu.handle().id()
    }

    /// A driver's session with the files as table `t` and `u`.
    pub(crate) async fn session(
        &self,
        partitions: usize,
        options: ExchangeOptions,
    ) -> SessionContext {
        let config = SessionConfig::new().with_target_partitions(partitions);
        let builder = SessionStateBuilder::new().with_default_features().with_config(config);
        let builder =
            distributed_driver(builder, &self.fleet, options).expect("the options are valid");
        self.with_tables(builder).await
    }

    /// The same in one process.
    pub(crate) async fn plain(&self) -> SessionContext {
        let config = SessionConfig::new().with_target_partitions(2);
        self.with_tables(SessionStateBuilder::new().with_default_features().with_config(config))
            .await
    }

    async fn with_tables(&self, builder: SessionStateBuilder) -> SessionContext {
        let ctx = SessionContext::new_with_state(builder.build());
        for function in functions(&self.probe) {
            ctx.register_udf(function);
        }
        for table in ["t", "u"] {
            let path = self.data.folder.path().join(table);
            let path = path.to_str().expect("the folder's name is text");
            ctx.register_parquet(table, path, ParquetReadOptions::default())
                .await
                .expect("the files can be read");
        }
        ctx
    }
}

fn services(
    probe: &Arc<Probe>,
    connectors: &Arc<Mutex<Vec<Connector>>>,
    cpu: &Arc<OwnRuntime>,
) -> ServiceFactory {
    let (probe, connectors, cpu) = (Arc::clone(probe), Arc::clone(connectors), cpu.handle());
    Arc::new(move |ctx| {
        connectors.lock().push(ctx.connector.clone());
        let channels = Channels::new(ctx.connector);
        let probe = Arc::clone(&probe);
        let host = Host { asked: Arc::clone(&probe.asked), channels: channels.clone() };
        let build = move |query: WorkerQueryContext| {
            let builder = distributed_worker(query.builder, &channels);
            let functions = functions(&probe);
            async move {
                let mut state = builder.build();
                for function in functions {
                    use datafusion::execution::FunctionRegistry;
                    state.register_udf(Arc::new(function))?;
                }
                Ok::<_, DataFusionError>(state)
            }
        };
        let service = WorkerService {
            session_builder: Arc::new(build),
            runtime: Arc::new(RuntimeEnv::default()),
            over_memory: None,
            cpu: cpu.clone(),
            version: "test".to_owned(),
            tasks: Some(Arc::new(host)),
        };
        Box::pin(async move { Ok(worker_routes(service)) })
    })
}

/// Many small files, so that each machine gets some.
pub(crate) fn options() -> ExchangeOptions {
    ExchangeOptions { bytes_per_partition: 1, ..ExchangeOptions::default() }
}

pub(crate) async fn plan_text(ctx: &SessionContext, sql: &str) -> String {
    let plan = ctx.sql(sql).await.expect("valid").create_physical_plan().await.expect("planned");
    displayable(plan.as_ref()).indent(false).to_string()
}

pub(crate) async fn start(ctx: &SessionContext, sql: &str) -> Result<SendableRecordBatchStream> {
    Ok(guard_stream(ctx.sql(sql).await?.execute_stream().await?))
}

/// Runs `sql`, or fails the test if it hangs.
pub(crate) async fn rows(ctx: &SessionContext, sql: &str) -> Result<Vec<RecordBatch>> {
    let run = async { start(ctx, sql).await?.try_collect::<Vec<_>>().await };
    match tokio::time::timeout(2 * DEADLINE, run).await {
        Ok(rows) => rows,
        Err(_) => panic!("hangs: {sql}"),
    }
}

pub(crate) async fn text(ctx: &SessionContext, sql: &str) -> String {
    let rows = rows(ctx, sql).await.unwrap_or_else(|err| panic!("{sql}: {err}"));
    pretty_format_batches(&rows).expect("rows can be printed").to_string()
}

pub(crate) async fn failure(ctx: &SessionContext, sql: &str) -> DataFusionError {
    match rows(ctx, sql).await {
        Ok(rows) => panic!("{sql} gave {} batches", rows.len()),
        Err(err) => err,
    }
}

/// Waits until `condition` holds; fails the test if it never does.
pub(crate) async fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Tables `t(id, k, s)` and `u(k, name)` as Parquet files in a folder of their own.
pub(crate) struct Data {
    folder: TempDir,
}

impl Data {
    /// `t` has `n_files` files of `n_rows` rows each, whose ids go on from file to file, and whose
    /// texts have `text_bytes` characters that cannot be compressed well.
    pub(crate) fn new(n_files: usize, n_rows: usize, text_bytes: usize) -> Self {
        let folder = TempDir::new().expect("a folder can be made");
        let table = folder.path().join("t");
        std::fs::create_dir(&table).expect("a folder can be made");
        for file in 0..n_files {
            let first = (file * n_rows) as i64;
            let ids = first..first + n_rows as i64;
            let columns: Vec<(&str, ArrayRef)> = vec![
                ("id", Arc::new(Int64Array::from_iter_values(ids.clone()))),
                ("k", Arc::new(Int64Array::from_iter_values(ids.clone().map(|id| id % 97)))),
                ("s", Arc::new(StringArray::from_iter_values(ids.map(|id| noise(id, text_bytes))))),
            ];
            write(&table.join(format!("{file:03}.parquet")), columns);
        }
        let table = folder.path().join("u");
        std::fs::create_dir(&table).expect("a folder can be made");
        for file in 0..4 {
            let keys = (0..97_i64).filter(|k| k % 4 == file);
            let names = keys.clone().map(|k| format!("name {k}"));
            let columns: Vec<(&str, ArrayRef)> = vec![
                ("k", Arc::new(Int64Array::from_iter_values(keys.clone()))),
                ("name", Arc::new(StringArray::from_iter_values(names))),
            ];
            write(&table.join(format!("{file:03}.parquet")), columns);
        }
        Self { folder }
    }

    pub(crate) fn small() -> Self {
        Self::new(8, 2_000, 20)
    }
}

fn write(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, column)| Field::new(*name, column.data_type().clone(), false))
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns).expect("columns fit");
    let file = std::fs::File::create(path).expect("a file can be made");
    let mut writer = ArrowWriter::try_new(file, schema, None).expect("the schema can be written");
    writer.write(&batch).expect("rows can be written");
    writer.close().expect("the file can be closed");
}

/// Text that looks random and is the same in each run.
fn noise(seed: i64, n: usize) -> String {
    let mut state = (seed as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut text = String::with_capacity(n);
    while text.len() < n {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.push_str(&format!("{state:016x}"));
    }
    text.truncate(n);
    text
}

/// The functions that tests call in SQL.
fn functions(probe: &Arc<Probe>) -> Vec<ScalarUDF> {
    [Act::Panic, Act::Fail, Act::Slow, Act::Wide]
        .into_iter()
        .map(|act| ScalarUDF::from(Function::new(act, Arc::clone(probe))))
        .collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Act {
    /// `explode(x)` is x, but panics at 7777.
    Panic,
    /// `refuse(x)` is x, but fails at 7777.
    Fail,
    /// `slow(x)` is x, after 20 ms for each batch.
    Slow,
    /// `wide(x)` is a text of x bytes.
    Wide,
}

#[derive(Debug)]
struct Function {
    act: Act,
    signature: Signature,
    probe: Arc<Probe>,
}

impl Function {
    fn new(act: Act, probe: Arc<Probe>) -> Self {
        let signature = Signature::exact(vec![DataType::Int64], Volatility::Volatile);
        Self { act, signature, probe }
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.act == other.act
    }
}

impl Eq for Function {}

impl std::hash::Hash for Function {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.act.hash(state);
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        match self.act {
            Act::Panic => "explode",
            Act::Fail => "refuse",
            Act::Slow => "slow",
            Act::Wide => "wide",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(if self.act == Act::Wide { DataType::Utf8 } else { DataType::Int64 })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let column = args.args[0].to_array(args.number_rows)?;
        let numbers = column.as_primitive::<Int64Type>();
        let marked = numbers.iter().any(|n| n == Some(7777));
        match self.act {
            Act::Panic if marked => panic!("a user's function met 7777"),
            Act::Fail if marked => {
                let text = "connection reset by peer: the user's own error at 7777";
                return Err(DataFusionError::Execution(text.to_owned()));
            }
            Act::Slow => {
                self.probe.slow_batches.fetch_add(1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(20));
            }
            Act::Wide => {
                let texts = numbers.iter().map(|n| n.map(|n| noise(n, n as usize)));
                return Ok(ColumnarValue::Array(Arc::new(texts.collect::<StringArray>())));
            }
            Act::Panic | Act::Fail => {}
        }
        Ok(ColumnarValue::Array(column))
    }
}
