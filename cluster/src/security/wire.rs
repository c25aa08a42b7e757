//! The transport below TLS on the dialer's side: a socket, or, in tests, one with
//! [faults](crate::faults).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::faults::{Faults, Relayed};
use crate::identity::MachineName;

#[derive(Debug)]
pub(crate) enum Wire {
    Socket(TcpStream),
    Relayed(Relayed),
}

impl Wire {
    /// Connects to `address`, where `to` listens; through `faults`, if `from` has any.
    pub(crate) async fn connect(
        from: &MachineName,
        to: &MachineName,
        address: &str,
        faults: Option<&Faults>,
    ) -> io::Result<Self> {
        if let Some(faults) = faults {
            return Relayed::connect(faults, from, to, address).await.map(Self::Relayed);
        }
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        Ok(Self::Socket(tcp))
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Socket(socket) => Pin::new(socket).poll_read(cx, buffer),
            Self::Relayed(relayed) => Pin::new(relayed).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Socket(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Relayed(relayed) => Pin::new(relayed).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Socket(socket) => Pin::new(socket).poll_write_vectored(cx, slices),
            Self::Relayed(relayed) => Pin::new(relayed).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        matches!(self, Self::Socket(_))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Socket(socket) => Pin::new(socket).poll_flush(cx),
            Self::Relayed(relayed) => Pin::new(relayed).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Socket(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Relayed(relayed) => Pin::new(relayed).poll_shutdown(cx),
        }
    }
}
