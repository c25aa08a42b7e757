//! Machines that are tasks of this process: real ports, real certificates, the same life as a
//! process of its own, but started in a millisecond and killed without a trace. For tests, and to
//! debug a distributed plan.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt, DuplexStream};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::error::{Error, Result, chain};
use crate::faults::Faults;
use crate::identity::MachineName;
use crate::machine::system::{Instance, Launch, Launched, System};
use crate::security::enrolment::{self, Outcome};
use crate::service::Cpu;
use crate::worker::{self, Entrant, ServiceFactory};

/// The buffer of the enrolment's messages.
const CHANNEL_SIZE: usize = 64 << 10;
/// Services that take longer than this to set up count as stuck.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// The reason of an end.
const ORPHANED: &str = "ended by itself: its driver is gone";

/// Starts machines as tasks of this process.
pub struct InProcess {
    services: ServiceFactory,
    cpu: Arc<Cpu>,
    faults: Option<Faults>,
}

impl InProcess {
    /// Machines with these services.
    pub fn new(services: ServiceFactory) -> Self {
        Self { services, cpu: Arc::default(), faults: None }
    }

    /// The same, with the [faults](crate::faults) of a test. They belong to one fleet: a second one
    /// at the same time would have machines of the same names.
    #[must_use]
    pub fn with_faults(self, faults: Faults) -> Self {
        Self { faults: Some(faults), ..self }
    }
}

impl Default for InProcess {
    /// Machines with the services of the driver's
    /// [`FleetConfig::services`](crate::FleetConfig::services) and no others.
    fn default() -> Self {
        Self::new(worker::nothing())
    }
}

impl fmt::Debug for InProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InProcess").finish_non_exhaustive()
    }
}

#[async_trait]
impl System for InProcess {
    fn name(&self) -> &'static str {
        "in-process"
    }

    fn faults(&self) -> Option<Faults> {
        self.faults.clone()
    }

    fn is_within_driver(&self) -> bool {
        true
    }

    async fn launch(&self, launch: Launch) -> Result<Launched> {
        let (mut near, far) = tokio::io::duplex(CHANNEL_SIZE);
        let crash = CancellationToken::new();
        let (ended, over) = watch::channel(None);
        let cpu = Arc::clone(&self.cpu);
        let faults = self.faults.clone();
        let life = live(far, launch.scratch.clone(), Arc::clone(&self.services), cpu, faults);
        let presence = self.faults.clone().map(|faults| {
            faults.enter(launch.machine.clone(), crash.clone());
            Presence { faults, machine: launch.machine.clone() }
        });
        let killed = crash.clone();
        let task = Handle::current().spawn(async move {
            let life = async {
                match &presence {
                    Some(Presence { faults, machine }) => faults.live(machine, life).await,
                    None => life.await,
                }
            };
            let reason = tokio::select! {
                reason = life => reason,
                () = killed.cancelled() => "killed".to_owned(),
            };
            drop(presence);
            ended.send_replace(Some(reason));
        });
        let task = AbortOnDropHandle::new(task);
        let late = |_| Error::Start {
            machine: launch.machine.clone(),
            reason: format!("not ready within {} s", START_TIMEOUT.as_secs()),
        };
        let mut enrolled =
            tokio::time::timeout(START_TIMEOUT, launch.enrol(&mut near)).await.map_err(late)??;
        // It has no process of its own, and must not be taken for ours.
        enrolled.pid = None;
        let instance = Tasks { crash, over, _task: task, _channel: near };
        Ok(Launched { enrolled, instance: Arc::new(instance) })
    }
}

/// Registers a machine for faults until this is dropped.
struct Presence {
    faults: Faults,
    machine: MachineName,
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.faults.leave(&self.machine);
    }
}

/// The whole life of one machine. Returns the reason of its end.
async fn live(
    mut channel: DuplexStream,
    scratch: PathBuf,
    services: ServiceFactory,
    cpu: Arc<Cpu>,
    faults: Option<Faults>,
) -> String {
    let entrant = match Entrant::enrol(&mut channel, scratch).await {
        Ok(entrant) => entrant.with_faults(faults).within_driver(),
        Err(err) => return chain(&err),
    };
    // The driver sends nothing more on this channel: any event on it is its end.
    let furnished = tokio::select! {
        furnished = entrant.furnish(&services, &cpu) => furnished,
        _ = channel.read_u8() => return ORPHANED.to_owned(),
    };
    let reported = enrolment::send(&mut channel, &Outcome::of(&furnished)).await;
    let worker = match reported.and(furnished) {
        Ok(worker) => worker,
        Err(err) => return chain(&err),
    };
    let lease = worker.lease.clone();
    tokio::select! {
        served = worker.serve() => match served {
            Ok(()) => "stopped".to_owned(),
            Err(err) => chain(&err),
        },
        () = lease.lapsed() => {
            format!("ended by itself: its lease of {} s lapsed", lease.term().as_secs_f32())
        }
        _ = channel.read_u8() => ORPHANED.to_owned(),
    }
}

#[derive(Debug)]
struct Tasks {
    crash: CancellationToken,
    over: watch::Receiver<Option<String>>,
    _task: AbortOnDropHandle<()>,
    _channel: DuplexStream,
}

#[async_trait]
impl Instance for Tasks {
    fn kill(&self) {
        self.crash.cancel();
    }

    async fn ended(&self) -> String {
        let mut over = self.over.clone();
        match over.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => "panicked".to_owned(),
        }
    }

    async fn close(&self) {
        self.kill();
        self.ended().await;
    }
}
