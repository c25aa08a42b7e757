//! The certificate authority of one session. Its key is made when the session begins, lives only in
//! the driver's memory, and ends with the session. It signs the requests that
//! [`Credentials`](crate::Credentials) make.

use std::fmt;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData,
    SanType, SignatureAlgorithm, SigningKey,
};
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer};
use zeroize::Zeroize;

use crate::error::{Error, Result};
use crate::identity::{Peer, Role, SessionId};

/// The longest life of a certificate: a stolen one is worthless tomorrow.
const CERTIFICATE_LIFE_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// The root outlives any session. Trust ends because its key dies with the driver.
const ROOT_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// Certificates start this long in the past, so that a machine whose clock is behind can use them
/// at once.
const CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);

/// The period in which a certificate is valid.
#[derive(Clone, Copy, Debug)]
pub struct Validity {
    /// Not valid before this.
    pub from: SystemTime,
    /// Not valid after this.
    pub until: SystemTime,
}

impl Validity {
    /// Valid now and for the next `life`.
    pub fn lasting(life: Duration) -> Self {
        let now = SystemTime::now();
        Self { from: now - CLOCK_SKEW, until: now + life.min(CERTIFICATE_LIFE_MAX) }
    }
}

/// The authority's key. Wiped when dropped, as far as the libraries below hold copies that we can
/// reach.
struct RootKey(KeyPair);

impl Drop for RootKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl PublicKeyData for RootKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        PublicKeyData::algorithm(&self.0)
    }
}

impl SigningKey for RootKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.0.sign(message)
    }
}

/// The certificate authority of one session (ECDSA P-256).
pub struct Authority {
    session: SessionId,
    root: CertificateDer<'static>,
    issuer: Issuer<'static, RootKey>,
}

impl Authority {
    /// Makes a new key and a root certificate for it.
    pub fn new(session: SessionId) -> Result<Self> {
        let made = Error::certificate::<rcgen::Error>;
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
            .map_err(made("make the key of the session's authority"))?;
        let key = RootKey(key);
        let mut params = CertificateParams::default();
        params.distinguished_name = name(&format!("bigslice session {session}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let now = SystemTime::now();
        params.not_before = (now - CLOCK_SKEW).into();
        params.not_after = (now + ROOT_LIFE).into();
        let root = params
            .self_signed(&key)
            .map_err(made("sign the certificate of the session's authority"))?;
        let root = root.der().clone();
        Ok(Self { session, root, issuer: Issuer::new(params, key) })
    }

    /// The session of the authority.
    pub fn session(&self) -> &SessionId {
        &self.session
    }

    /// The root certificate, the only one that the machines of the session trust.
    pub fn root(&self) -> &CertificateDer<'static> {
        &self.root
    }

    /// Signs a certificate for `peer` with the key of the request. Nothing else of the request is
    /// used: the caller decides on the identity, and knows where the request came from.
    pub fn sign(
        &self,
        request: &[u8],
        peer: &Peer,
        validity: Validity,
    ) -> Result<CertificateDer<'static>> {
        let made = Error::certificate::<rcgen::Error>;
        let request = CertificateSigningRequestDer::from(request);
        let request = CertificateSigningRequestParams::from_der(&request)
            .map_err(made("read a certificate request"))?;
        if PublicKeyData::algorithm(&request.public_key) != &rcgen::PKCS_ECDSA_P256_SHA256 {
            return Err(Error::Identity(
                "the key of a certificate request is not P-256".to_owned(),
            ));
        }
        let san = Error::certificate::<rcgen::Error>("name a machine in a certificate");
        let mut params = CertificateParams::default();
        params.distinguished_name = name(&format!("bigslice {}", peer.machine));
        params.subject_alt_names = (|| {
            Ok(vec![
                SanType::URI(peer.uri().try_into()?),
                SanType::DnsName(peer.dns_name().try_into()?),
            ])
        })()
        .map_err(san)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // The driver has no port, so its certificate cannot be used by a server.
        params.extended_key_usages = match peer.role {
            Role::Driver => vec![ExtendedKeyUsagePurpose::ClientAuth],
            Role::Worker => {
                vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth]
            }
        };
        params.not_before = validity.from.into();
        params.not_after = validity.until.into();
        params.use_authority_key_identifier_extension = true;
        let signed = params
            .signed_by(&request.public_key, &self.issuer)
            .map_err(made("sign a certificate"))?;
        Ok(signed.der().clone())
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("session", &self.session).finish_non_exhaustive()
    }
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}
