//! Machines that are processes on this host. The program starts itself again with a marker as its
//! first argument ([`is_worker`](crate::is_worker)). The child's standard input is one end of a
//! socket pair, by which it enrols and notices the end of the driver.
//!
//! Children are in process groups of their own, so that Ctrl-C reaches the driver alone, which then
//! decides about them.

use std::fs;
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use crate::error::{Error, Result, chain};
use crate::machine::system::{Instance, Launch, Launched, System};
use crate::observe::line::LogSource;
use crate::observe::log::MachineLog;
use crate::observe::usage::OomWatch;

/// The first argument of a worker process. The second is its name (for process lists), the third
/// its folder. None of them is secret.
pub(crate) const WORKER_MARKER: &str = "--bigslice-worker";

/// A worker is ready in a fraction of a second; on a host that swaps it may take longer.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// When enrolment breaks off, the exit that caused it is noticed within this.
const EXIT_GRACE: Duration = Duration::from_secs(2);
/// The signal that cannot be caught. The kernel sends it when memory runs out.
const KILL: i32 = 9;
/// The last output of a child that has ended is read for at most this long: a grandchild may hold
/// the pipe open.
const DRAIN_GRACE: Duration = Duration::from_secs(1);

/// Starts machines as child processes.
#[derive(Clone, Debug)]
pub struct LocalProcesses {
    program: Option<PathBuf>,
}

impl LocalProcesses {
    /// Machines that run `program`, which must call [`is_worker`](crate::is_worker) and
    /// [`run_worker`](crate::run_worker) first in its `main`; `None`: this program.
    pub fn new(program: Option<PathBuf>) -> Self {
        Self { program }
    }

    fn program(&self) -> Result<PathBuf> {
        match &self.program {
            Some(program) => Ok(program.clone()),
            None => own_program().map_err(Error::io("find this program's own file")),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "this is the place where processes are started")]
    fn command(&self, launch: &Launch, stdin: StdUnixStream) -> Result<Command> {
        let mut command = Command::new(self.program()?);
        command
            .arg(WORKER_MARKER)
            .arg(launch.machine.as_str())
            .arg(&launch.scratch)
            .stdin(Stdio::from(OwnedFd::from(stdin)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        Ok(command)
    }
}

/// The file of this program. It may have been replaced since the start (by a new build, for
/// example). The system still provides the one that this process runs, and workers must run the
/// same.
pub(crate) fn own_program() -> io::Result<PathBuf> {
    const RUNNING: &str = "/proc/self/exe";
    let named = std::env::current_exe()?;
    let (Ok(now), Ok(then)) = (fs::metadata(&named), fs::metadata(RUNNING)) else {
        return Ok(if Path::new(RUNNING).exists() { RUNNING.into() } else { named });
    };
    let same = (now.dev(), now.ino()) == (then.dev(), then.ino());
    Ok(if same { named } else { RUNNING.into() })
}

#[async_trait]
impl System for LocalProcesses {
    fn name(&self) -> &'static str {
        "local"
    }

    async fn launch(&self, launch: Launch) -> Result<Launched> {
        let make = || format!("make the channel of machine \"{}\"", launch.machine);
        let (near, far) = StdUnixStream::pair().map_err(Error::io(make()))?;
        near.set_nonblocking(true).map_err(Error::io(make()))?;
        let mut channel = UnixStream::from_std(near).map_err(Error::io(make()))?;
        let mut command = self.command(&launch, far)?;
        let memory = OomWatch::begin();
        let child = command
            .spawn()
            .map_err(Error::io(format!("start \"{}\"", self.program()?.display())))?;
        // The command holds the child's end of the channel. Until it is dropped, the end of the
        // child does not end the channel.
        drop(command);
        let process = Process::watch(child, memory, &launch.log);
        let refused = match tokio::time::timeout(START_TIMEOUT, launch.enrol(&mut channel)).await {
            Ok(Ok(enrolled)) => {
                let instance = Arc::new(Enduring { process, _channel: channel });
                return Ok(Launched { enrolled, instance });
            }
            Ok(Err(err)) => Some(err),
            Err(_) => None,
        };
        Err(process.explain(&launch, refused).await)
    }
}

/// A child process with the task that reaps it and forwards its output.
#[derive(Debug)]
struct Process {
    child: Arc<Mutex<Child>>,
    /// True if this process has killed it.
    killed: Arc<AtomicBool>,
    /// How it ended.
    exited: watch::Receiver<Option<String>>,
    drained: watch::Receiver<bool>,
    _watch: AbortOnDropHandle<()>,
}

impl Process {
    fn watch(mut child: Child, memory: OomWatch, log: &MachineLog) -> Self {
        let mut output = JoinSet::new();
        if let Some(stdout) = child.stdout.take() {
            output.spawn(log.clone().forward(LogSource::Stdout, stdout));
        }
        if let Some(stderr) = child.stderr.take() {
            output.spawn(log.clone().forward(LogSource::Stderr, stderr));
        }
        let child = Arc::new(Mutex::new(child));
        let (exit, exited) = watch::channel(None);
        let (drain, drained) = watch::channel(false);
        let waiting = Arc::clone(&child);
        let killed = Arc::new(AtomicBool::new(false));
        let by_us = Arc::clone(&killed);
        let task = Handle::current().spawn(async move {
            // The lock is held for each poll only, so that a kill can come between, and never after
            // the process id was reused.
            let status = poll_fn(|cx| {
                let mut child = waiting.lock();
                pin!(child.wait()).poll(cx)
            })
            .await;
            match status {
                Ok(status) => {
                    let mut ended = describe(status);
                    if status.signal() == Some(KILL) && !by_us.load(Ordering::SeqCst) {
                        ended += &memory.words();
                    }
                    exit.send_replace(Some(ended))
                }
                Err(err) => {
                    tracing::error!(error = %err, "could not wait for a worker process");
                    None
                }
            };
            drop(exit);
            let all = async { while output.join_next().await.is_some() {} };
            if tokio::time::timeout(DRAIN_GRACE, all).await.is_err() {
                tracing::debug!("another process holds the output of a worker open");
            }
            drain.send_replace(true);
        });
        Self { child, killed, exited, drained, _watch: AbortOnDropHandle::new(task) }
    }

    fn kill(&self) {
        self.killed.store(true, Ordering::SeqCst);
        if let Err(err) = self.child.lock().start_kill() {
            tracing::debug!(error = %err, "the worker process had already ended");
        }
    }

    async fn ended(&self) -> String {
        let mut exited = self.exited.clone();
        match exited.wait_for(Option::is_some).await {
            Ok(ended) => ended.clone().unwrap_or_default(),
            Err(_) => "its exit status is unknown".to_owned(),
        }
    }

    async fn close(&self) {
        self.kill();
        let mut drained = self.drained.clone();
        // An error means that the task is gone, and there will be no exit status.
        drop(drained.wait_for(|drained| *drained).await);
    }

    /// Why the machine did not start: its own message, or else how it ended, and its last lines.
    async fn explain(&self, launch: &Launch, refused: Option<Error>) -> Error {
        let reason = match refused {
            Some(Error::Start { reason, .. }) => reason,
            Some(err) => match tokio::time::timeout(EXIT_GRACE, self.ended()).await {
                Ok(ended) => format!("process {ended}"),
                Err(_) => chain(&err),
            },
            None => format!("not ready within {} s", START_TIMEOUT.as_secs()),
        };
        self.close().await;
        let mut words = launch.log.tail().join("\n");
        if !words.is_empty() {
            words.insert_str(0, "; its last lines:\n");
        }
        Error::Start { machine: launch.machine.clone(), reason: reason + &words }
    }
}

/// How a process ended, as in "process killed by signal 9".
fn describe(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("killed by signal {signal}"),
        (None, Some(code)) => format!("ended with status {code}"),
        (None, None) => format!("ended: {status}"),
    }
}

/// A running machine. It holds the channel open for as long as the machine is needed.
#[derive(Debug)]
struct Enduring {
    process: Process,
    _channel: UnixStream,
}

#[async_trait]
impl Instance for Enduring {
    fn kill(&self) {
        self.process.kill();
    }

    async fn ended(&self) -> String {
        self.process.ended().await
    }

    async fn close(&self) {
        self.process.close().await;
    }
}
