//! Forwards the output of machines, line by line, to the driver's user. A thread of its own calls
//! the sink: a user who does not read (a full pipe, a pager) stalls the machines that print, but
//! never a lease.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::thread;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{mpsc, oneshot};

use crate::error::{Error, Result};
use crate::identity::MachineName;
use crate::observe::line::{LogLine, LogSink, LogSource};
use crate::observe::logbook::LogBook;

/// The longest line. Longer ones are split, so that a machine that never ends a line needs no
/// memory here.
const LINE_SIZE_MAX: usize = 64 << 10;
/// The bytes read from a machine's output at once.
const CHUNK_SIZE: usize = 16 << 10;
/// The most lines that wait for the sink. A machine that prints faster waits.
const LINES_QUEUED_MAX: usize = 256;
/// The last lines of a machine that are kept for the error if it cannot start.
const TAIL_LINES_MAX: usize = 20;

enum Message {
    Line(LogLine),
    Flush(oneshot::Sender<()>),
}

/// The queue to the sink. Clones share it; the thread ends with the last.
#[derive(Clone)]
pub(crate) struct Log {
    queue: mpsc::Sender<Message>,
    book: Arc<LogBook>,
}

impl Log {
    pub(crate) fn new(sink: LogSink) -> Result<Self> {
        let (queue, mut lines) = mpsc::channel(LINES_QUEUED_MAX);
        thread::Builder::new()
            .name("bigslice-log".to_owned())
            .spawn(move || {
                while let Some(message) = lines.blocking_recv() {
                    match message {
                        Message::Line(line) => sink(line),
                        // Fails if the caller does not wait any more.
                        Message::Flush(done) => drop(done.send(())),
                    }
                }
            })
            .map_err(Error::io("start the thread that prints the machines' output"))?;
        Ok(Self { queue, book: Arc::default() })
    }

    /// The last lines of each machine.
    pub(crate) fn book(&self) -> &Arc<LogBook> {
        &self.book
    }

    /// Sends a line of the fleet about a machine. It is dropped if the user does not read.
    pub(crate) fn say(&self, machine: &MachineName, text: String) {
        tracing::info!(%machine, text);
        self.send(LogLine { machine: Some(machine.clone()), source: LogSource::Fleet, text });
    }

    /// Sends a line of the fleet about the whole session.
    pub(crate) fn say_of_all(&self, text: String) {
        tracing::info!(text);
        self.send(LogLine::of_fleet(text));
    }

    fn send(&self, line: LogLine) {
        self.book.write(&line);
        if self.queue.try_send(Message::Line(line)).is_err() {
            tracing::debug!("the sink is full, a line was dropped");
        }
    }

    /// Returns when the sink has received every line so far.
    pub(crate) async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.queue.send(Message::Flush(done)).await.is_ok() {
            // An error means that the thread has ended, and the lines are lost.
            flushed.await.unwrap_or_default();
        }
    }

    pub(crate) fn of(&self, machine: MachineName) -> MachineLog {
        MachineLog { log: self.clone(), machine, tail: Arc::default() }
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").finish_non_exhaustive()
    }
}

/// The output of one machine, for the [`System`](crate::System) that starts it.
#[derive(Clone, Debug)]
pub struct MachineLog {
    log: Log,
    machine: MachineName,
    tail: Arc<Mutex<VecDeque<String>>>,
}

impl MachineLog {
    /// The output of `machine`, passed to `sink`: for a system without a fleet.
    pub fn new(machine: MachineName, sink: LogSink) -> Result<Self> {
        Ok(Log::new(sink)?.of(machine))
    }

    /// Forwards `output` until its end. Waits while lines are not taken.
    pub async fn forward(self, source: LogSource, mut output: impl AsyncRead + Unpin + Send) {
        let mut line = Vec::new();
        let mut chunk = vec![0; CHUNK_SIZE];
        loop {
            let read = match output.read(&mut chunk).await {
                Ok(0) => break,
                Ok(read) => &chunk[..read],
                Err(err) => {
                    tracing::debug!(machine = %self.machine, error = %err, "the output of a machine broke off");
                    break;
                }
            };
            for part in read.split_inclusive(|byte| *byte == b'\n') {
                for piece in part.chunks(LINE_SIZE_MAX) {
                    if line.len() + piece.len() > LINE_SIZE_MAX {
                        self.line(source, &std::mem::take(&mut line)).await;
                    }
                    line.extend_from_slice(piece);
                }
                if line.ends_with(b"\n") {
                    self.line(source, &std::mem::take(&mut line)).await;
                }
            }
        }
        if !line.is_empty() {
            self.line(source, &line).await;
        }
    }

    async fn line(&self, source: LogSource, bytes: &[u8]) {
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        let text = String::from_utf8_lossy(bytes).into_owned();
        if source == LogSource::Stderr {
            let mut tail = self.tail.lock();
            if tail.len() == TAIL_LINES_MAX {
                tail.pop_front();
            }
            tail.push_back(text.clone());
        }
        let line = LogLine { machine: Some(self.machine.clone()), source, text };
        self.log.book.write(&line);
        if self.log.queue.send(Message::Line(line)).await.is_err() {
            tracing::debug!(machine = %self.machine, "the sink is gone");
        }
    }

    /// The machine's last lines on standard error.
    pub fn tail(&self) -> Vec<String> {
        self.tail.lock().iter().cloned().collect()
    }
}
