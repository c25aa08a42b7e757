//! The history of a session: the statements and runs in progress, the last ones that ended, and
//! counts of all. Written by [`run`](crate::query::run) and [`Session::run`](crate::Session::run),
//! shown by the session's [`Inspector`].

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bigslice_cluster::prometheus::{self, IntCounterVec, IntGaugeVec, Opts};
use bigslice_cluster::{Inspector, Page, PageKind};
use parking_lot::Mutex;

use crate::base::config::Config;
use crate::base::redact;
use crate::error::{Error, Result};
use crate::metrics::Metrics;

/// Entries that are kept after they ended.
const ENDED_MAX: usize = 200;
/// Longer statements are cut off.
const TEXT_BYTES_MAX: usize = 2000;

/// The kind of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An SQL statement.
    Query,
    /// A slice.
    Run,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Run => "run",
        }
    }
}

#[derive(Debug)]
struct Entry {
    kind: Kind,
    text: String,
    began: Instant,
    /// Its duration and outcome, once it has ended.
    ended: Option<(Duration, String)>,
}

#[derive(Debug, Default)]
struct Book {
    next: u64,
    running: BTreeMap<u64, Entry>,
    ended: VecDeque<(u64, Entry)>,
}

/// The history of one session.
pub(crate) struct Journal {
    book: Mutex<Book>,
    running: IntGaugeVec,
    ended: IntCounterVec,
    counters: IntCounterVec,
}

impl Journal {
    /// An empty history, which `inspector` shows.
    pub(crate) fn new(inspector: &Inspector, config: &Config) -> Result<Arc<Self>> {
        let journal = Self::counted(inspector.registry());
        let journal = Arc::new(journal.map_err(|e| Error::internal(e.to_string()))?);
        let shown = Arc::clone(&journal);
        let title = "statements and runs: those in progress and the last that ended";
        inspector.add_page(Page::new("queries", title, PageKind::Text, move || shown.text()));
        let settings = settings(config);
        let title = "the settings of the session";
        inspector.add_page(Page::new("settings", title, PageKind::Text, move || settings.clone()));
        Ok(journal)
    }

    fn counted(registry: &prometheus::Registry) -> prometheus::Result<Self> {
        let running = Opts::new("bigslice_running", "Statements and runs that have not ended.");
        let running = IntGaugeVec::new(running, &["kind"])?;
        let ended = Opts::new("bigslice_ended_total", "Statements and runs by how they ended.");
        let ended = IntCounterVec::new(ended, &["kind", "outcome"])?;
        let counters = Opts::new("bigslice_user_count_total", "Counters of the closures of runs.");
        let counters = IntCounterVec::new(counters, &["counter"])?;
        registry.register(Box::new(running.clone()))?;
        registry.register(Box::new(ended.clone()))?;
        registry.register(Box::new(counters.clone()))?;
        Ok(Self { book: Mutex::default(), running, ended, counters })
    }

    /// Adds an entry that starts now. It counts as cancelled unless [`Running::end`] is called.
    pub(crate) fn begin(self: &Arc<Self>, kind: Kind, text: &str) -> Running {
        let mut text = redact::for_others(text);
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        let mut book = self.book.lock();
        let number = book.next;
        book.next += 1;
        book.running.insert(number, Entry { kind, text, began: Instant::now(), ended: None });
        self.running.with_label_values(&[kind.name()]).inc();
        Running { journal: Arc::clone(self), number, outcome: "cancelled", detail: String::new() }
    }

    fn end(&self, number: u64, outcome: &'static str, detail: &str) {
        let mut book = self.book.lock();
        let Some(mut entry) = book.running.remove(&number) else { return };
        self.running.with_label_values(&[entry.kind.name()]).dec();
        self.ended.with_label_values(&[entry.kind.name(), outcome]).inc();
        entry.ended = Some((entry.began.elapsed(), format!("{outcome}{detail}")));
        if book.ended.len() == ENDED_MAX {
            book.ended.pop_front();
        }
        book.ended.push_back((number, entry));
    }

    /// Adds the counters of a run's closures.
    pub(crate) fn count(&self, metrics: &Metrics) {
        for (name, n) in metrics.counters() {
            self.counters.with_label_values(&[name]).inc_by(n);
        }
    }

    /// The history as text: entries in progress, then those that ended, latest first.
    fn text(&self) -> String {
        let book = self.book.lock();
        let mut text = format!("{} running\n", book.running.len());
        let ended = book.ended.iter().rev().map(|(number, entry)| (number, entry));
        for (number, entry) in book.running.iter().chain(ended) {
            let (lasted, state) = match &entry.ended {
                None => (entry.began.elapsed(), "running"),
                Some((lasted, how)) => (*lasted, how.as_str()),
            };
            let (kind, state) = (entry.kind.name(), state.replace('\n', " "));
            let what = entry.text.replace('\n', " ");
            let seconds = lasted.as_secs_f64();
            // Writing to a string does not fail.
            let _ = writeln!(text, "{number:6} {kind:5} {seconds:10.3} s  {state}: {what}");
        }
        text
    }
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").finish_non_exhaustive()
    }
}

/// An entry in progress.
#[derive(Debug)]
pub(crate) struct Running {
    journal: Arc<Journal>,
    number: u64,
    outcome: &'static str,
    detail: String,
}

impl Running {
    /// Records the outcome.
    pub(crate) fn end<T>(mut self, result: &Result<T>) {
        (self.outcome, self.detail) = match result {
            Ok(_) => ("done", String::new()),
            Err(error) => ("failed", format!(" ({error})")),
        };
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.journal.end(self.number, self.outcome, &self.detail);
    }
}

/// The settings of a session, with secrets masked.
fn settings(config: &Config) -> String {
    let shown = |key: &str, value: String| match redact::names_secret(key) {
        true => format!("{key} = ***\n"),
        false => format!("{key} = {value}\n"),
    };
    let or_default = |n: Option<String>| n.unwrap_or_else(|| "default".to_owned());
    let mut text = shown("system", config.system.to_string());
    text += &shown("memory-limit", or_default(config.memory_limit.map(|n| n.to_string())));
    text += &shown("partitions", or_default(config.partitions.map(|n| n.to_string())));
    text += &shown("head-bytes", config.head_bytes.to_string());
    text += &shown("temp-root", config.temp_root.display().to_string());
    for (key, value) in &config.settings {
        text += &shown(key, value.clone());
    }
    text
}
