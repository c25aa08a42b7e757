//! TLS settings for both sides: 1.3 only, HTTP/2 only. Each side shows a certificate of the
//! session's authority, and each side compares the whole identity in it, not only the chain.
//!
//! Sessions are never resumed: a resumed session would skip the check of the certificate's dates.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{CertificateError, ClientConfig, OtherError, RootCertStore, ServerConfig};

use crate::error::{Error, Result};
use crate::identity::{Peer, Role};
use crate::security::credentials::Credentials;
use crate::security::verifier::{Shown, Verifier};

/// The only protocol spoken above TLS.
pub(crate) const ALPN: &[u8] = b"h2";

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn roots(credentials: &Credentials) -> Result<Arc<RootCertStore>> {
    let mut roots = RootCertStore::empty();
    roots
        .add(credentials.root().clone())
        .map_err(Error::certificate("trust the session's authority"))?;
    Ok(Arc::new(roots))
}

/// The settings of a worker's port.
pub(crate) fn server_config(credentials: &Credentials) -> Result<Arc<ServerConfig>> {
    let chain = WebPkiClientVerifier::builder_with_provider(roots(credentials)?, provider())
        .build()
        .map_err(Error::certificate("set up the check of callers"))?;
    let session = credentials.peer().session.clone();
    // The chain, the dates and the key usage, then the session.
    let verifier = Verifier::new(provider(), move |shown: &Shown<'_>| {
        chain.verify_client_cert(shown.certificate, shown.intermediates, shown.now)?;
        let peer = Peer::of_certificate(shown.certificate).map_err(|e| refuse(e.into()))?;
        if peer.session != session {
            return Err(refuse_with(format!("the caller is {peer}, not of this session")));
        }
        Ok(())
    });
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(Error::certificate("set up TLS"))?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(credentials.clone()));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// The settings with which this process dials a worker.
pub(crate) fn client_config(credentials: &Credentials) -> Result<Arc<ClientConfig>> {
    let chain = WebPkiServerVerifier::builder_with_provider(roots(credentials)?, provider())
        .build()
        .map_err(Error::certificate("set up the check of machines"))?;
    let session = credentials.peer().session.clone();
    // The chain, the dates and the key usage, then the session, the role and the machine dialed.
    let verifier = Verifier::new(provider(), move |shown: &Shown<'_>| {
        let Shown { certificate, intermediates, now, .. } = *shown;
        let dialed = shown.dialed.ok_or_else(|| refuse_with("no name was dialed".to_owned()))?;
        chain.verify_server_cert(certificate, intermediates, dialed, &[], now)?;
        let peer = Peer::of_certificate(certificate).map_err(|e| refuse(e.into()))?;
        if peer.session != session || peer.role != Role::Worker {
            return Err(refuse_with(format!(
                "the machine is {peer}, not a worker of this session"
            )));
        }
        if dialed.to_str() != peer.dns_name() {
            return Err(refuse_with(format!("dialed \"{}\", found {peer}", dialed.to_str())));
        }
        Ok(())
    });
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(Error::certificate("set up TLS"))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(Arc::new(credentials.clone()));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

fn refuse(err: Error) -> rustls::Error {
    rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(err))))
}

fn refuse_with(message: String) -> rustls::Error {
    refuse(Error::Identity(message))
}
