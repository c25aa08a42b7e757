//! TLS settings for both sides: 1.3 only, HTTP/2 only, each side shows a certificate of the
//! session's authority, and each side compares the whole identity in it, not only the chain.
//!
//! Sessions are never resumed: a resumed session would skip the look at the certificate's dates.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, OtherError,
    RootCertStore, ServerConfig, SignatureScheme,
};

use crate::error::{Error, Result};
use crate::identity::{Peer, Role, SessionId};
use crate::security::credentials::Credentials;

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

/// What a worker's port asks of whoever connects.
pub(crate) fn server_config(credentials: &Credentials) -> Result<Arc<ServerConfig>> {
    let chain = WebPkiClientVerifier::builder_with_provider(roots(credentials)?, provider())
        .build()
        .map_err(Error::certificate("set up the check of callers"))?;
    let verifier = Callers { chain, session: credentials.peer().session.clone() };
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(Error::certificate("set up TLS"))?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(credentials.clone()));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// What this process asks of a worker that it dials.
pub(crate) fn client_config(credentials: &Credentials) -> Result<Arc<ClientConfig>> {
    let chain = WebPkiServerVerifier::builder_with_provider(roots(credentials)?, provider())
        .build()
        .map_err(Error::certificate("set up the check of machines"))?;
    let verifier = Called { chain, session: credentials.peer().session.clone() };
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(Error::certificate("set up TLS"))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
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

/// The server's check: chain, dates, key usage, then session and role.
#[derive(Debug)]
struct Callers {
    chain: Arc<dyn ClientCertVerifier>,
    session: SessionId,
}

impl ClientCertVerifier for Callers {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.chain.verify_client_cert(certificate, intermediates, now)?;
        let peer = Peer::of_certificate(certificate).map_err(|e| refuse(e.into()))?;
        if peer.session != self.session {
            return Err(refuse_with(format!("the caller is {peer}, not of this session")));
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// The client's check: chain, dates, key usage, then session, role and exactly the machine dialed.
#[derive(Debug)]
struct Called {
    chain: Arc<WebPkiServerVerifier>,
    session: SessionId,
}

impl ServerCertVerifier for Called {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        dialed: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified =
            self.chain.verify_server_cert(certificate, intermediates, dialed, ocsp, now)?;
        let peer = Peer::of_certificate(certificate).map_err(|e| refuse(e.into()))?;
        if peer.session != self.session || peer.role != Role::Worker {
            return Err(refuse_with(format!(
                "the machine is {peer}, not a worker of this session"
            )));
        }
        if dialed.to_str() != peer.dns_name() {
            return Err(refuse_with(format!("dialed \"{}\", found {peer}", dialed.to_str())));
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}
