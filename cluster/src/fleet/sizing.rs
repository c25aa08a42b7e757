//! The target size of a fleet: fixed, or following the demand. Plain values and arithmetic; the
//! [`keeper`](crate::fleet::keeper) acts on them.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// How a fleet follows the demand for its machines. See [`Fleet::elastic`](crate::Fleet::elastic).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elastic {
    /// The minimum number of machines, kept even without demand.
    pub machines_min: usize,
    /// The slots of one machine: usually its cores. 0 counts as 1.
    pub slots_per_machine: usize,
    /// The most machines being started at a time. 0 counts as 1.
    pub batch_max: usize,
    /// A machine without demand and without a hold is released after this.
    pub idle: Duration,
}

impl Default for Elastic {
    /// No machine without demand, one slot each, batches of ten, released after a minute.
    fn default() -> Self {
        Self {
            machines_min: 0,
            slots_per_machine: 1,
            // Within a cloud's limits on requests.
            batch_max: 10,
            // Cheap, and longer than a pause between two queries.
            idle: Duration::from_secs(60),
        }
    }
}

/// The machines of a fleet at some moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Those that start or run, and are not being released.
    pub(crate) alive: usize,
    /// Those of them that do not run yet.
    pub(crate) starting: usize,
    /// All of which something is left, including those that are ending.
    pub(crate) lives: usize,
}

/// The limits of one fleet.
#[derive(Clone, Debug)]
pub(crate) struct Sizing {
    min: usize,
    max: usize,
    slots_per_machine: usize,
    batch_max: usize,
    /// `None` if machines are never released.
    pub(crate) idle: Option<Duration>,
}

impl Sizing {
    /// A fixed number of machines, started all at once.
    pub(crate) fn fixed(machines: usize) -> Self {
        let slots_per_machine = 1;
        Self { min: machines, max: machines, slots_per_machine, batch_max: machines, idle: None }
    }

    /// At most `max`, following the demand.
    pub(crate) fn elastic(max: usize, elastic: &Elastic) -> Self {
        Self {
            min: elastic.machines_min.min(max),
            max,
            slots_per_machine: elastic.slots_per_machine.max(1),
            batch_max: elastic.batch_max.max(1),
            idle: Some(elastic.idle),
        }
    }

    pub(crate) fn max(&self) -> usize {
        self.max
    }

    pub(crate) fn slots_per_machine(&self) -> usize {
        self.slots_per_machine
    }

    /// The target for a demand of `asked` machines.
    pub(crate) fn target(&self, asked: usize) -> usize {
        asked.clamp(self.min, self.max)
    }

    /// How many to start now. Machines that are ending count against the limit: they may still
    /// cost.
    pub(crate) fn starts(&self, target: usize, counts: Counts) -> usize {
        let wanted = target.saturating_sub(counts.alive);
        let allowed = self.max.saturating_sub(counts.lives);
        wanted.min(allowed).min(self.batch_max.saturating_sub(counts.starting))
    }
}

/// The recent peak of the target: machines are released when they were not needed for a while, not
/// whenever one query ends before the next begins.
#[derive(Debug, Default)]
pub(crate) struct Peak {
    now: usize,
    /// Earlier targets and when they ended: falling numbers, rising times.
    before: VecDeque<(Instant, usize)>,
}

impl Peak {
    /// Sets the current target.
    pub(crate) fn want(&mut self, target: usize, now: Instant) {
        let before = std::mem::replace(&mut self.now, target);
        if before > target {
            while self.before.back().is_some_and(|(_, lower)| *lower <= before) {
                self.before.pop_back();
            }
            self.before.push_back((now, before));
        }
    }

    /// The highest target within `idle` before `now`, and when it will fall.
    pub(crate) fn within(&mut self, idle: Duration, now: Instant) -> (usize, Option<Instant>) {
        while self.before.front().is_some_and(|(until, _)| *until + idle <= now) {
            self.before.pop_front();
        }
        match self.before.front() {
            Some((until, most)) if *most > self.now => (*most, Some(*until + idle)),
            _ => (self.now, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_wanted_lately_is_kept() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let idle = Duration::from_secs(10);
        let mut peak = Peak::default();
        for (second, target) in [(0, 8), (1, 3), (2, 5), (3, 4), (4, 0)] {
            peak.want(target, at(second));
        }
        // When -> the peak, and when it falls.
        let rows = [
            (4, 8, Some(11)),
            (10, 8, Some(11)),
            (11, 5, Some(13)),
            (13, 4, Some(14)),
            (14, 0, None),
        ];
        for (second, most, falls) in rows {
            assert_eq!(peak.within(idle, at(second)), (most, falls.map(at)), "{second}");
        }
        // The target alternates, and at most two entries are kept.
        for second in 20..100 {
            peak.want(1 + usize::from(second % 2 == 0), at(second));
            assert!(peak.before.len() <= 2 && peak.within(idle, at(second)).0 <= 2);
        }
    }

    #[test]
    fn as_many_as_are_asked_for_in_batches() {
        let elastic = Elastic { machines_min: 1, slots_per_machine: 4, ..Elastic::default() };
        let sizing = Sizing::elastic(30, &elastic);
        assert_eq!([0, 1, 2, 30, 99].map(|n| sizing.target(n)), [1, 1, 2, 30, 30]);
        // target, alive, starting, lives -> to start
        let rows = [
            (25, 0, 0, 0, 10),
            (25, 10, 10, 10, 0),
            (25, 10, 4, 10, 6),
            (25, 20, 0, 20, 5),
            (25, 25, 0, 25, 0),
            (5, 25, 0, 25, 0),
            // Some are ending and still count against the limit.
            (30, 20, 0, 28, 2),
            (30, 20, 0, 30, 0),
        ];
        for (target, alive, starting, lives, expected) in rows {
            let counts = Counts { alive, starting, lives };
            assert_eq!(sizing.starts(target, counts), expected, "{target} {counts:?}");
        }
    }

    #[test]
    fn a_fixed_fleet_starts_all_at_once_whatever_is_asked_for() {
        let sizing = Sizing::fixed(64);
        assert_eq!([0, 64, 99].map(|n| sizing.target(n)), [64; 3]);
        assert_eq!(sizing.starts(64, Counts::default()), 64);
        assert_eq!(sizing.starts(64, Counts { alive: 63, starting: 0, lives: 64 }), 0);
        assert_eq!(sizing.starts(64, Counts { alive: 63, starting: 0, lives: 63 }), 1);
        assert_eq!(Sizing::fixed(0).starts(0, Counts::default()), 0);
    }
}
