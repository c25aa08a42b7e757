//! The health of a machine: it gets no work while it does not answer, and the more often
//! connections to it break, the longer it gets none. A synchronous state machine; the caller passes
//! the time.
//!
//! ```text
//!   trusted -- suspected, or silent --> on probation -- answered, and the time is over --> trusted
//!                                            \-- suspected too often --> taken for lost
//! ```

use std::time::Duration;

use tokio::time::Instant;

/// The shortest probation ends with the first answer. The second takes this, and each further one
/// twice as long.
const PROBATION_MIN: Duration = Duration::from_secs(1);
/// A machine that was trusted for this long starts afresh.
const FORGIVEN_AFTER: Duration = Duration::from_secs(60);
/// The most probations in a row, the last of 16 s. A machine that needs more answers the driver
/// alone and is better replaced.
const PROBATIONS_MAX: u32 = 6;

/// The consequence of a suspicion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// None: it is already on probation.
    Known,
    /// It is on probation from now on.
    Probation,
    /// It must be replaced.
    Condemned,
}

#[derive(Debug, Default)]
pub(crate) struct Health {
    /// Probations in a row.
    probations: u32,
    probation: Option<Probation>,
    /// When its last probation ended.
    trusted: Option<Instant>,
}

#[derive(Debug)]
struct Probation {
    /// Only answers to questions asked after this count.
    since: Instant,
    not_before: Instant,
    answered: bool,
}

impl Health {
    pub(crate) fn is_trusted(&self) -> bool {
        self.probation.is_none()
    }

    /// Records that a connection to it broke.
    pub(crate) fn suspect(&mut self, now: Instant) -> Verdict {
        if let Some(probation) = &mut self.probation {
            // Many tasks on one machine report the same break.
            probation.since = now;
            probation.answered = false;
            return Verdict::Known;
        }
        if self.trusted.is_some_and(|t| now.duration_since(t) >= FORGIVEN_AFTER) {
            self.probations = 0;
        }
        self.probations += 1;
        if self.probations > PROBATIONS_MAX {
            return Verdict::Condemned;
        }
        let time = match self.probations {
            1 => Duration::ZERO,
            n => PROBATION_MIN.saturating_mul(1 << (n - 2)),
        };
        self.probation = Some(Probation { since: now, not_before: now + time, answered: false });
        Verdict::Probation
    }

    /// Records that it did not answer the driver. It is not replaced before its lease has lapsed.
    pub(crate) fn silent(&mut self, now: Instant) {
        let probation = Probation { since: now, not_before: now, answered: false };
        self.probation.get_or_insert(probation);
    }

    /// Records an answer to a question asked at `asked`. Returns true if it is trusted again.
    pub(crate) fn answered(&mut self, asked: Instant, now: Instant) -> bool {
        let Some(probation) = &mut self.probation else { return false };
        probation.answered |= asked >= probation.since;
        let over = probation.answered && now >= probation.not_before;
        if over {
            self.probation = None;
            self.trusted = Some(now);
        }
        over
    }

    /// When to ask it, if it is on probation.
    pub(crate) fn ask_at(&self) -> Option<Instant> {
        self.probation.as_ref().map(|p| if p.answered { p.not_before } else { p.since })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_first_probation_ends_with_an_answer_to_a_later_question() {
        let start = Instant::now();
        let mut health = Health::default();
        assert!(health.is_trusted());
        assert_eq!(health.suspect(start + SECOND), Verdict::Probation);
        assert!(!health.answered(start, start + SECOND * 2), "it was asked before");
        assert!(!health.is_trusted());
        assert_eq!(health.suspect(start + SECOND * 3), Verdict::Known);
        assert!(!health.answered(start + SECOND * 2, start + SECOND * 3), "asked before the last");
        assert!(health.answered(start + SECOND * 3, start + SECOND * 4));
        assert!(health.is_trusted());
        assert!(!health.answered(start + SECOND * 4, start + SECOND * 5), "it was trusted before");
    }

    #[test]
    fn probations_grow_and_end_in_a_replacement() {
        let mut now = Instant::now();
        let mut health = Health::default();
        let mut times = Vec::new();
        while health.suspect(now) == Verdict::Probation {
            let began = now;
            while !health.answered(now, now) {
                now = health.ask_at().unwrap().max(now + SECOND / 10);
            }
            times.push((now - began).as_secs());
        }
        assert_eq!(times, [0, 1, 2, 4, 8, 16]);
    }

    #[test]
    fn a_minute_of_trust_makes_it_as_good_as_new() {
        let mut now = Instant::now();
        let mut health = Health::default();
        for _ in 0..100 {
            assert_eq!(health.suspect(now), Verdict::Probation);
            assert!(health.answered(now, now), "each is the first");
            now += FORGIVEN_AFTER;
        }
    }

    #[test]
    fn silence_alone_condemns_nobody() {
        let mut now = Instant::now();
        let mut health = Health::default();
        for _ in 0..100 {
            health.silent(now);
            assert!(!health.is_trusted());
            assert!(health.answered(now, now));
            now += SECOND;
        }
    }
}
