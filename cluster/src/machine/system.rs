//! What a place for machines must be able to do, in few methods: [`System`] starts a machine and
//! gets it enrolled, [`Instance`] watches and ends it. Everything else (leases, replacement,
//! certificates, logs) is the [`Fleet`](crate::Fleet)'s and the same for all.

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
    /// What users call it.
    fn name(&self) -> &'static str;

    /// Starts one machine and enrols it with [`Launch::enrol`] over a channel that it trusts to lead
    /// to that machine alone. Returns when the machine is ready, or says why it will not be; bounds
    /// itself how long that may take. Called on the I/O runtime, for several machines at once. If
    /// the future is dropped, no machine may be left.
    async fn launch(&self, launch: Launch) -> Result<Launched>;

    /// Called once, when a session is over and all its machines are closed: removes what no machine
    /// can. It is given two and a half minutes, or less if the user does not want to wait; what is
    /// left then must be found by others.
    async fn end_session(&self, _session: &SessionId) -> Result<()> {
        Ok(())
    }

    /// Whether its machines are part of the driver's process, so that what that uses and computes is
    /// theirs.
    fn is_within_driver(&self) -> bool {
        false
    }

    /// The faults that the driver's connections to its machines are to have: none, but in tests.
    fn faults(&self) -> Option<Faults> {
        None
    }
}

/// One machine that a system has started.
#[async_trait]
pub trait Instance: Send + Sync + fmt::Debug {
    /// Ends it at once, without asking it. May be called at any time, more than once.
    fn kill(&self);

    /// Returns when it has ended, with the reason, such as "killed by signal 9". May be awaited
    /// several times, also later. A system that cannot notice never returns: the lease will tell.
    async fn ended(&self) -> String;

    /// Returns when it is known that the machine will be taken away soon, with the reason. It is
    /// given no new work from then on, another takes its place, and two minutes later it is ended.
    async fn leaving(&self) -> String {
        std::future::pending().await
    }

    /// Kills it if it still runs, and returns when nothing of it is left and its last output is
    /// forwarded.
    async fn close(&self);
}

/// The order to start one machine.
#[derive(Debug)]
pub struct Launch {
    /// Its name.
    pub machine: MachineName,
    /// A folder on the driver's host for its temporary files, which exists. Systems whose machines
    /// are elsewhere ignore it.
    pub scratch: PathBuf,
    /// Where its output goes.
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
    /// Where it is.
    pub enrolled: Enrolled,
    /// Its handle.
    pub instance: Arc<dyn Instance>,
}
