//! The faults in one direction of one connection, by the number of bytes sent before them. A
//! function of the seed and the names, not of time or of how bytes are cut into chunks.

use fastrand::Rng;

use crate::faults::schedule::{Fault, When};
use crate::identity::MachineName;

/// The prime of FNV-1a, which spreads the few bits in which the names differ.
const HASH_PRIME: u64 = 0x0100_0000_01b3;
/// The most bytes that a fault loses or repeats: less than a TLS record.
const SPAN_MAX: u64 = 512;

/// The random numbers of the direction from `from` to `to` of their `connection`th connection.
pub(crate) fn draws(seed: u64, from: &MachineName, to: &MachineName, connection: u64) -> Rng {
    let names = from.as_str().bytes().chain([0]).chain(to.as_str().bytes()).chain([0]);
    let bytes = names.chain(connection.to_le_bytes());
    Rng::with_seed(bytes.fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(HASH_PRIME)))
}

/// A future fault.
#[derive(Clone, Debug, PartialEq)]
struct Ahead {
    /// The bytes sent before it.
    at: u64,
    fault: Fault,
    when: When,
}

/// A fault that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) fault: Fault,
    /// The bytes sent before it.
    pub(crate) offset: u64,
    /// How many bytes are lost or repeated, or which bit is flipped.
    pub(crate) span: u64,
}

/// The progress of a direction and its future faults.
#[derive(Debug)]
pub(crate) struct Timeline {
    rng: Rng,
    sent: u64,
    ahead: Vec<Ahead>,
}

impl Timeline {
    pub(crate) fn new(rng: Rng) -> Self {
        Self { rng, sent: 0, ahead: Vec::new() }
    }

    /// Replaces the future faults.
    pub(crate) fn set(&mut self, faults: &[(Fault, When)]) {
        self.ahead = faults
            .iter()
            .map(|(fault, when)| Ahead { at: self.draw(*when), fault: *fault, when: *when })
            .collect();
    }

    /// Returns how many of the next `n` bytes pass unchanged, and the fault that follows them.
    pub(crate) fn advance(&mut self, n: usize) -> (usize, Option<Due>) {
        let first = (0..self.ahead.len()).min_by_key(|i| self.ahead[*i].at);
        let free = first.map_or(u64::MAX, |i| self.ahead[i].at - self.sent);
        let (Some(first), Ok(free)) = (first, usize::try_from(free)) else {
            self.sent += n as u64;
            return (n, None);
        };
        if free >= n {
            self.sent += n as u64;
            return (n, None);
        }
        self.sent += free as u64;
        let Ahead { at, fault, when } = self.ahead[first].clone();
        match when {
            When::After(_) => drop(self.ahead.swap_remove(first)),
            When::Every(_) => self.ahead[first].at = self.draw(when),
        }
        (free, Some(Due { fault, offset: at, span: self.rng.u64(1..=SPAN_MAX) }))
    }

    fn draw(&mut self, when: When) -> u64 {
        let gap = match when {
            When::After(bytes) => bytes,
            // Each byte is equally likely: the gaps are exponentially distributed.
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "saturates"
            )]
            #[expect(clippy::cast_precision_loss, reason = "it is an average")]
            When::Every(mean) => (-(1.0 - self.rng.f64()).ln() * mean.max(1) as f64).ceil() as u64,
        };
        self.sent.saturating_add(gap.max(u64::from(matches!(when, When::Every(_)))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The faults of the first `total` bytes if they come in chunks of `chunk`.
    fn timeline(seed: u64, connection: u64, chunk: usize, total: usize) -> Vec<Due> {
        let names = (MachineName::driver(), MachineName::worker(3));
        let mut timeline = Timeline::new(draws(seed, &names.0, &names.1, connection));
        timeline.set(&[(Fault::Flip, When::Every(1000)), (Fault::Drop, When::After(5000))]);
        let mut dues = Vec::new();
        let mut left = total;
        while left > 0 {
            let mut rest = chunk.min(left);
            left -= rest;
            loop {
                let (free, due) = timeline.advance(rest);
                rest -= free;
                match due {
                    Some(due) => dues.push(due),
                    None => break,
                }
            }
        }
        dues
    }

    #[test]
    fn the_seed_says_what_happens_whatever_the_chunks() {
        let whole = timeline(1, 0, 1_000_000, 1_000_000);
        assert_eq!(whole, timeline(1, 0, 7, 1_000_000));
        assert_eq!(whole, timeline(1, 0, 16 << 10, 1_000_000));
        assert_ne!(whole, timeline(2, 0, 1_000_000, 1_000_000));
        assert_ne!(whole, timeline(1, 1, 1_000_000, 1_000_000));
    }

    #[test]
    fn harms_come_as_often_as_they_should() {
        let dues = timeline(1, 0, 4096, 1_000_000);
        let flips = dues.iter().filter(|due| due.fault == Fault::Flip).count();
        assert!((900..1100).contains(&flips), "{flips}");
        let drops: Vec<u64> =
            dues.iter().filter(|due| due.fault == Fault::Drop).map(|due| due.offset).collect();
        assert_eq!(drops, [5000]);
    }
}
