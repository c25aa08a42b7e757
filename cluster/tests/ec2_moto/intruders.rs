//! An intruder who has read an instance's user data, with the key of its one-time certificate,
//! gains nothing. The instance under attack runs the stolen user data at an address that the driver
//! does not dial, so that the intruders have unlimited time.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bigslice_cluster::ec2::{Ec2, Ec2Spec};
use bigslice_cluster::{
    Authority, Credentials, Enroler, Launch, MachineLog, Peer, Requirements, Services, SessionId,
    System, Validity,
};
use bytes::Bytes;
use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::cloud::{Cloud, DEADLINE, config, eventually};
use super::life::{run, spec};

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("an_instance_takes_nothing_but_from_its_driver", an_instance_takes_only_its_driver),
    ("an_instance_takes_its_program_from_nobody_else", an_instance_takes_its_program_from_one),
    ("a_driver_takes_nobody_but_its_instance", a_driver_takes_only_its_instance),
];

/// Long enough for a certificate in a test.
const LIFE: Duration = Duration::from_secs(600);
/// A driver that dials at all dials twice a second.
const DIALS: Duration = Duration::from_secs(2);
/// A refusal comes at once, or slightly later on a busy host.
const REFUSAL: Duration = Duration::from_secs(10);

fn order(authority: &Arc<Authority>) -> Launch {
    let machine: bigslice_cluster::MachineName = "m0".parse().expect("a name");
    Launch {
        log: MachineLog::new(machine.clone(), Arc::new(|_| {})).expect("a log"),
        machine,
        scratch: "/nowhere".into(),
        enroler: Arc::new(Enroler {
            authority: Arc::clone(authority),
            certificate_life: LIFE,
            lease: DEADLINE,
            settings: Bytes::new(),
            requirements: Requirements::of(&Services::new()),
        }),
    }
}

/// A session with a pending launch, whose instance does not start by itself, and the stolen user
/// data of the instance.
struct Scene {
    cloud: Cloud,
    authority: Arc<Authority>,
    ec2: Ec2,
    user_data: Vec<u8>,
    address: String,
    launching: tokio::task::JoinHandle<bigslice_cluster::Result<bigslice_cluster::Launched>>,
}

impl Scene {
    async fn set() -> Self {
        let cloud = Cloud::start().await;
        cloud.hardware.hold();
        let session: SessionId = "s1".parse().expect("an id");
        let authority = Arc::new(Authority::new(session).expect("an authority"));
        let ec2 = Ec2::with_config(spec(&cloud.subnet), &config(&cloud.endpoint)).expect("good");
        let (system, launch) = (ec2.clone(), order(&authority));
        let launching =
            tokio::runtime::Handle::current().spawn(async move { system.launch(launch).await });
        let instance = eventually("the launch", async || cloud.instances().await.pop()).await;
        let id = instance.instance_id().expect("its id");
        let user_data = cloud.hardware.user_data(id).await;
        let address = instance.private_ip_address().expect("an address").to_owned();
        Self { cloud, authority, ec2, user_data, address, launching }
    }

    /// The stolen certificate and its key.
    fn stolen(&self) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let text = String::from_utf8_lossy(&self.user_data).replace("\\n", "\n");
        let certificate = CertificateDer::from_pem_slice(text.as_bytes()).expect("a certificate");
        let key = &text[text.find("-----BEGIN PRIVATE").expect("a key")..];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
        (certificate, key)
    }

    async fn end(self) {
        self.launching.abort();
        self.ec2.finish(DEADLINE).await.expect("all is removed");
        self.cloud.assert_empty().await;
    }
}

fn issue(authority: &Authority, peer: Peer) -> Arc<dyn ResolvesClientCert> {
    Arc::new(Credentials::issue(authority, peer, Validity::lasting(LIFE)).expect("credentials"))
}

/// A connection to the instance, which may still be refused.
async fn call(
    address: &str,
    shows: Option<Arc<dyn ResolvesClientCert>>,
    version: &'static SupportedProtocolVersion,
) -> std::io::Result<TlsStream<TcpStream>> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .expect("a version")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody));
    let config = match shows {
        Some(shows) => builder.with_client_cert_resolver(shows),
        None => builder.with_no_client_auth(),
    };
    let name = ServerName::try_from("enrolment").expect("a name");
    let tcp = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await
}

/// Returns true if the instance accepts an order from this caller.
async fn takes(
    address: &str,
    shows: Option<Arc<dyn ResolvesClientCert>>,
    version: &'static SupportedProtocolVersion,
) -> bool {
    let mut stream = match call(address, shows, version).await {
        Ok(stream) => stream,
        Err(err) => {
            assert_ne!(err.kind(), std::io::ErrorKind::ConnectionRefused, "the port is closed");
            return false;
        }
    };
    // The order for a program that does not follow: the instance waits for it.
    let order = br#"{"size":1000000,"env":{},"files":[],"from":null}"#;
    let length = u32::try_from(order.len()).expect("short").to_be_bytes();
    if stream.write_all(&length).await.is_err() || stream.write_all(order).await.is_err() {
        return false;
    }
    let _ = stream.flush().await;
    // An accepted caller receives nothing.
    tokio::time::timeout(REFUSAL, stream.read_u8()).await.is_err()
}

fn an_instance_takes_only_its_driver() {
    run(async {
        let scene = Scene::set().await;
        let elsewhere = scene.address.rsplit_once('.').expect("an address").0.to_owned() + ".200";
        let hardware = &scene.cloud.hardware;
        let body = hardware.boot("stolen", &elsewhere, &scene.user_data).await;
        let address = format!("{elsewhere}:{}", Ec2Spec::default().port);
        eventually("its port", async || TcpStream::connect(&address).await.ok().map(drop)).await;
        let session: SessionId = "s1".parse().expect("an id");
        let worker = || Peer::worker(session.clone(), "m0".parse().expect("a name"));
        let driver = || Peer::driver(session.clone());
        let foreign = Authority::new(session.clone()).expect("an authority");
        let tls13 = &rustls::version::TLS13;
        let (certificate, key) = scene.stolen();
        let thief = rustls::sign::CertifiedKey::from_der(vec![certificate], key, &provider());
        let thief = rustls::sign::SingleCertAndKey::from(thief.expect("they belong together"));
        assert!(!takes(&address, None, tls13).await, "nobody");
        assert!(!takes(&address, Some(Arc::new(thief)), tls13).await, "the stolen certificate");
        assert!(!takes(&address, Some(issue(&foreign, driver())), tls13).await, "a foreign driver");
        let own = &scene.authority;
        assert!(!takes(&address, Some(issue(own, worker())), tls13).await, "a worker");
        // Its clock is this host's: from an hour ago until a minute ago.
        let (hour, minute) = (Duration::from_secs(3600), Duration::from_secs(60));
        let past = Validity { from: SystemTime::now() - hour, until: SystemTime::now() - minute };
        let expired = Credentials::issue(own, driver(), past).expect("credentials");
        assert!(!takes(&address, Some(Arc::new(expired)), tls13).await, "an expired driver");
        let others: SessionId = "s2".parse().expect("an id");
        let theirs = Authority::new(others.clone()).expect("an authority");
        let theirs = issue(&theirs, Peer::driver(others.clone()));
        assert!(!takes(&address, Some(theirs), tls13).await, "the driver of another session");
        let misnamed = issue(own, Peer::driver(others));
        assert!(
            !takes(&address, Some(misnamed), tls13).await,
            "a driver by another session's name"
        );
        let tls12 = &rustls::version::TLS12;
        assert!(!takes(&address, Some(issue(own, driver())), tls12).await, "an old protocol");
        let mut plain = TcpStream::connect(&address).await.expect("the port is open");
        plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("sent");
        let mut answer = Vec::new();
        // A reset is a refusal, too.
        let _ = plain.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"HTTP"), "plain text");
        // After all of them the driver itself is still accepted, and then the port is closed.
        assert!(takes(&address, Some(issue(own, driver())), tls13).await, "the driver");
        assert!(TcpStream::connect(&address).await.is_err(), "nobody comes second");
        drop(body);
        scene.end().await;
    });
}

fn an_instance_takes_its_program_from_one() {
    run(async {
        let scene = Scene::set().await;
        let elsewhere = scene.address.rsplit_once('.').expect("an address").0.to_owned() + ".200";
        let body = scene.cloud.hardware.boot("stolen", &elsewhere, &scene.user_data).await;
        let address = format!("{elsewhere}:{}", Ec2Spec::default().port);
        eventually("its port", async || TcpStream::connect(&address).await.ok().map(drop)).await;
        let session: SessionId = "s1".parse().expect("an id");
        let worker = |name: &str| Peer::worker(session.clone(), name.parse().expect("a name"));
        let (own, tls13) = (&scene.authority, &rustls::version::TLS13);
        let driver = issue(own, Peer::driver(session.clone()));
        let mut driver = call(&address, Some(driver), tls13).await.expect("the driver");
        // It must come from m5.
        let order = br#"{"size":4,"env":{},"files":[],"from":"bigslice://s1/worker/m5"}"#;
        driver.write_u32(order.len() as u32).await.expect("sent");
        driver.write_all(order).await.expect("sent");
        driver.flush().await.expect("sent");
        // A second caller at the port: a connection alone may still be that of the first.
        eventually("its port again", async || call(&address, None, tls13).await.ok().map(drop))
            .await;
        let foreign = Authority::new(session.clone()).expect("an authority");
        let rows = [
            ("nobody", None),
            ("another machine", Some(issue(own, worker("m6")))),
            ("a foreign m5", Some(issue(&foreign, worker("m5")))),
        ];
        for (who, shows) in rows {
            if let Ok(mut stream) = call(&address, shows, tls13).await {
                // The connection is closed, whatever it sends.
                let _ = stream.write_all(b"evil").await;
                let hung_up = tokio::time::timeout(REFUSAL, stream.read_u8()).await;
                assert!(matches!(hung_up, Ok(Err(_))), "{who}");
            }
        }
        // And even m5 cannot bring another program than the one in the user data.
        let m5 = issue(own, worker("m5"));
        let mut m5 = call(&address, Some(m5), tls13).await.expect("m5");
        m5.write_all(b"evil").await.expect("sent");
        m5.flush().await.expect("sent");
        assert_eq!(driver.read_u8().await.expect("a frame"), 6);
        let length = driver.read_u32().await.expect("its length");
        let mut reason = vec![0; length as usize];
        driver.read_exact(&mut reason).await.expect("a reason");
        let reason = String::from_utf8_lossy(&reason).into_owned();
        assert!(reason.contains("is not the one that was announced"), "{reason}");
        drop(body);
        scene.end().await;
    });
}

fn a_driver_takes_only_its_instance() {
    run(async {
        let mut scene = Scene::set().await;
        // An intruder with the stolen key but another address waits in vain.
        let elsewhere = scene.address.rsplit_once('.').expect("an address").0.to_owned() + ".200";
        let port = Ec2Spec::default().port;
        let away = tokio::net::TcpListener::bind((elsewhere, port)).await.expect("a port");
        assert!(tokio::time::timeout(DIALS, away.accept()).await.is_err(), "the driver dials it");
        // An intruder with the address but not the key is dialed and receives nothing, and the
        // launch ends.
        let there = tokio::net::TcpListener::bind((scene.address.clone(), port)).await;
        let there = there.expect("a port");
        let key = rcgen::generate_simple_self_signed(["enrolment".to_owned()]).expect("a key");
        let server = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("a version")
            .with_no_client_auth()
            .with_single_cert(
                vec![key.cert.der().clone()],
                PrivateKeyDer::try_from(key.signing_key.serialize_der()).expect("a key"),
            )
            .expect("they belong together");
        let acceptor = TlsAcceptor::from(Arc::new(server));
        let (tcp, _) = tokio::time::timeout(DEADLINE, there.accept())
            .await
            .expect("the driver dials the instance")
            .expect("a caller");
        assert!(acceptor.accept(tcp).await.is_err(), "the driver goes on with a stranger");
        let refused = (&mut scene.launching).await.expect("it ends").expect_err("it is refused");
        assert!(refused.to_string().contains("is not the machine that was launched"), "{refused}");
        assert!(tokio::time::timeout(DIALS, there.accept()).await.is_err(), "dialed again");
        scene.end().await;
    });
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// An intruder accepts any certificate.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _dialed: &ServerName<'_>,
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
