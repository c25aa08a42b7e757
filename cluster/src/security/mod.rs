//! Authentication: the session's authority, the keys and certificates of each process, enrolment of
//! workers, and connections on which both sides are verified.

pub(crate) mod authority;
pub(crate) mod connector;
pub(crate) mod credentials;
pub(crate) mod enrolment;
pub(crate) mod tls;
pub(crate) mod verifier;
pub(crate) mod wire;
