//! The threads that compute: one runtime per session or worker, separate from the one for I/O, so
//! that leases are renewed and Ctrl-C is handled while every core is busy. Only made by
//! [`session`](crate::session) and [`worker`](crate::session::worker).

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;

use crate::error::{Error, Result};

/// The stack of a thread that computes. Expressions are evaluated by recursion, and the statement
/// limits allow more levels than fit in the default of 2 MiB.
const STACK_BYTES: usize = 16 * 1024 * 1024;

/// The stack of a thread that plans: DataFusion's analyzer, optimizer and planner use several
/// large frames for each level of a plan.
const PLANNING_STACK_BYTES: usize = 64 * 1024 * 1024;

/// Threads per core that wait for disks, under a memory limit. Each thread allocates from its own
/// pages, up to 4 MiB for each range of sizes: hundreds of threads take hundreds of MB.
const READERS_PER_CORE: usize = 4;

/// How long an idle one of these threads is kept, with its memory.
const READER_IDLE_MAX: Duration = Duration::from_secs(1);

/// The time limit for planning. Within the statement limits, planning takes milliseconds, and
/// listing a large folder of objects seconds; longer than this means that it would not end.
pub(crate) const PLANNING_TIME_MAX: Duration = Duration::from_secs(60);

/// A runtime that may be dropped anywhere, even inside another runtime.
#[derive(Debug)]
pub(crate) struct Cpu {
    runtime: Option<Runtime>,
    handle: Handle,
}

impl Cpu {
    /// A runtime with `cores` threads, and few threads that wait for disks if memory is `limited`.
    pub(crate) fn new(cores: usize, limited: bool) -> Result<Self> {
        let mut builder = Builder::new_multi_thread();
        if limited {
            builder
                .max_blocking_threads(READERS_PER_CORE * cores.max(READERS_PER_CORE))
                .thread_keep_alive(READER_IDLE_MAX);
        }
        let runtime = builder
            .worker_threads(cores.max(1))
            .thread_name("bigslice-cpu")
            .thread_stack_size(STACK_BYTES)
            .enable_all()
            .build()
            .map_err(|e| Error::internal(format!("cannot start the threads that compute: {e}")))?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// The handle to spawn with.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Cpu {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Runs `work` on a thread with a stack that is large enough for any plan within the statement
/// limits.
///
/// If the caller stops waiting, or after [`PLANNING_TIME_MAX`], the work is dropped when it next
/// yields. Its values are dropped on that thread as well: dropping a deep plan needs as much stack
/// as making it.
pub(crate) async fn on_large_stack<T, F, W>(handle: &Handle, what: &str, work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> W + Send + 'static,
    W: Future<Output = Result<T>>,
{
    let (mut sender, receiver) = oneshot::channel();
    let handle = handle.clone();
    let run = move || {
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| {
            handle.block_on(async {
                tokio::select! {
                    outcome = work() => Some(outcome),
                    () = sender.closed() => None,
                }
            })
        }));
        let outcome = match outcome {
            Ok(None) => return,
            Ok(Some(outcome)) => outcome,
            Err(panic) => Err(Error::internal(panic_text(panic.as_ref()))),
        };
        // This fails if the caller no longer waits.
        let _ = sender.send(outcome);
    };
    std::thread::Builder::new()
        .name("bigslice-plan".to_owned())
        .stack_size(PLANNING_STACK_BYTES)
        .spawn(run)
        .map_err(|e| Error::internal(format!("cannot start a thread to plan on: {e}")))?;
    match tokio::time::timeout(PLANNING_TIME_MAX, receiver).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err(Error::internal(format!("{what} ended without an outcome"))),
        Err(_) => {
            let seconds = PLANNING_TIME_MAX.as_secs();
            Err(Error::timed_out(format!("{what} took longer than {seconds} s")))
        }
    }
}

/// Runs `work`, which does not wait for anything, on a thread with a large stack, and blocks until
/// it ends.
pub(crate) fn with_large_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("bigslice-plan".to_owned())
            .stack_size(PLANNING_STACK_BYTES)
            .spawn_scoped(scope, || std::panic::catch_unwind(AssertUnwindSafe(work)));
        let thread = thread
            .map_err(|e| Error::internal(format!("cannot start a thread to plan on: {e}")))?;
        match thread.join() {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(panic)) | Err(panic) => Err(Error::internal(panic_text(panic.as_ref()))),
        }
    })
}

/// Polls `work` to its end. A panic becomes an `Err` with the panic's message.
pub(crate) async fn catching_panics<T>(work: impl Future<Output = T>) -> Result<T, String> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|panic| panic_text(panic.as_ref()))
}

/// The first line of a panic's message.
fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    bigslice_diagnostics::panic_text(panic).lines().next().unwrap_or_default().to_owned()
}

/// The cores of this computer that this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
