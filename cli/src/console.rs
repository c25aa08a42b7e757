//! Standard error: what the shell and its machines have to say besides results. One place writes
//! it, so that a line never tears another one, the progress line or the user's editing.

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bigslice::{LogLine, LogSink, LogSource};
use parking_lot::Mutex;

use crate::cell;
use crate::format::Paint;

/// Lines that are held while the user edits; the oldest go first when there are more.
const HELD_LINES_MAX: usize = 1_000;

/// Standard error, shared by all who write there.
#[derive(Clone)]
pub struct Console {
    /// What stands before what the session says of itself.
    name: &'static str,
    state: Arc<Mutex<State>>,
    terminal: bool,
    paint: Paint,
    quiet: bool,
    /// Set when a line is held back: the editor looks at it and makes way.
    held: Arc<AtomicBool>,
}

#[derive(Default)]
struct State {
    /// The user is typing: nothing may be written over that.
    editing: bool,
    held: VecDeque<String>,
    dropped: usize,
    /// A progress line stands on the screen.
    progress: bool,
}

impl std::fmt::Debug for Console {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Console").field("quiet", &self.quiet).finish_non_exhaustive()
    }
}

impl Console {
    /// Standard error as it is, in colours if it is a terminal that has them.
    pub fn stderr() -> Self {
        Self::new("bigsql", false, !crate::environment::Surroundings::read().no_color)
    }

    /// The console of this process, which is called `name`. A quiet one says nothing but errors.
    pub(crate) fn new(name: &'static str, quiet: bool, color: bool) -> Self {
        let terminal = io::stderr().is_terminal();
        let paint = Paint::when(terminal && color);
        Self { name, state: Arc::default(), terminal, paint, quiet, held: Arc::default() }
    }

    /// Where a session can send its log: each line of a machine with its name before it.
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

    /// Says something that a script may want to do without.
    pub(crate) fn say(&self, text: &str) {
        if !self.quiet {
            self.error(text);
        }
    }

    /// Says something that must be said.
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

    /// Shows a line that the next one replaces, on a terminal only.
    pub(crate) fn progress(&self, text: &str) {
        let mut state = self.state.lock();
        if self.terminal && !self.quiet && !state.editing {
            state.progress = true;
            print(&format!("\r\x1b[K{}", self.paint.dim(text)));
        }
    }

    /// Takes the progress line away.
    pub(crate) fn end_progress(&self) {
        Self::clear(&mut self.state.lock());
    }

    /// What the editor looks at to make way for a line, or for whatever else its user must see.
    pub(crate) fn break_signal(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.held)
    }

    /// From now on lines are held back, until [`Self::end_editing`].
    pub(crate) fn begin_editing(&self) {
        let mut state = self.state.lock();
        Self::clear(&mut state);
        state.editing = true;
    }

    /// Shows what was held back, if anything was, after writing what moves the prompt out of its
    /// way.
    pub(crate) fn end_editing(&self, make_way: &str) {
        let mut state = self.state.lock();
        state.editing = false;
        if !state.held.is_empty() {
            print(make_way);
        }
        if state.dropped > 0 {
            print(&format!("({} were left out)\n", cell::counted(state.dropped, "line")));
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
    // If standard error is closed there is no place left to say so.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}
