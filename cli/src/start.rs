//! From the command line to a running shell, and to the exit code.
//!
//! The end is always in this order: the running statement is dropped, which cancels it; an
//! incomplete file is removed; the session stops its machines and waits for them; the process exits
//! without waiting for threads that are blocked in a read.

use std::pin::pin;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bigslice::{Error as EngineError, Inspector, Session, SessionArgs};

use crate::args::{Args, Input};
use crate::config::{Config, Task};
use crate::console::Console;
use crate::crash;
use crate::environment::Surroundings;
use crate::error::{Error, Result};
use crate::output::Appear;
use crate::report::{Origin, report};
use crate::shell::{Flow, Shell, Status};
use crate::signals::{Presence, Signals};
use crate::{cluster, tpch};

/// Threads for I/O and waiting. The engine has its own threads for computing.
const THREADS: usize = 2;

/// Starting machines longer than this shows a progress line.
const WAITING_AFTER: Duration = Duration::from_millis(300);

/// Update interval of that line.
const WAITING_EVERY: Duration = Duration::from_millis(200);

/// Without a terminal to update a line on, waiting is reported once, after this time.
const WAITING_SAID_AFTER: Duration = Duration::from_secs(5);

/// The exit code for wrong usage.
const WRONG_USAGE: u8 = 2;

/// The whole program.
pub fn main() -> ExitCode {
    embed("bigsql", async |_| Ok(()))
}

/// All of bigsql inside another program: its flags, prompt, scripts and formats, under the
/// program's `name`, in a session to which `prepare` adds tables and functions before the first
/// statement. Call this as the program's `main`; it is the `main` of its machines, too.
///
/// Tables that only this process knows, and functions registered by hand, run in this process.
pub fn embed(
    name: &'static str,
    prepare: impl AsyncFnOnce(&Session) -> bigslice::Result<()>,
) -> ExitCode {
    // A worker never gets past this line.
    if let Some(code) = bigslice::worker_main() {
        return code;
    }
    let (args, inputs) = Args::read(name, std::env::args_os());
    let config = Config::new(name, args, inputs, Surroundings::read());
    let console = Console::new(name, config.options.quiet, !config.options.no_color);
    if let Some(filter) = &config.log {
        log_to_stderr(filter);
    }
    crash::quiet();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("bigsql")
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(e) => return failed(&Error::io("cannot start threads", e), &console).into(),
    };
    let seen = OnceLock::new();
    let work = run(config, console.clone(), &seen, prepare);
    let code = crash::guarded(&runtime, work, &seen, &std::env::temp_dir(), &console);
    runtime.shutdown_background();
    code.into()
}

async fn run(
    config: Config,
    console: Console,
    seen: &OnceLock<Inspector>,
    prepare: impl AsyncFnOnce(&Session) -> bigslice::Result<()>,
) -> u8 {
    let presence = match config.task {
        Task::Prompt => Presence::Prompt,
        _ => Presence::Script,
    };
    let signals = match Signals::listen(presence) {
        Ok(signals) => signals,
        Err(e) => return failed(&Error::io("cannot listen for signals", e), &console),
    };
    let Config { task, session, tpch: scale, options, output, .. } = config;
    let task = match task {
        Task::Tpch(task) => return ended(tpch::run(task, &console, &signals).await, &console),
        Task::Cluster(task) => {
            return ended(cluster::run(task, &console, &signals).await, &console);
        }
        task => task,
    };
    let session = match open(&session, &console, &signals).await {
        Ok(session) => session,
        Err(e) => return failed(&e, &console),
    };
    // Set once, because there is one session.
    seen.get_or_init(|| session.inspector().clone());
    if let Err(e) = prepared(&session, scale, prepare).await {
        session.shutdown().await;
        return failed(&e.into(), &console);
    }
    let mut shell = Shell::with_options(session.clone(), options).on(console.clone());
    shell.signals = Some(signals);
    let status = work(&mut shell, task, output.as_deref()).await;
    session.shutdown().await;
    match status {
        Ok(status) => status.exit_code(),
        Err(e) => failed(&e, &console),
    }
}

async fn work(shell: &mut Shell, task: Task, output: Option<&std::path::Path>) -> Result<Status> {
    if matches!(task, Task::Prompt) {
        shell.appear = Appear::PerStatement;
    }
    if output.is_some() {
        shell.send_output_to(output)?;
    }
    let inputs = match task {
        Task::Prompt => return shell.prompt().await,
        Task::StandardInput => return shell.standard_input().await,
        Task::Inputs(inputs) => inputs,
        Task::Tpch(_) | Task::Cluster(_) => return Ok(Status::Done),
    };
    let mut result = Ok(Flow::Continue);
    for input in inputs {
        result = match input {
            Input::Text(text) => shell.script(&text, None).await,
            Input::File(path) => shell.file(&path).await,
        };
        if result != Ok(Flow::Continue) {
            break;
        }
    }
    shell.end_of_scripts(result)
}

/// Adds tables to a session.
async fn prepared(
    session: &Session,
    scale: Option<f64>,
    prepare: impl AsyncFnOnce(&Session) -> bigslice::Result<()>,
) -> bigslice::Result<()> {
    if let Some(scale) = scale {
        session.register_tpch(scale)?;
    }
    prepare(session).await
}

/// Builds the session. A signal cancels that too.
async fn open(args: &SessionArgs, console: &Console, signals: &Signals) -> Result<Session> {
    let started = Instant::now();
    let builder = args.builder()?.log(console.sink());
    let machines = builder.settings().machines_max;
    let session = {
        let mut build = pin!(builder.build());
        let mut signal = pin!(signals.next());
        let mut waiting = tokio::time::interval_at((started + WAITING_AFTER).into(), WAITING_EVERY);
        let mut said = false;
        loop {
            tokio::select! {
                biased;
                signal = &mut signal => break Err(Error::Interrupted(signal)),
                session = &mut build => break session.map_err(Error::from),
                _ = waiting.tick() => {
                    let seconds = started.elapsed().as_secs_f64();
                    let text = format!("waiting for machines 0/{machines} ({seconds:.1} s)");
                    if !said && !console.is_terminal() && started.elapsed() > WAITING_SAID_AFTER {
                        console.say(&text);
                        said = true;
                    }
                    console.progress(&text);
                }
            }
        }
    };
    console.end_progress();
    session
}

/// The exit code of a task that needs no session; an error is reported.
fn ended(result: Result<()>, console: &Console) -> u8 {
    result.map_or_else(|e| failed(&e, console), |()| 0)
}

/// Reports an error to the user, and returns its exit code.
fn failed(error: &Error, console: &Console) -> u8 {
    match error {
        Error::OutputClosed => return 0,
        Error::Interrupted(signal) => return signal.exit_code(),
        _ => console.error(&report(error, None, Origin::default(), console.paint())),
    }
    match error {
        Error::Statement(error) if matches!(**error, EngineError::Config { .. }) => WRONG_USAGE,
        _ => Status::Failed.exit_code(),
    }
}

fn log_to_stderr(filter: &str) {
    // Cannot fail: only a second subscriber is refused, and this is called once.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .try_init();
}
