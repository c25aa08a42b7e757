//! The user data of a new instance: a script that first ensures its own end, then waits for the
//! driver, receives the program and runs it as a worker.
//!
//! ```text
//!   driver                                             instance (boot.sh, boot.py)
//!     |                                                  |  timers that switch it off; port open
//!     | -- TLS 1.3: the session's driver certificate ->  |  checked against the session's root
//!     | <- the one-time certificate of this launch ----  |  port closed: no second link
//!     | -- order (size, environment), files ---------->  |  units are started
//!     | -- program, or another machine brings it ----->  |  checked against the SHA-256 below
//!     | <= frames: enrolment, stdout, stderr, end =====> |  the worker, its standard input a socket
//! ```
//!
//! User data can be read by all who may describe the instance and by every process on it. Its one
//! secret is the key of the one-time certificate, which proves to the driver that it talks to the
//! instance that it launched. It is worthless elsewhere (the driver dials only the instance's
//! address), later (it expires with the launch), a second time (the driver dials once) or for any
//! other purpose (the session's authority has not signed it).

use std::fmt;
use std::time::{Duration, SystemTime};

use aws_smithy_types::base64;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::pki_types::CertificateDer;
use serde::Serialize;
use zeroize::{Zeroize, Zeroizing};

use super::dial::Pinned;
use super::program::Program;
use super::spec::Ec2Spec;
use super::value::Market;
use crate::error::{Error, Result};
use crate::identity::{MachineName, Peer};

/// EC2's limit, before encoding.
const USER_DATA_SIZE_MAX: usize = 16 << 10;
/// An instance that is not a worker by then switches itself off. A program of 60 MB at 100 KB/s
/// arrives within it.
pub(super) const BOOT_TIME: Duration = Duration::from_secs(15 * 60);
/// How often an instance asks whether AWS will take it back. The notice of two minutes is far
/// longer.
const NOTICE_PERIOD: Duration = Duration::from_secs(5);
/// Certificates start this long in the past, for clocks that are behind.
const CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);

/// The one-time certificate of a launch with its key.
pub(super) struct Secret {
    pub(super) certificate: CertificateDer<'static>,
    /// The driver does not accept it after this.
    pub(super) until: SystemTime,
    pem: Zeroizing<String>,
}

impl Secret {
    pub(super) fn new(machine: &MachineName) -> Result<Self> {
        let made = Error::certificate::<rcgen::Error>;
        let attempt = "make the one-time certificate of a machine";
        let until = SystemTime::now() + BOOT_TIME;
        let mut key =
            KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(made(attempt))?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, format!("enrolment of {machine}"));
        params.not_before = (SystemTime::now() - CLOCK_SKEW).into();
        params.not_after = until.into();
        let certificate = params.self_signed(&key).map_err(made(attempt))?;
        let pem = Zeroizing::new(key.serialize_pem() + &certificate.pem());
        key.zeroize();
        Ok(Self { certificate: certificate.der().clone(), until, pem })
    }
}

impl Secret {
    /// What its instance is recognised by.
    pub(super) fn pinned(&self) -> Pinned {
        Pinned { certificate: self.certificate.clone(), until: self.until }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").field("until", &self.until).finish_non_exhaustive()
    }
}

/// The variables of boot.py.
#[derive(Serialize)]
struct Config<'a> {
    machine: &'a MachineName,
    port: u16,
    /// The only caller that it accepts, as named in the certificate.
    driver: String,
    root: String,
    enrolment: &'a str,
    sha256: &'a str,
    spot: bool,
    notice_period: u64,
}

/// The user data of one instance, encoded for the API.
pub(super) fn user_data(
    spec: &Ec2Spec,
    program: &Program,
    secret: &Secret,
    machine: &MachineName,
    driver: &Peer,
    root: &CertificateDer<'_>,
) -> Result<String> {
    let config = Config {
        machine,
        port: spec.port,
        driver: driver.uri(),
        root: base64::encode(root),
        enrolment: &secret.pem,
        sha256: &program.sha256,
        spot: spec.market != Market::OnDemand,
        notice_period: NOTICE_PERIOD.as_secs(),
    };
    let config = serde_json::to_string(&config)
        .map(Zeroizing::new)
        .map_err(|e| Error::Enrolment(format!("could not write a machine's user data: {e}")))?;
    let data = if spec.data_gib.is_some() { super::request::DATA_DEVICE } else { "" };
    let script = include_str!("boot.sh")
        .replace("@BOOT_SECONDS@", &BOOT_TIME.as_secs().to_string())
        .replace("@LIFE_SECONDS@", &spec.lifetime.as_secs().to_string())
        .replace("@DATA@", data)
        .replace("@PYTHON@", include_str!("boot.py"))
        .replace("@CONFIG@", &config);
    let script = Zeroizing::new(script);
    if script.len() > USER_DATA_SIZE_MAX {
        return Err(Error::Enrolment(format!(
            "the user data of a machine has {} bytes, and EC2 takes {USER_DATA_SIZE_MAX}",
            script.len()
        )));
    }
    Ok(base64::encode(script.as_bytes()))
}
