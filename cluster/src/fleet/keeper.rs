//! Keeps the target number of machines. One task, [`keep`], starts machines, replaces lost ones and
//! releases those that are not needed. One task per machine, [`FleetState::tend`], does the rest:
//! start it, renew its lease, notice its end, clean up after it.
//!
//! Shutdown, in order: 1. `closing` is cancelled; 2. each machine is asked to stop, and killed if
//! it does not within [`STOP_GRACE`] (or at once if `abandon` is cancelled too); 3. its folder is
//! removed; 4. the system removes what else it has made for the session; 5. the session's folder is
//! removed; 6. `done` is set.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::error::{Error, Result, chain};
use crate::fleet::backoff::{Backoff, START_FAILURES_MAX, Setback};
use crate::fleet::demand::Demands;
use crate::fleet::registry::{Loss, MachineRegistry, StartFailure};
use crate::fleet::sizing::Sizing;
use crate::identity::{MachineName, Peer};
use crate::machine::Machine;
use crate::machine::system::{Instance, Launch, System};
use crate::observe::log::Log;
use crate::observe::usage::{Usage, UsageHistory};
use crate::process::folder::{self, SessionFolder};
use crate::security::authority::Validity;
use crate::security::connector::Connector;
use crate::security::credentials::Credentials;
use crate::security::enrolment::Enroler;
use crate::worker::control::Control;

/// The number of renewals within the length of a lease, so that single failures do not matter.
const RENEWALS_PER_LEASE: u32 = 4;
/// The pause between two questions to a machine on probation that does not answer.
const PROBE_PAUSE: Duration = Duration::from_millis(100);
/// How long a machine may take to end when it is asked to.
const STOP_GRACE: Duration = Duration::from_secs(2);
/// A machine that will be taken away is ended after this: about the notice of EC2's spot market, so
/// that no one waits for a known end.
const LEAVE_GRACE: Duration = Duration::from_secs(115);
/// How long a system may take to remove the rest of a session: EC2 releases a security group when
/// the instances in it have ended, which takes a minute.
const END_GRACE: Duration = Duration::from_secs(150);
/// How long to wait for the rest of a killed machine.
const CLOSE_GRACE: Duration = Duration::from_secs(5);

/// The state that the keeper and the tasks of all machines share.
#[derive(Debug)]
pub(crate) struct FleetState {
    pub(crate) system: Arc<dyn System>,
    pub(crate) sizing: Sizing,
    /// The number of machines with which the session goes on if others fail to start.
    pub(crate) enough: Option<usize>,
    /// How long a machine may take to answer a ping.
    pub(crate) silence: Duration,
    pub(crate) demands: Arc<Demands>,
    pub(crate) enroler: Arc<Enroler>,
    pub(crate) credentials: Credentials,
    pub(crate) connector: Connector,
    pub(crate) folder: SessionFolder,
    pub(crate) log: Log,
    pub(crate) registry: MachineRegistry,
    /// The usage of machines over time.
    pub(crate) usage_history: UsageHistory,
    /// The fleet is being shut down.
    pub(crate) closing: CancellationToken,
    /// There is no time to ask machines to stop: kill them.
    pub(crate) abandon: CancellationToken,
    /// Wakes the keeper to check the number of machines.
    pub(crate) wake: Arc<Notify>,
}

/// How a machine's life ended.
enum End {
    /// The failure, and the round of the start.
    NeverStarted(StartFailure, u64),
    Lost,
    Stopped,
}

/// Keeps the target number of machines until the fleet is closed, then ends all.
pub(crate) async fn keep(state: Arc<FleetState>, done: watch::Sender<bool>) {
    let mut lives: JoinSet<End> = JoinSet::new();
    let mut backoff = Backoff::default();
    let mut raises = state.demands.raises();
    let mut renewal = tokio::time::interval(state.enroler.lease / RENEWALS_PER_LEASE);
    renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let raised = std::mem::replace(&mut raises, state.demands.raises()) != raises;
        if backoff.given_up() && (raised || state.has_enough()) {
            backoff.reset();
            state.registry.set_failure(None);
        }
        let next = state.resize(&mut lives, &backoff);
        tokio::select! {
            () = state.closing.cancelled() => break,
            Some(end) = lives.join_next() => match end {
                Ok(End::NeverStarted(failure, round)) => {
                    state.count_failure(failure, round, &mut backoff);
                }
                Ok(End::Lost | End::Stopped) => backoff.reset(),
                Err(panic) => {
                    tracing::error!(error = %panic, "the task of a machine panicked");
                    let round = backoff.round();
                    let (started, now) = (state.registry.started_total(), Instant::now());
                    backoff.failed(round, started, state.has_enough(), now);
                }
            },
            () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            () = state.wake.notified() => {}
            _ = renewal.tick() => {
                if let Err(err) = state.renew_own() {
                    let error = chain(&err);
                    tracing::error!(error, "could not renew the driver's certificate");
                }
                state.sample();
            }
        }
    }
    while lives.join_next().await.is_some() {}
    state.end_session().await;
    let at = Arc::clone(&state);
    let removed = tokio::task::spawn_blocking(move || at.folder.remove()).await;
    if let Ok(Err(err)) = removed {
        tracing::warn!(error = %err, "could not remove the session's folder");
    }
    done.send_replace(true);
}

impl FleetState {
    /// The current target number of machines.
    pub(crate) fn target(&self) -> usize {
        self.sizing.target(self.demands.machines(self.sizing.slots_per_machine()))
    }

    /// Returns true if enough machines run to go on with.
    pub(crate) fn has_enough(&self) -> bool {
        self.enough.is_some_and(|enough| self.registry.running_total() >= enough)
    }

    /// Lets the system remove the rest of the session, unless there is no time.
    async fn end_session(&self) {
        let ending = self.system.end_session(self.enroler.authority.session());
        let ended = tokio::select! {
            ended = tokio::time::timeout(END_GRACE, ending) => ended,
            () = self.abandon.cancelled() => return,
        };
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(err)) => {
                self.log.say_of_all(format!("could not remove everything: {}", chain(&err)))
            }
            Err(_) => self.log.say_of_all(format!(
                "some resources may remain: removing them took longer than {} s",
                END_GRACE.as_secs()
            )),
        }
    }

    /// Starts and releases machines. Returns the time of the next check.
    fn resize(self: &Arc<Self>, lives: &mut JoinSet<End>, backoff: &Backoff) -> Option<Instant> {
        let now = Instant::now();
        let target = self.target();
        let counts = self.registry.counts(lives.len());
        if backoff.may_start(now) {
            for _ in 0..self.sizing.starts(target, counts) {
                let (ordinal, machine) = self.registry.enter();
                lives.spawn(Arc::clone(self).tend(ordinal, machine, backoff.round()));
            }
        }
        let resumes = backoff.resumes().filter(|at| *at > now && counts.alive < target);
        let releases = self.sizing.idle.and_then(|idle| self.registry.release(target, idle, now));
        resumes.into_iter().chain(releases).min()
    }

    /// Logs why machines do not start: at the first failure, and when starting is given up.
    fn count_failure(&self, mut failure: StartFailure, round: u64, backoff: &mut Backoff) {
        let mut text = format!("could not start: {}", failure.reason);
        let said = self.registry.failure().is_some_and(|before| before.reason == failure.reason);
        // Writing to a string does not fail.
        let (started, enough) = (self.registry.started_total(), self.has_enough());
        let _ = match backoff.failed(round, started, enough, Instant::now()) {
            Setback::Same => {
                tracing::debug!(machine = %failure.machine, text, "failed like others of its batch");
                return;
            }
            Setback::Retry(pause) if said => {
                tracing::debug!(machine = %failure.machine, text, ?pause, "trying again");
                return;
            }
            Setback::Retry(_) if enough => write!(
                text,
                "; going on with {} of {}, retrying periodically",
                self.registry.running_total(),
                self.target()
            ),
            Setback::Retry(_) => {
                write!(text, "; retrying at most {START_FAILURES_MAX} times in a row")
            }
            Setback::GivenUp => {
                failure.final_ = true;
                write!(
                    text,
                    "; no machine could be started {START_FAILURES_MAX} times in a row, going on \
                     with {} of {}",
                    self.registry.running_total(),
                    self.target()
                )
            }
        };
        self.log.say(&failure.machine, text);
        self.registry.set_failure(Some(failure));
    }

    /// Records the driver's usage.
    pub(crate) fn sample(&self) {
        let usage = Usage::gather(&self.folder.driver());
        self.usage_history.record(&MachineName::driver(), usage);
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
    async fn tend(self: Arc<Self>, ordinal: u64, machine: Machine, round: u64) -> End {
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
                return End::NeverStarted(StartFailure { machine, reason, final_: false }, round);
            }
        };
        self.registry.started();
        let reason = tokio::select! {
            biased;
            () = self.closing.cancelled() => {
                self.stop(&machine, &url, &*instance).await;
                self.over(ordinal, &machine, None).await;
                return End::Stopped;
            }
            reason = instance.ended() => reason,
            reason = machine.condemned() => reason,
            () = machine.released() => {
                tracing::info!(machine = %machine.name(), "released: it is not needed any more");
                self.registry.changed();
                self.stop(&machine, &url, &*instance).await;
                self.over(ordinal, &machine, None).await;
                return End::Stopped;
            }
            reason = self.keep_lease(&machine, &url) => reason,
            reason = self.await_removal(&machine, &*instance) => reason,
        };
        // Kill first, then report the loss: no answer of the machine may arrive after it was
        // reported lost.
        instance.kill();
        let wanted = self.registry.counts(0).alive <= self.target();
        let then = if wanted && machine.leaving().is_none() { "; starting another" } else { "" };
        let reason = match machine.leaving() {
            Some(why) if why != reason => format!("{reason}; {why}"),
            _ => reason,
        };
        self.log.say(machine.name(), format!("lost: {reason}{then}"));
        let loss = Loss { machine: machine.name().clone(), reason: reason.clone() };
        self.usage_history.end(machine.name());
        self.registry.lose(ordinal, loss);
        machine.stopped(Some(reason));
        self.reap(&machine, &*instance).await;
        self.remove_folder(&machine).await;
        End::Lost
    }

    /// Waits for the notice that the machine will be taken away, then for it to happen. Returns the
    /// reason.
    async fn await_removal(&self, machine: &Machine, instance: &dyn Instance) -> String {
        let reason = instance.leaving().await;
        let counts = self.registry.counts(0);
        let then = if counts.alive <= self.target() { "; starting another" } else { "" };
        self.log.say(machine.name(), format!("gets no new work: {reason}{then}"));
        machine.leave(reason.clone());
        self.registry.changed();
        tokio::time::sleep(LEAVE_GRACE).await;
        reason
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

    /// Renews the machine's lease until it has not answered for the length of a lease. Returns the
    /// reason.
    async fn keep_lease(&self, machine: &Machine, url: &Url) -> String {
        let lease = self.enroler.lease;
        let period = lease / RENEWALS_PER_LEASE;
        let peer = Peer::worker(self.enroler.authority.session().clone(), machine.name().clone());
        // Machines that start together are not all dialed at the same time.
        let first = Instant::now() + period.mul_f64(fastrand::f64());
        let mut ticks = tokio::time::interval_at(first, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut answered = Instant::now();
        let mut asked = answered;
        let mut trouble = None;
        loop {
            let lapse = answered + lease;
            let reason = async {
                tokio::select! {
                    _ = ticks.tick() => {}
                    () = machine.doubted(asked + PROBE_PAUSE) => {}
                }
            };
            if tokio::time::timeout_at(lapse, reason).await.is_err() {
                break;
            }
            asked = Instant::now();
            let left = lapse.saturating_duration_since(asked);
            // An attempt does not take all the time left: the next may succeed on a new connection.
            let bound = period.max(left / 2).min(left);
            let renewed = self.renew(machine, &peer, url, bound);
            match tokio::time::timeout(bound, renewed).await {
                Ok(Ok(())) => answered = Instant::now(),
                Ok(Err(err)) => trouble = Some(chain(&err)),
                Err(_) => trouble = None,
            }
            if answered < asked {
                machine.silent();
            } else if machine.answered(asked) {
                tracing::info!(machine = %machine.name(), "it answers and is trusted again");
                self.registry.changed();
            }
            if answered.elapsed() > period {
                machine.keep_channel(None);
            }
        }
        let mut reason = format!("its lease of {} s lapsed without an answer", lease.as_secs_f32());
        if let Some(trouble) = trouble {
            let _ = write!(reason, " ({trouble})");
        }
        let memory = self.usage_history.last(machine.name()).and_then(|usage| usage.memory_words());
        if let Some(memory) = memory {
            let _ = write!(reason, "; {memory}");
        }
        reason
    }

    async fn renew(
        &self,
        machine: &Machine,
        peer: &Peer,
        url: &Url,
        bound: Duration,
    ) -> Result<()> {
        let control = self.control(machine, url).await?;
        let renewal = control.renew(None, bound).await?;
        if let Some(usage) = renewal.usage {
            self.usage_history.record(machine.name(), usage);
        }
        if let Some(request) = renewal.certificate_request {
            let certificate = self.sign(&request, peer)?;
            control.renew(Some(&certificate), bound).await?;
        }
        Ok(())
    }

    /// Opens the control service of a machine, over the existing connection if there is one.
    pub(crate) async fn control(&self, machine: &Machine, url: &Url) -> Result<Control> {
        let channel = match machine.channel() {
            Some(channel) => channel,
            None => {
                let channel = self.connector.connect(url).await?;
                machine.keep_channel(Some(channel.clone()));
                channel
            }
        };
        Ok(Control::new(machine.name().clone(), channel))
    }

    /// Asks a machine to end. Kills it if it does not, or if there is no time.
    async fn stop(&self, machine: &Machine, url: &Url, instance: &dyn Instance) {
        let orderly = tokio::time::timeout(STOP_GRACE, async {
            match self.control(machine, url).await {
                Ok(control) => {
                    if let Err(err) = control.shutdown(STOP_GRACE).await {
                        tracing::debug!(error = %chain(&err), "a machine does not stop on request");
                        instance.kill();
                    }
                }
                Err(err) => {
                    tracing::debug!(error = %chain(&err), "a machine is not reachable any more");
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
        self.reap(machine, instance).await;
    }

    /// Waits until nothing is left of a machine.
    async fn reap(&self, machine: &Machine, instance: &dyn Instance) {
        if tokio::time::timeout(CLOSE_GRACE, instance.close()).await.is_err() {
            self.log.say(machine.name(), "still exists although it was killed".to_owned());
        }
    }

    async fn over(&self, ordinal: u64, machine: &Machine, err: Option<String>) {
        machine.stopped(err);
        self.usage_history.end(machine.name());
        self.registry.strike(ordinal);
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
