//! Cleans up after a driver that was killed. Its machines end themselves, but the session's
//! security group and launch templates remain: the machines have no credentials to remove them. The
//! driver's credentials are on the driver's host.
//!
//! ```text
//!   driver ──── pipe ────► this program again, with a marker: told the session, then waits
//!      ├ has finished: says so, and the caretaker ends with it
//!      └ killed: the system closes the pipe, and the caretaker does what the driver would have
//! ```
//!
//! It finds region and credentials like the driver, in the environment that it inherits: no secret
//! is passed on. If the host goes down with the driver, `gc` is left.

use std::process::{ExitCode, Stdio};
use std::time::Duration;

use aws_sdk_ec2::Client;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use super::api;
use super::clusters::Clusters;
use super::spec::Ec2Spec;
use crate::error::{Error, Result, chain};
use crate::identity::SessionId;
use crate::systems::local::own_program;

/// The first and only argument of a caretaker.
const MARKER: &str = "--bigslice-caretaker";
/// The driver's last requests have taken effect by then.
const BREATH: Duration = Duration::from_secs(5);
/// EC2 ends machines and releases a group within a minute or two.
const PATIENCE: Duration = Duration::from_secs(5 * 60);
/// The pause between two attempts: the network may be down for a few minutes.
const PAUSE: Duration = Duration::from_secs(10);
/// No attempt is made after this. `gc` removes the rest.
const ATTEMPTS_TIME: Duration = Duration::from_secs(15 * 60);
/// The time in which a caretaker ends on request.
const END_GRACE: Duration = Duration::from_secs(2);
const TOLD_SIZE_MAX: u64 = 4 << 10;

/// The message to a caretaker.
#[derive(Debug, Serialize, Deserialize)]
struct Charge {
    session: SessionId,
    region: String,
    profile: Option<String>,
}

/// A process that waits for the end of this one. It cleans up when this is dropped.
#[derive(Debug)]
pub(super) struct Caretaker(Child);

impl Caretaker {
    /// Starts one. `None`, with a line in the log, if it cannot be started: `gc` then removes what
    /// a killed driver leaves.
    pub(super) async fn start(
        session: &SessionId,
        region: &str,
        profile: Option<&str>,
    ) -> Option<Self> {
        let (region, profile) = (region.to_owned(), profile.map(str::to_owned));
        let charge = Charge { session: session.clone(), region, profile };
        let started = Self::spawn(&charge).await;
        started
            .inspect_err(|err| tracing::info!(error = %chain(err), "could not start the caretaker"))
            .ok()
    }

    async fn spawn(charge: &Charge) -> Result<Self> {
        let attempt = "start a caretaker";
        #[expect(clippy::disallowed_methods, reason = "the process that outlives this one")]
        let mut command = Command::new(own_program().map_err(Error::io(attempt))?);
        let child = command
            .arg(MARKER)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // The driver's folder is kept, because paths of credential files may be relative to it.
            // Ctrl-C in a terminal is sent to the group of the driver.
            .process_group(0)
            .spawn();
        let mut caretaker = Self(child.map_err(Error::io(attempt))?);
        let mut line = serde_json::to_string(charge)
            .map_err(|e| Error::Options(format!("could not {attempt}: {e}")))?;
        line.push('\n');
        caretaker.say(line.as_bytes()).await.map_err(Error::io(attempt))?;
        Ok(caretaker)
    }

    async fn say(&mut self, words: &[u8]) -> std::io::Result<()> {
        match &mut self.0.stdin {
            Some(pipe) => pipe.write_all(words).await,
            None => Ok(()),
        }
    }

    /// Ends it without cleaning up: nothing is left.
    pub(super) async fn dismiss(mut self) {
        let ended = tokio::time::timeout(END_GRACE, async {
            self.say(b"done\n").await?;
            self.0.wait().await
        });
        match ended.await {
            Ok(Ok(status)) => tracing::debug!(%status, "the caretaker has ended"),
            Ok(Err(error)) => tracing::debug!(%error, "the caretaker had already ended"),
            Err(_) => tracing::info!("the caretaker is slow to end"),
        }
    }
}

/// Returns true if this process was started as a caretaker.
pub(crate) fn is_caretaker() -> bool {
    std::env::args_os().nth(1).is_some_and(|argument| argument == MARKER)
}

/// Runs a caretaker.
pub(crate) fn take_care() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return ExitCode::FAILURE };
    match runtime.block_on(wait_and_tidy()) {
        Ok(()) => ExitCode::SUCCESS,
        // There is no reader for the reason.
        Err(_) => ExitCode::FAILURE,
    }
}

async fn wait_and_tidy() -> Result<()> {
    // Ignores the signals that end the driver: a service manager signals all processes that it
    // knows of.
    let _deaf =
        [SignalKind::hangup(), SignalKind::interrupt(), SignalKind::terminate()].map(signal);
    let read = Error::io("read from the driver");
    let mut pipe = BufReader::new(tokio::io::stdin().take(TOLD_SIZE_MAX));
    let mut line = String::new();
    pipe.read_line(&mut line).await.map_err(read)?;
    let charge: Charge = serde_json::from_str(&line)
        .map_err(|e| Error::Options(format!("{MARKER} is reserved for the program itself: {e}")))?;
    // Any further message means that all is done.
    if pipe.read_u8().await.is_ok() {
        return Ok(());
    }
    tokio::time::sleep(BREATH).await;
    let Charge { session, region, profile } = charge;
    let spec = Ec2Spec { region: Some(region), profile, ..Ec2Spec::default() };
    let clusters = Clusters::new(Client::new(&api::bounded(&api::load(&spec).await)));
    let until = Instant::now() + ATTEMPTS_TIME;
    loop {
        let tidied = clusters.stop_session(&session, PATIENCE).await;
        if tidied.is_ok() || Instant::now() >= until {
            return tidied.map(drop);
        }
        tokio::time::sleep(PAUSE).await;
    }
}
