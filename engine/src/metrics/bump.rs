//! The metrics that user code holds: a `static` for each, bumped inside of closures.

use std::time::Duration;

use crate::metrics::name::Name;
use crate::metrics::scope;

/// Counts: the total of a run is the sum over its tasks. Two with one name are one.
#[derive(Debug)]
pub struct Counter {
    name: Name,
}

impl Counter {
    /// A counter with this name, for a `static`.
    ///
    /// # Panics
    /// When the name is longer than 64 bytes; in a `static`, when it is compiled.
    pub const fn new(name: &'static str) -> Self {
        Self { name: Name::new(name) }
    }

    /// Adds `n` for the task that this is called in.
    ///
    /// Outside of a task nothing is counted: in the driver's own code, in a func while it builds
    /// its slice, and on threads that a closure started itself.
    ///
    /// # Panics
    /// When a program has more than 256 counters.
    pub fn add(&self, n: u64) {
        scope::count(&self.name, n);
    }
}

/// A figure that is set, not added to: a task has what it set last. A run has the smallest, the
/// largest and the sum over its tasks.
#[derive(Debug)]
pub struct Gauge {
    name: Name,
}

impl Gauge {
    /// A gauge with this name, for a `static`.
    ///
    /// # Panics
    /// When the name is longer than 64 bytes; in a `static`, when it is compiled.
    pub const fn new(name: &'static str) -> Self {
        Self { name: Name::new(name) }
    }

    /// Sets it for the task that this is called in. Outside of a task nothing is set.
    ///
    /// # Panics
    /// When a program has more than 256 gauges.
    pub fn set(&self, value: impl Measure) {
        scope::set(&self.name, value.measure());
    }
}

/// How figures are distributed: how many, their sum, smallest and largest, and quantiles within
/// 1/32 of their value. A run has those of all of its tasks together.
#[derive(Debug)]
pub struct Histogram {
    name: Name,
}

impl Histogram {
    /// A histogram with this name, for a `static`.
    ///
    /// # Panics
    /// When the name is longer than 64 bytes; in a `static`, when it is compiled.
    pub const fn new(name: &'static str) -> Self {
        Self { name: Name::new(name) }
    }

    /// Records one value for the task that this is called in. Outside of a task nothing is
    /// recorded, and neither is a value that is not a number.
    ///
    /// # Panics
    /// When a program has more than 256 histograms.
    pub fn record(&self, value: impl Measure) {
        scope::record(&self.name, value.measure());
    }
}

/// A measurement: a number, or a duration in seconds.
pub trait Measure {
    /// As a float; integers beyond 2^53 are rounded.
    fn measure(self) -> f64;
}

impl Measure for Duration {
    fn measure(self) -> f64 {
        self.as_secs_f64()
    }
}

macro_rules! measure {
    ($($number:ty),*) => {
        $(impl Measure for $number {
            fn measure(self) -> f64 {
                self as f64
            }
        })*
    };
}

measure!(f64, f32, u8, u16, u32, u64, usize, i8, i16, i32, i64, isize);
