//! Dials a new instance until it answers, and accepts only the instance that was launched. Used by
//! the driver, and by a machine that sends its program to another.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::TLS13;
use rustls::{CertificateError, ClientConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::{Error, Result};
use crate::security::credentials::Credentials;
use crate::security::verifier::{Shown, Verifier};

/// The limit for TCP and TLS together. An instance that is up answers far faster.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause between two attempts while the instance boots.
const CONNECT_PAUSE: Duration = Duration::from_millis(500);
/// The one-time certificate of a launch, and until when it is accepted.
#[derive(Clone, Debug)]
pub(super) struct Pinned {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) until: SystemTime,
}

/// Dials the instance until it answers. The caller limits the time. If the answer lacks the
/// launch's certificate, the instance is not dialed again.
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
            Ok(Err(err)) => {
                tracing::debug!(address, error = %err, "a machine does not accept connections yet")
            }
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
    let pinned = pinned.clone();
    let verifier = Verifier::new(Arc::clone(&provider), move |shown: &Shown<'_>| {
        check(&pinned, shown.certificate, shown.now)
    });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(Error::certificate("set up TLS"))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(Arc::new(credentials.clone()));
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

/// Accepts the certificate of the launch, for as long as the launch may take.
fn check(
    pinned: &Pinned,
    certificate: &CertificateDer<'_>,
    now: UnixTime,
) -> Result<(), rustls::Error> {
    let until = pinned.until.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    if *certificate != pinned.certificate {
        Err(CertificateError::ApplicationVerificationFailure.into())
    } else if now.as_secs() > until.as_secs() {
        Err(CertificateError::Expired.into())
    } else {
        Ok(())
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
        let verdict = |certificate: &CertificateDer<'_>, at: SystemTime| {
            let at = at.duration_since(SystemTime::UNIX_EPOCH).unwrap();
            check(&secret.pinned(), certificate, UnixTime::since_unix_epoch(at))
        };
        let (now, late) = (SystemTime::now(), secret.until + Duration::from_secs(2));
        assert_eq!(verdict(&secret.certificate, now), Ok(()));
        assert_eq!(verdict(&secret.certificate, late), Err(CertificateError::Expired.into()));
        let foreign = CertificateError::ApplicationVerificationFailure;
        assert_eq!(verdict(&other.certificate, now), Err(foreign.into()));
    }
}
