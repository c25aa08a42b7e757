//! Samples the stacks of this process. The process's CPU clock (`ITIMER_PROF`) interrupts a thread
//! that computes; the handler records its stack. Interrupted system calls are restarted
//! (`SA_RESTART`); those that the kernel never restarts (waiting for events) return early, which
//! their users must expect anyway.
//!
//! A process has one such clock, so it has one profile at a time. The handler skips a stack whose
//! innermost function belongs to the C library, where unwinding is not safe: such time is missing
//! from profiles.

use std::collections::HashMap;
use std::ffi::c_void;

use pprof::{ProfilerGuard, ProfilerGuardBuilder, UnresolvedReport};

use crate::error::{Error, Result};
use crate::observe::profile::stacks::{Function, Hertz, Stack, Stacks};

/// The most stacks of one process: the most frequent ones.
const STACKS_MAX: usize = 50_000;
/// Libraries whose stacks are skipped: see the head of this file.
const UNSAFE_LIBRARIES: [&str; 4] = ["libc", "libgcc", "pthread", "vdso"];
/// The function that records stacks; its callees precede it.
const HANDLER: &str = "perf_signal_handler";
/// A generic function's name may repeat its types without end.
const NAME_MAX: usize = 1024;

/// A running profile of this process. Dropping it ends it.
pub(crate) struct Sampler {
    guard: ProfilerGuard<'static>,
    hertz: Hertz,
}

impl Sampler {
    /// Starts to sample. The first time, the debug information of the program is read, which takes
    /// a second or so, on a thread that may block.
    ///
    /// # Errors
    /// If a profile of this process is already running.
    pub(crate) async fn begin(hertz: Hertz) -> Result<Self> {
        match tokio::task::spawn_blocking(move || start(hertz)).await {
            Ok(begun) => begun,
            Err(err) => Err(Error::Profile(format!("could not start: {err}"))),
        }
    }

    /// Ends it. Resolving the functions' names takes a second or so, on a thread that may block.
    pub(crate) async fn finish(self) -> Result<Stacks> {
        let resolved = tokio::task::spawn_blocking(move || {
            let Self { guard, hertz } = self;
            let report = guard.report().build_unresolved();
            drop(guard);
            report.map(|report| resolve(&report, hertz))
        });
        match resolved.await {
            Ok(Ok(stacks)) => Ok(stacks),
            Ok(Err(err)) => Err(Error::Profile(err.to_string())),
            Err(err) => Err(Error::Profile(format!("the names of functions: {err}"))),
        }
    }
}

fn start(hertz: Hertz) -> Result<Sampler> {
    let frequency = i32::try_from(hertz.per_second()).unwrap_or(i32::MAX);
    let guard = ProfilerGuardBuilder::default()
        .frequency(frequency)
        .blocklist(&UNSAFE_LIBRARIES)
        .build()
        .map_err(|err| match err {
            pprof::Error::Running => {
                Error::Profile("a profile of this process is already running".to_owned())
            }
            err => Error::Profile(err.to_string()),
        })?;
    Ok(Sampler { guard, hertz })
}

/// Resolves the functions' names.
fn resolve(report: &UnresolvedReport, hertz: Hertz) -> Stacks {
    let mut names = Names::default();
    let mut seen: HashMap<(String, Vec<u32>), u64> = HashMap::new();
    for (stack, samples) in &report.data {
        let (mut frames, mut all): (Vec<u32>, Vec<u32>) = Default::default();
        let mut interrupted = None;
        for frame in &stack.frames {
            let (functions, is_handler) = names.at(frame.ip());
            if is_handler {
                // The next frame is the return from it.
                interrupted = Some(2);
            }
            all.extend_from_slice(functions);
            match &mut interrupted {
                None => {}
                Some(0) => frames.extend_from_slice(functions),
                Some(skipped) => *skipped -= 1,
            }
        }
        if interrupted.is_none() {
            // The program has no symbols: addresses are better than nothing.
            frames = all;
        }
        if frames.is_empty() {
            continue;
        }
        let name = &stack.thread_name[..stack.thread_name_length];
        let thread = String::from_utf8_lossy(name).into_owned();
        let samples = u64::try_from(*samples).unwrap_or(0);
        *seen.entry((thread, frames)).or_default() += samples;
    }
    let stack = |((thread, frames), samples)| Stack { thread, frames, samples };
    let mut stacks: Vec<Stack> = seen.into_iter().map(stack).collect();
    stacks.sort_by(|a, b| b.samples.cmp(&a.samples).then_with(|| a.frames.cmp(&b.frames)));
    let omitted = stacks.iter().skip(STACKS_MAX).map(|stack| stack.samples).sum();
    stacks.truncate(STACKS_MAX);
    Stacks { hertz, functions: names.functions, stacks, omitted }
}

/// Functions by address; several at one address if some were inlined.
#[derive(Default)]
struct Names {
    functions: Vec<Function>,
    indices: HashMap<Function, u32>,
    known: HashMap<usize, (Vec<u32>, bool)>,
}

impl Names {
    fn at(&mut self, address: *mut c_void) -> (&[u32], bool) {
        let Self { functions, indices, known } = self;
        let (found, is_handler) = known.entry(address as usize).or_insert_with(|| {
            let mut found = Vec::new();
            let mut is_handler = false;
            backtrace::resolve(address, |symbol| {
                let name = symbol.name().map(|name| format!("{name:#}"));
                let mut name = name.unwrap_or_else(|| "unknown".to_owned());
                name.truncate(name.floor_char_boundary(NAME_MAX));
                is_handler |= name == HANDLER;
                let file = symbol.filename().map(|file| file.display().to_string());
                let file = file.unwrap_or_default();
                let function = Function { name, file, line: symbol.lineno().unwrap_or(0) };
                let index = indices.entry(function).or_insert_with_key(|function| {
                    functions.push(function.clone());
                    // At most one for each address, of which there are far fewer.
                    u32::try_from(functions.len() - 1).unwrap_or(u32::MAX)
                });
                found.push(*index);
            });
            (found, is_handler)
        });
        (found, *is_handler)
    }
}
