//! Fault schedules: what may happen on which connections. Plain values, set by a test, read by the
//! relays.

use std::time::Duration;

use crate::identity::MachineName;

/// Connections between machines. The driver is one of them, [`MachineName::driver`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Links {
    /// Between all machines.
    All,
    /// Between this machine and all others, both ways.
    Of(MachineName),
    /// Between these two, both ways.
    Between(MachineName, MachineName),
    /// The bytes that the first sends to the second, on connections dialed by either.
    OneWay(MachineName, MachineName),
}

impl Links {
    /// Returns true if the bytes from `from` to `to` are covered.
    pub(crate) fn cover(&self, from: &MachineName, to: &MachineName) -> bool {
        match self {
            Self::All => true,
            Self::Of(machine) => [from, to].contains(&machine),
            Self::Between(a, b) => (from, to) == (a, b) || (from, to) == (b, a),
            Self::OneWay(a, b) => (from, to) == (a, b),
        }
    }
}

/// A fault in the bytes that one side sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The connection is reset, both ways, and bytes under way are lost.
    Reset,
    /// Nothing after this arrives. The other side sees an orderly end.
    Truncate,
    /// Some bytes, at most 512, are lost.
    Drop,
    /// Some bytes, at most 512, arrive twice.
    Duplicate,
    /// One bit is flipped.
    Flip,
}

/// The position of a fault in the bytes that one side sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Once on each connection: after this many bytes, counted from when the schedule was set or
    /// the connection was made, whichever was later. A TLS handshake takes about 1,000 bytes each
    /// way.
    After(u64),
    /// Repeatedly, with this average distance in bytes. 0 counts as 1.
    Every(u64),
}

/// The conditions of a connection, for each direction separately.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaultSchedule {
    /// Bytes arrive this much later, in order.
    pub delay: Duration,
    /// They arrive later by an additional random part of this.
    pub jitter: Duration,
    /// The most bytes that arrive in a second, if set; 0 counts as 1.
    pub bytes_per_second: Option<u64>,
    /// The faults and their positions.
    pub faults: Vec<(Fault, When)>,
}

impl FaultSchedule {
    /// No delay and no fault.
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds a delay.
    #[must_use]
    pub fn delay(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// Adds a random delay of up to `jitter`.
    #[must_use]
    pub fn jitter(self, jitter: Duration) -> Self {
        Self { jitter, ..self }
    }

    /// Limits the throughput.
    #[must_use]
    pub fn bytes_per_second(self, bytes_per_second: u64) -> Self {
        Self { bytes_per_second: Some(bytes_per_second), ..self }
    }

    /// Adds a fault.
    #[must_use]
    pub fn fault(mut self, fault: Fault, when: When) -> Self {
        self.faults.push((fault, when));
        self
    }
}
