//! The machines of a session, as whoever uses them sees them. A [`Fleet`] owns the session: its
//! authority, its folder, its I/O runtime, and the [`keeper`] that keeps the machines.
//!
//! Ends: [`Fleet::shutdown`] asks the machines to stop. Dropping the last clone kills them. A driver
//! that is killed leaves it to the machines, which notice.

pub(crate) mod demand;
pub(crate) mod inspector;
mod keeper;
mod pace;
pub(crate) mod roster;
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
use crate::fleet::demand::{Demand, Ledger, Wait};
use crate::fleet::inspector::Inspector;
use crate::fleet::keeper::Post;
use crate::fleet::roster::{Loss, Roster, StartFailure};
use crate::fleet::sizing::{Elastic, Sizing};
use crate::identity::{Peer, SessionId};
use crate::machine::info::MachineInfo;
use crate::machine::system::System;
use crate::machine::{Machine, State};
use crate::observe::line::LogSink;
use crate::observe::log::Log;
use crate::observe::metrics::census::Census;
use crate::observe::vitals::Annals;
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
/// Certificates count in whole seconds, and are renewed when a lease is.
const CERTIFICATE_LIFE_MIN: Duration = Duration::from_secs(2);
/// A machine of this host that lives answers far faster, however busy its cores are.
const SILENCE: Duration = Duration::from_secs(2);
/// For more machines than this the usual limit of open files is raised: a driver has a few
/// connections to each, and if they are tasks of its process the other ends as well.
const FILES_SUFFICE_FOR: usize = 100;
/// Machines that are pinged at a time. Each may take a handshake, and many at once would outlast the
/// patience with one.
const PINGS_MAX: usize = 64;
/// A machine that does not answer a ping may be about to be reaped, which gives the better reason.
const EXIT_GRACE: Duration = Duration::from_millis(200);
/// What is printed at the very end is waited for, but not by a user whose terminal is stuck.
const FLUSH_GRACE: Duration = Duration::from_secs(1);
/// How long dropping a fleet may take.
const DROP_GRACE: Duration = Duration::from_secs(3);
/// Between two looks, while a fleet is dropped.
const DROP_PAUSE: Duration = Duration::from_millis(2);

/// What a fleet is to be.
#[derive(Clone)]
pub struct FleetConfig {
    /// How many machines are kept; at most, if the fleet is elastic.
    pub machines: usize,
    /// Given to their services as it is.
    pub settings: Bytes,
    /// Set up on each machine before it is taken.
    pub services: Services,
    /// How long a machine lives without hearing from the driver, and how long the driver waits for
    /// a machine that does not answer before it is taken for lost.
    pub lease: Duration,
    /// How long a machine may take to answer [`Fleet::verify`] before it is taken for lost.
    pub silence: Duration,
    /// With so many machines [`Fleet::start`] is content if others cannot be started: they are tried
    /// again, the less often the longer it fails, for as long as so many run. `None`: one that cannot
    /// be started is an error of the whole.
    pub enough: Option<usize>,
    /// Where the session's folder is made.
    pub temp_root: PathBuf,
    /// Takes the machines' output and the fleet's own messages.
    pub log: LogSink,
    /// How long a certificate is valid; it is renewed at half of that. At most 24 hours.
    pub certificate_life: Duration,
}

impl Default for FleetConfig {
    /// No machines yet, leases of 10 s, 2 s of silence, certificates of 12 hours; output is dropped.
    /// What suits machines of this host.
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
    post: Arc<Post>,
    runtime: Option<Runtime>,
    done: watch::Receiver<bool>,
    _keeper: AbortOnDropHandle<()>,
}

impl Fleet {
    /// Starts all machines at once. Returns when all run, or says why one could not; with
    /// [`FleetConfig::enough`], when each of them runs or could not be started.
    pub async fn start(system: Arc<dyn System>, config: FleetConfig) -> Result<Self> {
        let sizing = Sizing::fixed(config.machines);
        let fleet = Self { owner: Arc::new(Owner::new(system, config, sizing)?) };
        let post = &fleet.owner.post;
        let mut changes = post.roster.changes();
        loop {
            changes.borrow_and_update();
            if post.roster.running_total() >= post.sizing.max() {
                return Ok(fleet);
            }
            let settled = post.roster.first_settled(post.sizing.max());
            if settled && post.has_enough() {
                return Ok(fleet);
            }
            // Without a number that is enough the first failure is the last.
            let waits = |f: &StartFailure| post.enough.is_some() && !(settled && f.final_);
            if let Some(failure) = post.roster.failure().filter(|f| !waits(f)) {
                fleet.shutdown().await;
                return Err(Error::Start { machine: failure.machine, reason: failure.reason });
            }
            // Never an error: the roster lives in the fleet.
            drop(changes.changed().await);
        }
    }

    /// A fleet that has as many machines as are asked for ([`Fleet::demand`], [`Fleet::wait_for`]), at
    /// most [`FleetConfig::machines`]: they are started in batches, and released when for a while
    /// they were neither asked for nor held ([`Machine::hold`]). Returns at once.
    pub fn elastic(
        system: Arc<dyn System>,
        config: FleetConfig,
        elastic: &Elastic,
    ) -> Result<Self> {
        let sizing = Sizing::elastic(config.machines, elastic);
        Ok(Self { owner: Arc::new(Owner::new(system, config, sizing)?) })
    }

    /// Asks for machines for `slots` slots of work, until the demand is dropped. All demands count
    /// together; work can begin when the first machine runs ([`Fleet::wait_for`]). Of no effect on a
    /// fleet that always has the same number of machines.
    pub fn demand(&self, slots: usize) -> Demand {
        Demand::new(Arc::clone(&self.owner.post.ledger), slots)
    }

    /// The session that it is.
    pub fn session(&self) -> &SessionId {
        self.owner.post.enroler.authority.session()
    }

    /// The name of the system that its machines are from.
    pub fn system(&self) -> &'static str {
        self.owner.post.system.name()
    }

    /// How many machines are kept: those that are asked for, if the fleet is elastic.
    pub fn size(&self) -> usize {
        self.owner.post.target()
    }

    /// How many machines it has at most.
    pub fn size_max(&self) -> usize {
        self.owner.post.sizing.max()
    }

    /// How it is now.
    pub fn census(&self) -> Census {
        self.owner.post.roster.census(self.owner.post.target())
    }

    /// The driver's own folder for temporary files, which ends with the session.
    pub fn scratch(&self) -> PathBuf {
        self.owner.post.folder.driver()
    }

    /// The machines that run, oldest first.
    pub fn machines(&self) -> Vec<Machine> {
        self.owner.post.roster.running()
    }

    /// Those of the machines that run to which work is to be given: not those on probation
    /// ([`Machine::is_trusted`]). Oldest first.
    pub fn ready(&self) -> Vec<Machine> {
        self.owner.post.roster.ready()
    }

    /// The addresses of the machines that run, oldest first.
    pub fn urls(&self) -> Vec<Url> {
        self.machines().iter().filter_map(|m| m.url().cloned()).collect()
    }

    /// Counts whatever happens to the machines: one has come up, ended, is trusted or wanted no more, or
    /// could not start. For whoever has work that waits for one.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.owner.post.roster.changes()
    }

    /// Counts the machines lost so far.
    pub fn losses(&self) -> watch::Receiver<u64> {
        self.owner.post.roster.losses()
    }

    /// The machines lost so far, oldest first; the last thousand.
    pub fn lost(&self) -> Vec<Loss> {
        self.owner.post.roster.lost()
    }

    /// How many machines were lost so far.
    pub fn lost_total(&self) -> u64 {
        self.owner.post.roster.lost_total()
    }

    /// The machines lost after the first `total`, oldest first. Only the last thousand are known by
    /// name.
    pub fn lost_since(&self, total: u64) -> Vec<Loss> {
        self.owner.post.roster.lost_since(total)
    }

    /// Asks every machine now whether it lives. Those that do not answer within
    /// [`FleetConfig::silence`] are taken for lost. Returns all losses known then. For whoever saw a connection break and must know whether a
    /// machine is behind it.
    pub async fn verify(&self) -> Vec<Loss> {
        let machines = stream::iter(self.machines());
        let asked = machines.for_each_concurrent(PINGS_MAX, |machine| async move {
            let Some(trouble) = self.ping(&machine).await else { return };
            // Its end may be known better in a moment.
            if tokio::time::timeout(EXIT_GRACE, machine.wait(State::Stopped)).await.is_err() {
                machine.condemn(trouble);
                machine.wait(State::Stopped).await;
            }
        });
        asked.await;
        self.lost()
    }

    /// Asks `machine` what it has; on a new connection if the one that there is brings no answer in
    /// half of [`FleetConfig::silence`].
    pub async fn info(&self, machine: &Machine) -> Result<MachineInfo> {
        let url = machine.url().ok_or(Error::Closed)?;
        let silence = self.owner.post.silence;
        let control = |channel| Control::new(machine.name().clone(), channel);
        if let Some(channel) = machine.channel() {
            match control(channel).info(silence / 2).await {
                Ok(info) => return Ok(info),
                Err(err) => tracing::debug!(error = %chain(&err), "asking on a new connection"),
            }
        }
        let channel = self.owner.post.connector.connect(url).await?;
        let info = control(channel.clone()).info(silence).await?;
        machine.keep_channel(Some(channel));
        Ok(info)
    }

    /// Why `machine` does not answer, if it does not.
    async fn ping(&self, machine: &Machine) -> Option<String> {
        let silence = self.owner.post.silence;
        match tokio::time::timeout(silence, self.info(machine)).await {
            Ok(Ok(_)) => None,
            Ok(Err(err)) => Some(chain(&err)),
            Err(_) => Some(format!("silent for {} s", silence.as_secs_f32())),
        }
    }

    /// Waits until `n` machines run, those that are being started included; an elastic fleet is asked
    /// for as many. If starting machines was given up before, it is tried again. Fails at once if
    /// it is given up now, or if the fleet never has so many.
    pub async fn wait_for(&self, n: usize, deadline: Duration) -> Result<()> {
        let post = &self.owner.post;
        let began = Instant::now();
        let mut changes = post.roster.changes();
        if post.roster.failure().is_some_and(|f| f.final_) && post.roster.running_total() < n {
            post.roster.set_failure(None);
            post.ledger.insist();
        }
        let _asked = Wait::new(Arc::clone(&post.ledger), n);
        loop {
            changes.borrow_and_update();
            let running = post.roster.running_total();
            if running >= n {
                return Ok(());
            }
            if post.closing.is_cancelled() {
                return Err(Error::Closed);
            }
            let failure = post.roster.failure();
            let left = deadline.checked_sub(began.elapsed()).filter(|_| n <= post.sizing.max());
            let waited = match left {
                Some(left) if !failure.as_ref().is_some_and(|f| f.final_) => {
                    tokio::time::timeout(left, changes.changed()).await.is_ok()
                }
                _ => false,
            };
            if !waited {
                let reason = match failure {
                    _ if n > post.sizing.max() => {
                        format!("the fleet has at most {}", post.sizing.max())
                    }
                    Some(f) => format!("machine \"{}\" could not start: {}", f.machine, f.reason),
                    None => "others are still being started".to_owned(),
                };
                return Err(Error::TooFew { wanted: n, running, waited: began.elapsed(), reason });
            }
        }
    }

    /// Looks at all machines as at one process: logs, metrics, profiles, and what they use over time.
    pub fn inspector(&self) -> &Inspector {
        &self.owner.inspector
    }

    /// Dials the machines with the driver's credentials.
    pub fn connector(&self) -> Connector {
        self.owner.post.connector.clone()
    }

    /// Ends all machines and removes everything of the session. Returns when that is done; a second
    /// call waits for the first.
    pub async fn shutdown(&self) {
        self.owner.post.closing.cancel();
        let mut done = self.owner.done.clone();
        // An error means that the keeper is gone, and there is nobody to wait for.
        drop(done.wait_for(|done| *done).await);
        if tokio::time::timeout(FLUSH_GRACE, self.owner.post.log.flush()).await.is_err() {
            tracing::debug!("the last lines of the machines are not taken");
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
        let post = Arc::new(Post {
            system,
            sizing,
            enough: config.enough.map(|enough| enough.max(1)),
            silence: config.silence,
            ledger: Arc::new(Ledger::new(Arc::clone(&wake))),
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
            roster: Roster::new(Arc::clone(&wake)),
            annals: Annals::default(),
            closing: CancellationToken::new(),
            abandon: CancellationToken::new(),
            wake,
        });
        let (finished, done) = watch::channel(false);
        let keeper = runtime.spawn(keeper::keep(Arc::clone(&post), finished));
        let keeper = AbortOnDropHandle::new(keeper);
        let inspector = Inspector::of(Arc::clone(&post));
        Ok(Self { inspector, post, runtime: Some(runtime), done, _keeper: keeper })
    }
}

impl Drop for Owner {
    /// Kills what still runs and removes what is left, without a runtime of the caller's.
    fn drop(&mut self) {
        self.post.abandon.cancel();
        self.post.closing.cancel();
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
