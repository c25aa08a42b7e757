//! The handle of one machine. Its state only ever goes forward:
//!
//! ```text
//!   Unstarted --> Starting --> Running --> Stopped (with the reason, unless it was asked to)
//!                     \____________________^
//! ```

use std::fmt;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::sync::watch;
use url::Url;

use crate::connector::Connector;
use crate::enrolment::Enrolled;
use crate::identity::MachineName;
use crate::service::{Address, Remote};
use crate::system::{Instance, Launched};

/// Where a machine is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Wanted.
    Unstarted,
    /// Ordered from the system, not enrolled yet.
    Starting,
    /// Enrolled; its services can be called.
    Running,
    /// Over.
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
}

impl Machine {
    pub(crate) fn new(name: MachineName) -> Self {
        let inner = Inner {
            name,
            state: watch::Sender::new(State::Unstarted),
            enrolled: OnceLock::new(),
            remote: OnceLock::new(),
            instance: Mutex::new(None),
            err: Mutex::new(None),
            condemned: watch::Sender::new(None),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Its name in the session.
    pub fn name(&self) -> &MachineName {
        &self.inner.name
    }

    /// Where it is reached: set once it runs.
    pub fn url(&self) -> Option<&Url> {
        self.inner.enrolled.get().map(|e| &e.url)
    }

    /// Its process, if it is one of its own and has come up.
    pub fn pid(&self) -> Option<u32> {
        self.inner.enrolled.get().and_then(|e| e.pid)
    }

    /// Where it is in its life.
    pub fn state(&self) -> State {
        *self.inner.state.borrow()
    }

    /// Waits until it is in `state` or past it, and returns where it is then.
    pub async fn wait(&self, state: State) -> State {
        let mut states = self.inner.state.subscribe();
        match states.wait_for(|now| *now >= state).await {
            Ok(now) => *now,
            Err(_) => State::Stopped,
        }
    }

    /// Why it is over, if not because it was asked to stop.
    pub fn err(&self) -> Option<String> {
        self.inner.err.lock().clone()
    }

    /// Kills it without asking, as a crash would. The fleet then notices a loss.
    pub fn kill(&self) {
        if let Some(instance) = self.inner.instance.lock().as_ref() {
            instance.kill();
        }
    }

    /// Tells whoever tends it that it is to be treated as lost.
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

    /// The way to its services, once it runs.
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
        self.inner.state.send_replace(State::Running);
        instance
    }

    pub(crate) fn stopped(&self, err: Option<String>) {
        *self.inner.err.lock() = err;
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
