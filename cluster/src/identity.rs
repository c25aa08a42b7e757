//! Identities in a session: session, role and machine name, and how a certificate states them.
//!
//! [`Peer`] is the whole identity. [`Authority`](crate::Authority) writes it into a certificate as
//! a URI (`bigslice://<session>/<role>/<machine>`) and as a DNS name, which TLS needs; both sides
//! of every connection read it back with [`Peer::of_certificate`] and compare all of it.

use std::fmt;
use std::str::FromStr;

use rustls::pki_types::{CertificateDer, ServerName};
use serde::{Deserialize, Serialize};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// A name or a certificate that does not state an identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidIdentity(pub(crate) String);

type Result<T> = std::result::Result<T, InvalidIdentity>;

/// The scheme of the URI in a certificate.
const SCHEME: &str = "bigslice";
/// The suffix of machines' DNS names: a top-level name reserved for private use.
const DOMAIN: &str = "bigslice.internal";
/// A DNS label has at most 63 characters.
const LABEL_MAX: usize = 63;

/// Lower-case letters, digits and hyphens, starting with a letter or digit: safe as a DNS label, a
/// file name and a part of a URI.
fn check_label(what: &str, label: &str) -> Result<()> {
    let ok = !label.is_empty()
        && label.len() <= LABEL_MAX
        && !label.starts_with('-')
        && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if ok { Ok(()) } else { Err(InvalidIdentity(format!("\"{label}\" is not a {what}"))) }
}

macro_rules! label {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidIdentity;

            fn from_str(text: &str) -> Result<Self> {
                check_label($what, text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidIdentity;

            fn try_from(text: String) -> Result<Self> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }
    };
}

label!(
    /// The id of one session: one run of a driver with its machines.
    SessionId,
    "session id"
);

label!(
    /// The name of a machine within its session. A name is never used again for another machine.
    MachineName,
    "machine name"
);

impl SessionId {
    /// A new random id.
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().simple().to_string())
    }
}

impl MachineName {
    /// The name of the driver, unique in every session.
    pub fn driver() -> Self {
        Self("driver".to_owned())
    }

    /// The name of the `ordinal`th worker that the session starts, counted from 0.
    pub fn worker(ordinal: u64) -> Self {
        Self(format!("m{ordinal}"))
    }

    /// Sorts the driver first, then machines in the order of their names.
    pub(crate) fn rank(&self) -> (bool, usize, &str) {
        (*self != Self::driver(), self.0.len(), &self.0)
    }
}

/// The role of a process in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Starts machines, renews leases, sends plans.
    Driver,
    /// Runs tasks for the driver, reads from other workers.
    Worker,
}

impl Role {
    /// The role as text, as in a certificate.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Driver => "driver",
            Self::Worker => "worker",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = InvalidIdentity;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "driver" => Ok(Self::Driver),
            "worker" => Ok(Self::Worker),
            _ => Err(InvalidIdentity(format!("\"{text}\" is not a role"))),
        }
    }
}

/// The identity of one process of a session. In the extensions of a request it is the verified
/// identity of the caller.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Peer {
    /// The session it belongs to.
    pub session: SessionId,
    /// Its role.
    pub role: Role,
    /// Its name.
    pub machine: MachineName,
}

impl Peer {
    /// The driver of a session.
    pub fn driver(session: SessionId) -> Self {
        Self { session, role: Role::Driver, machine: MachineName::driver() }
    }

    /// A worker of a session.
    pub fn worker(session: SessionId, machine: MachineName) -> Self {
        Self { session, role: Role::Worker, machine }
    }

    /// The identity as a URI.
    pub fn uri(&self) -> String {
        format!("{SCHEME}://{}/{}/{}", self.session, self.role, self.machine)
    }

    /// The identity as a DNS name.
    pub fn dns_name(&self) -> String {
        format!("{}.{}.{}.{DOMAIN}", self.machine, self.role, self.session)
    }

    pub(crate) fn server_name(&self) -> Result<ServerName<'static>> {
        ServerName::try_from(self.dns_name())
            .map_err(|_| InvalidIdentity(format!("\"{}\" is not a DNS name", self.dns_name())))
    }

    fn of_uri(uri: &str) -> Result<Self> {
        let wrong = || InvalidIdentity(format!("\"{uri}\" is not the identity of a machine"));
        let rest =
            uri.strip_prefix(SCHEME).and_then(|r| r.strip_prefix("://")).ok_or_else(wrong)?;
        let parts: Vec<&str> = rest.split('/').collect();
        let [session, role, machine] = parts[..] else { return Err(wrong()) };
        let peer =
            Self { session: session.parse()?, role: role.parse()?, machine: machine.parse()? };
        // The name "driver" and the role of the driver imply each other.
        if (peer.role == Role::Driver) != (peer.machine == MachineName::driver()) {
            return Err(wrong());
        }
        Ok(peer)
    }

    /// Reads the identity from a certificate, which must state exactly one, as URI and as DNS name.
    /// Does not verify the chain and the dates.
    pub fn of_certificate(certificate: &CertificateDer<'_>) -> Result<Self> {
        let unreadable = |err: &dyn fmt::Display| {
            InvalidIdentity(format!("the certificate of the other side is unreadable: {err}"))
        };
        let (_, parsed) = X509Certificate::from_der(certificate).map_err(|e| unreadable(&e))?;
        let names = parsed
            .subject_alternative_name()
            .map_err(|e| unreadable(&e))?
            .ok_or_else(|| InvalidIdentity("the certificate contains no identity".to_owned()))?;
        match names.value.general_names.as_slice() {
            [GeneralName::URI(uri), GeneralName::DNSName(dns)] => {
                let peer = Self::of_uri(uri)?;
                if peer.dns_name() == *dns {
                    Ok(peer)
                } else {
                    Err(InvalidIdentity(format!(
                        "the certificate names both \"{uri}\" and \"{dns}\""
                    )))
                }
            }
            _ => Err(InvalidIdentity("the certificate does not name one machine".to_owned())),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} \"{}\" of session \"{}\"", self.role, self.machine, self.session)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    fn names(names: &[SanType]) -> Result<Peer> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names.to_vec();
        let key = KeyPair::generate().unwrap();
        Peer::of_certificate(params.self_signed(&key).unwrap().der())
    }

    fn uri(text: &str) -> SanType {
        SanType::URI(text.try_into().unwrap())
    }

    fn dns(text: &str) -> SanType {
        SanType::DnsName(text.try_into().unwrap())
    }

    #[test]
    fn a_certificate_names_exactly_one_machine() {
        let m0 = Peer::worker("s1".parse().unwrap(), "m0".parse().unwrap());
        let good = [uri("bigslice://s1/worker/m0"), dns("m0.worker.s1.bigslice.internal")];
        assert_eq!(names(&good).unwrap(), m0);
        let rows: &[&[SanType]] = &[
            &[],
            &good[..1],
            &good[1..],
            &[good[0].clone(), good[0].clone(), good[1].clone()],
            &[good[0].clone(), good[1].clone(), good[1].clone()],
            &[uri("bigslice://s1/worker/m1"), good[1].clone()],
            &[uri("bigslice://s2/worker/m0"), good[1].clone()],
            &[uri("bigslice://s1/driver/m0"), dns("m0.driver.s1.bigslice.internal")],
            &[uri("bigslice://s1/worker/driver"), dns("driver.worker.s1.bigslice.internal")],
            &[uri("bigslice://s1/root/m0"), dns("m0.root.s1.bigslice.internal")],
            &[uri("bigslice://s1/worker/m0/x"), good[1].clone()],
            &[uri("https://s1/worker/m0"), good[1].clone()],
        ];
        for row in rows {
            assert!(names(row).is_err(), "{row:?}");
        }
    }

    #[test]
    fn names_are_safe_in_paths_and_addresses() {
        let long = "x".repeat(64);
        for name in ["", ".", "..", "a/b", "a b", "A", "-a", "a.b", "\u{e4}", long.as_str()] {
            assert!(name.parse::<MachineName>().is_err(), "{name}");
            assert!(name.parse::<SessionId>().is_err(), "{name}");
        }
        assert_eq!(SessionId::random().as_str().parse::<SessionId>().unwrap().as_str().len(), 32);
    }
}
