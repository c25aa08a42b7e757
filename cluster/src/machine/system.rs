//! The interface to places where machines run: [`System`] starts a machine and enrols it,
//! [`Instance`] watches and ends it. Everything else (leases, replacement, certificates, logs) is
//! done by the [`Fleet`](crate::Fleet) for all systems alike.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::error::Result;
use crate::faults::Faults;
use crate::identity::{MachineName, SessionId};
use crate::observe::log::MachineLog;
use crate::security::enrolment::{Enroler, Enrolled};

/// A place where machines can be started: this process, this host, a cloud.
#[async_trait]
pub trait System: Send + Sync + fmt::Debug {
    /// Its name for users.
    fn name(&self) -> &'static str;

    /// Starts one machine and enrols it with [`Launch::enrol`] over a channel that certainly leads
    /// to that machine alone. Returns when the machine is ready, or the reason why it will not be;
    /// limits the time itself. Called on the I/O runtime, for several machines at once. If the
    /// future is dropped, no machine may remain.
    async fn launch(&self, launch: Launch) -> Result<Launched>;

    /// Called once, when a session is over and all its machines are closed: removes what no machine
    /// can. It has two and a half minutes, or less if the user does not want to wait; others must
    /// find what is left then.
    async fn end_session(&self, _session: &SessionId) -> Result<()> {
        Ok(())
    }

    /// Returns true if its machines are part of the driver's process, so that they share its usage
    /// and profile.
    fn is_within_driver(&self) -> bool {
        false
    }

    /// The faults of the driver's connections to its machines: none except in tests.
    fn faults(&self) -> Option<Faults> {
        None
    }
}

/// One machine that a system has started.
#[async_trait]
pub trait Instance: Send + Sync + fmt::Debug {
    /// Ends it at once, without asking. May be called at any time, more than once.
    fn kill(&self);

    /// Returns the reason when it has ended, such as "killed by signal 9". May be awaited several
    /// times, also later. A system that cannot notice never returns: the lease will lapse.
    async fn ended(&self) -> String;

    /// Returns the reason when the machine is known to be taken away soon. It then gets no new
    /// work, a replacement is started, and it is ended two minutes later.
    async fn leaving(&self) -> String {
        std::future::pending().await
    }

    /// Kills it if it still runs. Returns when nothing of it is left and its last output is
    /// forwarded.
    async fn close(&self);
}

/// The order to start one machine.
#[derive(Debug)]
pub struct Launch {
    /// Its name.
    pub machine: MachineName,
    /// An existing folder on the driver's host for its temporary files. Systems with machines
    /// elsewhere ignore it.
    pub scratch: PathBuf,
    /// Receives its output.
    pub log: MachineLog,
    /// Admits it to the session.
    pub enroler: Arc<Enroler>,
}

impl Launch {
    /// Admits the machine at the other end of `stream`.
    pub async fn enrol<S>(&self, stream: &mut S) -> Result<Enrolled>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        self.enroler.enrol(stream, &self.machine).await
    }
}

/// A machine that is ready.
#[derive(Debug)]
pub struct Launched {
    /// Its identity and address.
    pub enrolled: Enrolled,
    /// Its handle.
    pub instance: Arc<dyn Instance>,
}
