//! The entry of a worker process: a program calls [`is_worker`] first in its `main` and, if it is
//! one, [`run_worker`], which does not return before the worker's life is over.
//!
//! A worker ends in one of four ways, and removes its folder in each:
//! 1. the driver asks it to (control service): calls in progress may end, for half a second;
//! 2. the channel from the driver ends: the driver is gone, it exits at once;
//! 3. its lease lapses: the driver is stopped, or the channel's end was missed; it exits at once;
//! 4. it cannot join: it prints the reason on standard error, which the driver forwards.
//!
//! 2 and 3 are watched by plain threads, so that no busy or stuck runtime keeps a worker alive
//! after its driver is gone.

use std::fmt;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use parking_lot::Mutex;
use tokio::net::UnixStream;

use crate::error::{Error, Result, chain};
use crate::process::file_limit::raise_file_limit;
use crate::process::folder::WorkerFolder;
use crate::security::enrolment::{self, Outcome};
use crate::service::Cpu;
use crate::systems::local::WORKER_MARKER;
use crate::worker::{self, Entrant, ServiceFactory};

/// The exit status of a worker that could not join or serve.
const FAILED: i32 = 70;
/// The exit status of a worker that ended because its driver is gone.
const ORPHANED: i32 = 71;

/// What a program provides for its workers.
#[derive(Clone)]
pub struct WorkerMain {
    /// Makes the worker's services.
    pub services: ServiceFactory,
}

impl Default for WorkerMain {
    /// Workers with the services of the driver's
    /// [`FleetConfig::services`](crate::FleetConfig::services) and no others.
    fn default() -> Self {
        Self { services: worker::nothing() }
    }
}

impl fmt::Debug for WorkerMain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerMain").finish_non_exhaustive()
    }
}

/// Returns true if this process was started as a worker, or for another task for which the library
/// starts a process.
pub fn is_worker() -> bool {
    #[cfg(feature = "ec2")]
    if crate::systems::ec2::is_caretaker() {
        return true;
    }
    std::env::args_os().nth(1).is_some_and(|argument| argument == WORKER_MARKER)
}

/// Runs the worker. Call it only if [`is_worker`], and return its value from `main`.
pub fn run_worker(config: WorkerMain) -> ExitCode {
    #[cfg(feature = "ec2")]
    if crate::systems::ec2::is_caretaker() {
        return crate::systems::ec2::take_care();
    }
    let WorkerMain { services } = config;
    raise_file_limit();
    let failed = |err: &Error| {
        // The driver may be gone, and with it the reader of this message.
        drop(writeln!(io::stderr(), "could not run as a worker: {}", chain(err)));
    };
    let ending = match Ending::prepare() {
        Ok(ending) => Arc::new(ending),
        Err(err) => {
            failed(&err);
            return ExitCode::FAILURE;
        }
    };
    match run(&services, &ending) {
        Ok(()) => ending.leave(How::Asked),
        Err(err) => {
            failed(&err);
            // A broken conversation most likely means that the driver is gone.
            let orphaned = matches!(err, Error::Enrolment(_));
            ending.leave(if orphaned { How::Orphaned } else { How::Failed })
        }
    }
}

fn run(services: &ServiceFactory, ending: &Arc<Ending>) -> Result<()> {
    let start = || "start the worker's I/O runtime";
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(io_threads())
        .thread_name("bigslice-io")
        .enable_all()
        .build()
        .map_err(Error::io(start()))?;
    let cpu = Cpu::default();
    let served = runtime.block_on(async {
        let mut channel = inherited().map_err(Error::io("open the channel from the driver"))?;
        let entrant = Entrant::enrol(&mut channel, ending.scratch.clone()).await?;
        #[cfg(feature = "ec2")]
        let entrant = entrant.with_routes(crate::systems::ec2::serve_program);
        let (mut channel, watched) =
            blocking(channel).map_err(Error::io("watch the channel from the driver"))?;
        watch("bigslice-driver", ending, How::Orphaned, move || wait_closed(watched))?;
        let furnished = entrant.furnish(services, &cpu).await;
        // Small enough for the channel's buffer, so this does not block.
        channel
            .write_all(&enrolment::encode(&Outcome::of(&furnished))?)
            .map_err(Error::io("report to the driver"))?;
        let worker = furnished?;
        let lease = worker.lease.clone();
        watch("bigslice-lease", ending, How::Orphaned, move || lease.wait_lapsed())?;
        // A task, so that the runtime's own thread does the work.
        match tokio::runtime::Handle::current().spawn(worker.serve()).await {
            Ok(served) => served,
            Err(panic) => Err(Error::Enrolment(format!("the worker's server: {panic}"))),
        }
    });
    // Services may own runtimes and threads that do not end quickly. The process ends next, and
    // they with it.
    std::mem::forget(runtime);
    served
}

/// One thread encrypts the output of several cores; a large machine gets a few.
fn io_threads() -> usize {
    const CORES_PER_THREAD: usize = 8;
    const THREADS_MAX: usize = 4;
    let cores = thread::available_parallelism().map_or(1, usize::from);
    (cores / CORES_PER_THREAD).clamp(1, THREADS_MAX)
}

/// Standard input as a socket.
fn inherited() -> io::Result<UnixStream> {
    let stream = StdUnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

/// The channel, for the thread that waits for its end, and for the last message on it.
fn blocking(channel: UnixStream) -> io::Result<(StdUnixStream, StdUnixStream)> {
    let channel = channel.into_std()?;
    channel.set_nonblocking(false)?;
    let watched = channel.try_clone()?;
    Ok((channel, watched))
}

/// The driver sends nothing more on the channel: any event on it is its end.
fn wait_closed(mut channel: StdUnixStream) {
    let mut byte = [0];
    while let Err(err) = channel.read(&mut byte) {
        if err.kind() != io::ErrorKind::Interrupted {
            break;
        }
    }
}

fn watch(
    name: &str,
    ending: &Arc<Ending>,
    how: How,
    wait: impl FnOnce() + Send + 'static,
) -> Result<()> {
    let ending = Arc::clone(ending);
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            wait();
            ending.leave(how)
        })
        .map_err(Error::io("start a watchdog thread"))?;
    Ok(())
}

#[derive(Clone, Copy, Debug)]
enum How {
    Asked,
    Orphaned,
    Failed,
}

/// The end of the process, which happens once: the first thread wins.
struct Ending {
    scratch: PathBuf,
    folder: Mutex<Option<WorkerFolder>>,
}

impl Ending {
    fn prepare() -> Result<Self> {
        let scratch = std::env::args_os().nth(3).map(PathBuf::from).ok_or_else(|| {
            Error::Enrolment(format!("{WORKER_MARKER} is reserved for the program itself"))
        })?;
        let folder = WorkerFolder::hold(scratch)?;
        Ok(Self { scratch: folder.path().to_owned(), folder: Mutex::new(Some(folder)) })
    }

    fn leave(&self, how: How) -> ! {
        // A second thread waits here for the exit.
        let mut folder = self.folder.lock();
        let removed = match (folder.take(), how) {
            (Some(folder), How::Asked | How::Failed) => folder.remove(),
            (Some(folder), How::Orphaned) => {
                folder.remove_orphaned();
                Ok(())
            }
            (None, _) => Ok(()),
        };
        if let Err(err) = removed {
            drop(writeln!(io::stderr(), "could not remove \"{}\": {err}", self.scratch.display()));
        }
        std::process::exit(match how {
            How::Asked => 0,
            How::Orphaned => ORPHANED,
            How::Failed => FAILED,
        })
    }
}
