//! Bootstrap of a new instance: its order (environment, list of files), its files, and its program,
//! from a machine that has it if there is one, and otherwise from the driver.

use std::collections::BTreeMap;
use std::path::Path;
use std::pin::pin;

use serde::Serialize;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio_rustls::client::TlsStream;
use url::Url;

use super::dial::Pinned;
use super::link::{self, END, PROGRAM};
use super::payload::Payload;
use super::peer_transfer::{self, To};
use super::program::Program;
use crate::error::{Error, Result, chain};
use crate::identity::Peer;
use crate::security::connector::Connector;
use crate::security::credentials::Credentials;

/// The first message.
#[derive(Serialize)]
struct Order<'a> {
    size: u64,
    env: &'a BTreeMap<String, String>,
    files: &'a [Payload],
    /// The sender of the program, as named in its certificate.
    from: Option<String>,
}

/// An instance that waits for its order.
#[derive(Debug)]
pub(super) struct Bootstrap<'a> {
    /// The connection to it...
    pub(super) stream: &'a mut TlsStream<TcpStream>,
    /// ...which is to this address...
    pub(super) address: &'a str,
    /// ...and what it has shown there.
    pub(super) pinned: Pinned,
    pub(super) env: &'a BTreeMap<String, String>,
    pub(super) files: &'a [Payload],
    pub(super) program: &'a Program,
}

impl Bootstrap<'_> {
    /// Sends everything. The machine at `peer` sends the program if it can. Returns true if it did.
    pub(super) async fn give(
        mut self,
        peer: Option<&Url>,
        credentials: &Credentials,
    ) -> Result<bool> {
        let from = peer.and_then(Connector::machine_of);
        let from = from.map(|name| Peer::worker(credentials.peer().session.clone(), name).uri());
        let order =
            Order { size: self.program.size, env: self.env, files: self.files, from: from.clone() };
        let order = serde_json::to_vec(&order)
            .map_err(|e| Error::Enrolment(format!("could not encode a machine's order: {e}")))?;
        let length = u32::try_from(order.len()).map_err(|_| {
            Error::Options("the environment of the machines is too large".to_owned())
        })?;
        let sent = async {
            self.stream.write_all(&length.to_be_bytes()).await?;
            self.stream.write_all(&order).await?;
            self.stream.flush().await
        };
        sent.await.map_err(Error::io("send the bootstrap order to a machine"))?;
        for file in self.files {
            self.send(&file.path, file.size).await?;
        }
        if let (Some(url), Some(from)) = (peer, &from) {
            match self.peer_transfer(url, credentials).await? {
                None => return Ok(true),
                Some(reason) => {
                    tracing::info!(from, reason, "the driver sends the program instead");
                }
            }
        }
        self.send(&self.program.path, self.program.size).await?;
        Ok(false)
    }

    /// Lets the machine at `url` send the program. Returns the reason if that failed.
    async fn peer_transfer(
        &mut self,
        url: &Url,
        credentials: &Credentials,
    ) -> Result<Option<String>> {
        let to = To {
            address: self.address.to_owned(),
            certificate: self.pinned.certificate.to_vec(),
            until: self.pinned.until,
            size: self.program.size,
        };
        let asked = async {
            let connector = Connector::new(credentials.clone(), Handle::current())?;
            let channel = connector.connect(url).await?;
            peer_transfer::ask(channel, to).await.map_err(|status| Error::Enrolment(chain(&status)))
        };
        let (mut asked, mut told) = (pin!(asked), pin!(link::frame(self.stream)));
        let mut refusal = None;
        // The instance's report counts; the peer's may explain it.
        let told = tokio::select! {
            told = &mut told => told,
            answer = &mut asked => {
                refusal = answer.err().map(|err| chain(&err));
                told.await
            }
        };
        match told.map_err(Error::io("read from a machine"))? {
            (PROGRAM, reason) if reason.is_empty() => Ok(None),
            (PROGRAM, reason) => {
                Ok(Some(refusal.unwrap_or_else(|| String::from_utf8_lossy(&reason).into_owned())))
            }
            (END, reason) => Err(Error::Enrolment(String::from_utf8_lossy(&reason).into_owned())),
            (kind, _) => Err(Error::Enrolment(format!("unexpected message kind {kind}"))),
        }
    }

    /// Sends the announced number of bytes.
    async fn send(&mut self, path: &Path, size: u64) -> Result<()> {
        let sent = async {
            let file = File::open(path).await?;
            let sent = tokio::io::copy(&mut file.take(size), self.stream).await?;
            self.stream.flush().await?;
            if sent == size {
                Ok(())
            } else {
                Err(std::io::Error::other("the file has become shorter"))
            }
        };
        sent.await.map_err(Error::io(format!("send \"{}\" to a machine", path.display())))
    }
}
