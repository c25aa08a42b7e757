//! The backoff after failed starts of machines: growing pauses, and a limit of failures. A
//! synchronous state machine; the caller passes the time.

use std::time::Duration;

use tokio::time::Instant;

/// After this many failed rounds in a row, no more starts are tried until machines are requested
/// again.
pub(crate) const START_FAILURES_MAX: u32 = 5;
/// The pause after the first failed start. It doubles with each further one.
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause between two attempts.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(5);
/// The longest pause while enough machines run: a cloud's capacity or quota that was exhausted for
/// a while does not return within seconds.
const PATIENT_PAUSE_MAX: Duration = Duration::from_secs(60);

/// The consequence of a failed start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setback {
    /// Part of the same round as an earlier failure, which counts already.
    Same,
    /// Retried after this pause.
    Retry(Duration),
    /// Not retried.
    GivenUp,
}

#[derive(Debug, Default)]
pub(crate) struct Backoff {
    /// Failed rounds in a row.
    failures: u32,
    given_up: bool,
    /// The number of the round. All starts between two failures are one round.
    round: u64,
    /// The number of machines started before the last failure.
    started: u64,
    not_before: Option<Instant>,
}

impl Backoff {
    /// The round of a start that begins now.
    pub(crate) fn round(&self) -> u64 {
        self.round
    }

    pub(crate) fn given_up(&self) -> bool {
        self.given_up
    }

    pub(crate) fn may_start(&self, now: Instant) -> bool {
        !self.given_up() && self.not_before.is_none_or(|t| now >= t)
    }

    /// The time of the next attempt, if there is a pause now.
    pub(crate) fn resumes(&self) -> Option<Instant> {
        self.not_before.filter(|_| !self.given_up())
    }

    /// Forgets the failures.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
        self.given_up = false;
        self.not_before = None;
    }

    /// Records that a start of `round` has failed. `started` is the number of machines that ever
    /// came up. With `enough` running machines, starting is never given up.
    pub(crate) fn failed(
        &mut self,
        round: u64,
        started: u64,
        enough: bool,
        now: Instant,
    ) -> Setback {
        if round != self.round {
            return Setback::Same;
        }
        self.round += 1;
        if self.started != started {
            self.started = started;
            self.failures = 0;
        }
        let longest = if enough { PATIENT_PAUSE_MAX } else { RETRY_PAUSE_MAX };
        let pause = RETRY_PAUSE_MIN.saturating_mul(1 << self.failures.min(16)).min(longest);
        self.failures += 1;
        self.given_up = !enough && self.failures >= START_FAILURES_MAX;
        self.not_before = Some(now + pause);
        if self.given_up { Setback::GivenUp } else { Setback::Retry(pause) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_started_together_fails_once() {
        let now = Instant::now();
        let mut backoff = Backoff::default();
        let first = backoff.failed(0, 0, false, now);
        assert_eq!(first, Setback::Retry(RETRY_PAUSE_MIN));
        assert_eq!([1, 2, 3].map(|_| backoff.failed(0, 0, false, now)), [Setback::Same; 3]);
        assert!(!backoff.may_start(now) && backoff.may_start(now + RETRY_PAUSE_MIN));
    }

    #[test]
    fn pauses_grow_until_it_is_given_up_and_asked_for_again() {
        let now = Instant::now();
        let mut backoff = Backoff::default();
        let mut pauses = Vec::new();
        while let Setback::Retry(pause) = backoff.failed(backoff.round(), 0, false, now) {
            pauses.push(pause.as_millis());
        }
        assert_eq!(pauses, [100, 200, 400, 800]);
        assert!(backoff.given_up() && backoff.resumes().is_none());
        assert!(!backoff.may_start(now + Duration::from_secs(3600)));
        backoff.reset();
        assert!(backoff.may_start(now));
    }

    #[test]
    fn while_enough_run_it_is_never_given_up_but_tried_seldom() {
        let now = Instant::now();
        let mut backoff = Backoff::default();
        let pauses: Vec<Setback> =
            (0..20).map(|_| backoff.failed(backoff.round(), 1, true, now)).collect();
        assert_eq!(
            pauses[9..12],
            [
                Setback::Retry(Duration::from_millis(51200)),
                Setback::Retry(PATIENT_PAUSE_MAX),
                Setback::Retry(PATIENT_PAUSE_MAX)
            ]
        );
        assert!(!backoff.given_up());
        // These are lost too: now it matters.
        assert_eq!(backoff.failed(backoff.round(), 1, false, now), Setback::GivenUp);
    }

    #[test]
    fn a_start_that_succeeds_ends_the_row() {
        let now = Instant::now();
        let mut backoff = Backoff::default();
        for started in 0..100 {
            let setback = backoff.failed(backoff.round(), started, false, now);
            assert_eq!(setback, Setback::Retry(RETRY_PAUSE_MIN), "{started}");
        }
    }
}
