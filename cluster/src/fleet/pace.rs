//! The pace of starting machines when starting fails: pauses that grow, and an end. A synchronous
//! state machine, told the time.

use std::time::Duration;

use tokio::time::Instant;

/// After this many failed rounds in a row no more are tried until somebody asks for machines.
pub(crate) const START_FAILURES_MAX: u32 = 5;
/// The pause after the first failed start; it doubles with each further one.
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause between two tries.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(5);
/// The same where work goes on meanwhile: what was not to be had for a while, a cloud's capacity or
/// a quota, is not to be had from one second to the next.
const PATIENT_PAUSE_MAX: Duration = Duration::from_secs(60);

/// What a failed start means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setback {
    /// Others that were started at the same time have failed before; it is one and the same.
    Same,
    /// It is tried again after this pause.
    Retry(Duration),
    /// It is not tried again.
    GivenUp,
}

#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Failed rounds in a row.
    failures: u32,
    given_up: bool,
    /// Numbers the rounds. All starts between two failures are one.
    round: u64,
    /// How many machines had been started when it failed last.
    started: u64,
    not_before: Option<Instant>,
}

impl Pace {
    /// The round to which a start now belongs.
    pub(crate) fn round(&self) -> u64 {
        self.round
    }

    pub(crate) fn given_up(&self) -> bool {
        self.given_up
    }

    pub(crate) fn may_start(&self, now: Instant) -> bool {
        !self.given_up() && self.not_before.is_none_or(|t| now >= t)
    }

    /// When to try again, if there is a pause now.
    pub(crate) fn resumes(&self) -> Option<Instant> {
        self.not_before.filter(|_| !self.given_up())
    }

    /// Forgets the failures.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
        self.given_up = false;
        self.not_before = None;
    }

    /// A start of `round` has failed; `started` machines have ever come up. It is never given up if
    /// those that run are `enough` to go on with.
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
        let mut pace = Pace::default();
        let first = pace.failed(0, 0, false, now);
        assert_eq!(first, Setback::Retry(RETRY_PAUSE_MIN));
        assert_eq!([1, 2, 3].map(|_| pace.failed(0, 0, false, now)), [Setback::Same; 3]);
        assert!(!pace.may_start(now) && pace.may_start(now + RETRY_PAUSE_MIN));
    }

    #[test]
    fn pauses_grow_until_it_is_given_up_and_asked_for_again() {
        let now = Instant::now();
        let mut pace = Pace::default();
        let mut pauses = Vec::new();
        while let Setback::Retry(pause) = pace.failed(pace.round(), 0, false, now) {
            pauses.push(pause.as_millis());
        }
        assert_eq!(pauses, [100, 200, 400, 800]);
        assert!(pace.given_up() && pace.resumes().is_none());
        assert!(!pace.may_start(now + Duration::from_secs(3600)));
        pace.reset();
        assert!(pace.may_start(now));
    }

    #[test]
    fn while_enough_run_it_is_never_given_up_but_tried_seldom() {
        let now = Instant::now();
        let mut pace = Pace::default();
        let pauses: Vec<Setback> =
            (0..20).map(|_| pace.failed(pace.round(), 1, true, now)).collect();
        assert_eq!(
            pauses[9..12],
            [
                Setback::Retry(Duration::from_millis(51200)),
                Setback::Retry(PATIENT_PAUSE_MAX),
                Setback::Retry(PATIENT_PAUSE_MAX)
            ]
        );
        assert!(!pace.given_up());
        // They are lost too: now it matters.
        assert_eq!(pace.failed(pace.round(), 1, false, now), Setback::GivenUp);
    }

    #[test]
    fn a_start_that_succeeds_ends_the_row() {
        let now = Instant::now();
        let mut pace = Pace::default();
        for started in 0..100 {
            let setback = pace.failed(pace.round(), started, false, now);
            assert_eq!(setback, Setback::Retry(RETRY_PAUSE_MIN), "{started}");
        }
    }
}
