//! The metrics of this crate on a machine: calls, and the bytes of its port.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The counters of one machine and their registry. Clones share them.
#[derive(Clone)]
pub(crate) struct Metrics {
    pub(crate) registry: Registry,
    /// Calls of the control service, by method.
    pub(crate) control_calls: IntCounterVec,
    /// Calls of services, by service and method.
    pub(crate) service_calls: IntCounterVec,
    /// Open calls of services.
    pub(crate) calls_open: IntGauge,
    pub(crate) received: IntCounter,
    pub(crate) sent: IntCounter,
}

impl Metrics {
    /// All counters at zero.
    pub(crate) fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let control = Opts::new("bigslice_control_calls_total", "Calls of the control service.");
        let control_calls = IntCounterVec::new(control, &["method"])?;
        let calls =
            Opts::new("bigslice_service_calls_total", "Calls of services that were started.");
        let service_calls = IntCounterVec::new(calls, &["service", "method"])?;
        let calls_open = IntGauge::new("bigslice_service_calls_open", "Open calls of services.")?;
        let bytes = Opts::new(
            "bigslice_port_bytes_total",
            "Bytes received and sent through the machine's port, before encryption.",
        );
        let bytes = IntCounterVec::new(bytes, &["direction"])?;
        let received = bytes.with_label_values(&["in"]);
        let sent = bytes.with_label_values(&["out"]);
        registry.register(Box::new(control_calls.clone()))?;
        registry.register(Box::new(service_calls.clone()))?;
        registry.register(Box::new(calls_open.clone()))?;
        registry.register(Box::new(bytes))?;
        Ok(Self { registry, control_calls, service_calls, calls_open, received, sent })
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// A connection whose bytes are counted.
#[derive(Debug)]
pub(crate) struct Metered<S> {
    stream: S,
    metrics: Metrics,
}

impl<S> Metered<S> {
    pub(crate) fn new(stream: S, metrics: Metrics) -> Self {
        Self { stream, metrics }
    }

    fn sent(&self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = written {
            self.metrics.sent.inc_by(*bytes as u64);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.metrics.received.inc_by((buffer.filled().len() - before) as u64);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.sent(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.sent(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
