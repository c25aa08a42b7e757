//! Runs one statement: from its text to the bytes of its result, with progress, cancellation and
//! timing.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arrow::array::{Array, RecordBatch, UInt64Array};
use bigslice::{Query, Session, Statement};
use futures::StreamExt;
use tokio::time::MissedTickBehavior;

use crate::cell;
use crate::console::Console;
use crate::error::{Error, Result};
use crate::format::{self, Format};
use crate::shell::Shell;
use crate::signals::Signal;

/// Queries slower than this show a progress line.
const PROGRESS_AFTER: Duration = Duration::from_secs(1);

/// Update interval of the progress line.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// Rows converted to text at once: the text of a batch may be many times its size.
const ROWS_AT_ONCE: usize = 1_024;

/// The outcome of a statement.
enum Outcome {
    /// The number of rows in the result.
    Rows(usize),
    /// The number of rows written.
    Written(u64),
    /// Nothing to count.
    Done,
}

/// Progress of a statement, for the progress line.
#[derive(Default)]
struct Progress {
    rows: AtomicUsize,
    /// The result has started to appear on the terminal, which replaces the progress line.
    on_screen: AtomicBool,
}

impl Shell {
    /// Runs a statement and writes its result. A signal cancels it.
    pub(crate) async fn statement(&mut self, statement: &Statement) -> Result<()> {
        let started = Instant::now();
        let signal = self.signals.as_ref().map(|signals| signals.next());
        let console = self.console.clone();
        let session = self.session.clone();
        let result = {
            let progress = Progress::default();
            let mut execution = pin!(self.execute(statement, &progress));
            let mut signal = pin!(wait(signal));
            let mut tick =
                tokio::time::interval_at((started + PROGRESS_AFTER).into(), PROGRESS_EVERY);
            tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
            loop {
                tokio::select! {
                    biased;
                    signal = &mut signal => break Err(Error::Interrupted(signal)),
                    result = &mut execution => break result,
                    _ = tick.tick() => show_progress(&console, &session, started, &progress),
                }
            }
            // Dropping the execution here cancels the query.
        };
        self.console.end_progress();
        match result {
            Ok(outcome) => {
                self.output.keep()?;
                if self.timer {
                    self.console.say(&timing(&outcome, started.elapsed()));
                }
                Ok(())
            }
            Err(error) => {
                self.output.take_back()?;
                Err(error)
            }
        }
    }

    async fn execute(&mut self, statement: &Statement, progress: &Progress) -> Result<Outcome> {
        let query = self.session.query(statement).await?;
        if query.returns_rows() {
            self.write_rows(query, progress).await
        } else {
            self.finish(query).await
        }
    }

    async fn write_rows(&mut self, query: Query, progress: &Progress) -> Result<Outcome> {
        let mut writer = format::writer(self.format, &query.schema(), self.layout());
        let mut stream = query.stream().await?;
        let escaped = self.output.is_terminal() && !self.format.is_for_people();
        let mut out = Vec::new();
        let wrong = |e: arrow::error::ArrowError| Error::command(e.to_string());
        writer.start(&mut out).map_err(wrong)?;
        while let Some(batch) = stream.next().await {
            let batch = batch.map_err(Error::of_stream)?;
            for piece in pieces(&batch) {
                writer.batch(&piece, &mut out).map_err(wrong)?;
                self.send(&mut out, escaped, progress)?;
            }
            progress.rows.fetch_add(batch.num_rows(), Ordering::Relaxed);
            // A result that is always ready would starve the signal and the progress line.
            tokio::task::yield_now().await;
        }
        writer.finish(&mut out).map_err(wrong)?;
        self.send(&mut out, escaped, progress)?;
        Ok(Outcome::Rows(progress.rows.load(Ordering::Relaxed)))
    }

    /// Writes out a writer's bytes. Formats for programs do not escape control characters that
    /// could harm a terminal, so they are escaped here for a terminal.
    fn send(&mut self, out: &mut Vec<u8>, escaped: bool, progress: &Progress) -> Result<()> {
        if out.is_empty() {
            return Ok(());
        }
        if self.output.is_terminal() {
            progress.on_screen.store(true, Ordering::Relaxed);
            self.console.end_progress();
        }
        if escaped {
            let tabs = matches!(self.format, Format::Tsv);
            let text = String::from_utf8_lossy(out);
            let lines = text.split_inclusive('\n').map(|line| match tabs {
                true => line.split('\t').map(cell::escape).collect::<Vec<_>>().join("\t"),
                false => cell::escape(line).into_owned(),
            });
            let text: String = lines.collect();
            self.output.write(text.as_bytes())?;
        } else {
            self.output.write(out)?;
        }
        out.clear();
        Ok(())
    }

    /// Runs a statement without result rows.
    async fn finish(&mut self, query: Query) -> Result<Outcome> {
        let mut stream = query.stream().await?;
        let mut written = None;
        while let Some(batch) = stream.next().await {
            let batch = batch.map_err(Error::of_stream)?;
            if let Some(count) = count_in(&batch) {
                written = Some(written.unwrap_or(0) + count);
            }
        }
        let outcome = written.map_or(Outcome::Done, Outcome::Written);
        // On a terminal, the timing line says this already.
        let said = self.timer && self.output.is_terminal();
        if self.format.is_for_people() && !self.console.is_quiet() && !said {
            self.output.write(format!("{}\n", words(&outcome)).as_bytes())?;
        }
        Ok(outcome)
    }
}

/// The signal, or a pending future if there is none.
async fn wait(signal: Option<impl Future<Output = Signal>>) -> Signal {
    match signal {
        Some(signal) => signal.await,
        None => std::future::pending().await,
    }
}

fn pieces(batch: &RecordBatch) -> impl Iterator<Item = RecordBatch> + '_ {
    (0..batch.num_rows())
        .step_by(ROWS_AT_ONCE)
        .map(|start| batch.slice(start, ROWS_AT_ONCE.min(batch.num_rows() - start)))
}

/// The number of rows that a writing statement reports.
fn count_in(batch: &RecordBatch) -> Option<u64> {
    if batch.num_columns() != 1 {
        return None;
    }
    let counts = batch.column(0).as_any().downcast_ref::<UInt64Array>()?;
    (!counts.is_empty()).then(|| counts.iter().flatten().sum())
}

fn words(outcome: &Outcome) -> String {
    let written = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    match outcome {
        Outcome::Rows(rows) => cell::counted(*rows, "row"),
        Outcome::Written(rows) => format!("{} written", cell::counted(written(*rows), "row")),
        Outcome::Done => "done".to_owned(),
    }
}

fn timing(outcome: &Outcome, elapsed: Duration) -> String {
    format!("{} in {:.3} s", words(outcome), elapsed.as_secs_f64())
}

fn show_progress(console: &Console, session: &Session, started: Instant, progress: &Progress) {
    if progress.on_screen.load(Ordering::Relaxed) {
        return;
    }
    let seconds = started.elapsed().as_secs_f64();
    console.progress(&match (progress.rows.load(Ordering::Relaxed), waiting(session)) {
        (0, None) => format!("{seconds:.1} s"),
        (0, Some(waiting)) => format!("{waiting} ({seconds:.1} s)"),
        (rows, _) => format!("{seconds:.1} s, {}", cell::counted(rows, "row")),
    });
}

/// The text about waiting, if machines are wanted and none is running.
fn waiting(session: &Session) -> Option<String> {
    let stats = session.fleet()?.stats();
    let waits = stats.running == 0 && stats.wanted > 0;
    waits.then(|| format!("waiting for machines 0/{}", stats.wanted))
}
