//! Enrolment: how a worker joins a session, over a channel that only the two of them hold (an
//! inherited pipe, a pipe within the process):
//!
//! ```text
//!   driver                                      worker
//!     | -- Offer: session, name, root, lease -->  |
//!     |                                           |  makes its key, binds its port
//!     | <-- Application: address, request ------  |
//!     |  signs a certificate for that name        |
//!     | -- Admission: certificate ------------->  |
//!     |                                           |  sets up its services
//!     | <-- Outcome: ready, or why not ---------  |
//! ```
//!
//! [`Enroler`] is the driver's half, [`Entrant`](crate::worker::Entrant) the worker's.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use url::Url;

use crate::error::{Error, Result, chain};
use crate::identity::{MachineName, Peer, SessionId};
use crate::requirements::Requirements;
use crate::security::authority::{Authority, Validity};

/// The version of the messages below.
const PROTOCOL: u32 = 3;
/// The largest message, which limits what the other side can make us allocate. Settings are the
/// largest part.
const FRAME_SIZE_MAX: usize = 16 << 20;
/// The length before each message, little-endian.
const LENGTH_SIZE: usize = 4;

/// The driver's first message to a new worker.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Offer {
    protocol: u32,
    pub(crate) session: SessionId,
    pub(crate) machine: MachineName,
    pub(crate) root: Vec<u8>,
    pub(crate) lease: Duration,
    /// The address that the machine binds; port 0 is any free port.
    pub(crate) bind: SocketAddrV4,
    pub(crate) settings: Vec<u8>,
    pub(crate) requirements: Requirements,
}

/// The worker's certificate request and its address.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Application {
    pub(crate) address: SocketAddr,
    pub(crate) pid: u32,
    pub(crate) request: Vec<u8>,
}

/// The worker's certificate.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Admission {
    pub(crate) certificate: Vec<u8>,
}

/// The worker is ready, or the reason why it never will be.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) failure: Option<String>,
}

impl Outcome {
    pub(crate) fn of<T>(result: &Result<T>) -> Self {
        let failure = result.as_ref().err().map(|err| match err {
            Error::Start { reason, .. } => reason.clone(),
            err => chain(err),
        });
        Self { failure }
    }
}

/// The address of an enrolled machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolled {
    /// Its URL, with its name as the path.
    pub url: Url,
    /// Its process id, if it is a process of its own.
    pub pid: Option<u32>,
}

/// Enrols machines in one session.
#[derive(Debug)]
pub struct Enroler {
    /// Signs the machines' certificates.
    pub authority: Arc<Authority>,
    /// How long they are valid before they must be renewed.
    pub certificate_life: Duration,
    /// How long a machine lives without contact to the driver.
    pub lease: Duration,
    /// Passed to the machines' services unchanged.
    pub settings: Bytes,
    /// What the driver requires of their programs, with the services to set up.
    pub requirements: Requirements,
}

impl Enroler {
    /// Enrols the machine at the other end of `stream` under the name `machine`. The caller
    /// guarantees that nothing else is there.
    pub async fn enrol<S>(&self, stream: &mut S, machine: &MachineName) -> Result<Enrolled>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        self.enrol_at(stream, machine, SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).await
    }

    /// Like [`enrol`](Self::enrol), for a machine that serves at `bind`, an address of its own.
    pub async fn enrol_at<S>(
        &self,
        stream: &mut S,
        machine: &MachineName,
        bind: SocketAddrV4,
    ) -> Result<Enrolled>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let session = self.authority.session();
        let offer = Offer {
            protocol: PROTOCOL,
            session: session.clone(),
            machine: machine.clone(),
            root: self.authority.root().to_vec(),
            lease: self.lease,
            bind,
            settings: self.settings.to_vec(),
            requirements: self.requirements.clone(),
        };
        send(stream, &offer).await?;
        let application: Application = receive(stream).await?;
        let peer = Peer::worker(session.clone(), machine.clone());
        let validity = Validity::lasting(self.certificate_life);
        let certificate = self.authority.sign(&application.request, &peer, validity)?;
        send(stream, &Admission { certificate: certificate.to_vec() }).await?;
        let outcome: Outcome = receive(stream).await?;
        match outcome.failure {
            None => Ok(Enrolled {
                url: machine_url(application.address, machine)?,
                pid: Some(application.pid),
            }),
            Some(reason) => Err(Error::Start { machine: machine.clone(), reason }),
        }
    }
}

/// The worker's first step: receives its identity.
pub(crate) async fn receive_offer<S>(stream: &mut S) -> Result<Offer>
where
    S: AsyncRead + Unpin + Send,
{
    let offer: Offer = receive(stream).await?;
    if offer.protocol != PROTOCOL {
        return Err(Error::Enrolment(format!(
            "the driver uses version {} and this worker version {PROTOCOL}",
            offer.protocol
        )));
    }
    Ok(offer)
}

/// The address under which a machine is known.
pub(crate) fn machine_url(address: SocketAddr, machine: &MachineName) -> Result<Url> {
    Url::parse(&format!("https://{address}/{machine}"))
        .map_err(|e| Error::Identity(format!("\"{address}\" is not the address of a machine: {e}")))
}

/// One message as it is sent: its length, then postcard.
pub(crate) fn encode<M: Serialize>(message: &M) -> Result<Vec<u8>> {
    let mut frame = postcard::to_extend(message, vec![0; LENGTH_SIZE])
        .map_err(|e| Error::Enrolment(format!("could not encode a message: {e}")))?;
    let size = frame.len() - LENGTH_SIZE;
    let length = u32::try_from(size)
        .ok()
        .filter(|_| size <= FRAME_SIZE_MAX)
        .ok_or_else(|| Error::Enrolment(format!("a message of {size} bytes is too long")))?;
    frame[..LENGTH_SIZE].copy_from_slice(&length.to_le_bytes());
    Ok(frame)
}

/// Sends one message.
pub(crate) async fn send<S, M>(stream: &mut S, message: &M) -> Result<()>
where
    S: AsyncWrite + Unpin + Send,
    M: Serialize + Sync,
{
    let frame = encode(message)?;
    let sent = async {
        stream.write_all(&frame).await?;
        stream.flush().await
    };
    sent.await.map_err(|e| gone(&e))
}

fn gone(err: &io::Error) -> Error {
    Error::Enrolment(format!("the other side is gone: {err}"))
}

/// Receives one message.
pub(crate) async fn receive<S, M>(stream: &mut S) -> Result<M>
where
    S: AsyncRead + Unpin + Send,
    M: DeserializeOwned,
{
    let mut length = [0; LENGTH_SIZE];
    stream.read_exact(&mut length).await.map_err(|e| gone(&e))?;
    let length = u32::from_le_bytes(length) as usize;
    if length > FRAME_SIZE_MAX {
        return Err(Error::Enrolment(format!("a message of {length} bytes is too long")));
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await.map_err(|e| gone(&e))?;
    postcard::from_bytes(&bytes)
        .map_err(|e| Error::Enrolment(format!("could not decode a message: {e}")))
}
