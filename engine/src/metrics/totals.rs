//! The figures of one task, and of all tasks of a run together.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::metrics::Distribution;

/// What the tasks of a run have counted, by name. Of each task the attempt counts whose rows the
/// run uses.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    counters: BTreeMap<String, u64>,
    gauges: BTreeMap<String, Gauged>,
    histograms: BTreeMap<String, Distribution>,
}

/// The last value of each task for a [`Gauge`](crate::metrics::Gauge).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Gauged {
    tasks: u64,
    min: f64,
    max: f64,
    sum: f64,
}

impl Gauged {
    /// How many tasks have set it.
    pub fn tasks(&self) -> u64 {
        self.tasks
    }

    /// The smallest figure of a task.
    pub fn min(&self) -> f64 {
        self.min
    }

    /// The largest figure of a task.
    pub fn max(&self) -> f64 {
        self.max
    }

    /// The sum over all tasks.
    pub fn sum(&self) -> f64 {
        self.sum
    }
}

impl Metrics {
    /// The sum of a [`Counter`](crate::metrics::Counter); 0 if nothing was added.
    pub fn counter(&self, name: &str) -> u64 {
        self.counters.get(name).copied().unwrap_or(0)
    }

    /// What a [`Gauge`](crate::metrics::Gauge) was set to, if it was.
    pub fn gauge(&self, name: &str) -> Option<Gauged> {
        self.gauges.get(name).copied()
    }

    /// The values of a [`Histogram`](crate::metrics::Histogram), if there are any.
    pub fn histogram(&self, name: &str) -> Option<&Distribution> {
        self.histograms.get(name)
    }

    /// All counters to which something was added, by name.
    pub fn counters(&self) -> impl Iterator<Item = (&str, u64)> {
        self.counters.iter().map(|(name, n)| (name.as_str(), *n))
    }

    /// All gauges that were set, by name.
    pub fn gauges(&self) -> impl Iterator<Item = (&str, Gauged)> {
        self.gauges.iter().map(|(name, gauged)| (name.as_str(), *gauged))
    }

    /// All histograms that have values, by name.
    pub fn histograms(&self) -> impl Iterator<Item = (&str, &Distribution)> {
        self.histograms.iter().map(|(name, values)| (name.as_str(), values))
    }

    pub(crate) fn add(&mut self, name: &str, n: u64) {
        if n > 0 {
            let sum = place(&mut self.counters, name, || 0);
            *sum = sum.saturating_add(n);
        }
    }

    pub(super) fn set(&mut self, name: &str, value: f64) {
        let now = Gauged { tasks: 1, min: value, max: value, sum: value };
        *place(&mut self.gauges, name, || now) = now;
    }

    pub(super) fn record(&mut self, name: &str, values: &Distribution) {
        place(&mut self.histograms, name, Distribution::default).merge(values);
    }

    /// Adds the figures of other tasks.
    pub(crate) fn merge(&mut self, other: &Self) {
        other.counters.iter().for_each(|(name, n)| self.add(name, *n));
        other.histograms.iter().for_each(|(name, values)| self.record(name, values));
        for (name, theirs) in &other.gauges {
            let none = || Gauged { tasks: 0, min: theirs.min, max: theirs.max, sum: 0.0 };
            let ours = place(&mut self.gauges, name, none);
            ours.tasks += theirs.tasks;
            ours.min = ours.min.min(theirs.min);
            ours.max = ours.max.max(theirs.max);
            ours.sum += theirs.sum;
        }
    }
}

/// The entry of this name; the name is copied only when it is new.
fn place<'a, T>(
    all: &'a mut BTreeMap<String, T>,
    name: &str,
    none: impl FnOnce() -> T,
) -> &'a mut T {
    if !all.contains_key(name) {
        all.insert(name.to_owned(), none());
    }
    all.get_mut(name).expect("it was just put there")
}
