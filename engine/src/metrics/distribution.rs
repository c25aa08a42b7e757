//! The buckets of a histogram: sixteen for each power of two, so that a value is known to within
//! 1/32 of it, whatever its size. Adding two distributions loses nothing, which is what tasks need.

use serde::{Deserialize, Serialize};

/// Bits of a float's mantissa that name a bucket: sixteen buckets between a power of two and the
/// next.
const BITS: u32 = 4;
/// The bucket of 2^-64 and below, and of 2^64 and above: no duration, size or count comes near.
const LOWEST: u16 = ((1023 - 64) << BITS) as u16;
const HIGHEST: u16 = ((1023 + 64) << BITS) as u16;

/// How the values of a [`Histogram`](crate::metrics::Histogram) are distributed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    below_zero: Buckets,
    zeros: u64,
    above_zero: Buckets,
    sum: f64,
    /// The smallest and the largest.
    ends: Option<(f64, f64)>,
}

impl Distribution {
    /// How many values were recorded.
    pub fn count(&self) -> u64 {
        self.below_zero.total() + self.zeros + self.above_zero.total()
    }

    /// Their sum.
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// Their mean, if there are any.
    pub fn mean(&self) -> Option<f64> {
        self.ends.map(|_| self.sum / self.count() as f64)
    }

    /// The smallest, if there are any.
    pub fn min(&self) -> Option<f64> {
        self.ends.map(|(min, _)| min)
    }

    /// The largest, if there are any.
    pub fn max(&self) -> Option<f64> {
        self.ends.map(|(_, max)| max)
    }

    /// The value that a part `q` of the values does not exceed, from 0 (the smallest) to 1 (the
    /// largest), within 1/32 of it; none if there are no values.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let (min, max) = self.ends?;
        if q <= 0.0 {
            return Some(min);
        }
        if q >= 1.0 {
            return Some(max);
        }
        let rank = (q * self.count() as f64).ceil().max(1.0) as u64;
        let zeros = self.zeros;
        let below = self.below_zero.iter().rev().map(|(bucket, n)| (-middle(bucket), n));
        let above = self.above_zero.iter().map(|(bucket, n)| (middle(bucket), n));
        let mut seen = 0;
        let mut all = below.chain([(0.0, zeros)]).chain(above);
        let found = all.find(|(_, n)| {
            seen += n;
            seen >= rank
        });
        // The ends are known exactly.
        found.map(|(value, _)| value.clamp(min, max))
    }

    pub(super) fn record(&mut self, value: f64) {
        if value.is_nan() {
            return;
        }
        if value > 0.0 {
            self.above_zero.add(bucket(value), 1);
        } else if value < 0.0 {
            self.below_zero.add(bucket(-value), 1);
        } else {
            self.zeros += 1;
        }
        self.sum += value;
        self.reach((value, value));
    }

    pub(super) fn merge(&mut self, other: &Self) {
        other.below_zero.iter().for_each(|(bucket, n)| self.below_zero.add(bucket, n));
        other.above_zero.iter().for_each(|(bucket, n)| self.above_zero.add(bucket, n));
        self.zeros += other.zeros;
        self.sum += other.sum;
        if let Some(ends) = other.ends {
            self.reach(ends);
        }
    }

    fn reach(&mut self, (min, max): (f64, f64)) {
        let (low, high) = self.ends.unwrap_or((min, max));
        self.ends = Some((low.min(min), high.max(max)));
    }
}

/// The bucket of a positive value: the top bits of the float, which are in the order of the values.
fn bucket(value: f64) -> u16 {
    let top = (value.to_bits() >> (f64::MANTISSA_DIGITS - 1 - BITS)) as u16;
    top.clamp(LOWEST, HIGHEST)
}

/// The value in the middle of a bucket.
fn middle(bucket: u16) -> f64 {
    let low = |bucket: u16| f64::from_bits(u64::from(bucket) << (f64::MANTISSA_DIGITS - 1 - BITS));
    (low(bucket) + low(bucket + 1)) / 2.0
}

/// How many values each bucket has: those from the first that has any to the last.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Buckets {
    first: u16,
    counts: Vec<u64>,
}

impl Buckets {
    fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    fn iter(&self) -> impl DoubleEndedIterator<Item = (u16, u64)> {
        (self.first..)
            .zip(&self.counts)
            .map(|(bucket, n)| (bucket, *n))
            .collect::<Vec<_>>()
            .into_iter()
    }

    fn add(&mut self, bucket: u16, n: u64) {
        if self.counts.is_empty() {
            self.first = bucket;
        }
        if bucket < self.first {
            let more = usize::from(self.first - bucket);
            self.counts.splice(0..0, std::iter::repeat_n(0, more));
            self.first = bucket;
        }
        let at = usize::from(bucket - self.first);
        if at >= self.counts.len() {
            self.counts.resize(at + 1, 0);
        }
        self.counts[at] += n;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = f64>) -> Distribution {
        let mut all = Distribution::default();
        values.into_iter().for_each(|value| all.record(value));
        all
    }

    #[test]
    fn quantiles_are_within_a_thirtysecond() {
        let all = of((1..=10_000).map(f64::from));
        assert_eq!((all.count(), all.sum()), (10_000, 50_005_000.0));
        for q in [0.01, 0.25, 0.5, 0.9, 0.99, 0.999] {
            let (found, right) = (all.quantile(q).unwrap(), q * 10_000.0);
            assert!((found - right).abs() <= right / 32.0, "{q}: {found}");
        }
        assert_eq!((all.quantile(0.0), all.quantile(1.0)), (Some(1.0), Some(10_000.0)));
    }

    #[test]
    fn all_numbers_have_a_place() {
        let values = [-1e300, -3.0, -0.0, 0.0, 1e-300, 5e-324, 2.5, 1e300, f64::INFINITY, f64::NAN];
        let all = of(values);
        assert_eq!(all.count(), 9);
        assert_eq!((all.min(), all.max()), (Some(-1e300), Some(f64::INFINITY)));
        assert_eq!(all.quantile(0.4), Some(0.0));
        let third = all.quantile(0.2).unwrap();
        assert!((third + 3.0).abs() < 0.1, "{third}");
        assert_eq!(of([]).quantile(0.5), None);
        assert_eq!(of([7.0]).quantile(0.5), Some(7.0));
    }

    #[test]
    fn merging_is_recording_together() {
        let mut one = of((1..500).map(|n| f64::from(n) / 7.0));
        one.merge(&of((-300..3).map(f64::from)));
        let both = of((1..500).map(|n| f64::from(n) / 7.0).chain((-300..3).map(f64::from)));
        assert_eq!(one.ends, both.ends);
        assert_eq!((&one.below_zero, one.zeros), (&both.below_zero, both.zeros));
        assert_eq!(one.above_zero, both.above_zero);
    }
}
