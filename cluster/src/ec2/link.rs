//! The driver's end of the connection to an instance: made once, while it boots, and held for as
//! long as the machine is wanted. The program goes over it, then frames both ways (a kind, a length,
//! bytes): the enrolment's messages, the worker's output, notices of the instance, its end. The
//! other end is boot.py; [`boot`](super::boot) draws the conversation.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::TLS13;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use serde::Serialize;
use tokio::fs::File;
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, split,
};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::task::AbortOnDropHandle;

use super::boot::Secret;
use super::freight::Freight;
use super::program::Program;
use super::spec::{Ec2Spec, Rebalance};
use crate::credentials::Credentials;
use crate::error::{Error, Result, chain};
use crate::log::{LogSource, MachineLog};

/// TCP and TLS together; an instance that is up answers far faster.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two tries while the instance boots.
const CONNECT_PAUSE: Duration = Duration::from_millis(500);
/// The enrolment's messages pass through a buffer of this size, and so does output.
const BUFFER_SIZE: usize = 64 << 10;
/// boot.py sends frames of at most this size; larger ones are not from it.
const FRAME_SIZE_MAX: usize = 1 << 20;
/// Kind and length.
const FRAME_HEAD_SIZE: usize = 5;
/// The last output of a machine that has ended is waited for.
const DRAIN_GRACE: Duration = Duration::from_secs(1);

/// What EC2's hint means.
const HINT: &str = "AWS is more likely than before to take this machine back";

const CHANNEL: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const END: u8 = 3;
const NOTICE: u8 = 4;
const ENROLLED: u8 = 5;

/// How a link ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The instance said how its worker ended, or why it never had one.
    Told(String),
    /// The connection broke; what that means is for others to say.
    Broken(String),
}

/// Sent before the files and the program.
#[derive(Serialize)]
struct Order<'a> {
    size: u64,
    env: &'a BTreeMap<String, String>,
    files: &'a [Freight],
}

/// The connection to one instance. Dropping it ends the instance's worker.
#[derive(Debug)]
pub(super) struct Link {
    end: watch::Receiver<Option<End>>,
    notice: watch::Receiver<Option<String>>,
    _pump: AbortOnDropHandle<()>,
}

impl Link {
    /// Turns the connection into a link, a channel on which the worker can be enrolled, and the
    /// means to say that it is.
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
            // Whoever waits for a notice waits for as long as for the end, no longer.
            drop(noticed);
        });
        (Self { end, notice, _pump: AbortOnDropHandle::new(pump) }, near, enrolled)
    }

    /// Returns when it has ended.
    pub(super) async fn ended(&self) -> End {
        let mut end = self.end.clone();
        match end.wait_for(Option::is_some).await {
            Ok(end) => end.clone().unwrap_or_else(|| End::Broken(String::new())),
            Err(_) => End::Broken("nobody holds the connection any more".to_owned()),
        }
    }

    /// Returns when the instance has said that it will be taken away, with the reason.
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

/// Dials the instance until it answers, which the caller bounds. Somebody who answers without the
/// launch's certificate is not dialed again.
pub(super) async fn dial(
    address: &str,
    secret: &Secret,
    credentials: &Credentials,
) -> Result<TlsStream<TcpStream>> {
    let tls = TlsConnector::from(client_config(secret, credentials)?);
    loop {
        let name = ServerName::try_from("enrolment.bigslice.internal")
            .map_err(|e| Error::Identity(e.to_string()))?;
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, async {
            let tcp = TcpStream::connect(address).await?;
            tcp.set_nodelay(true)?;
            tls.connect(name, tcp).await
        });
        match connected.await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(err)) if foreign(&err) => {
                return Err(Error::Enrolment(format!(
                    "{address} is not the machine that was launched: {err}"
                )));
            }
            Ok(Err(err)) => tracing::debug!(address, error = %err, "a machine is not up yet"),
            Err(_) => tracing::debug!(address, "a machine does not answer yet"),
        }
        tokio::time::sleep(CONNECT_PAUSE).await;
    }
}

fn foreign(err: &std::io::Error) -> bool {
    let inner = err.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(inner, Some(rustls::Error::InvalidCertificate(_)))
}

/// Sends files and program with what it needs to run.
pub(super) async fn push(
    stream: &mut TlsStream<TcpStream>,
    spec: &Ec2Spec,
    files: &[Freight],
    program: &Program,
) -> Result<()> {
    let order = serde_json::to_vec(&Order { size: program.size, env: &spec.env, files })
        .map_err(|e| Error::Enrolment(format!("could not encode the environment: {e}")))?;
    let length = u32::try_from(order.len())
        .map_err(|_| Error::Options("the environment of the machines is too large".to_owned()))?;
    let sent = async {
        stream.write_all(&length.to_be_bytes()).await?;
        stream.write_all(&order).await
    };
    sent.await.map_err(Error::io("send its order to a machine"))?;
    for file in files {
        send_file(stream, &file.path, file.size).await?;
    }
    send_file(stream, &program.path, program.size).await
}

/// Sends as many bytes as were announced.
async fn send_file(stream: &mut TlsStream<TcpStream>, path: &Path, size: u64) -> Result<()> {
    let sent = async {
        let file = File::open(path).await?;
        let sent = tokio::io::copy(&mut file.take(size), stream).await?;
        stream.flush().await?;
        if sent == size { Ok(()) } else { Err(std::io::Error::other("it has become shorter")) }
    };
    sent.await.map_err(Error::io(format!("send \"{}\" to a machine", path.display())))
}

/// What comes from the instance, until its end.
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
            kind => break End::Broken(format!("it sends what it should not: {kind}")),
        };
        if let Err(err) = passed {
            // Whoever would have read is done with it; the enrolment is over, say.
            tracing::debug!(error = %err, kind, "a machine's message has no reader");
        }
    };
    drop((stdout, stderr));
    let drained = async { while outputs.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN_GRACE, drained).await.is_err() {
        tracing::debug!("the last output of a machine is not taken");
    }
    end
}

/// What a notice says: `spot/instance-action {"action":"terminate","time":"2030-01-01T00:00:00Z"}`.
fn taken_back(notice: &[u8]) -> String {
    let json = notice.iter().position(|byte| *byte == b'{').map_or(&[][..], |at| &notice[at..]);
    let told: Option<serde_json::Value> = serde_json::from_slice(json).ok();
    match told.as_ref().and_then(|told| told["time"].as_str()) {
        Some(time) => format!("AWS takes the spot instance back at {time}"),
        None => "AWS takes the spot instance back".to_owned(),
    }
}

async fn frame(from: &mut (impl AsyncRead + Unpin)) -> std::io::Result<(u8, Vec<u8>)> {
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

/// What goes to the instance: the enrolment's messages, until their sender is dropped, then that it
/// is enrolled. Ends only if sending fails.
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
    // The buffer that is sent from is far below 4 GiB.
    frame.extend_from_slice(&(data.len() as u32).to_be_bytes());
    frame.extend_from_slice(data);
    to.write_all(&frame).await?;
    to.flush().await
}

fn client_config(secret: &Secret, credentials: &Credentials) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let pinned = Pinned {
        certificate: secret.certificate.clone(),
        until: secret.until,
        provider: Arc::clone(&provider),
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(Error::certificate("set up TLS"))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(pinned))
        .with_client_cert_resolver(Arc::new(credentials.clone()));
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

/// Takes the certificate of one launch, for as long as it may last, and no other.
#[derive(Debug)]
struct Pinned {
    certificate: CertificateDer<'static>,
    until: SystemTime,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _dialed: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let until = self.until.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        if *certificate != self.certificate {
            Err(CertificateError::ApplicationVerificationFailure.into())
        } else if now.as_secs() > until.as_secs() {
            Err(CertificateError::Expired.into())
        } else {
            Ok(ServerCertVerified::assertion())
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("only TLS 1.3 is spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_one_time_certificate_is_good_for_one_machine_and_one_launch() {
        let secret = Secret::new(&"m0".parse().unwrap()).unwrap();
        let other = Secret::new(&"m0".parse().unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let certificate = secret.certificate.clone();
        let pinned = Pinned { certificate, until: secret.until, provider };
        let verdict = |certificate: &CertificateDer<'_>, at: SystemTime| {
            let name = ServerName::try_from("enrolment").unwrap();
            let at = at.duration_since(SystemTime::UNIX_EPOCH).unwrap();
            let at = UnixTime::since_unix_epoch(at);
            pinned.verify_server_cert(certificate, &[], &name, &[], at).map(drop)
        };
        let (now, late) = (SystemTime::now(), secret.until + Duration::from_secs(2));
        assert_eq!(verdict(&secret.certificate, now), Ok(()));
        assert_eq!(verdict(&secret.certificate, late), Err(CertificateError::Expired.into()));
        let foreign = CertificateError::ApplicationVerificationFailure;
        assert_eq!(verdict(&other.certificate, now), Err(foreign.into()));
    }
}
