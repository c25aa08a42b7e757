//! One line of what a machine prints, or of what is said about it.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::identity::MachineName;

/// Takes the lines. Called from one thread, one line at a time.
pub type LogSink = Arc<dyn Fn(LogLine) + Send + Sync>;

/// Where a line comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogSource {
    /// A machine's standard output.
    Stdout,
    /// A machine's standard error.
    Stderr,
    /// The fleet itself: machines lost, replaced, not to be had.
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
    /// The machine that it comes from or is about.
    pub machine: Option<MachineName>,
    /// Which of its outputs.
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
