//! Keeps as many machines as are wanted. One task, [`keep`], starts machines and replaces those that
//! are lost; one task per machine, [`Post::tend`], takes it through its life: start it, renew its
//! lease, notice its end, clean up after it.
//!
//! The end of it all, in order: 1. `closing` is cancelled; 2. each machine is asked to stop, and
//! killed if it does not within [`STOP_GRACE`] (or at once if `abandon` is cancelled too); 3. its
//! folder is removed; 4. the session's folder is removed; 5. `done` is set.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::authority::Validity;
use crate::connector::Connector;
use crate::control::Control;
use crate::credentials::Credentials;
use crate::enrolment::Enroler;
use crate::error::{Error, Result, chain};
use crate::folder::{self, SessionFolder};
use crate::identity::Peer;
use crate::log::Log;
use crate::machine::Machine;
use crate::roster::{Loss, Roster, StartFailure};
use crate::system::{Instance, Launch, System};

/// After this many failed starts in a row no more are tried until somebody asks for machines.
const START_FAILURES_MAX: u32 = 5;
/// The pause after the first failed start; it doubles with each further one.
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause between two tries.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(5);
/// A lease is renewed this many times in its length, so that single failures do not matter.
const RENEWALS_PER_LEASE: u32 = 4;
/// How long a machine may take to end when it is asked to.
const STOP_GRACE: Duration = Duration::from_secs(2);
/// How long the remains of a killed machine are waited for.
const CLOSE_GRACE: Duration = Duration::from_secs(5);

/// What the keeper and the tasks of all machines share.
#[derive(Debug)]
pub(crate) struct Post {
    pub(crate) system: Arc<dyn System>,
    pub(crate) wanted: usize,
    pub(crate) enroler: Arc<Enroler>,
    pub(crate) credentials: Credentials,
    pub(crate) connector: Connector,
    pub(crate) folder: SessionFolder,
    pub(crate) log: Log,
    pub(crate) roster: Roster,
    /// The fleet is being shut down.
    pub(crate) closing: CancellationToken,
    /// There is no time to ask: kill.
    pub(crate) abandon: CancellationToken,
    /// Somebody wants machines although starting them was given up.
    pub(crate) again: Notify,
}

/// How a machine's life ended.
enum End {
    NeverStarted(StartFailure),
    Lost,
    Stopped,
}

/// The pace of starting machines when starting fails.
#[derive(Default)]
struct Pace {
    failures: u32,
    not_before: Option<Instant>,
}

impl Pace {
    fn given_up(&self) -> bool {
        self.failures >= START_FAILURES_MAX
    }

    fn may_start(&self) -> bool {
        !self.given_up() && self.not_before.is_none_or(|t| Instant::now() >= t)
    }

    fn failed(&mut self) -> Duration {
        let pause = RETRY_PAUSE_MIN.saturating_mul(1 << self.failures.min(16)).min(RETRY_PAUSE_MAX);
        self.failures += 1;
        self.not_before = Some(Instant::now() + pause);
        pause
    }
}

/// Keeps `post.wanted` machines until the fleet is closed, then ends them all.
pub(crate) async fn keep(post: Arc<Post>, done: watch::Sender<bool>) {
    let mut lives: JoinSet<End> = JoinSet::new();
    let mut pace = Pace::default();
    let mut renewal = tokio::time::interval(post.enroler.lease / RENEWALS_PER_LEASE);
    renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        while lives.len() < post.wanted && pace.may_start() {
            lives.spawn(Arc::clone(&post).tend());
        }
        let pause = pace.not_before.filter(|_| !pace.given_up() && lives.len() < post.wanted);
        tokio::select! {
            () = post.closing.cancelled() => break,
            Some(end) = lives.join_next() => match end {
                Ok(End::NeverStarted(failure)) => post.count_failure(failure, &mut pace),
                Ok(End::Lost | End::Stopped) => pace = Pace::default(),
                Err(panic) => {
                    tracing::error!(error = %panic, "the task of a machine panicked");
                    pace.failed();
                }
            },
            () = tokio::time::sleep_until(pause.unwrap_or_else(Instant::now)), if pause.is_some() => {
                pace.not_before = None;
            }
            () = post.again.notified() => {
                pace = Pace::default();
                post.roster.set_failure(None);
            }
            _ = renewal.tick() => if let Err(err) = post.renew_own() {
                tracing::error!(error = %chain(&err), "could not renew the driver's certificate");
            },
        }
    }
    while lives.join_next().await.is_some() {}
    let at = Arc::clone(&post);
    let removed = tokio::task::spawn_blocking(move || at.folder.remove()).await;
    if let Ok(Err(err)) = removed {
        tracing::warn!(error = %err, "could not remove the session's folder");
    }
    done.send_replace(true);
}

impl Post {
    fn count_failure(&self, mut failure: StartFailure, pace: &mut Pace) {
        let pause = pace.failed();
        failure.final_ = pace.given_up();
        let mut text = format!("could not start: {}", failure.reason);
        // Writing to a string does not fail.
        let _ = if failure.final_ {
            let running = self.roster.running().len();
            write!(
                text,
                "; no machine could be started {START_FAILURES_MAX} times in a row, going on with \
                 {running} of {}",
                self.wanted
            )
        } else {
            write!(text, "; trying another in {} ms", pause.as_millis())
        };
        self.log.say(&failure.machine, text);
        self.roster.set_failure(Some(failure));
    }

    fn renew_own(&self) -> Result<()> {
        match self.credentials.renewal()? {
            Some(request) => self.credentials.renew(self.sign(&request, self.credentials.peer())?),
            None => Ok(()),
        }
    }

    fn sign(&self, request: &[u8], peer: &Peer) -> Result<CertificateDer<'static>> {
        let validity = Validity::lasting(self.enroler.certificate_life);
        self.enroler.authority.sign(request, peer, validity)
    }

    /// One machine's whole life.
    async fn tend(self: Arc<Self>) -> End {
        let (ordinal, machine) = self.roster.enter();
        let started = tokio::select! {
            started = self.start(&machine) => started,
            () = self.closing.cancelled() => {
                self.over(ordinal, &machine, None).await;
                return End::Stopped;
            }
        };
        let (instance, url) = match started {
            Ok(started) => started,
            Err(err) => {
                let reason = match err {
                    Error::Start { reason, .. } => reason,
                    err => chain(&err),
                };
                self.over(ordinal, &machine, Some(reason.clone())).await;
                let machine = machine.name().clone();
                return End::NeverStarted(StartFailure { machine, reason, final_: false });
            }
        };
        self.roster.changed();
        let reason = tokio::select! {
            biased;
            () = self.closing.cancelled() => {
                self.stop(&machine, &url, &*instance).await;
                self.over(ordinal, &machine, None).await;
                return End::Stopped;
            }
            reason = instance.ended() => reason,
            reason = machine.condemned() => reason,
            reason = self.keep_lease(&machine, &url) => reason,
        };
        // First it dies, then it is known to be lost: nobody who hears of it is contradicted by an
        // answer that comes from it later.
        instance.kill();
        self.log.say(machine.name(), format!("lost: {reason}; starting another"));
        let loss = Loss { machine: machine.name().clone(), reason: reason.clone() };
        self.roster.lose(ordinal, loss);
        machine.stopped(Some(reason));
        self.bury(&machine, &*instance).await;
        self.remove_folder(&machine).await;
        End::Lost
    }

    async fn start(&self, machine: &Machine) -> Result<(Arc<dyn Instance>, Url)> {
        machine.starting();
        let launch = Launch {
            machine: machine.name().clone(),
            scratch: self.folder.machine(machine.name())?,
            log: self.log.of(machine.name().clone()),
            enroler: Arc::clone(&self.enroler),
        };
        let launched = self.system.launch(launch).await?;
        let url = launched.enrolled.url.clone();
        tracing::debug!(machine = %machine.name(), %url, system = self.system.name(), "ready");
        Ok((machine.running(launched, &self.connector), url))
    }

    /// Renews the machine's lease until it has not answered for a lease's length; the reason.
    async fn keep_lease(&self, machine: &Machine, url: &Url) -> String {
        let lease = self.enroler.lease;
        let period = lease / RENEWALS_PER_LEASE;
        let peer = Peer::worker(self.enroler.authority.session().clone(), machine.name().clone());
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut control = None;
        let mut answered = Instant::now();
        let mut trouble = None;
        loop {
            let lapse = answered + lease;
            if tokio::time::timeout_at(lapse, ticks.tick()).await.is_err() {
                break;
            }
            let left = lapse.saturating_duration_since(Instant::now());
            // A try does not take all that is left: the next may have more luck on a new connection.
            let bound = period.max(left / 2).min(left);
            let renewed = self.renew(&mut control, &peer, url, bound);
            match tokio::time::timeout(bound, renewed).await {
                Ok(Ok(())) => answered = Instant::now(),
                Ok(Err(err)) => trouble = Some(chain(&err)),
                Err(_) => trouble = None,
            }
            if answered.elapsed() > period {
                control = None;
            }
        }
        let mut reason = format!("its lease of {} s lapsed without an answer", lease.as_secs_f32());
        if let Some(trouble) = trouble {
            let _ = write!(reason, " ({trouble})");
        }
        reason
    }

    async fn renew(
        &self,
        control: &mut Option<Control>,
        peer: &Peer,
        url: &Url,
        bound: Duration,
    ) -> Result<()> {
        let control = match control {
            Some(control) => control,
            None => {
                let channel = self.connector.connect(url).await?;
                control.insert(Control::new(peer.machine.clone(), channel))
            }
        };
        if let Some(request) = control.renew(None, bound).await? {
            let certificate = self.sign(&request, peer)?;
            control.renew(Some(&certificate), bound).await?;
        }
        Ok(())
    }

    /// Asks a machine to end; kills it if it does not, or if there is no time.
    async fn stop(&self, machine: &Machine, url: &Url, instance: &dyn Instance) {
        let orderly = tokio::time::timeout(STOP_GRACE, async {
            match self.connector.connect(url).await {
                Ok(channel) => {
                    let control = Control::new(machine.name().clone(), channel);
                    if let Err(err) = control.shutdown(STOP_GRACE).await {
                        tracing::debug!(error = %chain(&err), "a machine does not stop by itself");
                        instance.kill();
                    }
                }
                Err(err) => {
                    tracing::debug!(error = %chain(&err), "a machine cannot be reached any more");
                    instance.kill();
                }
            }
            instance.ended().await
        });
        tokio::select! {
            ended = orderly => if ended.is_err() {
                instance.kill();
            },
            () = self.abandon.cancelled() => instance.kill(),
        }
        self.bury(machine, instance).await;
    }

    /// Waits until nothing is left of a machine.
    async fn bury(&self, machine: &Machine, instance: &dyn Instance) {
        if tokio::time::timeout(CLOSE_GRACE, instance.close()).await.is_err() {
            self.log.say(machine.name(), "does not go away although it was killed".to_owned());
        }
    }

    async fn over(&self, ordinal: u64, machine: &Machine, err: Option<String>) {
        machine.stopped(err);
        self.roster.strike(ordinal);
        self.remove_folder(machine).await;
    }

    async fn remove_folder(&self, machine: &Machine) {
        let path = self.folder.path_of(machine.name());
        let removed = tokio::task::spawn_blocking(move || folder::remove(&path)).await;
        if let Ok(Err(err)) = removed {
            tracing::warn!(error = %err, machine = %machine.name(), "could not remove its folder");
        }
    }
}
