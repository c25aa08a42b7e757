//! Dials a new instance: until it answers, and nobody but the one that was launched. The driver does,
//! and a machine that passes its program on.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::TLS13;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::{Error, Result};
use crate::security::credentials::Credentials;

/// TCP and TLS together; an instance that is up answers far faster.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two tries while the instance boots.
const CONNECT_PAUSE: Duration = Duration::from_millis(500);
/// The one-time certificate of a launch: for as long as it may last, and no other.
#[derive(Clone, Debug)]
pub(super) struct Pinned {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) until: SystemTime,
}

/// Dials the instance until it answers, which the caller bounds. Somebody who answers without the
/// launch's certificate is not dialed again.
pub(super) async fn dial(
    address: &str,
    pinned: &Pinned,
    credentials: &Credentials,
) -> Result<TlsStream<TcpStream>> {
    let tls = TlsConnector::from(client_config(pinned, credentials)?);
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

fn client_config(pinned: &Pinned, credentials: &Credentials) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Verifier { pinned: pinned.clone(), provider: Arc::clone(&provider) };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(Error::certificate("set up TLS"))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(credentials.clone()));
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

#[derive(Debug)]
struct Verifier {
    pinned: Pinned,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _dialed: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let until = self.pinned.until.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        if *certificate != self.pinned.certificate {
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
    use super::super::boot::Secret;
    use super::*;

    #[test]
    fn a_one_time_certificate_is_good_for_one_machine_and_one_launch() {
        let secret = Secret::new(&"m0".parse().unwrap()).unwrap();
        let other = Secret::new(&"m0".parse().unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = Verifier { pinned: secret.pinned(), provider };
        let verdict = |certificate: &CertificateDer<'_>, at: SystemTime| {
            let name = ServerName::try_from("enrolment").unwrap();
            let at = at.duration_since(SystemTime::UNIX_EPOCH).unwrap();
            let at = UnixTime::since_unix_epoch(at);
            verifier.verify_server_cert(certificate, &[], &name, &[], at).map(drop)
        };
        let (now, late) = (SystemTime::now(), secret.until + Duration::from_secs(2));
        assert_eq!(verdict(&secret.certificate, now), Ok(()));
        assert_eq!(verdict(&secret.certificate, late), Err(CertificateError::Expired.into()));
        let foreign = CertificateError::ApplicationVerificationFailure;
        assert_eq!(verdict(&other.certificate, now), Err(foreign.into()));
    }
}
