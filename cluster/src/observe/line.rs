//! One line of a machine's output, or of the fleet's messages.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::identity::MachineName;

/// Receives the lines. Called from one thread, one line at a time.
pub type LogSink = Arc<dyn Fn(LogLine) + Send + Sync>;

/// The source of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogSource {
    /// A machine's standard output.
    Stdout,
    /// A machine's standard error.
    Stderr,
    /// The fleet itself: lost machines, replacements, failures to start.
    Fleet,
}

impl fmt::Display for LogSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Fleet => "fleet",
        })
    }
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// The machine that the line is from or about.
    pub machine: Option<MachineName>,
    /// The output that it was printed to.
    pub source: LogSource,
    /// The line without its end. Bytes that are not UTF-8 are replaced.
    pub text: String,
}

impl LogLine {
    /// A line of the fleet about the whole session.
    pub fn of_fleet(text: impl Into<String>) -> Self {
        Self { machine: None, source: LogSource::Fleet, text: text.into() }
    }
}
