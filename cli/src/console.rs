//! Standard error: messages of the shell and its machines. A single writer ensures that a line
//! never tears another line, the progress line or the user's editing.

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bigslice::{LogLine, LogSink, LogSource};
use parking_lot::Mutex;

use crate::cell;
use crate::format::Paint;

/// Lines held back while the user edits; the oldest are dropped beyond this.
const HELD_LINES_MAX: usize = 1_000;

/// Standard error, shared by all writers.
#[derive(Clone)]
pub struct Console {
    /// The prefix of the session's own messages.
    name: &'static str,
    state: Arc<Mutex<State>>,
    terminal: bool,
    paint: Paint,
    quiet: bool,
    /// Set when a line is held back: the editor then yields the terminal.
    held: Arc<AtomicBool>,
}

#[derive(Default)]
struct State {
    /// The user is typing, so nothing may be written.
    editing: bool,
    held: VecDeque<String>,
    dropped: usize,
    /// A progress line is on the screen.
    progress: bool,
}

impl std::fmt::Debug for Console {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Console").field("quiet", &self.quiet).finish_non_exhaustive()
    }
}

impl Console {
    /// Plain standard error, with colours if it is a terminal that supports them.
    pub fn stderr() -> Self {
        Self::new("bigsql", false, !crate::environment::Surroundings::read().no_color)
    }

    /// The console of this process, named `name`. If quiet, it prints errors only.
    pub(crate) fn new(name: &'static str, quiet: bool, color: bool) -> Self {
        let terminal = io::stderr().is_terminal();
        let paint = Paint::when(terminal && color);
        Self { name, state: Arc::default(), terminal, paint, quiet, held: Arc::default() }
    }

    /// A sink for a session's log: each line is prefixed with its machine's name.
    pub fn sink(&self) -> LogSink {
        let console = self.clone();
        Arc::new(move |line: LogLine| console.log(&line))
    }

    pub(crate) fn paint(&self) -> Paint {
        self.paint
    }

    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Prints a message that `--quiet` suppresses.
    pub(crate) fn say(&self, text: &str) {
        if !self.quiet {
            self.error(text);
        }
    }

    /// Prints a message unconditionally.
    pub(crate) fn error(&self, text: &str) {
        let mut state = self.state.lock();
        if state.editing {
            if state.held.len() == HELD_LINES_MAX {
                state.held.pop_front();
                state.dropped += 1;
            }
            state.held.push_back(text.to_owned());
            self.held.store(true, Ordering::Relaxed);
            return;
        }
        Self::clear(&mut state);
        print(&format!("{text}\n"));
    }

    /// Shows a progress line, replaced by the next one. Terminals only.
    pub(crate) fn progress(&self, text: &str) {
        let mut state = self.state.lock();
        if self.terminal && !self.quiet && !state.editing {
            state.progress = true;
            print(&format!("\r\x1b[K{}", self.paint.dim(text)));
        }
    }

    /// Removes the progress line.
    pub(crate) fn end_progress(&self) {
        Self::clear(&mut self.state.lock());
    }

    /// The flag that makes the editor yield the terminal, for a line or any other reason.
    pub(crate) fn break_signal(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.held)
    }

    /// Holds lines back until [`Self::end_editing`].
    pub(crate) fn begin_editing(&self) {
        let mut state = self.state.lock();
        Self::clear(&mut state);
        state.editing = true;
    }

    /// Prints the lines held back, if any, after `make_way`, which moves the cursor below the
    /// prompt.
    pub(crate) fn end_editing(&self, make_way: &str) {
        let mut state = self.state.lock();
        state.editing = false;
        if !state.held.is_empty() {
            print(make_way);
        }
        if state.dropped > 0 {
            print(&format!("({} dropped)\n", cell::counted(state.dropped, "line")));
            state.dropped = 0;
        }
        for line in state.held.drain(..) {
            print(&format!("{line}\n"));
        }
    }

    fn log(&self, line: &LogLine) {
        let text = match self.terminal {
            true => cell::escape_line(&line.text).into_owned(),
            false => line.text.clone(),
        };
        match (&line.source, &line.machine) {
            (LogSource::Fleet, Some(machine)) => {
                self.say(&format!("{}: machine {machine} {text}", self.name));
            }
            (LogSource::Fleet, None) => self.say(&format!("{}: {text}", self.name)),
            (_, Some(machine)) => self.say(&format!("{machine}: {text}")),
            (_, None) => self.say(&text),
        }
    }

    fn clear(state: &mut State) {
        if std::mem::take(&mut state.progress) {
            print("\r\x1b[K");
        }
    }
}

fn print(text: &str) {
    // If standard error is closed, there is nowhere to report it.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}
