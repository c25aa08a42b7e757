//! What the program is to do, made of what the user typed and of the surroundings.

use std::io::IsTerminal;
use std::path::PathBuf;

use bigslice::SessionArgs;

use crate::args::{Args, Cluster, Command, Input, Run, Switch, Tpch};
use crate::environment::Surroundings;
use crate::shell::Options;

/// What the program is to do.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) task: Task,
    /// What the session is built from.
    pub(crate) session: SessionArgs,
    /// The scale of the TPC-H tables that it has.
    pub(crate) tpch: Option<f64>,
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
    /// Something about machines on EC2, for which there is none either.
    Cluster(Cluster),
}

impl Config {
    /// The configuration that command line and surroundings ask for.
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
