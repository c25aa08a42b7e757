//! The threads that compute: one runtime per session (or worker), apart from the one that does
//! I/O, so that leases are renewed and Ctrl-C is heard while every core is busy. Made by
//! [`session`](crate::session) and [`worker`](crate::session::worker), nowhere else.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;

use crate::error::{Error, Result};

/// The stack of a thread that computes. Expressions are evaluated by recursion; the statement
/// limits allow more levels than the 2 MiB that threads have by default hold.
const STACK_BYTES: usize = 16 * 1024 * 1024;

/// The stack of a thread that plans: DataFusion's analyzer, optimizer and planner use several
/// large frames for each level of a plan.
const PLANNING_STACK_BYTES: usize = 64 * 1024 * 1024;

/// With a memory limit, the threads that wait for disks, for each core. What a thread allocates comes
/// from pages of its own, up to 4 MiB for each range of sizes: hundreds of them are hundreds of MB.
const READERS_PER_CORE: usize = 4;

/// How long such a thread, and what it has of memory, is kept without work.
const READER_IDLE_MAX: Duration = Duration::from_secs(1);

/// Planning, once the statement limits are kept, takes milliseconds; listing a large folder of
/// objects takes seconds. Whatever takes longer than this would not end.
pub(crate) const PLANNING_TIME_MAX: Duration = Duration::from_secs(60);

/// A runtime of its own that may be dropped anywhere, also inside of another runtime.
#[derive(Debug)]
pub(crate) struct Cpu {
    runtime: Option<Runtime>,
    handle: Handle,
}

impl Cpu {
    /// As many threads as `cores`; and for what waits for a disk few, if memory is `limited`.
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
            .map_err(|e| Error::internal(format!("the threads to compute on: {e}")))?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// Where to spawn.
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

/// Runs `work` on a thread with a stack that holds any plan the statement limits let through.
///
/// If the caller stops waiting, or [`PLANNING_TIME_MAX`] is over, the work is dropped at its next
/// pause, and whatever it had made is dropped on that thread too: the drop of a deep plan needs
/// the stack as much as its making.
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
        // An error here means that nobody waits any more, which is theirs to decide.
        let _ = sender.send(outcome);
    };
    std::thread::Builder::new()
        .name("bigslice-plan".to_owned())
        .stack_size(PLANNING_STACK_BYTES)
        .spawn(run)
        .map_err(|e| Error::internal(format!("a thread to plan on: {e}")))?;
    match tokio::time::timeout(PLANNING_TIME_MAX, receiver).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err(Error::internal(format!("{what} ended without an outcome"))),
        Err(_) => {
            let seconds = PLANNING_TIME_MAX.as_secs();
            Err(Error::timed_out(format!("{what} took longer than {seconds} s")))
        }
    }
}

/// Runs `work`, which waits for nothing, on a thread with that stack, and waits for it.
pub(crate) fn with_large_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("bigslice-plan".to_owned())
            .stack_size(PLANNING_STACK_BYTES)
            .spawn_scoped(scope, || std::panic::catch_unwind(AssertUnwindSafe(work)));
        let thread = thread.map_err(|e| Error::internal(format!("a thread to plan on: {e}")))?;
        match thread.join() {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(panic)) | Err(panic) => Err(Error::internal(panic_text(panic.as_ref()))),
        }
    })
}

/// Polls `work` to its end; a panic in it is the `Err`, with the panic's own words.
pub(crate) async fn catching_panics<T>(work: impl Future<Output = T>) -> Result<T, String> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|panic| panic_text(panic.as_ref()))
}

/// The first line of a panic's message.
fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    bigslice_flight::panic_text(panic).lines().next().unwrap_or_default().to_owned()
}

/// The cores of this computer that this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
