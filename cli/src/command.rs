//! The shell's own commands: with a dot, as in DuckDB and SQLite, or with a backslash, as in psql.
//! One table lists them all; parsing, help and completion read it.

use std::path::PathBuf;

use bigslice::did_you_mean;

use crate::error::{Error, Result};
use crate::format::Format;

/// A command of the shell.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Command {
    Help,
    Tables,
    Schema(String),
    /// `None` toggles it.
    Timer(Option<bool>),
    /// `None` shows the current format.
    Mode(Option<Format>),
    /// Toggles between table and line.
    Expanded,
    /// `None` shows the current limit; 0 is no limit.
    MaxRows(Option<usize>),
    /// `None` is standard output.
    Output(Option<PathBuf>),
    Read(PathBuf),
    Workers,
    /// Writes everything known about the session to an archive.
    Dump(PathBuf),
    /// Writes a CPU profile of a statement to a file.
    Profile(PathBuf, String),
    Quit,
}

/// A row of the command table.
pub(crate) struct Spec {
    /// The command's names; help shows the first one first.
    pub(crate) names: &'static [&'static str],
    pub(crate) argument: &'static str,
    pub(crate) help: &'static str,
    parse: fn(&str) -> Result<Command>,
}

/// All commands, in the order of `.help`.
pub(crate) const COMMANDS: &[Spec] = &[
    Spec { names: &[".help", "\\?"], argument: "", help: "show this help", parse: help },
    Spec {
        names: &[".tables", "\\dt"],
        argument: "",
        help: "list the tables of this session",
        parse: |rest| none(rest, Command::Tables),
    },
    Spec {
        names: &[".schema", "\\d"],
        argument: "TABLE",
        help: "list the columns of a table",
        parse: schema,
    },
    Spec {
        names: &[".timer", "\\timing"],
        argument: "[on|off]",
        help: "report how long statements take",
        parse: timer,
    },
    Spec {
        names: &[".mode"],
        argument: "[FORMAT]",
        help: "set the format: table, csv, tsv, json, jsonl, markdown or line",
        parse: mode,
    },
    Spec {
        names: &["\\x"],
        argument: "",
        help: "toggle between one line per value and a table",
        parse: |rest| none(rest, Command::Expanded),
    },
    Spec {
        names: &[".maxrows"],
        argument: "[N]",
        help: "set the maximum rows of a table; 0 shows all",
        parse: max_rows,
    },
    Spec {
        names: &[".output", "\\o"],
        argument: "[FILE|stdout]",
        help: "write results to a file",
        parse: output,
    },
    Spec { names: &[".read", "\\i"], argument: "FILE", help: "run a script", parse: read },
    Spec {
        names: &[".workers"],
        argument: "",
        help: "list the machines of this session",
        parse: |rest| none(rest, Command::Workers),
    },
    Spec {
        names: &[".dump"],
        argument: "FILE",
        help: "write logs, metrics and state of all machines to a zip archive",
        parse: dump,
    },
    Spec {
        names: &[".profile"],
        argument: "FILE STATEMENT",
        help: "profile a statement on all machines: a flame graph for FILE.svg, otherwise pprof",
        parse: profile,
    },
    Spec {
        names: &[".quit", ".exit", "\\q"],
        argument: "",
        help: "leave; Ctrl-D does too",
        parse: |rest| none(rest, Command::Quit),
    },
];

/// Words that are commands without a dot, so that leaving needs no manual.
pub(crate) fn plain_word(line: &str) -> Option<Command> {
    match line.trim().trim_end_matches(';').to_ascii_lowercase().as_str() {
        "quit" | "exit" => Some(Command::Quit),
        "help" => Some(Command::Help),
        _ => None,
    }
}

/// Parses a command, including its dot or backslash.
pub(crate) fn parse(text: &str) -> Result<Command> {
    let (name, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let found = COMMANDS.iter().find(|spec| spec.names.contains(&name));
    match found {
        Some(spec) => (spec.parse)(rest.trim()),
        None => Err(unknown(name)),
    }
}

fn unknown(name: &str) -> Error {
    let names = COMMANDS.iter().flat_map(|spec| spec.names).copied();
    let hint = did_you_mean(name, names);
    let hint = hint.unwrap_or_else(|| "\".help\" lists the commands".to_owned());
    Error::command_hint(format!("unknown command \"{name}\""), hint)
}

fn none(rest: &str, command: Command) -> Result<Command> {
    match rest {
        "" => Ok(command),
        extra => {
            Err(Error::command(format!("this command takes no argument, but got \"{extra}\"")))
        }
    }
}

fn help(_rest: &str) -> Result<Command> {
    Ok(Command::Help)
}

fn schema(rest: &str) -> Result<Command> {
    Ok(match rest {
        "" => Command::Tables,
        table => Command::Schema(table.to_owned()),
    })
}

fn timer(rest: &str) -> Result<Command> {
    Ok(Command::Timer(match rest {
        "" => None,
        "on" => Some(true),
        "off" => Some(false),
        other => {
            return Err(Error::command(format!(
                "invalid argument \"{other}\": write \"on\" or \"off\""
            )));
        }
    }))
}

fn mode(rest: &str) -> Result<Command> {
    Ok(Command::Mode(match rest {
        "" => None,
        name => Some(name.parse().map_err(Error::command)?),
    }))
}

fn max_rows(rest: &str) -> Result<Command> {
    Ok(Command::MaxRows(match rest {
        "" => None,
        number => Some(
            number
                .parse()
                .map_err(|_| Error::command(format!("\"{number}\" is not a number of rows")))?,
        ),
    }))
}

fn output(rest: &str) -> Result<Command> {
    Ok(Command::Output(match unquoted(rest) {
        "" | "stdout" => None,
        path => Some(path.into()),
    }))
}

fn read(rest: &str) -> Result<Command> {
    match unquoted(rest) {
        "" => Err(Error::command("a file name is missing: write \".read FILE\"")),
        path => Ok(Command::Read(path.into())),
    }
}

fn dump(rest: &str) -> Result<Command> {
    match unquoted(rest) {
        "" => Err(Error::command("a file name is missing: write \".dump FILE.zip\"")),
        path => Ok(Command::Dump(path.into())),
    }
}

fn profile(rest: &str) -> Result<Command> {
    let quote = rest.chars().next().filter(|c| matches!(c, '\'' | '"'));
    let parts = match quote {
        Some(quote) => rest[1..].split_once(quote),
        None => rest.split_once(char::is_whitespace),
    };
    match parts.map(|(path, statement)| (path, statement.trim())) {
        Some((path, statement)) if !path.is_empty() && !statement.is_empty() => {
            Ok(Command::Profile(path.into(), statement.to_owned()))
        }
        _ => Err(Error::command(
            "a file name or a statement is missing: write \".profile FILE.svg select ...\"",
        )),
    }
}

fn unquoted(text: &str) -> &str {
    ['\'', '"']
        .iter()
        .find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote))
        .unwrap_or(text)
}

/// The text of `.help`.
pub(crate) fn help_text() -> String {
    let rows: Vec<_> = COMMANDS
        .iter()
        .map(|spec| (format!("{} {}", spec.names.join("  "), spec.argument), spec.help))
        .collect();
    let width = rows.iter().map(|(left, _)| left.len()).max().unwrap_or(0);
    let mut text = String::from(
        "A statement ends with a semicolon. A file, a folder or a glob in quotes is a table:\n  \
         select * from 'flights/*.parquet' limit 10;\n\n",
    );
    for (left, right) in rows {
        text.push_str(&format!("  {left:width$}  {right}\n"));
    }
    text.push_str("\nTab completes, Ctrl-R searches the history, Ctrl-C cancels, Ctrl-D leaves.\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_have_the_names_people_know() {
        for (text, command) in [
            (".help", Command::Help),
            ("\\?", Command::Help),
            (".tables", Command::Tables),
            ("\\d", Command::Tables),
            ("\\dt", Command::Tables),
            ("\\d flights", Command::Schema("flights".into())),
            (".schema \"My Table\"", Command::Schema("\"My Table\"".into())),
            (".timer on", Command::Timer(Some(true))),
            ("\\timing", Command::Timer(None)),
            (".mode  csv", Command::Mode(Some(Format::Csv))),
            ("\\x", Command::Expanded),
            (".maxrows 7", Command::MaxRows(Some(7))),
            (".output 'a b.csv'", Command::Output(Some("a b.csv".into()))),
            (".output stdout", Command::Output(None)),
            ("\\o", Command::Output(None)),
            ("\\i x.sql", Command::Read("x.sql".into())),
            (".workers", Command::Workers),
            (".dump 'a b.zip'", Command::Dump("a b.zip".into())),
            (".profile p.svg  select 1;", Command::Profile("p.svg".into(), "select 1;".into())),
            (".profile 'a b' select 1", Command::Profile("a b".into(), "select 1".into())),
            ("\\q", Command::Quit),
            (".exit", Command::Quit),
        ] {
            assert_eq!(parse(text).unwrap(), command, "{text}");
        }
        assert_eq!(plain_word(" EXIT; "), Some(Command::Quit));
        assert_eq!(plain_word("exits"), None);
    }

    #[test]
    fn unknown_commands_suggest_the_nearest() {
        for (typed, meant) in
            [(".hlep", ".help"), (".shcema", ".schema"), ("\\timming", "\\timing")]
        {
            let hint = parse(typed).unwrap_err().hint().unwrap();
            assert_eq!(hint, format!("did you mean \"{meant}\"?"), "{typed}");
        }
        assert!(parse(".frobnicate").unwrap_err().hint().unwrap().contains(".help"));
    }

    #[test]
    fn wrong_arguments_are_refused() {
        for wrong in [
            ".timer maybe",
            ".mode xml",
            ".maxrows many",
            ".read",
            ".quit now",
            ".dump",
            ".profile x",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn help_names_every_command() {
        let text = help_text();
        for name in COMMANDS.iter().flat_map(|spec| spec.names) {
            assert!(text.contains(name), "{name}");
        }
    }
}
