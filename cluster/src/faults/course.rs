//! The course of one direction of one connection: which harm comes after how many bytes. A function
//! of the seed and the names, not of time or of how bytes are cut into chunks.

use fastrand::Rng;

use crate::faults::weather::{Harm, When};
use crate::identity::MachineName;

/// Of FNV-1a, which spreads the few bits in which the names differ.
const HASH_PRIME: u64 = 0x0100_0000_01b3;
/// Bytes that a harm leaves out or doubles, at most: less than a TLS record.
const SPAN_MAX: u64 = 512;

/// What is drawn for the direction from `from` to `to` of their `connection`th connection.
pub(crate) fn draws(seed: u64, from: &MachineName, to: &MachineName, connection: u64) -> Rng {
    let names = from.as_str().bytes().chain([0]).chain(to.as_str().bytes()).chain([0]);
    let bytes = names.chain(connection.to_le_bytes());
    Rng::with_seed(bytes.fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(HASH_PRIME)))
}

/// A harm that lies ahead.
#[derive(Clone, Debug, PartialEq)]
struct Ahead {
    /// How many bytes were sent before it.
    at: u64,
    harm: Harm,
    when: When,
}

/// A harm that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) harm: Harm,
    /// How many bytes were sent before it.
    pub(crate) offset: u64,
    /// How many bytes are lost or doubled, or which bit is flipped.
    pub(crate) span: u64,
}

/// How far a direction is, and what lies ahead.
#[derive(Debug)]
pub(crate) struct Course {
    rng: Rng,
    sent: u64,
    ahead: Vec<Ahead>,
}

impl Course {
    pub(crate) fn new(rng: Rng) -> Self {
        Self { rng, sent: 0, ahead: Vec::new() }
    }

    /// From here on these harms, and no others.
    pub(crate) fn set(&mut self, harms: &[(Harm, When)]) {
        self.ahead = harms
            .iter()
            .map(|(harm, when)| Ahead { at: self.draw(*when), harm: *harm, when: *when })
            .collect();
    }

    /// How many of the next `n` bytes go on their way unharmed, and what happens then.
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
        let Ahead { at, harm, when } = self.ahead[first].clone();
        match when {
            When::After(_) => drop(self.ahead.swap_remove(first)),
            When::Every(_) => self.ahead[first].at = self.draw(when),
        }
        (free, Some(Due { harm, offset: at, span: self.rng.u64(1..=SPAN_MAX) }))
    }

    fn draw(&mut self, when: When) -> u64 {
        let gap = match when {
            When::After(bytes) => bytes,
            // Each byte is as likely as the next: the gaps are exponentially distributed.
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

    /// The harms of the first `total` bytes if they come in chunks of `chunk`.
    fn course(seed: u64, connection: u64, chunk: usize, total: usize) -> Vec<Due> {
        let names = (MachineName::driver(), MachineName::worker(3));
        let mut course = Course::new(draws(seed, &names.0, &names.1, connection));
        course.set(&[(Harm::Flip, When::Every(1000)), (Harm::Drop, When::After(5000))]);
        let mut dues = Vec::new();
        let mut left = total;
        while left > 0 {
            let mut rest = chunk.min(left);
            left -= rest;
            loop {
                let (free, due) = course.advance(rest);
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
        let whole = course(1, 0, 1_000_000, 1_000_000);
        assert_eq!(whole, course(1, 0, 7, 1_000_000));
        assert_eq!(whole, course(1, 0, 16 << 10, 1_000_000));
        assert_ne!(whole, course(2, 0, 1_000_000, 1_000_000));
        assert_ne!(whole, course(1, 1, 1_000_000, 1_000_000));
    }

    #[test]
    fn harms_come_as_often_as_they_should() {
        let dues = course(1, 0, 4096, 1_000_000);
        let flips = dues.iter().filter(|due| due.harm == Harm::Flip).count();
        assert!((900..1100).contains(&flips), "{flips}");
        let drops: Vec<u64> =
            dues.iter().filter(|due| due.harm == Harm::Drop).map(|due| due.offset).collect();
        assert_eq!(drops, [5000]);
    }
}
