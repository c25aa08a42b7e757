//! The usage of all machines of a session over time, including those that are gone.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use crate::identity::MachineName;
use crate::observe::usage::sample::Usage;
use crate::observe::usage::series::{Point, Series};

/// The most series that are kept. Beyond that, those of the machines that are gone for longest are
/// forgotten.
const SERIES_MAX: usize = 4096;

/// The shortest time between two samples: processor time is counted in hundredths of a second.
const SAMPLE_PAUSE_MS: u64 = 250;

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// All series.
#[derive(Debug, Default)]
pub(crate) struct UsageHistory {
    series: Mutex<BTreeMap<MachineName, Series>>,
}

impl UsageHistory {
    /// Records the current usage of `machine`, unless a sample was just recorded.
    pub(crate) fn record(&self, machine: &MachineName, usage: Usage) {
        let mut all = self.series.lock();
        if !all.contains_key(machine) {
            if all.len() >= SERIES_MAX {
                forget_one(&mut all);
            }
            all.insert(machine.clone(), Series::new(machine.clone()));
        }
        let Some(series) = all.get_mut(machine) else { return };
        let at_ms = now_ms();
        let last = series.points().last().map(|point| point.at_ms);
        if last.is_none_or(|last| at_ms >= last.saturating_add(SAMPLE_PAUSE_MS) || at_ms < last) {
            series.push(Point { at_ms, usage });
        }
    }

    /// Marks the series of `machine` as ended.
    pub(crate) fn end(&self, machine: &MachineName) {
        if let Some(series) = self.series.lock().get_mut(machine) {
            series.end();
        }
    }

    /// All series: the driver's, then those of the machines in the order of their names.
    pub(crate) fn all(&self) -> Vec<Series> {
        let mut all: Vec<Series> = self.series.lock().values().cloned().collect();
        all.sort_by(|a, b| a.machine().rank().cmp(&b.machine().rank()));
        all
    }

    /// The last reported usage of `machine`.
    pub(crate) fn last(&self, machine: &MachineName) -> Option<Usage> {
        self.series.lock().get(machine).and_then(Series::last).cloned()
    }
}

fn forget_one(all: &mut BTreeMap<MachineName, Series>) {
    let last = |series: &Series| series.points().last().map_or(0, |point| point.at_ms);
    let oldest = all.values().filter(|series| series.is_ended()).min_by_key(|series| last(series));
    if let Some(name) = oldest.map(|series| series.machine().clone()) {
        all.remove(&name);
    }
}
