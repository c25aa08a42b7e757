//! Builds a [`Session`]: its memory, its threads, its machines, and the DataFusion context that
//! plans for them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bigslice_cluster::{Fleet, Inspector, LogLine, LogSink, Services};
use bigslice_flight::{Channels, ExchangeOptions};
use bigslice_planner::{LargeLimits, LeanWindows};
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::SessionContext;
use datafusion_distributed::DistributedExt;
use tokio::sync::Semaphore;

use crate::base::catalog::Tables;
use crate::base::config::Config;
use crate::base::cpu::Cpu;
use crate::base::driver::{Driver, QUERIES_RUNNING_MAX};
use crate::base::history::Journal;
use crate::base::memory::Budget;
use crate::base::memory::compact_views::CompactViews;
use crate::base::settings;
use crate::base::system::{FleetSize, MachineKind, SystemSpec};
use crate::error::{Error, Result};
use crate::pipeline::udf;
use crate::query::distribute::ContextPlanner;
use crate::runs::job::{self, PlanCodec, Runner, Runs, TaskRunner};
use crate::runs::task::{Host, HostParts, Store};
use crate::session::Session;
use crate::session::provision;
use crate::tpch;
use bigslice_files::Cleanup;
use bigslice_files::Environment;
use bigslice_files::Stores;
use bigslice_files::sink::WriteText;

/// Bytes of a result that are held back until the result is certain: a machine lost before then
/// costs time, not the result.
pub(crate) const HEAD_BYTES: usize = 64 * 1024 * 1024;

/// Settings of a builder, as [`SessionBuilder::settings`] returns them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// How many machines the session will have, at most; 0 works in this process.
    pub machines_max: usize,
    /// Whether machines come and go with the work.
    pub elastic: bool,
}

/// Sets up and builds a [`Session`]. Every setting has a default.
#[derive(Debug, Clone)]
pub struct SessionBuilder {
    pub(crate) config: Config,
}

impl Default for SessionBuilder {
    fn default() -> Self {
        Self {
            config: Config {
                system: SystemSpec::Here,
                size: None,
                idle: None,
                machine_cores: None,
                services: None,
                faults: None,
                program: None,
                memory_limit: None,
                owns_process: false,
                partitions: None,
                head_bytes: HEAD_BYTES,
                settings: Vec::new(),
                temp_root: std::env::temp_dir(),
                environment: Environment::default(),
                log: Arc::new(log_to_tracing),
                debug: None,
            },
        }
    }
}

fn log_to_tracing(line: LogLine) {
    match line.machine {
        Some(machine) => tracing::info!("{machine}: {}", line.text),
        None => tracing::info!("{}", line.text),
    }
}

impl SessionBuilder {
    /// Where the machines are. Without a [size](Self::size) there is one for each core of this
    /// computer, or as many as the description of the instances says.
    #[must_use]
    pub fn machines(mut self, kind: MachineKind) -> Self {
        self.config.system = kind.into();
        self
    }

    /// How many machines there are: processes of this computer, if [`machines`](Self::machines)
    /// does not say otherwise. Without either, the session has no machines and works in this
    /// process.
    #[must_use]
    pub fn size(mut self, size: FleetSize) -> Self {
        self.config.size = Some(size);
        self
    }

    /// Where the machines are and how many, as one text says it: `"local:4".parse()?`. A
    /// [size](Self::size) takes the place of the number in it.
    #[must_use]
    pub fn system(mut self, system: SystemSpec) -> Self {
        self.config.system = system;
        self
    }

    /// Works on `n` processes of this computer; 0 works in this process.
    #[must_use]
    pub fn workers(self, n: usize) -> Self {
        self.system(match n {
            0 => SystemSpec::Here,
            machines => SystemSpec::Local { machines },
        })
    }

    /// Starts machines on demand, at most `max`: short for
    /// [`size`](Self::size)`(`[`FleetSize::Elastic`]`)`.
    #[must_use]
    pub fn elastic(self, max: usize) -> Self {
        self.size(FleetSize::Elastic { max })
    }

    /// How long an [elastic](FleetSize::Elastic) session keeps an idle machine: by default a
    /// minute, or ten if the machine is another computer.
    #[must_use]
    pub fn idle(mut self, idle: Duration) -> Self {
        self.config.idle = Some(idle);
        self
    }

    /// Services that each machine sets up before it gets work: see
    /// [`service`](macro@crate::service). Their methods are called on the machines of
    /// [`Session::fleet`].
    #[must_use]
    pub fn services(mut self, services: Services) -> Self {
        self.config.services = Some(services);
        self
    }

    /// Bytes that all processes of the session may use together. Each gets an equal part, and
    /// operators that can spill do so beyond it. The default is three quarters of the computer's
    /// memory.
    #[must_use]
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.config.memory_limit = Some(bytes);
        self
    }

    /// Whether this process exists for the session alone, as a program does that runs a statement.
    /// Then a [memory limit](Self::memory_limit) is measured, and holds for everything in the
    /// processes: the program, its buffers, and what the allocator keeps. Otherwise it holds for
    /// operators. Sessions from the arguments of a program ([`SessionArgs`](crate::SessionArgs))
    /// set it.
    #[must_use]
    pub fn owns_process(mut self, owns: bool) -> Self {
        self.config.owns_process = owns;
        self
    }

    /// Partitions that one task works on at a time. The default is the cores of a machine, and at
    /// least two if there are machines.
    #[must_use]
    pub fn partitions(mut self, partitions: usize) -> Self {
        self.config.partitions = Some(partitions);
        self
    }

    /// Bytes of a result that a session with machines holds back until the result is certain. The
    /// default is 64 MiB.
    #[must_use]
    pub fn head_bytes(mut self, bytes: usize) -> Self {
        self.config.head_bytes = bytes;
        self
    }

    /// Takes the lines that machines print, and what the session says about them. By default they
    /// go to `tracing`.
    #[must_use]
    pub fn log(mut self, log: LogSink) -> Self {
        self.config.log = log;
        self
    }

    /// Serves pages about the session and its machines for as long as the session lives. `address`
    /// must be a loopback address; port 0 takes any free port. The log says where the pages are:
    /// `http://127.0.0.1:PORT/debug`. See [`Session::inspector`].
    #[must_use]
    pub fn debug(mut self, address: SocketAddr) -> Self {
        self.config.debug = Some(address);
        self
    }

    /// Changes a setting of DataFusion, as `SET key = value` does. Settings of the exchange
    /// (`distributed.`) have an effect in sessions with machines only.
    #[must_use]
    pub fn set(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.config.settings.push((key.into(), value.into()));
        self
    }

    /// The folder for temporary files. The default is that of the system.
    #[must_use]
    pub fn temp_root(mut self, folder: impl Into<PathBuf>) -> Self {
        self.config.temp_root = folder.into();
        self
    }

    /// The environment variables with credentials and addresses of stores.
    #[must_use]
    pub fn environment(mut self, environment: Environment) -> Self {
        self.config.environment = environment;
        self
    }

    /// What has been set so far.
    pub fn settings(&self) -> Settings {
        Settings { machines_max: self.config.machines_max(), elastic: self.config.is_elastic() }
    }

    /// Builds the session, and starts its machines if it has any.
    ///
    /// # Errors
    /// When a setting is wrong or a machine does not start.
    pub async fn build(self) -> Result<Session> {
        let mut config = self.config;
        config.settle()?;
        udf::check(
            &bigslice_planner::install(SessionStateBuilder::new().with_default_features()).build(),
        )?;
        let site = provision::survey(&mut config).await?;
        let budget = provision::budget(&config)?;
        let cpu = Cpu::new(crate::base::cpu::cores(), budget.limited)?;
        let stores = Stores::new(&config.environment);
        config.head_bytes = budget.buffer_bytes(config.head_bytes);
        let gauge = budget.gauge();
        let runtime = budget.runtime(gauge.clone(), config.temp_root.clone(), &stores)?;
        let session = settings::session_config(&config, &budget);
        let builder = SessionStateBuilder::new()
            .with_default_features()
            .with_config(session)
            .with_runtime_env(runtime);
        let builder = udf::register(bigslice_planner::install(builder));
        let top_k = budget.top_k_bytes(config.partitions_per_task());
        let builder = with_memory_rules(builder, top_k, site.is_some());
        let fleet = match site {
            None => None,
            Some(site) => Some(provision::start(&config, site, budget).await?),
        };
        let mut builder = match &fleet {
            None => builder,
            Some(fleet) => distributed(&config, &budget, builder, fleet)?,
        };
        settings::apply_users(&config, builder.config().get_or_insert_default())?;
        let state = builder.build();
        let context = SessionContext::new_with_state(state);
        let tables = Tables::install(&context)?;
        let context = bigslice_files::install(context, &stores, Arc::new(WriteText));
        let queries = Arc::new(Semaphore::new(QUERIES_RUNNING_MAX));
        let channels = fleet.as_ref().map(|fleet| Channels::new(fleet.connector()));
        let host = host(&config, &context, &stores, channels.clone(), fleet.as_ref());
        let inspector = match &fleet {
            Some(fleet) => fleet.inspector().clone(),
            None => Inspector::alone(config.temp_root.clone()),
        };
        let journal = Journal::new(&inspector, &config)?;
        let debug = config.debug.map(|address| inspector.serve(address)).transpose()?;
        if let Some(debug) = &debug {
            let text = format!("debug pages: {}", debug.url());
            (config.log)(LogLine::of_fleet(text));
        }
        let driver = Driver {
            _debug: debug,
            context,
            stores,
            channels,
            inspector,
            journal,
            fleet,
            queries,
            cleanup: Cleanup::here(),
            tables,
            config,
            gauge,
            cpu,
        };
        let tasks = Arc::new(TaskRunner { host, driver: Arc::new(driver) });
        let runner = Runner { tasks, runs: Runs::default() };
        Ok(Session { inner: Arc::new(runner) })
    }
}

/// Adds the rules that save memory: with a limit, of which a top-k may have `top_k` bytes, or
/// without machines those that also save time.
fn with_memory_rules(
    builder: SessionStateBuilder,
    top_k: Option<usize>,
    has_machines: bool,
) -> SessionStateBuilder {
    match top_k {
        Some(bytes) => builder
            .with_physical_optimizer_rule(Arc::new(LargeLimits::over(bytes)))
            .with_physical_optimizer_rule(Arc::new(CompactViews::BelowKeepers))
            .with_analyzer_rule(Arc::new(LeanWindows)),
        None if has_machines => builder,
        None => builder.with_physical_optimizer_rule(Arc::new(CompactViews::BelowBuilds)),
    }
}

impl Session {
    /// A builder with default settings: a session without machines.
    pub fn builder() -> SessionBuilder {
        SessionBuilder::default()
    }
}

/// The host that reads shards, and runs tasks in this process if there are no machines.
fn host(
    config: &Config,
    context: &SessionContext,
    stores: &Arc<Stores>,
    channels: Option<Channels>,
    fleet: Option<&Fleet>,
) -> Arc<Host> {
    let of = context.clone();
    Host::new(HostParts {
        store: match fleet {
            Some(fleet) => Store::within(fleet.scratch()),
            None => Store::below(config.temp_root.clone()),
        },
        channels,
        me: None,
        stores: Arc::clone(stores),
        // Settings are those of the session already.
        contexts: Box::new(move |_| Ok(of.task_ctx())),
    })
}

/// The state of a session that plans for the machines of `fleet`.
fn distributed(
    config: &Config,
    budget: &Budget,
    builder: SessionStateBuilder,
    fleet: &Fleet,
) -> Result<SessionStateBuilder> {
    let builder = builder
        .with_analyzer_rule(Arc::new(bigslice_planner::OneRowSubqueries))
        .with_analyzer_rule(Arc::new(bigslice_planner::SerializableWindows))
        .with_distributed_user_codec_arc(Arc::new(PlanCodec::default()))
        .with_distributed_desired_task_count_handler(tpch::desired_task_count)
        .with_distributed_scale_up_leaf_node_handler(tpch::scale_up_leaf)
        .with_distributed_desired_task_count_handler(job::run_scan_tasks)
        .with_distributed_scale_up_leaf_node_handler(job::run_scan_scale_up)
        .with_distributed_route_tasks_handler(job::run_scan_route)
        .with_distributed_desired_task_count_handler(bigslice_files::sealed_scan_tasks)
        .with_distributed_scale_up_leaf_node_handler(bigslice_files::sealed_scan_scale_up)
        .with_distributed_scale_up_leaf_node_handler(bigslice_planner::spread_files);
    let options = ExchangeOptions {
        bytes_per_partition: settings::BYTES_PER_PARTITION,
        // As many as there are machines: `settings::enforce` sets it for each query. Machines on
        // demand may be 0 when a caller plans with the context directly.
        tasks_per_stage_max: if config.is_elastic() { fleet.size_max() } else { 0 },
        stream_buffer_bytes: settings::stream_buffer_bytes(config, budget),
        ..ExchangeOptions::default()
    };
    let builder = bigslice_flight::distributed_driver(builder, fleet, options);
    let builder = builder.map_err(|e| Error::internal(e.to_string()))?;
    // Statements do not use it: see `query::run`.
    Ok(builder.with_query_planner(Arc::new(ContextPlanner { config: config.clone() })))
}
