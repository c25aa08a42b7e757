//! Who is who on the network: the session's authority, the keys and certificates of each process, how a worker joins, and
//! connections that check both sides.

pub(crate) mod authority;
pub(crate) mod connector;
pub(crate) mod credentials;
pub(crate) mod enrolment;
pub(crate) mod tls;
pub(crate) mod verifier;
pub(crate) mod wire;
