//! A connection with faults: a pipe on the dialer's side, a socket on the other, and between them a
//! task that carries bytes both ways, delayed, changed or not at all.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use fastrand::Rng;
use futures::FutureExt;
use futures::future::FusedFuture;
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex,
};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::faults::controller::{Faults, Way};
use crate::faults::schedule::Fault;
use crate::faults::timeline::Timeline;
use crate::identity::MachineName;

/// The capacity of the pipe on the dialer's side.
const PIPE_SIZE: usize = 64 << 10;
/// The bytes read at once: a TLS record.
const CHUNK_SIZE: usize = 16 << 10;
/// The most chunks under way in one direction. With a long delay they limit the throughput.
const CHUNKS_MAX: usize = 256;
/// After the dialer drops the connection, bytes under way may still arrive for this long.
const LINGER: Duration = Duration::from_secs(1);

/// The dialer's end.
#[derive(Debug)]
pub(crate) struct Relayed {
    pipe: DuplexStream,
    /// Set if the connection was reset and did not end in order.
    reset: Arc<AtomicBool>,
    _held: DropGuard,
}

impl Relayed {
    /// Connects `from` to `to`, which listens at `address`.
    pub(crate) async fn connect(
        faults: &Faults,
        from: &MachineName,
        to: &MachineName,
        address: &str,
    ) -> io::Result<Self> {
        let out = Way { from: from.clone(), to: to.clone() };
        let back = out.back();
        faults.passable(&out).await;
        faults.passable(&back).await;
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        let connection = faults.connected(&out);
        let direction = |way| Direction { faults: faults.clone(), way, connection };
        let relay = Relay { out: direction(out), back: direction(back) };
        let (pipe, far) = duplex(PIPE_SIZE);
        let reset = Arc::new(AtomicBool::new(false));
        let held = CancellationToken::new();
        let (broken, free) = (Arc::clone(&reset), held.clone());
        // Ends with the connection, which holds the token.
        Handle::current().spawn(async move {
            tokio::select! {
                () = relay.run(tcp, far, &broken) => {}
                () = free.cancelled().then(|()| tokio::time::sleep(LINGER)) => {}
            }
        });
        Ok(Self { pipe, reset, _held: held.drop_guard() })
    }
}

impl AsyncRead for Relayed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.pipe).poll_read(cx, buffer);
        let ended = matches!(read, Poll::Ready(Ok(()))) && buffer.filled().len() == before;
        if ended && buffer.remaining() > 0 && self.reset.load(Ordering::Acquire) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        read
    }
}

impl AsyncWrite for Relayed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.pipe).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}

/// Both directions of a connection.
struct Relay {
    out: Direction,
    back: Direction,
}

impl Relay {
    async fn run(self, mut tcp: TcpStream, far: DuplexStream, broken: &AtomicBool) {
        let (from_dialer, to_dialer) = tokio::io::split(far);
        let (from_machine, to_machine) = tcp.split();
        let carried = tokio::try_join!(
            self.out.carry(from_dialer, to_machine),
            self.back.carry(from_machine, to_dialer),
        );
        if carried.is_err() {
            // Set before the pipe's end is dropped, which the dialer notices.
            broken.store(true, Ordering::Release);
            if let Err(err) = tcp.set_zero_linger() {
                tracing::debug!(error = %err, "could not reset a connection, which ends in order");
            }
        }
    }
}

/// The connection must be reset.
struct Reset;

/// How a direction ended.
enum Given {
    /// Its source has ended, or its reader is gone.
    Ended,
    /// It was truncated.
    Truncated,
}

/// A chunk of bytes, and its earliest time of arrival.
type Chunk = (Instant, Bytes);

/// One direction of a connection.
struct Direction {
    faults: Faults,
    way: Way,
    connection: u64,
}

impl Direction {
    /// Carries bytes until both directions end.
    async fn carry(
        &self,
        from: impl AsyncRead + Unpin,
        to: impl AsyncWrite + Unpin,
    ) -> Result<(), Reset> {
        let rng = self.faults.draws(&self.way, self.connection);
        let (queue, chunks) = mpsc::channel(CHUNKS_MAX);
        let mut take = pin!(self.take(from, queue, rng.clone()).fuse());
        let mut give = pin!(self.give(chunks, to, Timeline::new(rng)));
        // Both are polled until the writer is done: bytes that were read are written before the
        // end.
        let given = poll_fn(|cx| {
            let _ = take.as_mut().poll(cx);
            give.as_mut().poll(cx)
        });
        match given.await? {
            Given::Ended => {}
            // Bytes that are still sent are read and dropped.
            Given::Truncated if !take.is_terminated() => take.await,
            Given::Truncated => {}
        }
        Ok(())
    }

    /// Reads all bytes, as fast as they are written on.
    async fn take(
        &self,
        mut from: impl AsyncRead + Unpin,
        queue: mpsc::Sender<Chunk>,
        mut rng: Rng,
    ) {
        let mut buffer = BytesMut::with_capacity(CHUNK_SIZE);
        while let Ok(1..) = from.read_buf(&mut buffer).await {
            let schedule = self.faults.schedule(&self.way);
            let late = schedule.delay + schedule.jitter.mul_f64(rng.f64());
            if !late.is_zero() {
                self.faults.delayed();
            }
            // Without a reader if the direction was truncated.
            drop(queue.send((Instant::now() + late, buffer.split().freeze())).await);
            buffer.reserve(CHUNK_SIZE);
        }
    }

    /// Writes chunks when they are due, with the faults of its timeline.
    async fn give(
        &self,
        mut chunks: mpsc::Receiver<Chunk>,
        mut to: impl AsyncWrite + Unpin,
        mut timeline: Timeline,
    ) -> Result<Given, Reset> {
        let mut seen = None;
        let mut free = Instant::now();
        while let Some((due, mut rest)) = chunks.recv().await {
            tokio::time::sleep_until(due.max(free)).await;
            self.faults.passable(&self.way).await;
            let version = self.faults.version();
            let schedule = self.faults.schedule(&self.way);
            if seen.replace(version) != Some(version) {
                timeline.set(&schedule.faults);
            }
            if let Some(pace) = schedule.bytes_per_second {
                let pace = u32::try_from(pace.max(1)).unwrap_or(u32::MAX);
                let size = u32::try_from(rest.len()).unwrap_or(u32::MAX);
                free = Instant::now() + Duration::from_secs(1) * size / pace;
                self.faults.delayed();
            }
            loop {
                let (unharmed, due) = timeline.advance(rest.len());
                if to.write_all(&rest.split_to(unharmed)).await.is_err() {
                    return Ok(Given::Ended);
                }
                let Some(due) = due else { break };
                self.faults.happened(&self.way, self.connection, &due);
                let span = usize::try_from(due.span).unwrap_or(usize::MAX).min(rest.len());
                match due.fault {
                    Fault::Reset => return Err(Reset),
                    Fault::Truncate => {
                        // An error means that the other side has closed it.
                        drop(to.shutdown().await);
                        return Ok(Given::Truncated);
                    }
                    Fault::Drop => drop(rest.split_to(span)),
                    Fault::Duplicate => {
                        if to.write_all(&rest[..span]).await.is_err() {
                            return Ok(Given::Ended);
                        }
                    }
                    Fault::Flip => {
                        let mut flipped = BytesMut::from(&rest[..]);
                        flipped[0] ^= 1 << (due.span % 8);
                        rest = flipped.freeze();
                    }
                }
            }
        }
        drop(to.shutdown().await);
        Ok(Given::Ended)
    }
}
