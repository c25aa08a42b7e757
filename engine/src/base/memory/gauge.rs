//! How much main memory this process really has, against what it may have. The memory pool knows
//! what operators ask for; batches on their way, buffers of readers and writers, what the allocator
//! keeps and the program itself are nobody's request, and together more than that when memory is
//! little. So the process is measured, and two things follow from it:
//!
//! ```text
//! share ─┬─ less what nobody asked for: the pool                        [Gauge::left]
//!        └─ and a fifth, or 64 MiB, more: queries end with an error    [Gauge::over]
//! ```
//!
//! Made by [`memory`](crate::base::memory) for a process that belongs to its session alone.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use bigslice_cluster::Resident;
use bigslice_flight::OverMemory;
use tokio::sync::watch;

/// Between two measurements. A core writes some 5 MB of new memory in this time, and a measurement
/// takes a thousandth of it.
const INTERVAL: Duration = Duration::from_millis(2);

/// After queries were told to end, the next time that others are, unless the process grows still:
/// freed memory takes a moment to be given back.
const RESPITE: Duration = Duration::from_millis(500);

/// What a process may have beyond its share in any case: an operator that spills sorts what it spills,
/// and needs as much again for a moment.
const EXCESS_BYTES_MIN: u64 = 64 * 1024 * 1024;

/// Measures this process for as long as it lives.
#[derive(Debug)]
pub(crate) struct Gauge {
    share: u64,
    resident: AtomicU64,
    /// How often the process was found to have too much.
    over: watch::Sender<u64>,
}

impl Gauge {
    /// Begins to measure against `share` bytes; nothing where the system does not tell.
    pub(crate) fn start(share: u64) -> Option<Arc<Self>> {
        let resident = Resident::of_this_process()?;
        let bytes = AtomicU64::new(resident.bytes());
        let gauge = Arc::new(Self { share, resident: bytes, over: watch::Sender::new(0) });
        let weak = Arc::downgrade(&gauge);
        let measuring = thread::Builder::new()
            .name("bigslice-memory".to_owned())
            .stack_size(64 * 1024)
            .spawn(move || measure(&resident, &weak));
        // Without the thread the pool goes by what is asked for, as it does elsewhere.
        measuring.is_ok().then_some(gauge)
    }

    /// What the pool may give in all, of which `reserved` is given: the share, less what is not in
    /// the pool.
    pub(crate) fn left(&self, reserved: usize) -> usize {
        let apart = self.resident.load(Ordering::Relaxed).saturating_sub(reserved as u64);
        usize::try_from(self.share.saturating_sub(apart)).unwrap_or(usize::MAX)
    }

    /// Tells when the process has too much from now on.
    pub(crate) fn over(&self) -> OverMemory {
        OverMemory::new(self.share, self.over.subscribe())
    }

    /// What the process may have before its queries end.
    fn most(&self) -> u64 {
        self.share + (self.share / 5).max(EXCESS_BYTES_MIN)
    }
}

fn measure(resident: &Resident, gauge: &Weak<Gauge>) {
    let mut told: Option<(Instant, u64)> = None;
    while let Some(gauge) = gauge.upgrade() {
        let bytes = resident.bytes();
        gauge.resident.store(bytes, Ordering::Relaxed);
        let respite = told.is_some_and(|(at, bytes_then)| {
            at.elapsed() < RESPITE && bytes <= bytes_then + bytes_then / 32
        });
        if bytes > gauge.most() && !respite {
            told = Some((Instant::now(), bytes));
            gauge.over.send_modify(|times| *times += 1);
        }
        drop(gauge);
        thread::sleep(INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_that_has_more_than_its_share_is_told() {
        // More than what any process may have beyond its share.
        let touched = vec![1u8; 128 << 20];
        let tight = Gauge::start(1 << 20).unwrap();
        assert_eq!(tight.left(0), 0);
        let error = tight.over().happens().await.to_string();
        assert!(error.contains("1 MiB"), "{error}");
        drop(touched);
        let ample = Gauge::start(1 << 50).unwrap();
        assert!(ample.left(0) > 1 << 49);
        let mut over = ample.over();
        let never = tokio::time::timeout(Duration::from_millis(50), over.happens());
        assert!(never.await.is_err());
    }

    #[test]
    fn what_is_in_the_pool_is_not_counted_twice() {
        let gauge = Gauge::start(1 << 50).unwrap();
        let apart = gauge.left(0);
        assert!(gauge.left(1 << 20) >= apart);
    }
}
