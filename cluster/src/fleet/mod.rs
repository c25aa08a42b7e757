//! The machines of a session, for their user. A [`Fleet`] owns the session: its authority, its
//! folder, its I/O runtime, and the [`keeper`] that keeps the machines.
//!
//! [`Fleet::shutdown`] asks the machines to stop. Dropping the last clone kills them. If the driver
//! is killed, the machines notice and end.

mod backoff;
pub(crate) mod demand;
pub(crate) mod inspector;
mod keeper;
pub(crate) mod registry;
pub(crate) mod sizing;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{StreamExt, stream};
use tokio::runtime::Runtime;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use crate::error::{Error, Result, chain};
use crate::fleet::demand::{Demand, Demands, Wait};
use crate::fleet::inspector::Inspector;
use crate::fleet::keeper::FleetState;
use crate::fleet::registry::{Loss, MachineRegistry, StartFailure};
use crate::fleet::sizing::{Elastic, Sizing};
use crate::identity::{Peer, SessionId};
use crate::machine::info::MachineInfo;
use crate::machine::system::System;
use crate::machine::{Machine, State};
use crate::observe::line::LogSink;
use crate::observe::log::Log;
use crate::observe::metrics::fleet_stats::FleetStats;
use crate::observe::usage::UsageHistory;
use crate::process::file_limit::raise_file_limit;
use crate::process::folder::SessionFolder;
use crate::requirements::{Requirements, Services};
use crate::security::authority::{Authority, Validity};
use crate::security::connector::Connector;
use crate::security::credentials::Credentials;
use crate::security::enrolment::Enroler;
use crate::worker::control::Control;

/// Sockets, TLS and leases of the driver; rows are computed elsewhere.
const IO_THREADS: usize = 2;
/// A shorter lease would lapse while a busy host does something else.
const LEASE_MIN: Duration = Duration::from_millis(200);
/// Certificates have a resolution of seconds, and are renewed when a lease is.
const CERTIFICATE_LIFE_MIN: Duration = Duration::from_secs(2);
/// A live machine of this host answers far faster, however busy its cores are.
const SILENCE: Duration = Duration::from_secs(2);
/// With more machines than this the limit of open files is raised: a driver has a few connections
/// to each, and holds the other ends too if the machines are tasks of its process.
const FILES_SUFFICE_FOR: usize = 100;
/// The most machines pinged at a time. Each may take a handshake, and too many at once would exceed
/// the timeout.
const PINGS_MAX: usize = 64;
/// A machine that does not answer a ping may be about to end, which gives the better reason.
const EXIT_GRACE: Duration = Duration::from_millis(200);
/// How long to wait for the last output, in case the user's terminal is stuck.
const FLUSH_GRACE: Duration = Duration::from_secs(1);
/// How long dropping a fleet may take.
const DROP_GRACE: Duration = Duration::from_secs(3);
/// The pause between two checks while a fleet is dropped.
const DROP_PAUSE: Duration = Duration::from_millis(2);

/// The configuration of a fleet.
#[derive(Clone)]
pub struct FleetConfig {
    /// The number of machines; the maximum if the fleet is elastic.
    pub machines: usize,
    /// Passed to their services unchanged.
    pub settings: Bytes,
    /// Set up on each machine before it is used.
    pub services: Services,
    /// How long a machine lives without contact to the driver, and how long the driver waits for a
    /// machine that does not answer before it counts as lost.
    pub lease: Duration,
    /// How long a machine may take to answer [`Fleet::verify`] before it counts as lost.
    pub silence: Duration,
    /// The minimum number of machines that must start for [`Fleet::start`] to succeed. The rest are
    /// retried with backoff as long as this many run. `None`: any failed start is an error.
    pub enough: Option<usize>,
    /// The parent of the session's folder.
    pub temp_root: PathBuf,
    /// Receives the machines' output and the fleet's own messages.
    pub log: LogSink,
    /// How long a certificate is valid, at most 24 hours. It is renewed after half of that.
    pub certificate_life: Duration,
}

impl Default for FleetConfig {
    /// No machines, leases of 10 s, 2 s of silence, certificates of 12 hours; output is dropped.
    /// Suited to machines of this host.
    fn default() -> Self {
        Self {
            machines: 0,
            settings: Bytes::new(),
            services: Services::new(),
            lease: Duration::from_secs(10),
            silence: SILENCE,
            enough: None,
            temp_root: std::env::temp_dir(),
            log: Arc::new(|_| {}),
            certificate_life: Duration::from_secs(12 * 60 * 60),
        }
    }
}

impl fmt::Debug for FleetConfig {
    /// Without the settings, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FleetConfig")
            .field("machines", &self.machines)
            .field("lease", &self.lease)
            .field("silence", &self.silence)
            .field("enough", &self.enough)
            .field("temp_root", &self.temp_root)
            .field("certificate_life", &self.certificate_life)
            .finish_non_exhaustive()
    }
}

/// A set of machines that is kept complete. Clones are the same fleet.
#[derive(Clone)]
pub struct Fleet {
    owner: Arc<Owner>,
}

struct Owner {
    inspector: Inspector,
    state: Arc<FleetState>,
    runtime: Option<Runtime>,
    done: watch::Receiver<bool>,
    _keeper: AbortOnDropHandle<()>,
}

impl Fleet {
    /// Starts all machines at once. Returns when all run, or the error of one that could not start;
    /// with [`FleetConfig::enough`], when each of them runs or could not start.
    pub async fn start(system: Arc<dyn System>, config: FleetConfig) -> Result<Self> {
        let sizing = Sizing::fixed(config.machines);
        let fleet = Self { owner: Arc::new(Owner::new(system, config, sizing)?) };
        let state = &fleet.owner.state;
        let mut changes = state.registry.changes();
        loop {
            changes.borrow_and_update();
            if state.registry.running_total() >= state.sizing.max() {
                return Ok(fleet);
            }
            let settled = state.registry.first_settled(state.sizing.max());
            if settled && state.has_enough() {
                return Ok(fleet);
            }
            // Without a minimum the first failure is final.
            let waits = |f: &StartFailure| state.enough.is_some() && !(settled && f.final_);
            if let Some(failure) = state.registry.failure().filter(|f| !waits(f)) {
                fleet.shutdown().await;
                return Err(Error::Start { machine: failure.machine, reason: failure.reason });
            }
            // Never an error: the registry lives in the fleet.
            drop(changes.changed().await);
        }
    }

    /// A fleet with as many machines as there is demand for ([`Fleet::demand`],
    /// [`Fleet::wait_for`]), at most [`FleetConfig::machines`]. They are started in batches, and
    /// released after a time without demand and without a hold ([`Machine::hold`]). Returns at
    /// once.
    pub fn elastic(
        system: Arc<dyn System>,
        config: FleetConfig,
        elastic: &Elastic,
    ) -> Result<Self> {
        let sizing = Sizing::elastic(config.machines, elastic);
        Ok(Self { owner: Arc::new(Owner::new(system, config, sizing)?) })
    }

    /// Requests machines for `slots` slots of work, until the demand is dropped. All demands add
    /// up. Work can begin when the first machine runs ([`Fleet::wait_for`]). No effect on a fleet
    /// of fixed size.
    pub fn demand(&self, slots: usize) -> Demand {
        Demand::new(Arc::clone(&self.owner.state.demands), slots)
    }

    /// The session's id.
    pub fn session(&self) -> &SessionId {
        self.owner.state.enroler.authority.session()
    }

    /// The name of the system that starts the machines.
    pub fn system(&self) -> &'static str {
        self.owner.state.system.name()
    }

    /// The target number of machines: the demand, if the fleet is elastic.
    pub fn size(&self) -> usize {
        self.owner.state.target()
    }

    /// The maximum number of machines.
    pub fn size_max(&self) -> usize {
        self.owner.state.sizing.max()
    }

    /// The current numbers of machines.
    pub fn stats(&self) -> FleetStats {
        self.owner.state.registry.stats(self.owner.state.target())
    }

    /// The driver's folder for temporary files, which is removed with the session.
    pub fn scratch(&self) -> PathBuf {
        self.owner.state.folder.driver()
    }

    /// The machines that run, oldest first.
    pub fn machines(&self) -> Vec<Machine> {
        self.owner.state.registry.running()
    }

    /// The running machines that may be given work: not those on probation
    /// ([`Machine::is_trusted`]). Oldest first.
    pub fn ready(&self) -> Vec<Machine> {
        self.owner.state.registry.ready()
    }

    /// The addresses of the machines that run, oldest first.
    pub fn urls(&self) -> Vec<Url> {
        self.machines().iter().filter_map(|m| m.url().cloned()).collect()
    }

    /// Counts the changes of machines: one started, ended, became trusted, is not needed any more,
    /// or could not start. For callers that wait for a machine.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.owner.state.registry.changes()
    }

    /// Counts the machines lost so far.
    pub fn losses(&self) -> watch::Receiver<u64> {
        self.owner.state.registry.losses()
    }

    /// The machines lost so far, oldest first; the last thousand.
    pub fn lost(&self) -> Vec<Loss> {
        self.owner.state.registry.lost()
    }

    /// The number of machines lost so far.
    pub fn lost_total(&self) -> u64 {
        self.owner.state.registry.lost_total()
    }

    /// The machines lost after the first `total`, oldest first. Only the last thousand are kept.
    pub fn lost_since(&self, total: u64) -> Vec<Loss> {
        self.owner.state.registry.lost_since(total)
    }

    /// Pings every machine. Those that do not answer within [`FleetConfig::silence`] count as lost.
    /// Returns all losses known then. For callers that saw a connection break and must know whether
    /// a machine was lost.
    pub async fn verify(&self) -> Vec<Loss> {
        let machines = stream::iter(self.machines());
        let asked = machines.for_each_concurrent(PINGS_MAX, |machine| async move {
            let Some(trouble) = self.ping(&machine).await else { return };
            // A better reason may be known in a moment.
            if tokio::time::timeout(EXIT_GRACE, machine.wait(State::Stopped)).await.is_err() {
                machine.condemn(trouble);
                machine.wait(State::Stopped).await;
            }
        });
        asked.await;
        self.lost()
    }

    /// Asks `machine` for its resources; on a new connection if the existing one brings no answer
    /// in half of [`FleetConfig::silence`].
    pub async fn info(&self, machine: &Machine) -> Result<MachineInfo> {
        let url = machine.url().ok_or(Error::Closed)?;
        let silence = self.owner.state.silence;
        let control = |channel| Control::new(machine.name().clone(), channel);
        if let Some(channel) = machine.channel() {
            match control(channel).info(silence / 2).await {
                Ok(info) => return Ok(info),
                Err(err) => {
                    tracing::debug!(error = %chain(&err), "no answer; asking on a new connection")
                }
            }
        }
        let channel = self.owner.state.connector.connect(url).await?;
        let info = control(channel.clone()).info(silence).await?;
        machine.keep_channel(Some(channel));
        Ok(info)
    }

    /// Why `machine` does not answer; `None` if it does.
    async fn ping(&self, machine: &Machine) -> Option<String> {
        let silence = self.owner.state.silence;
        match tokio::time::timeout(silence, self.info(machine)).await {
            Ok(Ok(_)) => None,
            Ok(Err(err)) => Some(chain(&err)),
            Err(_) => Some(format!("silent for {} s", silence.as_secs_f32())),
        }
    }

    /// Waits until `n` machines run, including those being started; counts as a demand on an
    /// elastic fleet. If starting machines was given up before, it is tried again. Fails at once if
    /// starting is given up now, or if `n` exceeds the maximum.
    pub async fn wait_for(&self, n: usize, deadline: Duration) -> Result<()> {
        let state = &self.owner.state;
        let began = Instant::now();
        let mut changes = state.registry.changes();
        if state.registry.failure().is_some_and(|f| f.final_) && state.registry.running_total() < n
        {
            state.registry.set_failure(None);
            state.demands.insist();
        }
        let _asked = Wait::new(Arc::clone(&state.demands), n);
        loop {
            changes.borrow_and_update();
            let running = state.registry.running_total();
            if running >= n {
                return Ok(());
            }
            if state.closing.is_cancelled() {
                return Err(Error::Closed);
            }
            let failure = state.registry.failure();
            let left = deadline.checked_sub(began.elapsed()).filter(|_| n <= state.sizing.max());
            let waited = match left {
                Some(left) if !failure.as_ref().is_some_and(|f| f.final_) => {
                    tokio::time::timeout(left, changes.changed()).await.is_ok()
                }
                _ => false,
            };
            if !waited {
                let reason = match failure {
                    _ if n > state.sizing.max() => {
                        format!("the fleet has at most {}", state.sizing.max())
                    }
                    Some(f) => format!("machine \"{}\" could not start: {}", f.machine, f.reason),
                    None => "others are still being started".to_owned(),
                };
                return Err(Error::TooFew { wanted: n, running, waited: began.elapsed(), reason });
            }
        }
    }

    /// Inspects all machines as one process: logs, metrics, profiles, and usage over time.
    pub fn inspector(&self) -> &Inspector {
        &self.owner.inspector
    }

    /// Dials the machines with the driver's credentials.
    pub fn connector(&self) -> Connector {
        self.owner.state.connector.clone()
    }

    /// Ends all machines and removes all files of the session. Returns when that is done; a second
    /// call waits for the first.
    pub async fn shutdown(&self) {
        self.owner.state.closing.cancel();
        let mut done = self.owner.done.clone();
        // An error means that the keeper has already ended.
        drop(done.wait_for(|done| *done).await);
        if tokio::time::timeout(FLUSH_GRACE, self.owner.state.log.flush()).await.is_err() {
            tracing::debug!("the last lines of the machines were not read");
        }
    }
}

impl Owner {
    fn new(system: Arc<dyn System>, config: FleetConfig, sizing: Sizing) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(IO_THREADS)
            .thread_name("bigslice-io")
            .enable_all()
            .build()
            .map_err(Error::io("start the I/O runtime"))?;
        let lease = config.lease.max(LEASE_MIN);
        let certificate_life = config.certificate_life.max(CERTIFICATE_LIFE_MIN).max(lease);
        let session = SessionId::random();
        let folder = SessionFolder::create(&config.temp_root, &session)?;
        let authority = Arc::new(Authority::new(session.clone())?);
        let credentials = Credentials::issue(
            &authority,
            Peer::driver(session),
            Validity::lasting(certificate_life),
        )?;
        if sizing.max() > FILES_SUFFICE_FOR {
            raise_file_limit();
        }
        let faults = system.faults();
        let wake = Arc::new(Notify::new());
        let state = Arc::new(FleetState {
            system,
            sizing,
            enough: config.enough.map(|enough| enough.max(1)),
            silence: config.silence,
            demands: Arc::new(Demands::new(Arc::clone(&wake))),
            enroler: Arc::new(Enroler {
                authority,
                certificate_life,
                lease,
                settings: config.settings,
                requirements: Requirements::of(&config.services),
            }),
            connector: Connector::new(credentials.clone(), runtime.handle().clone())?
                .with_faults(faults)
                .with_patience(config.silence),
            credentials,
            folder,
            log: Log::new(config.log)?,
            registry: MachineRegistry::new(Arc::clone(&wake)),
            usage_history: UsageHistory::default(),
            closing: CancellationToken::new(),
            abandon: CancellationToken::new(),
            wake,
        });
        let (finished, done) = watch::channel(false);
        let keeper = runtime.spawn(keeper::keep(Arc::clone(&state), finished));
        let keeper = AbortOnDropHandle::new(keeper);
        let inspector = Inspector::of(Arc::clone(&state));
        Ok(Self { inspector, state, runtime: Some(runtime), done, _keeper: keeper })
    }
}

impl Drop for Owner {
    /// Kills running machines and removes all files, without the caller's runtime.
    fn drop(&mut self) {
        self.state.abandon.cancel();
        self.state.closing.cancel();
        let deadline = Instant::now() + DROP_GRACE;
        while !*self.done.borrow() && self.done.has_changed().is_ok() && Instant::now() < deadline {
            std::thread::sleep(DROP_PAUSE);
        }
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet")
            .field("session", self.session())
            .field("system", &self.system())
            .field("machines", &self.machines())
            .finish_non_exhaustive()
    }
}
