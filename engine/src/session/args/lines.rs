//! Prints the output of machines, and messages of a session, to standard error, for programs that
//! take their session from the arguments and have no log of their own.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;

use bigslice_cluster::{LogLine, LogSink, LogSource};

use crate::render::cell;

/// Prints each line, prefixed with the name of its machine.
pub(super) fn to_stderr() -> LogSink {
    let terminal = io::stderr().is_terminal();
    Arc::new(move |line: LogLine| {
        let mut text = to_text(&line);
        if terminal {
            text = cell::escape_line(&text).into_owned();
        }
        // If standard error is closed, there is nowhere to report it.
        let _ = io::stderr().lock().write_all(format!("{text}\n").as_bytes());
    })
}

fn to_text(line: &LogLine) -> String {
    match (&line.source, &line.machine) {
        (LogSource::Fleet, Some(machine)) => format!("machine {machine} {}", line.text),
        (_, Some(machine)) => format!("{machine}: {}", line.text),
        (_, None) => line.text.clone(),
    }
}
