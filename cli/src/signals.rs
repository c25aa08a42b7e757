//! Signals from outside. The first one asks the running statement to stop, and wakes
//! [`Signals::next`]. A second one, before the first is handled, ends the process immediately; the
//! leases of the machines clean up.

use std::fmt;
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// At a prompt, a second Ctrl-C within this time is part of the same gesture, because people press
/// it twice. After it, it is deliberate.
const SAME_GESTURE: Duration = Duration::from_secs(1);

/// A request to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// `SIGTERM`, the default of `kill`.
    Terminate,
    /// The terminal is gone.
    Hangup,
}

impl Signal {
    /// The exit code of a process ended by a signal, by shell convention.
    pub fn exit_code(self) -> u8 {
        128 + match self {
            Self::Interrupt => 2,
            Self::Terminate => 15,
            Self::Hangup => 1,
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "cancelled",
            Self::Terminate => "terminated",
            Self::Hangup => "the terminal was closed",
        })
    }
}

/// Signals that have not been handled yet.
#[derive(Debug)]
pub(crate) struct Signals {
    pending: watch::Sender<Option<Signal>>,
    /// Listens until dropped.
    _listener: JoinSet<()>,
}

/// Whether there is a user at a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    Prompt,
    Script,
}

impl Signals {
    /// Starts to listen. Must be called within a runtime.
    pub(crate) fn listen(presence: Presence) -> std::io::Result<Self> {
        let pending = watch::Sender::new(None);
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let mut listener = JoinSet::new();
        let sender = pending.clone();
        listener.spawn(async move {
            let mut first: Option<Instant> = None;
            loop {
                let signal = tokio::select! {
                    Some(()) = interrupt.recv() => Signal::Interrupt,
                    Some(()) = terminate.recv() => Signal::Terminate,
                    Some(()) = hangup.recv() => Signal::Hangup,
                    else => return,
                };
                let now = Instant::now();
                match sender.borrow().is_some().then_some(first).flatten() {
                    None => first = Some(now),
                    Some(first) => {
                        let again = now.duration_since(first) > SAME_GESTURE;
                        if presence == Presence::Script || again {
                            exit_now(signal);
                        }
                    }
                }
                sender.send_modify(|pending| {
                    // Termination outranks cancellation.
                    if signal != Signal::Interrupt || pending.is_none() {
                        *pending = Some(signal);
                    }
                });
            }
        });
        Ok(Self { pending, _listener: listener })
    }

    /// The pending signal, or else the next one.
    pub(crate) fn next(&self) -> impl Future<Output = Signal> + Send + use<> {
        let mut pending = self.pending.subscribe();
        async move {
            match pending.wait_for(Option::is_some).await.map(|signal| *signal) {
                Ok(Some(signal)) => signal,
                // Nothing listens any more, so no signal will come.
                _ => std::future::pending().await,
            }
        }
    }

    /// Marks a Ctrl-C as handled: the next one counts as a first one again. Other signals remain,
    /// because they end the process.
    pub(crate) fn cancelled(&self) {
        self.pending.send_modify(|pending| {
            if *pending == Some(Signal::Interrupt) {
                *pending = None;
            }
        });
    }
}

fn exit_now(signal: Signal) -> ! {
    // The editor leaves the terminal in raw mode. Otherwise this does nothing; if it fails, there
    // is nowhere to report it.
    let _ = crossterm::terminal::disable_raw_mode();
    std::process::exit(signal.exit_code().into())
}
