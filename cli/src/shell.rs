//! The shell: a session, and the state of the dialog with the user. [`run`](crate::run) runs
//! statements and [`repl`](crate::repl) is the prompt; this file has what both share, and runs the
//! shell's own commands.

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use bigslice::{PieceKind, ScriptPiece, Session, Statement};

use crate::command::{self, Command};
use crate::console::Console;
use crate::error::{Error, Result};
use crate::format::{self, Format, Layout, Paint};
use crate::output::{Appear, Output};
use crate::report::{Origin, report};
use crate::signals::{Presence, Signals};
use crate::types;

/// Default maximum of rows in a table on a terminal: about one screen.
const TERMINAL_ROWS_MAX: usize = 40;

/// Maximum depth of scripts that read scripts, so that a script that reads itself ends.
const READ_DEPTH_MAX: usize = 16;

/// Maximum size of a script.
const SCRIPT_BYTES_MAX: u64 = 64 << 20;

/// Assumed width of a terminal that does not report one.
const TERMINAL_COLUMNS: usize = 80;

/// Options of a shell. Defaults depend on whether there is a terminal.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The output format of results.
    pub format: Format,
    /// Whether to report how long statements took.
    pub timer: Option<bool>,
    /// Maximum rows in a table; 0 is no limit.
    pub rows_max: Option<usize>,
    /// Print only results and errors.
    pub quiet: bool,
    /// Continue a script after a failed statement.
    pub keep_going: bool,
    /// Never use colours.
    pub no_color: bool,
    /// The terminal width to assume.
    pub columns: Option<usize>,
    /// The folder for the history; without one, there is no history.
    pub state_folder: Option<PathBuf>,
    /// The name in the prompt; defaults to `bigsql`.
    pub name: Option<String>,
}

/// A prompt, or standard input as a script, over an existing session. [`embed`](crate::embed) gives
/// a program all of bigsql, including its flags.
///
/// ```no_run
/// # async fn example() -> bigsql::Result<()> {
/// let console = bigsql::Console::stderr();
/// let args = bigslice::SessionArgs::default();
/// let session = args.builder()?.log(console.sink()).build().await?;
/// // session.context().register_udf(...), session.context().register_table(...), ...
/// let status = bigsql::Shell::new(session.clone()).on(console).run().await?;
/// session.shutdown().await;
/// # drop(status);
/// # Ok(())
/// # }
/// ```
pub struct Shell {
    pub(crate) session: Session,
    pub(crate) options: Options,
    pub(crate) console: Console,
    pub(crate) signals: Option<Signals>,
    pub(crate) output: Output,
    pub(crate) format: Format,
    pub(crate) timer: bool,
    pub(crate) rows_max: Option<usize>,
    /// When an output file appears.
    pub(crate) appear: Appear,
    read_depth: usize,
    failed: bool,
}

impl std::fmt::Debug for Shell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shell").field("options", &self.options).finish_non_exhaustive()
    }
}

/// Whether to continue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    Continue,
    Quit,
}

/// How a shell ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// Everything was done, or the user left.
    Done,
    /// A statement of a script failed, and the error was reported.
    Failed,
    /// A signal ended it.
    Interrupted(crate::Signal),
}

impl Status {
    /// The exit code of the process.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Interrupted(signal) => signal.exit_code(),
        }
    }
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        status.exit_code().into()
    }
}

impl Shell {
    /// A shell with default options, and the environment's settings for colours and history.
    pub fn new(session: Session) -> Self {
        let surroundings = crate::environment::Surroundings::read();
        let options = Options {
            no_color: surroundings.no_color,
            columns: surroundings.columns,
            state_folder: surroundings.state_folder,
            ..Options::default()
        };
        Self::with_options(session, options)
    }

    /// A shell with these options, without the environment.
    pub fn with_options(session: Session, options: Options) -> Self {
        let on_terminal = std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
        Self {
            format: options.format,
            timer: options.timer.unwrap_or(on_terminal && !options.quiet),
            rows_max: options.rows_max,
            console: Console::new("bigsql", options.quiet, !options.no_color),
            session,
            options,
            signals: None,
            output: Output::Stdout,
            appear: Appear::AtEnd,
            read_depth: 0,
            failed: false,
        }
    }

    /// Uses the same console as the session's log, so that neither overwrites the other.
    #[must_use]
    pub fn on(mut self, console: Console) -> Self {
        self.console = console;
        self
    }

    /// The session, for adding tables.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Runs standard input as a script.
    pub(crate) async fn standard_input(&mut self) -> Result<Status> {
        self.listen(Presence::Script)?;
        let text = read_script(std::io::stdin().lock(), "standard input");
        let result = match text {
            Ok(text) => self.script(&text, Some("<standard input>")).await,
            Err(e) => Err(self.report(&e, None, Origin::default())),
        };
        self.end_of_scripts(result)
    }

    /// Runs one of several scripts; call [`Self::end_of_scripts`] after the last.
    pub(crate) async fn script(&mut self, text: &str, name: Option<&str>) -> Stopped<Flow> {
        for piece in ScriptPiece::split(text) {
            let origin = Origin { script: name, line: piece.line };
            match self.piece(&piece, origin).await {
                Ok(Flow::Continue) => {}
                Ok(Flow::Quit) => return Ok(Flow::Quit),
                Err(Stop::Failed) if self.options.keep_going => self.failed = true,
                Err(stop) => return Err(stop),
            }
        }
        Ok(Flow::Continue)
    }

    /// Runs a script from a file.
    pub(crate) async fn file(&mut self, path: &Path) -> Stopped<Flow> {
        let name = path.display().to_string();
        let opened = match path == Path::new("-") {
            true => read_script(std::io::stdin().lock(), "standard input"),
            false => match std::fs::File::open(path) {
                Ok(file) => read_script(file, &name),
                Err(e) => Err(Error::io(format!("cannot read \"{name}\""), e)),
            },
        };
        match opened {
            Ok(text) => self.script(&text, Some(&name)).await,
            Err(e) => Err(self.report(&e, None, Origin::default())),
        }
    }

    /// Completes the output after the last script, and returns the overall status.
    pub(crate) fn end_of_scripts(&mut self, result: Stopped<Flow>) -> Result<Status> {
        match result {
            Ok(_) => {
                self.output.finish()?;
                Ok(if self.failed { Status::Failed } else { Status::Done })
            }
            Err(Stop::Failed) => Ok(Status::Failed),
            Err(Stop::OutputClosed) => Ok(Status::Done),
            Err(Stop::Interrupted(signal)) => Ok(Status::Interrupted(signal)),
        }
    }

    pub(crate) fn listen(&mut self, presence: Presence) -> Result<()> {
        if self.signals.is_none() {
            let signals = Signals::listen(presence);
            self.signals = Some(signals.map_err(|e| Error::io("cannot listen for signals", e))?);
        }
        Ok(())
    }

    /// Runs one statement or command. Reports errors to the user.
    pub(crate) async fn piece(
        &mut self,
        piece: &ScriptPiece<'_>,
        origin: Origin<'_>,
    ) -> Stopped<Flow> {
        match piece.kind {
            PieceKind::Command => match command::parse(piece.text) {
                Ok(command) => self.command(command, origin).await,
                Err(e) => Err(self.report(&e, None, origin)),
            },
            PieceKind::Statement => {
                let statement = Statement {
                    text: piece.text.to_owned(),
                    line: piece.line,
                    column: piece.column,
                };
                match self.statement(&statement).await {
                    Ok(()) => Ok(Flow::Continue),
                    Err(e) => Err(self.report(&e, Some(&statement), origin)),
                }
            }
        }
    }

    /// Runs a command. Reports errors to the user.
    pub(crate) async fn command(&mut self, command: Command, origin: Origin<'_>) -> Stopped<Flow> {
        let result = match command {
            Command::Quit => return Ok(Flow::Quit),
            Command::Read(path) => return self.read(&path, origin).await,
            Command::Profile(path, statement) => {
                return self.profile(&path, statement, origin).await;
            }
            Command::Dump(path) => self.dump(&path).await,
            Command::Help => self.output.write(command::help_text().as_bytes()),
            Command::Tables => self.show_tables(),
            Command::Schema(table) => self.show_schema(&table).await,
            Command::Workers => self.show_workers(),
            Command::Timer(wanted) => {
                self.timer = wanted.unwrap_or(!self.timer);
                self.note(if self.timer { "the timer is on" } else { "the timer is off" });
                Ok(())
            }
            Command::Mode(None) => {
                self.output.write(format!("{}\n", self.format.name()).as_bytes())
            }
            Command::Mode(Some(format)) => {
                self.format = format;
                Ok(())
            }
            Command::Expanded => {
                self.format =
                    if self.format == Format::Line { Format::Table } else { Format::Line };
                self.note(&format!("the format is {}", self.format.name()));
                Ok(())
            }
            Command::MaxRows(None) => {
                let shown = self.rows_max().map_or("all".to_owned(), |rows| rows.to_string());
                self.output.write(format!("{shown}\n").as_bytes())
            }
            Command::MaxRows(Some(rows)) => {
                self.rows_max = Some(rows);
                Ok(())
            }
            Command::Output(path) => self.send_output_to(path.as_deref()),
        };
        let result = result.and_then(|()| self.output.keep());
        result.map(|()| Flow::Continue).map_err(|e| self.report(&e, None, origin))
    }

    async fn read(&mut self, path: &Path, origin: Origin<'_>) -> Stopped<Flow> {
        if self.read_depth == READ_DEPTH_MAX {
            let e = Error::command(format!("scripts are nested more than {READ_DEPTH_MAX} deep"));
            return Err(self.report(&e, None, origin));
        }
        self.read_depth += 1;
        // Boxed, because the future of a script contains those of the scripts that it reads.
        let result = Box::pin(self.file(path)).await;
        self.read_depth -= 1;
        result
    }

    /// Sends further results elsewhere.
    pub(crate) fn send_output_to(&mut self, path: Option<&Path>) -> Result<()> {
        self.output.finish()?;
        self.output = match path {
            Some(path) => Output::file(path, self.appear)?,
            None => Output::Stdout,
        };
        Ok(())
    }

    fn show_tables(&mut self) -> Result<()> {
        let tables = self.session.tables();
        self.show(&[
            ("schema", tables.iter().map(|table| table.schema.clone()).collect()),
            ("table", tables.iter().map(|table| table.name.clone()).collect()),
            ("kind", tables.iter().map(|table| table.kind.to_owned()).collect()),
        ])
    }

    async fn show_schema(&mut self, table: &str) -> Result<()> {
        let schema = self.session.table_schema(table).await?;
        let fields = schema.fields();
        let nullable = |nullable| if nullable { "yes" } else { "no" }.to_owned();
        self.show(&[
            ("column", fields.iter().map(|field| field.name().clone()).collect()),
            ("type", fields.iter().map(|field| types::sql_name(field.data_type())).collect()),
            ("nullable", fields.iter().map(|field| nullable(field.is_nullable())).collect()),
        ])
    }

    fn show_workers(&mut self) -> Result<()> {
        let machines = self.session.machines();
        if machines.is_empty() {
            self.note(&match self.session.fleet() {
                None => "no machines: queries run in this process".to_owned(),
                Some(fleet) => {
                    let max = fleet.size_max();
                    format!("no machines are running: up to {max} are started on demand")
                }
            });
            return Ok(());
        }
        let pid = |pid: Option<u32>| pid.map(|pid| pid.to_string()).unwrap_or_default();
        let address = |url: Option<&url::Url>| url.map(url::Url::to_string).unwrap_or_default();
        self.show(&[
            ("machine", machines.iter().map(|machine| machine.name.clone()).collect()),
            ("state", machines.iter().map(|machine| machine.state.to_string()).collect()),
            ("pid", machines.iter().map(|machine| pid(machine.pid)).collect()),
            ("address", machines.iter().map(|machine| address(machine.url.as_ref())).collect()),
        ])
    }

    /// Prints a table of the shell itself in the current format.
    fn show(&mut self, columns: &[(&str, Vec<String>)]) -> Result<()> {
        let columns = columns.iter().map(|(name, texts)| {
            (*name, Arc::new(StringArray::from_iter_values(texts)) as ArrayRef)
        });
        let written = RecordBatch::try_from_iter(columns).and_then(|batch| {
            let mut out = Vec::new();
            let layout = Layout { rows_max: None, types: false, ..self.layout() };
            let mut writer = format::writer(self.format, batch.schema_ref(), layout);
            writer.start(&mut out)?;
            writer.batch(&batch, &mut out)?;
            writer.finish(&mut out)?;
            Ok(out)
        });
        let out = written.map_err(|e| Error::command(e.to_string()))?;
        self.output.write(&out)
    }

    /// Prints a message about the shell itself.
    fn note(&self, text: &str) {
        self.console.say(text);
    }

    /// The layout for a writer: what it must know about its destination.
    pub(crate) fn layout(&self) -> Layout {
        let terminal = self.output.is_terminal();
        Layout {
            terminal_columns: terminal.then(|| self.terminal_columns()),
            paint: Paint::when(terminal && !self.options.no_color),
            types: terminal,
            rows_max: self.rows_max(),
        }
    }

    pub(crate) fn terminal_columns(&self) -> usize {
        let terminal = || crossterm::terminal::size().ok().map(|(columns, _)| usize::from(columns));
        self.options
            .columns
            .or_else(terminal)
            .filter(|&columns| columns > 0)
            .unwrap_or(TERMINAL_COLUMNS)
    }

    fn rows_max(&self) -> Option<usize> {
        let default = self.output.is_terminal().then_some(TERMINAL_ROWS_MAX);
        self.rows_max.or(default).filter(|&rows| rows > 0)
    }

    /// Reports an error to the user, and decides whether a script stops.
    pub(crate) fn report(
        &self,
        error: &Error,
        statement: Option<&Statement>,
        origin: Origin<'_>,
    ) -> Stop {
        match error {
            Error::OutputClosed => return Stop::OutputClosed,
            Error::Interrupted(signal) => return Stop::Interrupted(*signal),
            _ => {}
        }
        self.console.error(&report(error, statement, origin, self.console.paint()));
        Stop::Failed
    }
}

/// Why a script stops. The error has been reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    Failed,
    OutputClosed,
    Interrupted(crate::Signal),
}

/// The result type of functions that report errors to the user themselves.
pub(crate) type Stopped<T> = std::result::Result<T, Stop>;

fn read_script(source: impl Read, name: &str) -> Result<String> {
    let mut text = String::new();
    let read = source.take(SCRIPT_BYTES_MAX + 1).read_to_string(&mut text);
    read.map_err(|e| Error::io(format!("cannot read \"{name}\""), e))?;
    if text.len() as u64 > SCRIPT_BYTES_MAX {
        let most = SCRIPT_BYTES_MAX >> 20;
        return Err(Error::command(format!("\"{name}\" exceeds the script limit of {most} MiB")));
    }
    // The byte order mark that some editors write is not part of the SQL.
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}
