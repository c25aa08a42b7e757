//! The usage of one machine over its whole life in bounded memory: when a series is full, each two
//! of its points are merged. It loses resolution, never its beginning.

use serde::Serialize;

use crate::identity::MachineName;
use crate::observe::usage::sample::Usage;

/// The most points of a series. As fine as a chart on a screen; with 150 bytes each, a thousand
/// machines take 38 MB of the driver.
const POINTS_MAX: usize = 256;

/// The usage of a machine at some time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// When the driver received it, in milliseconds since 1970.
    pub at_ms: u64,
    /// The usage. In a merged point, counters have their last value and the rest its tightest.
    #[serde(flatten)]
    pub usage: Usage,
}

/// The usage of a machine over time.
#[derive(Clone, Debug, Serialize)]
pub struct Series {
    machine: MachineName,
    ended: bool,
    points: Vec<Point>,
    /// Samples per point.
    stride: u32,
    /// Samples in the last point.
    #[serde(skip)]
    filled: u32,
}

impl Series {
    pub(crate) fn new(machine: MachineName) -> Self {
        Self { machine, ended: false, points: Vec::new(), stride: 1, filled: 0 }
    }

    /// The machine.
    pub fn machine(&self) -> &MachineName {
        &self.machine
    }

    /// Returns true if the machine is gone.
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// Its points, in order of time.
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// The last reported usage.
    pub fn last(&self) -> Option<&Usage> {
        self.points.last().map(|point| &point.usage)
    }

    /// How busy its cores were between each point and the one before, from 0 to 1.
    pub fn busy(&self) -> Vec<f64> {
        let share = |pair: &[Point]| {
            let [before, after] = pair else { return 0.0 };
            let seconds = after.at_ms.saturating_sub(before.at_ms) as f64 / 1000.0;
            let computed = after.usage.cpu_seconds() - before.usage.cpu_seconds();
            let possible = seconds * f64::from(after.usage.cores.max(1));
            if possible > 0.0 { (computed / possible).clamp(0.0, 1.0) } else { 0.0 }
        };
        self.points.windows(2).map(share).collect()
    }

    pub(crate) fn end(&mut self) {
        self.ended = true;
        self.points.shrink_to_fit();
    }

    pub(crate) fn push(&mut self, point: Point) {
        match self.points.last_mut() {
            Some(last) if self.filled < self.stride => {
                *last = join(last, &point);
                self.filled += 1;
            }
            _ => {
                if self.points.len() == POINTS_MAX {
                    self.halve();
                }
                self.points.push(point);
                self.filled = 1;
            }
        }
    }

    fn halve(&mut self) {
        let pairs = self.points.chunks(2);
        self.points =
            pairs.flat_map(|pair| pair.iter().cloned().reduce(|a, b| join(&a, &b))).collect();
        self.stride = self.stride.saturating_mul(2);
    }
}

fn join(earlier: &Point, later: &Point) -> Point {
    Point { at_ms: later.at_ms, usage: earlier.usage.join(&later.usage) }
}

#[cfg(test)]
mod tests {
    use super::{POINTS_MAX, Point, Series};
    use crate::identity::MachineName;
    use crate::observe::usage::sample::Usage;

    fn filled(samples: u64) -> Series {
        let mut series = Series::new(MachineName::worker(0));
        for n in 1..=samples {
            // Half of one core is busy; memory peaks once.
            let usage = Usage {
                cpu_user_seconds: n as f64 / 2.0,
                cores: 1,
                resident_bytes: if n == 77 { 1000 } else { 10 },
                ..Usage::default()
            };
            series.push(Point { at_ms: n * 1000, usage });
        }
        series
    }

    #[test]
    fn a_full_series_keeps_its_beginning_and_its_peaks() {
        for samples in [1, 255, 256, 257, 300, 513, 100_000] {
            let series = filled(samples);
            assert!(series.points().len() <= POINTS_MAX, "{samples}");
            assert!(series.points().len() >= POINTS_MAX / 2 || samples < 256, "{samples}");
            let last = series.points().last().expect("a point");
            assert_eq!(last.at_ms, samples * 1000);
            let first = &series.points()[0];
            assert!(first.at_ms <= u64::from(series.stride) * 1000, "{samples}");
            assert!(series.points().is_sorted_by(|a, b| a.at_ms < b.at_ms));
            if samples >= 77 {
                let peak = series.points().iter().map(|p| p.usage.resident_bytes).max();
                assert_eq!(peak, Some(1000));
            }
            assert!(series.busy().iter().all(|busy| (busy - 0.5).abs() < 1e-9), "{samples}");
        }
    }
}
