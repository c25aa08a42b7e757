//! The handle of one machine. Its state only advances:
//!
//! ```text
//!   Unstarted --> Starting --> Running --> Stopped (with the reason, unless it was asked to)
//!                     \____________________^
//! ```

pub(crate) mod address;
mod health;
pub(crate) mod info;
pub(crate) mod remote;
pub(crate) mod system;

use std::fmt;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tonic::transport::Channel;
use url::Url;

use crate::identity::MachineName;
use crate::machine::address::Address;
use crate::machine::health::{Health, Verdict};
use crate::machine::remote::Remote;
use crate::machine::system::{Instance, Launched};
use crate::security::connector::Connector;
use crate::security::enrolment::Enrolled;

/// The state of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Planned.
    Unstarted,
    /// Requested from the system, not enrolled yet.
    Starting,
    /// Enrolled. Its services can be called.
    Running,
    /// Ended.
    Stopped,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unstarted => "unstarted",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopped => "stopped",
        })
    }
}

/// A machine of a fleet. Clones are the same machine.
#[derive(Clone)]
pub struct Machine {
    inner: Arc<Inner>,
}

struct Inner {
    name: MachineName,
    state: watch::Sender<State>,
    enrolled: OnceLock<Enrolled>,
    remote: OnceLock<Remote>,
    instance: Mutex<Option<Arc<dyn Instance>>>,
    err: Mutex<Option<String>>,
    condemned: watch::Sender<Option<String>>,
    /// The driver's connection for its own calls.
    channel: Mutex<Option<Channel>>,
    health: Mutex<Health>,
    /// Notified when it is put on probation.
    doubts: Notify,
    usage: Mutex<Usage>,
    released: watch::Sender<bool>,
    /// Why it will be taken away soon.
    leaving: OnceLock<String>,
    /// Wakes the keeper.
    wake: Arc<Notify>,
}

/// The holds on a machine.
#[derive(Debug, Default)]
struct Usage {
    holds: usize,
    /// Set while it runs without a hold.
    free_since: Option<Instant>,
}

impl Machine {
    pub(crate) fn new(name: MachineName, wake: Arc<Notify>) -> Self {
        let inner = Inner {
            name,
            state: watch::Sender::new(State::Unstarted),
            enrolled: OnceLock::new(),
            remote: OnceLock::new(),
            instance: Mutex::new(None),
            err: Mutex::new(None),
            condemned: watch::Sender::new(None),
            channel: Mutex::new(None),
            health: Mutex::default(),
            doubts: Notify::new(),
            usage: Mutex::default(),
            released: watch::Sender::new(false),
            leaving: OnceLock::new(),
            wake,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Its name in the session.
    pub fn name(&self) -> &MachineName {
        &self.inner.name
    }

    /// The URL of its port: set once it runs.
    pub fn url(&self) -> Option<&Url> {
        self.inner.enrolled.get().map(|e| &e.url)
    }

    /// The address for other machines: set once it runs. Services take it as an argument and
    /// [`dial`](crate::ServiceContext::dial) it.
    pub fn address(&self) -> Option<Address> {
        self.remote().map(|remote| remote.address().clone())
    }

    /// Its process id, if it is a process of its own and runs.
    pub fn pid(&self) -> Option<u32> {
        self.inner.enrolled.get().and_then(|e| e.pid)
    }

    /// Its current state.
    pub fn state(&self) -> State {
        *self.inner.state.borrow()
    }

    /// Waits until it is in `state` or past it, and returns the state then.
    pub async fn wait(&self, state: State) -> State {
        let mut states = self.inner.state.subscribe();
        match states.wait_for(|now| *now >= state).await {
            Ok(now) => *now,
            Err(_) => State::Stopped,
        }
    }

    /// Why it ended, unless it was asked to stop.
    pub fn err(&self) -> Option<String> {
        self.inner.err.lock().clone()
    }

    /// Kills it without asking, like a crash. The fleet then notices a loss.
    pub fn kill(&self) {
        if let Some(instance) = self.inner.instance.lock().as_ref() {
            instance.kill();
        }
    }

    /// Keeps it from being released as long as the hold is kept: because it has work or stores
    /// data. `None` if it does not run, or is already being released. A hold is no demand: a lost
    /// machine stays lost.
    pub fn hold(&self) -> Option<Hold> {
        let mut usage = self.inner.usage.lock();
        if self.is_released() || self.state() != State::Running {
            return None;
        }
        usage.holds += 1;
        usage.free_since = None;
        Some(Hold { machine: self.clone() })
    }

    /// Reports that a connection to it broke, or that it did not answer: a transport error, never
    /// an error of its work. It is then on probation until it answers the driver; from the second
    /// time on, not before 1, 2, 4, 8, 16 s have passed. The seventh time in a row it counts as
    /// lost. A minute without a suspicion ends the row.
    pub fn suspect(&self, reason: &str) {
        let verdict = self.inner.health.lock().suspect(Instant::now());
        match verdict {
            Verdict::Known => {}
            Verdict::Probation => tracing::info!(machine = %self.name(), reason, "on probation"),
            Verdict::Condemned => {
                self.condemn(format!("connections to it broke repeatedly: {reason}"));
            }
        }
        self.inner.doubts.notify_one();
    }

    /// Returns true if it may be given work: not on probation after [`Machine::suspect`], not while
    /// it does not answer the driver, and not once it is [leaving](Machine::leaving).
    pub fn is_trusted(&self) -> bool {
        self.leaving().is_none() && self.inner.health.lock().is_trusted()
    }

    /// Why it will be taken away within minutes, if it will: for example a notice of a spot market.
    /// Its data can still be read; a replacement is already being started.
    pub fn leaving(&self) -> Option<&str> {
        self.inner.leaving.get().map(String::as_str)
    }

    /// Records that it will be taken away soon.
    pub(crate) fn leave(&self, reason: String) {
        self.inner.leaving.get_or_init(|| reason);
        self.inner.wake.notify_one();
    }

    /// The driver's connection to it, if there is one.
    pub(crate) fn channel(&self) -> Option<Channel> {
        self.inner.channel.lock().clone()
    }

    /// Keeps the driver's connection to it for the next call, or removes it.
    pub(crate) fn keep_channel(&self, channel: Option<Channel>) {
        *self.inner.channel.lock() = channel;
    }

    /// Records that it did not answer the driver.
    pub(crate) fn silent(&self) {
        self.inner.health.lock().silent(Instant::now());
    }

    /// Records an answer to the driver's question of `asked`. Returns true if it is trusted again.
    pub(crate) fn answered(&self, asked: Instant) -> bool {
        self.inner.health.lock().answered(asked, Instant::now())
    }

    /// Returns when it is on probation and may be asked, not before `not_before`.
    pub(crate) async fn doubted(&self, not_before: Instant) {
        loop {
            let doubts = self.inner.doubts.notified();
            let ask_at = self.inner.health.lock().ask_at();
            match ask_at {
                Some(at) => return tokio::time::sleep_until(at.max(not_before)).await,
                None => doubts.await,
            }
        }
    }

    /// Since when it runs without a hold.
    pub(crate) fn free_since(&self) -> Option<Instant> {
        self.inner.usage.lock().free_since
    }

    /// Releases it, unless it is held. Returns true if it was released.
    pub(crate) fn release(&self) -> bool {
        let usage = self.inner.usage.lock();
        usage.free_since.is_some() && !self.inner.released.send_replace(true)
    }

    /// Returns true if it is released.
    pub(crate) fn is_released(&self) -> bool {
        *self.inner.released.borrow()
    }

    /// Returns when it is released.
    pub(crate) async fn released(&self) {
        let mut released = self.inner.released.subscribe();
        // Never an error: the sender lives in `self`.
        drop(released.wait_for(|released| *released).await);
    }

    /// Makes the keeper treat it as lost.
    pub(crate) fn condemn(&self, reason: String) {
        self.inner.condemned.send_if_modified(|condemned| {
            let first = condemned.is_none();
            if first {
                *condemned = Some(reason);
            }
            first
        });
    }

    /// Returns the reason once it is condemned.
    pub(crate) async fn condemned(&self) -> String {
        let mut condemned = self.inner.condemned.subscribe();
        match condemned.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            // Not reached: the sender lives in `self`.
            Err(_) => String::new(),
        }
    }

    pub(crate) fn starting(&self) {
        self.inner.state.send_replace(State::Starting);
    }

    /// The connection to its services, once it runs.
    pub(crate) fn remote(&self) -> Option<&Remote> {
        self.inner.remote.get()
    }

    pub(crate) fn running(&self, launched: Launched, connector: &Connector) -> Arc<dyn Instance> {
        let Launched { enrolled, instance } = launched;
        if let Ok(address) = Address::new(enrolled.url.clone()) {
            self.inner.remote.get_or_init(|| Remote::new(address, connector.clone()));
        }
        self.inner.enrolled.get_or_init(|| enrolled);
        *self.inner.instance.lock() = Some(Arc::clone(&instance));
        self.inner.usage.lock().free_since = Some(Instant::now());
        self.inner.state.send_replace(State::Running);
        instance
    }

    pub(crate) fn stopped(&self, err: Option<String>) {
        *self.inner.err.lock() = err;
        self.keep_channel(None);
        *self.inner.instance.lock() = None;
        self.inner.state.send_replace(State::Stopped);
    }
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine")
            .field("name", &self.inner.name)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

/// Keeps a machine from being released. See [`Machine::hold`].
#[derive(Debug)]
pub struct Hold {
    machine: Machine,
}

impl Hold {
    /// The machine that is held.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut usage = self.machine.inner.usage.lock();
        usage.holds -= 1;
        if usage.holds == 0 {
            usage.free_since = Some(Instant::now());
            self.machine.inner.wake.notify_one();
        }
    }
}
