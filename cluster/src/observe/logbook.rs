//! The last lines of each machine, kept in the driver by the machine's name, including machines
//! that are gone: their lines are needed most.

use std::collections::{BTreeMap, VecDeque};

use parking_lot::Mutex;
use serde::Serialize;

use crate::identity::MachineName;
use crate::observe::line::{LogLine, LogSource};
use crate::observe::usage::now_ms;

/// The most lines kept of one machine...
const LINES_MAX: usize = 1000;
/// ...and their bytes together.
const BYTES_MAX: usize = 256 << 10;
/// The most bytes kept of one line.
const LINE_BYTES_MAX: usize = 4 << 10;
/// The most bytes of all machines together. Beyond that, the machine that has been silent for
/// longest is forgotten.
const BYTES_TOTAL_MAX: usize = 32 << 20;
/// The bytes of a line in addition to its text.
const LINE_OVERHEAD: usize = 48;

/// A line of a machine or about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LoggedLine {
    /// When the driver received it, in milliseconds since 1970.
    pub at_ms: u64,
    /// Its source.
    pub source: LogSource,
    /// Its text, cut if it is long.
    pub text: String,
}

#[derive(Debug, Default)]
struct Ring {
    lines: VecDeque<LoggedLine>,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Book {
    rings: BTreeMap<MachineName, Ring>,
    bytes: usize,
}

/// The last lines of all machines.
#[derive(Debug, Default)]
pub(crate) struct LogBook {
    book: Mutex<Book>,
}

impl LogBook {
    pub(crate) fn write(&self, line: &LogLine) {
        let Some(machine) = &line.machine else { return };
        let end = line.text.floor_char_boundary(LINE_BYTES_MAX);
        let text = line.text[..end].to_owned();
        let mut book = self.book.lock();
        let ring = book.rings.entry(machine.clone()).or_default();
        let before = ring.bytes;
        ring.push(LoggedLine { at_ms: now_ms(), source: line.source, text });
        let after = ring.bytes;
        book.bytes = book.bytes + after - before;
        while book.bytes > BYTES_TOTAL_MAX && book.rings.len() > 1 {
            book.forget_one();
        }
    }

    /// The last lines of `machine`, oldest first.
    pub(crate) fn lines(&self, machine: &MachineName) -> Vec<LoggedLine> {
        let book = self.book.lock();
        book.rings.get(machine).map(|ring| ring.lines.iter().cloned().collect()).unwrap_or_default()
    }

    /// The machines with lines, in the order of their names.
    pub(crate) fn machines(&self) -> Vec<MachineName> {
        let mut names: Vec<MachineName> = self.book.lock().rings.keys().cloned().collect();
        names.sort_by(|a, b| a.rank().cmp(&b.rank()));
        names
    }
}

impl Book {
    fn forget_one(&mut self) {
        let last = |ring: &Ring| ring.lines.back().map_or(0, |line| line.at_ms);
        let silent = self.rings.iter().min_by_key(|(_, ring)| last(ring));
        if let Some(ring) = silent.map(|(name, _)| name.clone()).and_then(|n| self.rings.remove(&n))
        {
            self.bytes -= ring.bytes;
        }
    }
}

impl Ring {
    fn push(&mut self, line: LoggedLine) {
        self.bytes += line.text.len() + LINE_OVERHEAD;
        self.lines.push_back(line);
        while self.lines.len() > LINES_MAX || self.bytes > BYTES_MAX {
            let Some(oldest) = self.lines.pop_front() else { break };
            self.bytes -= oldest.text.len() + LINE_OVERHEAD;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BYTES_MAX, BYTES_TOTAL_MAX, LINES_MAX, LogBook};
    use crate::identity::MachineName;
    use crate::observe::line::{LogLine, LogSource};

    fn say(book: &LogBook, machine: u64, text: String) {
        let machine = Some(MachineName::worker(machine));
        book.write(&LogLine { machine, source: LogSource::Stderr, text });
    }

    #[test]
    fn the_last_lines_are_kept_and_no_more() {
        let book = LogBook::default();
        for n in 0..3 * LINES_MAX {
            say(&book, 0, n.to_string());
        }
        let lines = book.lines(&MachineName::worker(0));
        assert_eq!(lines.len(), LINES_MAX);
        assert_eq!(lines[0].text, (2 * LINES_MAX).to_string());
        for _ in 0..LINES_MAX {
            say(&book, 1, "x".repeat(1 << 20));
        }
        let long = book.lines(&MachineName::worker(1));
        assert!(long.iter().map(|line| line.text.len()).sum::<usize>() <= BYTES_MAX);
        assert!(!long.is_empty());
    }

    #[test]
    fn many_machines_have_a_bound_together() {
        let book = LogBook::default();
        for machine in 0..1000 {
            for _ in 0..30 {
                say(&book, machine, "x".repeat(2000));
            }
        }
        assert!(book.book.lock().bytes <= BYTES_TOTAL_MAX);
        assert!(book.lines(&MachineName::worker(0)).is_empty());
        assert_eq!(book.lines(&MachineName::worker(999)).len(), 30);
    }
}
