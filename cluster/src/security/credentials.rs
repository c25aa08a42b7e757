//! The key and certificate of this process, replaced while connections are open. A worker makes its
//! key itself and requests a certificate. After half of the certificate's life it makes another key
//! and requests again. New connections use the newest certificate, old ones go on.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::{Mutex, RwLock};
use rcgen::{CertificateParams, KeyPair};
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SigningKey};
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroize;

use crate::error::{BoxError, Error, Result};
use crate::identity::Peer;
use crate::security::authority::{Authority, Validity};

/// A key without a certificate yet.
pub struct Application {
    key: Arc<dyn SigningKey>,
    request: Vec<u8>,
}

impl Application {
    /// Makes a new P-256 key and a certificate request for it. The request contains no name: the
    /// driver knows the sender from the channel.
    pub fn new() -> Result<Self> {
        let made = Error::certificate::<rcgen::Error>;
        let mut pair =
            KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(made("make a key"))?;
        let request = CertificateParams::default()
            .serialize_request(&pair)
            .map_err(made("make a certificate request"))?;
        let mut der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.serialize_der()));
        let key = rustls::crypto::ring::sign::any_supported_type(&der)
            .map_err(Error::certificate("load a key"));
        der.zeroize();
        pair.zeroize();
        Ok(Self { key: key?, request: request.der().to_vec() })
    }

    /// The certificate signing request (DER).
    pub fn request(&self) -> &[u8] {
        &self.request
    }
}

impl fmt::Debug for Application {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Application").finish_non_exhaustive()
    }
}

struct Current {
    key: Arc<CertifiedKey>,
    renew_at: SystemTime,
}

struct Shared {
    peer: Peer,
    root: CertificateDer<'static>,
    current: RwLock<Current>,
    pending: Mutex<Option<Application>>,
}

/// The credentials of this process. Clones share them.
#[derive(Clone)]
pub struct Credentials {
    shared: Arc<Shared>,
}

impl Credentials {
    /// Credentials from a key and its certificate, which must state the identity `peer`.
    pub fn new(
        peer: Peer,
        root: CertificateDer<'static>,
        application: &Application,
        certificate: CertificateDer<'static>,
    ) -> Result<Self> {
        let current = certify(&peer, Arc::clone(&application.key), certificate)?;
        let shared =
            Shared { peer, root, current: RwLock::new(current), pending: Mutex::new(None) };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Makes a key and signs it at once, for the process that holds the authority.
    pub fn issue(authority: &Authority, peer: Peer, validity: Validity) -> Result<Self> {
        let application = Application::new()?;
        let certificate = authority.sign(application.request(), &peer, validity)?;
        Self::new(peer, authority.root().clone(), &application, certificate)
    }

    /// The identity of this process.
    pub fn peer(&self) -> &Peer {
        &self.shared.peer
    }

    /// The root certificate that it trusts.
    pub fn root(&self) -> &CertificateDer<'static> {
        &self.shared.root
    }

    /// A request for the next certificate if half of this one's life is over. The same request is
    /// returned until [`Credentials::renew`] has its answer, so that a lost answer does no damage.
    pub fn renewal(&self) -> Result<Option<Vec<u8>>> {
        if SystemTime::now() < self.shared.current.read().renew_at {
            return Ok(None);
        }
        let mut pending = self.shared.pending.lock();
        let application = match pending.take() {
            Some(application) => application,
            None => Application::new()?,
        };
        Ok(Some(pending.insert(application).request.clone()))
    }

    /// Takes the answer to [`Credentials::renewal`]. An answer to an older request is ignored.
    pub fn renew(&self, certificate: CertificateDer<'static>) -> Result<()> {
        let mut pending = self.shared.pending.lock();
        let Some(application) = pending.as_ref() else { return Ok(()) };
        let current = certify(&self.shared.peer, Arc::clone(&application.key), certificate)?;
        *self.shared.current.write() = current;
        *pending = None;
        Ok(())
    }

    /// The current certificate.
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.key().cert[0].clone()
    }

    fn key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.shared.current.read().key)
    }
}

/// Joins key and certificate after checking that they belong together and to `peer`.
fn certify(
    peer: &Peer,
    key: Arc<dyn SigningKey>,
    certificate: CertificateDer<'static>,
) -> Result<Current> {
    let named = Peer::of_certificate(&certificate)?;
    if named != *peer {
        return Err(Error::Identity(format!("got a certificate for {named} instead of {peer}")));
    }
    let (_, parsed) = X509Certificate::from_der(&certificate)
        .map_err(|e| Error::Identity(format!("got an unreadable certificate: {e}")))?;
    let until = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);
    let until = SystemTime::UNIX_EPOCH + Duration::from_secs(until);
    let now = SystemTime::now();
    let left = until.duration_since(now).unwrap_or_default();
    let key = CertifiedKey::new(vec![certificate], key);
    key.keys_match().map_err(|e| Error::Certificate {
        attempt: "join a key and its certificate",
        source: BoxError::from(e),
    })?;
    Ok(Current { key: Arc::new(key), renew_at: now + left / 2 })
}

impl ResolvesServerCert for Credentials {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.key())
    }
}

impl ResolvesClientCert for Credentials {
    fn resolve(
        &self,
        _root_hint_subjects: &[&[u8]],
        _schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        Some(self.key())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("peer", &self.shared.peer).finish_non_exhaustive()
    }
}
