//! The program's configuration, from the command line and the environment.

use std::io::IsTerminal;
use std::path::PathBuf;

use bigslice::SessionArgs;

use crate::args::{Args, Cluster, Command, Input, Run, Switch, Tpch};
use crate::environment::Surroundings;
use crate::shell::Options;

/// The program's configuration.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) task: Task,
    /// The configuration of the session.
    pub(crate) session: SessionArgs,
    /// The scale factor of the session's TPC-H tables.
    pub(crate) tpch: Option<f64>,
    pub(crate) options: Options,
    /// The output file for results.
    pub(crate) output: Option<PathBuf>,
    /// The log filter, in the syntax of tracing.
    pub(crate) log: Option<String>,
}

/// The kind of work to do.
#[derive(Debug)]
pub(crate) enum Task {
    /// Show a prompt.
    Prompt,
    /// Run standard input as a script.
    StandardInput,
    /// Run statements and files.
    Inputs(Vec<Input>),
    /// A TPC-H command, without a session.
    Tpch(Tpch),
    /// An EC2 command, without a session.
    Cluster(Cluster),
}

impl Config {
    /// Combines the command line and the environment.
    pub(crate) fn new(
        name: &str,
        args: Args,
        inputs: Vec<Input>,
        surroundings: Surroundings,
    ) -> Self {
        let Args { command, run } = args;
        let task = match command {
            Some(Command::Tpch(task)) => Task::Tpch(task),
            Some(Command::Cluster(cluster)) => Task::Cluster(cluster),
            None if !inputs.is_empty() => Task::Inputs(inputs),
            None if std::io::stdin().is_terminal() => Task::Prompt,
            None => Task::StandardInput,
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
            name: Some(name.to_owned()),
        };
        let Run { session, tpch, output, .. } = run;
        Self { task, session, tpch, options, output, log: surroundings.log }
    }
}
