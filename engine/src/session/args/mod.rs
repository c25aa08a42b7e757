//! A session's settings from outside the program: flags, the settings file, the environment. No
//! other module of this crate reads them, and this one only when a program asks for it.
//!
//! In increasing precedence: the defaults of [`SessionBuilder`], the file ([`mod@file`]), the
//! flags, `--set`. All of them use the [`keys`] of settings.

mod ec2;
mod file;
mod keys;
mod lines;
mod setting;
mod size;
mod surroundings;
#[cfg(test)]
mod tests;

use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{ArgAction, Args, Command, CommandFactory, FromArgMatches, Parser};

pub use size::parse_size;

use self::ec2::Instances;
use self::setting::Setting;
use self::surroundings::Surroundings;
use crate::error::{Error, Result};
use crate::session::Session;
use crate::session::builder::SessionBuilder;

/// The flags of bigsql that configure a session, for every program.
///
/// | flag | |
/// |---|---|
/// | `--workers N` | work on `N` local processes; 0 works in this process |
/// | `--system SPEC` | `here`, `in-process:N`, `local:N` or `ec2:instance=TYPE,n=N` |
/// | `--max N` | start machines on demand, at most `N`, and release idle ones |
/// | `--idle TIME` | how long to keep an idle machine, such as `30s` or `10m` |
/// | `--memory-limit SIZE` | the memory limit of all processes together, such as `4G` |
/// | `--partitions N` | partitions that a machine processes at once |
/// | `--debug`, `--debug=PORT` | serve debug pages on loopback; without a port, on a free one |
/// | `--set KEY=VALUE`, `-set KEY=VALUE` | any setting by its key; may be repeated |
/// | `--config FILE` | a settings file in place of `~/.config/bigslice/config.toml` |
///
/// A program without flags of its own calls [`Session::from_args`]. A program with its own flags
/// either parses them with clap and includes these:
///
/// ```
/// use bigslice::SessionArgs;
/// use clap::Parser;
///
/// #[derive(Parser)]
/// struct Args {
///     files: Vec<String>,
///     #[command(flatten)]
///     session: SessionArgs,
/// }
///
/// let args = Args::parse_from(["program", "--memory-limit", "1G", "a.txt"]);
/// assert_eq!(args.files, ["a.txt"]);
/// // args.session.open().await? is the session
/// ```
///
/// or takes these out of its arguments, and parses the others in its own way:
///
/// ```
/// use bigslice::SessionArgs;
///
/// let (session, rest) = SessionArgs::take(["program", "--workers=2", "--top", "3", "a.txt"])?;
/// assert_eq!(rest, ["program", "--top", "3", "a.txt"]);
/// # drop(session); Ok::<(), bigslice::Error>(())
/// ```
// Without a description: clap would use it for the program that includes this.
#[derive(Debug, Clone, Default, Args)]
#[command(about = None, long_about = None)]
#[group(skip)]
pub struct SessionArgs {
    /// Work on N local processes; 0 works in this process, on all cores
    #[arg(long, value_name = "N", value_parser = keys::workers, help_heading = "Session")]
    workers: Option<usize>,
    /// The machines to work on: here, in-process:N, local:N or
    /// ec2:instance=TYPE,n=N,spot,region=...
    #[arg(
        long,
        value_name = "SPEC",
        value_parser = keys::system,
        conflicts_with = "workers",
        help_heading = "Session"
    )]
    system: Option<String>,
    /// Start machines on demand, at most N, and release idle ones
    #[arg(
        long,
        value_name = "N",
        value_parser = keys::machines_max,
        conflicts_with = "workers",
        help_heading = "Session"
    )]
    max: Option<usize>,
    /// How long to keep an idle machine: 30s, 10m [default: 1m, or 10m on EC2]
    #[arg(long, value_name = "TIME", value_parser = keys::time, help_heading = "Session")]
    idle: Option<Duration>,
    /// Memory limit of all processes together, such as 4G or 512M; larger operations spill to disk
    #[arg(long, value_name = "SIZE", value_parser = parse_size, help_heading = "Session")]
    memory_limit: Option<u64>,
    /// Partitions that a machine processes at once [default: its cores]
    #[arg(long, value_name = "N", value_parser = keys::partitions, help_heading = "Session")]
    partitions: Option<usize>,
    /// Serve debug pages at http://127.0.0.1:PORT/debug [default: a free port]
    #[arg(
        long,
        value_name = "PORT",
        value_parser = keys::debug,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "0",
        help_heading = "Session"
    )]
    debug: Option<SocketAddr>,
    /// Change a setting by its key, such as datafusion.execution.batch_size=4096
    #[arg(
        long = "set",
        value_name = "KEY=VALUE",
        value_parser = pair,
        action = ArgAction::Append,
        help_heading = "Session"
    )]
    settings: Vec<(String, String)>,
    /// A settings file [default: ~/.config/bigslice/config.toml, if it exists]
    #[arg(long, value_name = "FILE", help_heading = "Session")]
    config: Option<PathBuf>,
}

/// Parses only these flags, for [`SessionArgs::take`].
#[derive(Debug, Parser)]
#[command(no_binary_name = true, disable_help_flag = true, disable_version_flag = true)]
struct Alone {
    #[command(flatten)]
    session: SessionArgs,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err("write KEY=VALUE".to_owned()),
    }
}

impl SessionArgs {
    /// Takes the flags of a session out of `arguments`, and returns the others in their order. The
    /// first argument is the program's name and stays; so does everything after `--`. A session
    /// flag is taken even if it follows an unknown flag, whose value it could be.
    ///
    /// # Errors
    /// A flag has no value, or an invalid one.
    pub fn take<A: Into<OsString>>(
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<(Self, Vec<OsString>)> {
        let command = Alone::command();
        let mut arguments = arguments.into_iter().map(Into::into);
        let mut taken = Vec::new();
        let mut rest: Vec<OsString> = arguments.next().into_iter().collect();
        while let Some(argument) = arguments.next() {
            if argument == "--" {
                rest.push(argument);
                break;
            }
            let argument = spelt_out(argument);
            match flag(&command, &argument) {
                None => rest.push(argument),
                Some(Value::Inside) => taken.push(argument),
                Some(Value::Next) => {
                    taken.push(argument);
                    taken.extend(arguments.next());
                }
            }
        }
        rest.extend(arguments);
        let matches = command.try_get_matches_from(taken);
        let alone = matches.and_then(|matches| Alone::from_arg_matches(&matches));
        Ok((alone.map_err(|e| refused(&e))?.session, rest))
    }

    /// `arguments` in clap's syntax: `-set`, which Go programs use, becomes `--set`. Only needed to
    /// accept both with clap.
    pub fn for_clap(
        arguments: impl IntoIterator<Item = OsString>,
    ) -> impl Iterator<Item = OsString> {
        let mut ended = false;
        arguments.into_iter().map(move |argument| {
            ended |= argument == "--";
            if ended { argument } else { spelt_out(argument) }
        })
    }

    /// The help text of the flags, for a program that does not use clap for its help.
    pub fn help() -> String {
        let help = Alone::command().help_template("{options}").render_help();
        format!("{}\n", help.to_string().trim_matches('\n'))
    }

    /// A builder with the settings of the file and flags, and the environment's access to stores.
    /// Output of machines goes to standard error, unless [`SessionBuilder::log`] changes that.
    ///
    /// # Errors
    /// The file cannot be read, a setting is unknown, or a value is invalid.
    pub fn builder(&self) -> Result<SessionBuilder> {
        self.builder_in(Surroundings::read())
    }

    /// The EC2 options of the settings file and the flags, whether or not the session would use
    /// EC2: for programs that manage EC2 machines.
    ///
    /// # Errors
    /// The file cannot be read, an option is unknown, or a value is invalid.
    #[cfg(feature = "ec2")]
    pub fn instances(&self) -> Result<bigslice_cluster::ec2::Ec2Spec> {
        let surroundings = Surroundings::read();
        let (_, instances) = self.said(&surroundings)?;
        instances.spec(surroundings.user.as_deref())
    }

    /// Builds the session, and starts its machines if it has any.
    ///
    /// # Errors
    /// As [`Self::builder`] and [`SessionBuilder::build`].
    pub async fn open(&self) -> Result<Session> {
        self.builder()?.build().await
    }

    fn builder_in(&self, surroundings: Surroundings) -> Result<SessionBuilder> {
        let (builder, instances) = self.said(&surroundings)?;
        let builder = builder.environment(surroundings.engine);
        Ok(match instances.system(surroundings.user.as_deref())? {
            Some(system) => builder.system(system),
            None => builder,
        })
    }

    /// All settings from the file and the flags.
    fn said(&self, surroundings: &Surroundings) -> Result<(SessionBuilder, Instances)> {
        let from_file = match (&self.config, &surroundings.config_file) {
            (Some(path), _) => file::read(path)?,
            (None, Some(path)) => file::read_if_there(path)?,
            (None, None) => Vec::new(),
        };
        // A program that takes its session from its arguments exists for that session.
        let mut builder = Session::builder().owns_process(true).log(lines::to_stderr());
        let mut instances = Instances::default();
        let flag = |name: &str, value: String| Setting {
            key: name.to_owned(),
            value,
            place: format!("--{name}"),
        };
        let mut settings = from_file;
        settings.extend(self.workers.map(|workers| flag("workers", workers.to_string())));
        settings.extend(self.system.clone().map(|system| flag("system", system)));
        for setting in settings {
            builder = keys::apply(builder, &mut instances, &setting)?;
        }
        if let Some(max) = self.max {
            builder = builder.elastic(max);
        }
        if let Some(idle) = self.idle {
            builder = builder.idle(idle);
        }
        if let Some(bytes) = self.memory_limit {
            builder = builder.memory_limit(bytes);
        }
        if let Some(partitions) = self.partitions {
            builder = builder.partitions(partitions);
        }
        if let Some(address) = self.debug {
            builder = builder.debug(address);
        }
        for (key, value) in &self.settings {
            let place = "--set".to_owned();
            let setting = Setting { key: key.clone(), value: value.clone(), place };
            builder = keys::apply(builder, &mut instances, &setting)?;
        }
        Ok((builder, instances))
    }
}

impl Session {
    /// Builds a session from the arguments of this process, the settings file and the environment,
    /// and starts its machines if it has any. It uses the flags of [`SessionArgs`] and ignores all
    /// other arguments, which are the program's.
    ///
    /// ```no_run
    /// use bigslice::prelude::*;
    ///
    /// #[bigslice::main]
    /// async fn main() -> Result<()> {
    ///     let session = Session::from_args().await?; // program --workers 4 --memory-limit 8G
    ///     session.sql("select 1 as one").await?.show().await
    /// }
    /// ```
    ///
    /// # Errors
    /// A flag or a setting is wrong, or a machine does not start.
    pub async fn from_args() -> Result<Self> {
        Ok(Self::from_args_in(std::env::args_os()).await?.0)
    }

    /// As [`Self::from_args`], but from these arguments, of which the first is the program's name.
    /// Also returns the remaining arguments, as [`SessionArgs::take`] does.
    ///
    /// # Errors
    /// A flag or a setting is wrong, or a machine does not start.
    pub async fn from_args_in<A: Into<OsString>>(
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<(Self, Vec<OsString>)> {
        let (args, rest) = SessionArgs::take(arguments)?;
        Ok((args.open().await?, rest))
    }
}

/// The position of a flag's value.
enum Value {
    /// In the same argument, after `=`.
    Inside,
    /// The next argument.
    Next,
}

/// Whether an argument is one of the flags of `command`, and the position of its value.
fn flag(command: &Command, argument: &OsStr) -> Option<Value> {
    let name = argument.to_str()?.strip_prefix("--")?;
    let (name, inside) = match name.split_once('=') {
        Some((name, _)) => (name, true),
        None => (name, false),
    };
    let flag = command.get_arguments().find(|flag| flag.get_long() == Some(name))?;
    // An optional value must follow `=`.
    Some(if inside || flag.is_require_equals_set() { Value::Inside } else { Value::Next })
}

fn spelt_out(argument: OsString) -> OsString {
    match argument.to_str() {
        Some(text) if text == "-set" || text.starts_with("-set=") => format!("-{text}").into(),
        _ => argument,
    }
}

/// clap's message as our error, without its first word and its advice.
fn refused(error: &clap::Error) -> Error {
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let message = text.split("\n\n").next().unwrap_or(text).trim_end();
    let hint = (error.kind() == ErrorKind::ArgumentConflict)
        .then(|| "both say on which machines the work is done: give one of them".to_owned());
    Error::config(message).hinted(hint)
}
