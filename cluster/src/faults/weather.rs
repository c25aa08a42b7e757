//! What may happen on which connections: plain values, set by a test, read by the relays.

use std::time::Duration;

use crate::identity::MachineName;

/// Ways between machines; the driver is one of them, [`MachineName::driver`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Links {
    /// Between all.
    All,
    /// Between this one and all others, both ways.
    Of(MachineName),
    /// Between these two, both ways.
    Between(MachineName, MachineName),
    /// What the first sends to the second, on connections that either has made.
    OneWay(MachineName, MachineName),
}

impl Links {
    /// Whether what `from` sends to `to` is meant.
    pub(crate) fn cover(&self, from: &MachineName, to: &MachineName) -> bool {
        match self {
            Self::All => true,
            Self::Of(machine) => [from, to].contains(&machine),
            Self::Between(a, b) => (from, to) == (a, b) || (from, to) == (b, a),
            Self::OneWay(a, b) => (from, to) == (a, b),
        }
    }
}

/// What is done to the bytes that one side sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Harm {
    /// The connection is reset, both ways, and what was under way is gone.
    Reset,
    /// Nothing after this arrives; the other side sees an orderly end.
    Truncate,
    /// Some bytes, at most 512, are left out.
    Drop,
    /// Some bytes, at most 512, arrive twice.
    Duplicate,
    /// One bit is another.
    Flip,
}

/// Where in the bytes that one side sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Once on each connection: after so many bytes, counted from when the weather was set or the
    /// connection was made, whichever was later. A TLS handshake takes about 1,000 bytes each way.
    After(u64),
    /// Again and again, this many bytes apart on average. 0 counts as 1.
    Every(u64),
}

/// How connections are. They know no more than this: each part holds for each direction by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    /// Bytes arrive this much later, in order.
    pub delay: Duration,
    /// They arrive later still by a random part of this.
    pub jitter: Duration,
    /// No more than this arrive in a second, if it is set; 0 counts as 1.
    pub bytes_per_second: Option<u64>,
    /// What is done to the bytes.
    pub harms: Vec<(Harm, When)>,
}

impl Weather {
    /// Nothing happens.
    pub fn fair() -> Self {
        Self::default()
    }

    /// With bytes that arrive `delay` later.
    #[must_use]
    pub fn delay(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// With bytes that arrive later by a random part of `jitter`.
    #[must_use]
    pub fn jitter(self, jitter: Duration) -> Self {
        Self { jitter, ..self }
    }

    /// With no more than `bytes_per_second` arriving.
    #[must_use]
    pub fn bytes_per_second(self, bytes_per_second: u64) -> Self {
        Self { bytes_per_second: Some(bytes_per_second), ..self }
    }

    /// With one more harm.
    #[must_use]
    pub fn harm(mut self, harm: Harm, when: When) -> Self {
        self.harms.push((harm, when));
        self
    }
}
