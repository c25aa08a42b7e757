//! The driver's end of the connection to an instance: made once, while it boots, and held for as
//! long as the machine is needed. After [`bootstrap`](super::bootstrap), it carries frames both
//! ways (a kind, a length, bytes): the enrolment's messages, the worker's output, notices of the
//! instance, its end. The other end is boot.py; [`boot`](super::boot) draws the conversation.

use std::time::Duration;

use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, split,
};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio_rustls::client::TlsStream;
use tokio_util::task::AbortOnDropHandle;

use super::value::Rebalance;
use crate::error::chain;
use crate::observe::line::LogSource;
use crate::observe::log::MachineLog;

/// The buffer of the enrolment's messages, and of the output.
const BUFFER_SIZE: usize = 64 << 10;
/// boot.py sends frames of at most this size. Larger ones are not valid.
const FRAME_SIZE_MAX: usize = 1 << 20;
/// The kind and the length.
const FRAME_HEAD_SIZE: usize = 5;
/// How long to wait for the last output of a machine that has ended.
const DRAIN_GRACE: Duration = Duration::from_secs(1);

/// The meaning of EC2's hint.
const HINT: &str = "AWS has raised the risk that it takes this machine back";

const CHANNEL: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
pub(super) const END: u8 = 3;
const NOTICE: u8 = 4;
const ENROLLED: u8 = 5;
/// The program has arrived from another machine, or has not, with a reason.
pub(super) const PROGRAM: u8 = 6;

/// How a link ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The instance reported how its worker ended, or why it never had one.
    Told(String),
    /// The connection broke. Other sources know why.
    Broken(String),
}

/// The connection to one instance. Dropping it ends the instance's worker.
#[derive(Debug)]
pub(super) struct Link {
    end: watch::Receiver<Option<End>>,
    notice: watch::Receiver<Option<String>>,
    _pump: AbortOnDropHandle<()>,
}

impl Link {
    /// Turns the connection into a link, a channel for the enrolment of the worker, and the sender
    /// that reports the enrolment.
    pub(super) fn start(
        stream: TlsStream<TcpStream>,
        log: &MachineLog,
        rebalance: Rebalance,
    ) -> (Self, DuplexStream, oneshot::Sender<()>) {
        let (near, far) = tokio::io::duplex(BUFFER_SIZE);
        let (enrolled, told) = oneshot::channel();
        let (sender, end) = watch::channel(None);
        let (noticed, notice) = watch::channel(None);
        let log = log.clone();
        let pump = Handle::current().spawn(async move {
            let (from, to) = split(stream);
            let (worker_reads, worker_writes) = split(far);
            let ended = tokio::select! {
                end = inward(from, worker_writes, &log, rebalance, &noticed) => end,
                end = outward(worker_reads, to, told) => end,
            };
            sender.send_replace(Some(ended));
            // Waiting for a notice ends with the link.
            drop(noticed);
        });
        (Self { end, notice, _pump: AbortOnDropHandle::new(pump) }, near, enrolled)
    }

    /// Returns when it has ended.
    pub(super) async fn ended(&self) -> End {
        let mut end = self.end.clone();
        match end.wait_for(Option::is_some).await {
            Ok(end) => end.clone().unwrap_or_else(|| End::Broken(String::new())),
            Err(_) => End::Broken("the connection was dropped".to_owned()),
        }
    }

    /// Returns the reason when the instance has reported that it will be taken away.
    pub(super) async fn noticed(&self) -> String {
        let mut notice = self.notice.clone();
        let told = notice.wait_for(Option::is_some).await.ok().and_then(|notice| notice.clone());
        match told {
            Some(reason) => reason,
            // It has ended instead.
            None => std::future::pending().await,
        }
    }
}

/// Reads the frames of the instance until its end.
async fn inward(
    mut from: ReadHalf<TlsStream<TcpStream>>,
    mut worker: WriteHalf<DuplexStream>,
    log: &MachineLog,
    rebalance: Rebalance,
    noticed: &watch::Sender<Option<String>>,
) -> End {
    let mut outputs = JoinSet::new();
    let mut output = |source| {
        let (near, far) = tokio::io::duplex(BUFFER_SIZE);
        outputs.spawn(log.clone().forward(source, far));
        near
    };
    let (mut stdout, mut stderr) = (output(LogSource::Stdout), output(LogSource::Stderr));
    let end = loop {
        let (kind, data) = match frame(&mut from).await {
            Ok(frame) => frame,
            Err(err) => break End::Broken(chain(&err)),
        };
        let passed = match kind {
            CHANNEL => worker.write_all(&data).await,
            STDOUT => stdout.write_all(&data).await,
            STDERR => stderr.write_all(&data).await,
            END => break End::Told(String::from_utf8_lossy(&data).into_owned()),
            NOTICE => match &data[..] {
                hint if !hint.starts_with(b"spot/") => {
                    if rebalance == Rebalance::Replace {
                        noticed.send_replace(Some(HINT.to_owned()));
                    }
                    stderr.write_all(format!("{HINT}\n").as_bytes()).await
                }
                notice => {
                    noticed.send_replace(Some(taken_back(notice)));
                    Ok(())
                }
            },
            kind => break End::Broken(format!("unexpected message kind {kind}")),
        };
        if let Err(err) = passed {
            // The reader is done: for example, the enrolment is over.
            tracing::debug!(error = %err, kind, "dropped a message of a machine");
        }
    };
    drop((stdout, stderr));
    let drained = async { while outputs.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN_GRACE, drained).await.is_err() {
        tracing::debug!("the last output of a machine was not read");
    }
    end
}

/// The text of a notice: `spot/instance-action
/// {"action":"terminate","time":"2030-01-01T00:00:00Z"}`.
fn taken_back(notice: &[u8]) -> String {
    let json = notice.iter().position(|byte| *byte == b'{').map_or(&[][..], |at| &notice[at..]);
    let told: Option<serde_json::Value> = serde_json::from_slice(json).ok();
    match told.as_ref().and_then(|told| told["time"].as_str()) {
        Some(time) => format!("AWS will take the spot instance back at {time}"),
        None => "AWS will take the spot instance back".to_owned(),
    }
}

/// The next frame: its kind and bytes.
pub(super) async fn frame(from: &mut (impl AsyncRead + Unpin)) -> std::io::Result<(u8, Vec<u8>)> {
    let mut head = [0; FRAME_HEAD_SIZE];
    from.read_exact(&mut head).await?;
    let [kind, length @ ..] = head;
    let length = u32::from_be_bytes(length) as usize;
    if length > FRAME_SIZE_MAX {
        return Err(std::io::Error::other(format!("a message of {length} bytes is too long")));
    }
    let mut data = vec![0; length];
    from.read_exact(&mut data).await?;
    Ok((kind, data))
}

/// Sends frames to the instance: the enrolment's messages, until their sender is dropped, then the
/// end of the enrolment. Ends only if sending fails.
async fn outward(
    mut worker: ReadHalf<DuplexStream>,
    mut to: WriteHalf<TlsStream<TcpStream>>,
    enrolled: oneshot::Receiver<()>,
) -> End {
    let mut data = vec![0; BUFFER_SIZE];
    let failed = loop {
        let read = match worker.read(&mut data).await {
            Ok(0) | Err(_) => break None,
            Ok(read) => read,
        };
        if let Err(err) = send(&mut to, CHANNEL, &data[..read]).await {
            break Some(err);
        }
    };
    let failed = match failed {
        None if enrolled.await.is_ok() => send(&mut to, ENROLLED, &[]).await.err(),
        failed => failed,
    };
    match failed {
        Some(err) => End::Broken(chain(&err)),
        None => std::future::pending().await,
    }
}

async fn send(to: &mut (impl AsyncWrite + Unpin), kind: u8, data: &[u8]) -> std::io::Result<()> {
    let mut frame = Vec::with_capacity(FRAME_HEAD_SIZE + data.len());
    frame.push(kind);
    // The buffer is far below 4 GiB.
    frame.extend_from_slice(&(data.len() as u32).to_be_bytes());
    frame.extend_from_slice(data);
    to.write_all(&frame).await?;
    to.flush().await
}
