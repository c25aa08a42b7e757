//! Builds a [`Session`]: its memory, its threads, its machines, and the DataFusion context that
//! plans for them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bigslice_cluster::faults::Faults;
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
use crate::base::settings;
use crate::base::system::SystemSpec;
use crate::error::{Error, Result};
use crate::pipeline::udf;
use crate::query::distribute::{Checked, Uncut};
use crate::runs::job::{self, PlanCodec, Runner, Runs};
use crate::runs::task::{Host, HostParts, Store};
use crate::session::Session;
use crate::session::provision;
use crate::tpch;
use bigslice_files::Cleanup;
use bigslice_files::Environment;
use bigslice_files::Stores;
use bigslice_files::sink::WriteText;

/// Bytes of a result that are held back until it is certain: a machine that is lost before then
/// costs time, not the result.
pub const HEAD_BYTES: usize = 64 * 1024 * 1024;

/// What a session is built from. Nothing is required.
#[derive(Debug, Clone)]
pub struct SessionBuilder {
    pub(crate) config: Config,
}

impl Default for SessionBuilder {
    fn default() -> Self {
        Self {
            config: Config {
                system: SystemSpec::Here,
                machines_max: None,
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
    /// Where the work is done; [`SystemSpec::Here`] if this is not called.
    #[must_use]
    pub fn system(mut self, system: SystemSpec) -> Self {
        self.config.system = system;
        self
    }

    /// As many processes of this computer as `machines`; none is [`SystemSpec::Here`].
    #[must_use]
    pub fn workers(self, machines: usize) -> Self {
        self.system(match machines {
            0 => SystemSpec::Here,
            machines => SystemSpec::Local { machines },
        })
    }

    /// Starts machines as the work asks for them, up to `max`, and releases those that were not wanted for a
    /// [while](Self::idle), down to none. They are those of [`Self::system`], whatever number that names;
    /// processes of this computer if it is not called.
    ///
    /// A query asks for as many machines as its plan has tasks for, waits for one of them and for those that
    /// come with it, and has them to its end. A run asks for slots for the tasks that can start, and uses
    /// machines as they come. A machine on which the result of a [`Run`](crate::Run) lies stays for as long
    /// as the `Run` is held.
    #[must_use]
    pub fn elastic(mut self, max: usize) -> Self {
        self.config.machines_max = Some(max);
        self
    }

    /// How long an [elastic](Self::elastic) session keeps a machine that nobody wants: a minute if this is
    /// not called, ten if it is an instance elsewhere.
    #[must_use]
    pub fn idle(mut self, idle: Duration) -> Self {
        self.config.idle = Some(idle);
        self
    }

    /// How many machines the session will have, at most.
    pub fn machines(&self) -> usize {
        self.config.machines_max.unwrap_or_else(|| self.config.system.machines())
    }

    /// Whether machines come and go with the work.
    pub fn is_elastic(&self) -> bool {
        self.config.is_elastic()
    }

    /// Services that each machine sets up before it is given work: see [`service`](macro@crate::service).
    /// Their methods are called on the machines of [`Session::fleet`].
    #[must_use]
    pub fn services(mut self, services: Services) -> Self {
        self.config.services = Some(services);
        self
    }

    /// What is to befall the machines, which must be tasks of this process ([`SystemSpec::InProcess`]): for
    /// tests of what is built on sessions. See [`faults`](crate::cluster::faults).
    #[must_use]
    pub fn faults(mut self, faults: Faults) -> Self {
        self.config.faults = Some(faults);
        self
    }

    /// The program that local machines run, which must call [`worker_main`](crate::worker_main)
    /// first of all; this very program if this is not called.
    #[must_use]
    pub fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.config.program = Some(program.into());
        self
    }

    /// Bytes that all processes of the session may use together. Each gets an equal part;
    /// operators that can, spill. Without a limit they may use three quarters of the computer's
    /// memory and spill only then.
    #[must_use]
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.config.memory_limit = Some(bytes);
        self
    }

    /// Says that this process does nothing but the work of the session, as a program that runs a
    /// statement does. Then a [memory limit](Self::memory_limit) is for all that its processes have,
    /// the program, its buffers and what its allocator keeps included, and it is measured; otherwise
    /// it is for what operators hold. Sessions from the arguments of a program
    /// ([`SessionArgs`](crate::SessionArgs)) say so.
    #[must_use]
    pub fn owns_process(mut self, owns: bool) -> Self {
        self.config.owns_process = owns;
        self
    }

    /// Partitions that one task works on at a time; the cores of a machine if this is not called,
    /// and never less than two when there are machines.
    #[must_use]
    pub fn partitions(mut self, partitions: usize) -> Self {
        self.config.partitions = Some(partitions);
        self
    }

    /// Bytes of a result that are held back until it is certain, when there are machines;
    /// [`HEAD_BYTES`] if this is not called.
    #[must_use]
    pub fn head_bytes(mut self, bytes: usize) -> Self {
        self.config.head_bytes = bytes;
        self
    }

    /// Takes the lines that machines print, and what the session says about them. They go to
    /// `tracing` if this is not called.
    #[must_use]
    pub fn log(mut self, log: LogSink) -> Self {
        self.config.log = log;
        self
    }

    /// Serves pages about the session and its machines at `address`, which must be a loopback one, for as long
    /// as the session lives; its port 0 is any that is free. The log says where: `http://127.0.0.1:PORT/debug`.
    /// See [`Session::inspector`].
    #[must_use]
    pub fn debug(mut self, address: SocketAddr) -> Self {
        self.config.debug = Some(address);
        self
    }

    /// A setting of DataFusion, as `SET key = value` would. Those of the exchange, `distributed.`, are for sessions
    /// with machines, and have no effect in others.
    #[must_use]
    pub fn set(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.config.settings.push((key.into(), value.into()));
        self
    }

    /// Where temporary files go; the system's folder for them if this is not called.
    #[must_use]
    pub fn temp_root(mut self, folder: impl Into<PathBuf>) -> Self {
        self.config.temp_root = folder.into();
        self
    }

    /// What the surroundings say about access to stores.
    #[must_use]
    pub fn environment(mut self, environment: Environment) -> Self {
        self.config.environment = environment;
        self
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
        let mut builder = udf::register(bigslice_planner::install(builder));
        if let Some(bytes) = budget.top_k_bytes(config.partitions_per_task()) {
            let limits = Arc::new(LargeLimits::over(bytes));
            builder = builder.with_physical_optimizer_rule(limits);
            builder = builder.with_analyzer_rule(Arc::new(LeanWindows));
        }
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
        let runs = Runs::default();
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
        let runner = Runner { host, runs, driver: Arc::new(driver) };
        Ok(Session { inner: Arc::new(runner) })
    }
}

impl Session {
    /// Begins a session.
    pub fn builder() -> SessionBuilder {
        SessionBuilder::default()
    }
}

/// What runs tasks in this process, when there are no machines, and reads shards.
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

/// The makings of a session that plans for the machines of `fleet`.
fn distributed(
    config: &Config,
    budget: &Budget,
    builder: SessionStateBuilder,
    fleet: &Fleet,
) -> Result<SessionStateBuilder> {
    let builder = builder
        .with_query_planner(Arc::new(Uncut))
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
        // As many as there are machines: see what is enforced on each query. Of machines that come and go
        // there may be none when somebody else plans.
        tasks_per_stage_max: if config.is_elastic() { fleet.size_max() } else { 0 },
        stream_buffer_bytes: settings::stream_buffer_bytes(config, budget),
        ..ExchangeOptions::default()
    };
    let builder = bigslice_flight::distributed_driver(builder, fleet, options);
    let mut builder = builder.map_err(|e| Error::internal(e.to_string()))?;
    let cut = builder
        .query_planner()
        .take()
        .ok_or_else(|| Error::internal("the exchange has brought no planner"))?;
    let checked = Checked::above(cut, config);
    Ok(builder.with_query_planner(Arc::new(checked)))
}
