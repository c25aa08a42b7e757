//! What the program is to do, made of what the user typed and of the surroundings.

use std::io::IsTerminal;
use std::path::PathBuf;

use bigslice::{Environment, LogSink, Session, SessionBuilder, SystemSpec};

use crate::args::{Args, Command, Input, Run, Switch, Tpch};
use crate::environment::Surroundings;
use crate::shell::Options;

/// What the program is to do.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) task: Task,
    pub(crate) session: SessionConfig,
    pub(crate) options: Options,
    /// The file that results go to.
    pub(crate) output: Option<PathBuf>,
    /// What to log, as a filter of tracing.
    pub(crate) log: Option<String>,
}

/// The task.
#[derive(Debug)]
pub(crate) enum Task {
    /// Talk to the user.
    Prompt,
    /// Run what comes from standard input.
    StandardInput,
    /// Run statements and files.
    Inputs(Vec<Input>),
    /// Something about TPC-H, for which there is no session.
    Tpch(Tpch),
}

/// What the session is built from.
#[derive(Debug)]
pub(crate) struct SessionConfig {
    pub(crate) system: SystemSpec,
    pub(crate) memory_limit: Option<u64>,
    pub(crate) partitions: Option<usize>,
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) tpch: Option<f64>,
    pub(crate) environment: Environment,
}

impl Config {
    /// The configuration that command line and surroundings ask for.
    pub(crate) fn new(args: Args, inputs: Vec<Input>, surroundings: Surroundings) -> Self {
        let Args { command, run } = args;
        let task = match command {
            Some(Command::Tpch(task)) => Task::Tpch(task),
            None if !inputs.is_empty() => Task::Inputs(inputs),
            None if std::io::stdin().is_terminal() => Task::Prompt,
            None => Task::StandardInput,
        };
        let Run { workers, system, memory_limit, partitions, tpch, settings, .. } = run;
        let local = match workers {
            0 => SystemSpec::Here,
            machines => SystemSpec::Local { machines },
        };
        let session = SessionConfig {
            system: system.unwrap_or(local),
            memory_limit,
            partitions,
            settings,
            tpch,
            environment: surroundings.engine,
        };
        let options = Options {
            format: run.format,
            timer: run.timer.map(|switch| switch == Switch::On),
            rows_max: run.max_rows,
            quiet: run.quiet,
            keep_going: run.keep_going,
            no_color: surroundings.no_color,
            columns: surroundings.columns,
            state_folder: surroundings.state_folder,
            name: None,
        };
        Self { task, session, options, output: run.output, log: surroundings.log }
    }
}

impl SessionConfig {
    /// Begins the session.
    pub(crate) fn builder(&self, log: LogSink) -> SessionBuilder {
        let mut builder =
            Session::builder().system(self.system).environment(self.environment.clone()).log(log);
        if let Some(bytes) = self.memory_limit {
            builder = builder.memory_limit(bytes);
        }
        if let Some(partitions) = self.partitions {
            builder = builder.partitions(partitions);
        }
        for (key, value) in &self.settings {
            builder = builder.set(key, value);
        }
        builder
    }
}
