//! The command-line arguments. [`Config`](crate::config::Config) is what the program makes of them.

use std::ffi::OsString;
use std::path::PathBuf;

use bigslice::SessionArgs;
use clap::{ArgAction, Args as ClapArgs, Parser, Subcommand, ValueEnum};

use crate::format::Format;

const EXAMPLES: &str = "\
Examples:
  bigsql                                                 a prompt; .help lists the commands
  bigsql -c \"select count(*) from 'flights/*.parquet'\"   one statement
  bigsql --workers 4 --format csv -f report.sql          a script, on four processes
  bigsql --system ec2:instance=m7g.2xlarge,spot --max 8  up to eight EC2 machines, on demand
  bigsql --tpch 1 -c 'select count(*) from lineitem'     TPC-H tables, generated on the fly
  echo 'select 1;' | bigsql --format json                a script from standard input

Exit status: 0; 1 when a statement failed; 2 for wrong usage; 130 when interrupted.";

const ABOUT: &str = "\
SQL over Parquet, CSV, JSON, Arrow and Avro files, in this process or on machines that it starts \
itself.

A file, a folder or a glob in quotes after FROM is a table: a local path, s3:// or http(s)://. \
Without -c or -f, start a prompt, or run standard input as a script if it is not a terminal.";

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "bigsql",
    version,
    about = ABOUT,
    args_conflicts_with_subcommands = true
)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) run: Run,
}

/// A command other than running SQL.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// TPC-H benchmark: generate data, print queries.
    #[command(subcommand)]
    Tpch(Tpch),
    /// Manage EC2 machines of all sessions in the account, including former ones.
    Cluster(Cluster),
}

/// A cluster command, and the account and region that it applies to.
#[derive(Debug, ClapArgs)]
pub(crate) struct Cluster {
    #[command(subcommand)]
    pub(crate) task: ClusterTask,
    /// The AWS region [default: from the settings file or the environment]
    #[arg(long, value_name = "REGION", global = true)]
    pub(crate) region: Option<String>,
    /// The AWS profile to take credentials from
    #[arg(long, value_name = "NAME", global = true)]
    pub(crate) profile: Option<String>,
}

/// The cluster commands.
#[derive(Debug, Subcommand)]
pub(crate) enum ClusterTask {
    /// Check that the AWS account can start machines (read-only).
    Setup {
        /// Print the IAM policy needed to start machines, for the account's owner to attach.
        #[arg(long)]
        print_policy: bool,
    },
    /// List running clusters.
    Ls,
    /// Stop all machines of a cluster and wait until they are gone.
    Stop {
        /// The cluster's name, as shown by `ls`.
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Stop machines past their deadline, and remove unused security groups and launch templates.
    Gc,
    /// Print the console output of a cluster's machines.
    Logs {
        /// The cluster's name, as shown by `ls`.
        #[arg(value_name = "NAME")]
        name: String,
    },
}

/// The TPC-H commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Tpch {
    /// Write the eight tables as Parquet files.
    Generate {
        /// Scale factor: 1 is about 1 GB of CSV.
        #[arg(long, value_name = "SF", value_parser = scale)]
        sf: f64,
        /// The folder to write into; created if necessary.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// Files per table, except for the two smallest tables.
        #[arg(long, value_name = "N", value_parser = positive, default_value_t = 1)]
        parts: usize,
    },
    /// Print one of the 22 queries.
    Query {
        /// The query's number, from 1 to 22.
        #[arg(value_name = "N", value_parser = clap::value_parser!(u8).range(1..=22))]
        number: u8,
    },
}

/// Flags for running SQL.
#[derive(Debug, ClapArgs)]
pub(crate) struct Run {
    /// Run these statements and exit; may be repeated, and mixed with -f in any order
    // A statement may begin with a comment, so a leading dash is allowed.
    #[arg(
        short = 'c',
        long = "command",
        value_name = "SQL",
        action = ArgAction::Append,
        allow_hyphen_values = true
    )]
    pub(crate) commands: Vec<String>,
    /// Run the statements in a file and exit; - is standard input
    #[arg(short = 'f', long = "file", value_name = "FILE", action = ArgAction::Append)]
    pub(crate) files: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) session: SessionArgs,

    /// Add the eight TPC-H tables at this scale factor, generated on the fly
    #[arg(long, value_name = "SF", value_parser = scale, help_heading = "Session")]
    pub(crate) tpch: Option<f64>,

    /// Output format: table, csv, tsv, json, jsonl, markdown or line
    #[arg(long, value_enum, default_value_t, hide_possible_values = true, help_heading = "Output")]
    pub(crate) format: Format,
    /// Write results to a file, which appears once it is complete
    #[arg(long, short = 'o', value_name = "FILE", help_heading = "Output")]
    pub(crate) output: Option<PathBuf>,
    /// Maximum rows to show in a table; 0 shows all [default: 40 on a terminal, otherwise all]
    #[arg(long, value_name = "N", help_heading = "Output")]
    pub(crate) max_rows: Option<usize>,
    /// Report how long each statement took [default: on at a terminal]
    #[arg(long, value_name = "on|off", hide_possible_values = true, help_heading = "Output")]
    pub(crate) timer: Option<Switch>,
    /// Print only results and errors
    #[arg(long, short = 'q', help_heading = "Output")]
    pub(crate) quiet: bool,
    /// Continue after a failed statement; the exit status is still 1
    #[arg(long)]
    pub(crate) keep_going: bool,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    On,
    Off,
}

/// Input given on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// The text after `-c`.
    Text(String),
    /// The file after `-f`.
    File(PathBuf),
}

impl Args {
    /// Parses the command line. Exits on wrong usage, `--help` and `--version`. `name` is the
    /// program's name in these messages.
    pub(crate) fn read(
        name: &'static str,
        arguments: impl IntoIterator<Item = OsString>,
    ) -> (Self, Vec<Input>) {
        Self::try_read(name, arguments).unwrap_or_else(|e| e.exit())
    }

    fn try_read(
        name: &'static str,
        arguments: impl IntoIterator<Item = OsString>,
    ) -> Result<(Self, Vec<Input>), clap::Error> {
        use clap::{CommandFactory, FromArgMatches};

        let command =
            Self::command().name(name).bin_name(name).after_help(EXAMPLES.replace("bigsql", name));
        let matches = command.try_get_matches_from(SessionArgs::for_clap(arguments))?;
        let args = Self::from_arg_matches(&matches)?;
        let places = |id: &str| matches.indices_of(id).into_iter().flatten();
        let mut inputs: Vec<_> = places("commands")
            .zip(args.run.commands.iter().cloned().map(Input::Text))
            .chain(places("files").zip(args.run.files.iter().cloned().map(Input::File)))
            .collect();
        inputs.sort_by_key(|(place, _)| *place);
        Ok((args, inputs.into_iter().map(|(_, input)| input).collect()))
    }
}

fn scale(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(scale) if scale > 0.0 && scale <= 100_000.0 => Ok(scale),
        _ => Err("must be above 0 and at most 100000, such as 0.01, 1 or 10".to_owned()),
    }
}

fn positive(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err("must be at least 1".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn read(arguments: &[&str]) -> Result<(Args, Vec<Input>), clap::Error> {
        Args::try_read("bigsql", ["bigsql"].iter().chain(arguments).map(OsString::from))
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn statements_and_files_keep_their_order() {
        let (_, inputs) = read(&["-c", "a", "-f", "b.sql", "-q", "-c", "c"]).unwrap();
        let expect =
            [Input::Text("a".into()), Input::File("b.sql".into()), Input::Text("c".into())];
        assert_eq!(inputs, expect);
    }

    #[test]
    fn a_statement_may_begin_with_a_comment() {
        let (_, inputs) = read(&["-c", "-- one\nselect 1", "--workers", "2"]).unwrap();
        assert_eq!(inputs, [Input::Text("-- one\nselect 1".into())]);
    }

    #[test]
    fn flags_are_read() {
        let (args, _) =
            read(&["--tpch", "0.01", "--format", "jsonl", "--timer", "off", "--max-rows", "0"])
                .unwrap();
        assert_eq!(args.run.tpch, Some(0.01));
        assert_eq!(args.run.format, Format::Jsonl);
        assert_eq!(args.run.timer, Some(Switch::Off));
        assert_eq!(args.run.max_rows, Some(0));
        let (args, _) = read(&["-set", "workers=2", "--memory-limit", "1.5GiB"]).unwrap();
        assert!(format!("{:?}", args.run.session).contains("memory_limit: Some(1610612736)"));
        let (args, _) = read(&["tpch", "query", "22"]).unwrap();
        assert!(matches!(args.command, Some(Command::Tpch(Tpch::Query { number: 22 }))));
        let (args, _) = read(&["cluster", "stop", "nightly", "--region", "eu-west-1"]).unwrap();
        let Some(Command::Cluster(cluster)) = args.command else { panic!("{args:?}") };
        assert!(matches!(cluster.task, ClusterTask::Stop { name } if name == "nightly"));
        assert_eq!(cluster.region.as_deref(), Some("eu-west-1"));
    }

    #[test]
    fn wrong_usage_is_refused() {
        for wrong in [
            &["--workers", "x"][..],
            &["--system", "mars:1"],
            &["--system", "local:1", "--workers", "2"],
            &["--tpch", "0"],
            &["--memory-limit", "4X"],
            &["--set", "novalue"],
            &["--format", "xml"],
            &["--partitions", "0"],
            &["--max", "0"],
            &["--max", "2", "--workers", "2"],
            &["--idle", "5"],
            &["tpch", "query", "23"],
            &["cluster", "stop"],
            &["-c"],
            &["extra"],
        ] {
            let error = read(wrong).expect_err(&format!("{wrong:?}"));
            assert_eq!(error.exit_code(), 2, "{wrong:?}");
        }
    }
}
