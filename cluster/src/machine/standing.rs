//! Whether a machine is to be given work: not while it does not answer, and the less soon again the
//! more often connections to it break. A synchronous state machine, told the time.
//!
//! ```text
//!   trusted -- suspected, or silent --> on probation -- answered, and the time is over --> trusted
//!                                            \-- suspected too often --> taken for lost
//! ```

use std::time::Duration;

use tokio::time::Instant;

/// The shortest probation is over with the first answer, the second takes this, and each further
/// one twice as long.
const PROBATION_MIN: Duration = Duration::from_secs(1);
/// A machine that was trusted for so long is as good as new.
const FORGIVEN_AFTER: Duration = Duration::from_secs(60);
/// Probations in a row, the last of them 16 s; a machine that needs more answers the driver and
/// nobody else, and is better replaced.
const PROBATIONS_MAX: u32 = 6;

/// What a suspicion leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing new: it is on probation already.
    Known,
    /// It is on probation from now on.
    Probation,
    /// It is to be replaced.
    Condemned,
}

#[derive(Debug, Default)]
pub(crate) struct Standing {
    /// Probations in a row.
    probations: u32,
    probation: Option<Probation>,
    /// When it was last trusted again.
    trusted: Option<Instant>,
}

#[derive(Debug)]
struct Probation {
    /// Only what is asked after this counts.
    since: Instant,
    not_before: Instant,
    answered: bool,
}

impl Standing {
    pub(crate) fn is_trusted(&self) -> bool {
        self.probation.is_none()
    }

    /// Somebody's connection to it broke.
    pub(crate) fn suspect(&mut self, now: Instant) -> Verdict {
        if let Some(probation) = &mut self.probation {
            // Of many tasks on one machine each reports the same.
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

    /// It did not answer the driver, which is no reason to replace it before its lease has lapsed.
    pub(crate) fn silent(&mut self, now: Instant) {
        let probation = Probation { since: now, not_before: now, answered: false };
        self.probation.get_or_insert(probation);
    }

    /// It answered what it was asked at `asked`. Whether it is trusted again by that.
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
        let mut standing = Standing::default();
        assert!(standing.is_trusted());
        assert_eq!(standing.suspect(start + SECOND), Verdict::Probation);
        assert!(!standing.answered(start, start + SECOND * 2), "it was asked before");
        assert!(!standing.is_trusted());
        assert_eq!(standing.suspect(start + SECOND * 3), Verdict::Known);
        assert!(
            !standing.answered(start + SECOND * 2, start + SECOND * 3),
            "asked before the last"
        );
        assert!(standing.answered(start + SECOND * 3, start + SECOND * 4));
        assert!(standing.is_trusted());
        assert!(
            !standing.answered(start + SECOND * 4, start + SECOND * 5),
            "it was trusted before"
        );
    }

    #[test]
    fn probations_grow_and_end_in_a_replacement() {
        let mut now = Instant::now();
        let mut standing = Standing::default();
        let mut times = Vec::new();
        while standing.suspect(now) == Verdict::Probation {
            let began = now;
            while !standing.answered(now, now) {
                now = standing.ask_at().unwrap().max(now + SECOND / 10);
            }
            times.push((now - began).as_secs());
        }
        assert_eq!(times, [0, 1, 2, 4, 8, 16]);
    }

    #[test]
    fn a_minute_of_trust_makes_it_as_good_as_new() {
        let mut now = Instant::now();
        let mut standing = Standing::default();
        for _ in 0..100 {
            assert_eq!(standing.suspect(now), Verdict::Probation);
            assert!(standing.answered(now, now), "each is the first");
            now += FORGIVEN_AFTER;
        }
    }

    #[test]
    fn silence_alone_condemns_nobody() {
        let mut now = Instant::now();
        let mut standing = Standing::default();
        for _ in 0..100 {
            standing.silent(now);
            assert!(!standing.is_trusted());
            assert!(standing.answered(now, now));
            now += SECOND;
        }
    }
}
