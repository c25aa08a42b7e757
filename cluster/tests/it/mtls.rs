//! Authentication of both sides: tables of strangers, each refused, and one friend, accepted. On
//! every port of a worker, of both systems.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bigslice_cluster::{
    Authority, Connector, Control, Credentials, Enroler, Error, InProcess, Launch, Launched,
    MachineLog, MachineName, Peer, Requirements, Role, Services, SessionId, System, Validity,
};
use bytes::Bytes;
use parking_lot::Mutex;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use url::Url;

use super::harness::{Place, in_process, local, run, systems, worker_services};

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("mtls::every_port_refuses_strangers", every_port_refuses_strangers),
    ("mtls::impostors_are_not_talked_to", impostors_are_not_talked_to),
    ("mtls::only_the_driver_controls", only_the_driver_controls),
    ("mtls::silent_strangers_hold_up_nobody", silent_strangers_hold_up_nobody),
];

const LIFE: Duration = Duration::from_secs(3600);
/// A refusal comes at once; a hanging connection is not a refusal.
const PATIENCE: Duration = Duration::from_secs(20);
/// The client's preface and an empty SETTINGS frame.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Accepts any certificate, so that only the other side's refusal shows.
#[derive(Debug)]
struct Gullible;

impl ServerCertVerifier for Gullible {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

/// How a caller reaches a port.
enum Caller {
    PlainText,
    NoCertificate,
    Tls12(Credentials),
    Alpn(Credentials, Option<&'static [u8]>),
}

impl Caller {
    fn shows(credentials: Credentials) -> Self {
        Self::Alpn(credentials, Some(b"h2"))
    }

    fn config(&self) -> Option<ClientConfig> {
        let versions = if matches!(self, Self::Tls12(_)) { [&TLS12] } else { [&TLS13] };
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&versions)
            .expect("the versions exist")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Gullible));
        let mut config = match self {
            Self::PlainText => return None,
            Self::NoCertificate => builder.with_no_client_auth(),
            Self::Tls12(credentials) | Self::Alpn(credentials, _) => {
                builder.with_client_cert_resolver(Arc::new(credentials.clone()))
            }
        };
        config.alpn_protocols = match self {
            Self::Alpn(_, alpn) => alpn.iter().map(|alpn| alpn.to_vec()).collect(),
            _ => vec![b"h2".to_vec()],
        };
        Some(config)
    }

    /// Whether the port talks HTTP/2 with this caller.
    async fn is_let_in(&self, port: SocketAddr) -> Result<(), String> {
        let talk = async {
            let tcp = TcpStream::connect(port).await.map_err(|e| e.to_string())?;
            match self.config() {
                None => greet(tcp).await,
                Some(config) => {
                    let connector = TlsConnector::from(Arc::new(config));
                    let name = ServerName::try_from("any.where").expect("a name");
                    greet(connector.connect(name, tcp).await.map_err(|e| e.to_string())?).await
                }
            }
        };
        tokio::time::timeout(PATIENCE, talk).await.expect("an answer or a refusal, at once")
    }
}

async fn greet(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<(), String> {
    stream.write_all(PREFACE).await.map_err(|e| e.to_string())?;
    let mut frame = [0; 9];
    stream.read_exact(&mut frame).await.map_err(|e| e.to_string())?;
    if frame[3] == 4 { Ok(()) } else { Err(format!("{frame:?} is no SETTINGS frame")) }
}

/// The certificate that a port shows.
pub(crate) async fn served_certificate(url: &Url) -> CertificateDer<'static> {
    let config = Caller::NoCertificate.config().expect("it speaks TLS");
    let tcp = TcpStream::connect(address(url)).await.expect("the port is open");
    let name = ServerName::try_from("any.where").expect("a name");
    let stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.expect("TLS");
    let certificates = stream.get_ref().1.peer_certificates().expect("the port shows itself");
    certificates[0].clone().into_owned()
}

fn address(url: &Url) -> SocketAddr {
    format!("127.0.0.1:{}", url.port().expect("a port")).parse().expect("an address")
}

/// The ports on which a process listens.
fn listening(pid: u32) -> BTreeSet<u16> {
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("the process is there");
    let sockets: BTreeSet<String> = descriptors
        .filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok())
        .filter_map(|link| {
            let link = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned();
            Some(link)
        })
        .collect();
    let mut ports = BTreeSet::new();
    for table in ["tcp", "tcp6"] {
        let table = std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        for line in table.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            const LISTEN: &str = "0A";
            if fields[3] == LISTEN && sockets.contains(fields[9]) {
                let (_, port) = fields[1].rsplit_once(':').expect("an address");
                ports.insert(u16::from_str_radix(port, 16).expect("a port"));
            }
        }
    }
    ports
}

/// One machine whose session's authority is in the test's hands.
struct Lone {
    authority: Arc<Authority>,
    launched: Launched,
    _place: Place,
}

impl Lone {
    async fn launch(system: &dyn System) -> Self {
        let place = Place::new();
        let session = SessionId::random();
        let authority = Arc::new(Authority::new(session).expect("an authority"));
        let machine = MachineName::worker(0);
        let scratch = place.root().join("m0");
        std::fs::create_dir(&scratch).expect("a folder");
        let launch = Launch {
            scratch,
            log: MachineLog::new(machine.clone(), Arc::new(|_| {})).expect("a log"),
            machine,
            enroler: Arc::new(Enroler {
                authority: Arc::clone(&authority),
                certificate_life: LIFE,
                lease: Duration::from_secs(600),
                settings: Bytes::new(),
                requirements: Requirements::of(&Services::new()),
            }),
        };
        let launched = system.launch(launch).await.expect("the machine starts");
        Self { authority, launched, _place: place }
    }

    fn session(&self) -> SessionId {
        self.authority.session().clone()
    }

    fn credentials(&self, peer: Peer) -> Credentials {
        issue(&self.authority, peer)
    }
}

fn issue(authority: &Authority, peer: Peer) -> Credentials {
    Credentials::issue(authority, peer, Validity::lasting(LIFE)).expect("credentials")
}

fn past() -> Validity {
    let now = SystemTime::now();
    Validity { from: now - 2 * LIFE, until: now - LIFE }
}

fn future() -> Validity {
    let now = SystemTime::now();
    Validity { from: now + LIFE, until: now + 2 * LIFE }
}

fn every_port_refuses_strangers() {
    run(async {
        for system in systems() {
            let lone = Lone::launch(&*system).await;
            let own = address(&lone.launched.enrolled.url);
            // A worker process listens on that port only.
            let ports: Vec<SocketAddr> = match lone.launched.enrolled.pid {
                Some(pid) => listening(pid).iter().map(|p| (own.ip(), *p).into()).collect(),
                None => vec![own],
            };
            assert_eq!(ports, [own]);

            let session = lone.session();
            let driver = Peer::driver(session.clone());
            let worker = Peer::worker(session.clone(), MachineName::worker(7));
            let foreign = Authority::new(session).expect("an authority");
            let other = SessionId::random();
            let dated = |validity| {
                let issued = Credentials::issue(&lone.authority, driver.clone(), validity);
                Caller::shows(issued.expect("credentials"))
            };
            let strangers = [
                ("plain text", Caller::PlainText),
                ("no certificate", Caller::NoCertificate),
                ("foreign CA", Caller::shows(issue(&foreign, driver.clone()))),
                ("foreign CA, worker", Caller::shows(issue(&foreign, worker.clone()))),
                ("expired", dated(past())),
                ("not valid yet", dated(future())),
                ("other session", Caller::shows(lone.credentials(Peer::driver(other.clone())))),
                (
                    "other session, worker",
                    Caller::shows(lone.credentials(Peer::worker(other, MachineName::worker(0)))),
                ),
                ("TLS 1.2", Caller::Tls12(lone.credentials(driver.clone()))),
                ("no ALPN", Caller::Alpn(lone.credentials(driver.clone()), None)),
                ("HTTP/1.1", Caller::Alpn(lone.credentials(driver.clone()), Some(b"http/1.1"))),
            ];
            let friends = [
                ("driver", Caller::shows(lone.credentials(driver))),
                ("another worker", Caller::shows(lone.credentials(worker))),
            ];
            for port in ports {
                let mut let_in = Vec::new();
                for (who, stranger) in &strangers {
                    if stranger.is_let_in(port).await.is_ok() {
                        let_in.push(who);
                    }
                }
                assert!(let_in.is_empty(), "{}: let in: {let_in:?}", system.name());
                for (who, friend) in &friends {
                    let let_in = friend.is_let_in(port).await;
                    assert_eq!(let_in, Ok(()), "{}: {who} was refused", system.name());
                }
            }
            lone.launched.instance.close().await;
        }
    });
}

/// The server at the address that we dial.
enum Answerer {
    PlainText,
    Tls(&'static rustls::SupportedProtocolVersion, Credentials),
}

impl Answerer {
    /// Answers as long as the test's runtime lives.
    async fn listen(self, tasks: &mut tokio::task::JoinSet<()>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tasks.spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.expect("a connection");
                match &self {
                    Self::PlainText => drop(settle(tcp).await),
                    Self::Tls(version, credentials) => {
                        let mut config = ServerConfig::builder_with_provider(provider())
                            .with_protocol_versions(&[version])
                            .expect("the version exists")
                            .with_no_client_auth()
                            .with_cert_resolver(Arc::new(credentials.clone()));
                        config.alpn_protocols = vec![b"h2".to_vec()];
                        let acceptor = TlsAcceptor::from(Arc::new(config));
                        if let Ok(stream) = acceptor.accept(tcp).await {
                            drop(settle(stream).await);
                        }
                    }
                }
            }
        });
        address
    }
}

/// Answers the greeting of HTTP/2, and waits for the end.
async fn settle(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<()> {
    stream.write_all(&PREFACE[24..]).await?;
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.map(|_| ())
}

fn impostors_are_not_talked_to() {
    run(async {
        let session = SessionId::random();
        let authority = Authority::new(session.clone()).expect("an authority");
        let foreign = Authority::new(session.clone()).expect("an authority");
        let m0 = Peer::worker(session.clone(), MachineName::worker(0));
        let m1 = Peer::worker(session.clone(), MachineName::worker(1));
        let stray = Peer::worker(SessionId::random(), MachineName::worker(0));
        let dated = |validity| {
            let issued = Credentials::issue(&authority, m0.clone(), validity);
            Answerer::Tls(&TLS13, issued.expect("credentials"))
        };
        let rows = [
            ("the machine", true, Answerer::Tls(&TLS13, issue(&authority, m0.clone()))),
            ("plain text", false, Answerer::PlainText),
            ("TLS 1.2", false, Answerer::Tls(&TLS12, issue(&authority, m0.clone()))),
            ("foreign CA", false, Answerer::Tls(&TLS13, issue(&foreign, m0.clone()))),
            ("expired", false, dated(past())),
            ("not valid yet", false, dated(future())),
            ("another machine", false, Answerer::Tls(&TLS13, issue(&authority, m1))),
            ("another session", false, Answerer::Tls(&TLS13, issue(&authority, stray))),
            (
                "the driver",
                false,
                Answerer::Tls(&TLS13, issue(&authority, Peer::driver(session.clone()))),
            ),
        ];
        let mine = issue(&authority, Peer::driver(session));
        let connector = Connector::new(mine, Handle::current()).expect("a connector");
        let mut tasks = tokio::task::JoinSet::new();
        let mut wrong = Vec::new();
        for (who, believed, answerer) in rows {
            let address = answerer.listen(&mut tasks).await;
            let url = Url::parse(&format!("https://{address}/m0")).expect("an address");
            let connected = connector.connect(&url).await;
            if connected.is_ok() != believed {
                wrong.push((who, connected));
            }
        }
        assert!(wrong.is_empty(), "{wrong:?}");
        for text in ["https://127.0.0.1:1/", "https://127.0.0.1:1/m0/x", "https://127.0.0.1/m0"] {
            let url = Url::parse(text).expect("an address");
            assert!(connector.connect(&url).await.is_err(), "{text}");
        }
    });
}

fn only_the_driver_controls() {
    run(async {
        // The workers' own connectors, captured on their way to the services.
        let caught: Arc<Mutex<Vec<Connector>>> = Arc::default();
        let catch = Arc::clone(&caught);
        let services = worker_services();
        let system = Arc::new(InProcess::new(Arc::new(move |context| {
            catch.lock().push(context.connector.clone());
            services(context)
        })));
        let place = Place::new();
        let fleet = place.start(system, 2).await;
        let machines = fleet.machines();
        let connectors = caught.lock().clone();
        assert_eq!(connectors.len(), 2);
        for connector in connectors {
            assert_eq!(connector.peer().role, Role::Worker);
            for machine in &machines {
                let channel = connector.connect(machine.url().expect("it runs")).await;
                let channel = channel.expect("workers talk to each other");
                let control = Control::new(machine.name().clone(), channel);
                let calls = [
                    control.info(PATIENCE).await.map(drop),
                    control.renew(None, PATIENCE).await.map(drop),
                    control.shutdown(PATIENCE).await,
                ];
                for call in calls {
                    let Err(Error::Call { source, .. }) = call else { panic!("{call:?}") };
                    assert_eq!(source.code(), tonic::Code::PermissionDenied);
                }
            }
        }
        assert!(fleet.verify().await.is_empty());
        fleet.shutdown().await;
    });
}

fn silent_strangers_hold_up_nobody() {
    run(async {
        for system in [in_process(), local()] {
            let place = Place::new();
            let fleet = place.start(system, 1).await;
            let port = address(&fleet.urls()[0]);
            let mut strangers = Vec::new();
            for _ in 0..200 {
                strangers.push(TcpStream::connect(port).await.expect("the port is open"));
                // Each time there is one more that says nothing.
                if strangers.len() % 50 == 0 {
                    assert!(fleet.verify().await.is_empty(), "{:?}", fleet.lost());
                }
            }
            fleet.shutdown().await;
        }
    });
}
