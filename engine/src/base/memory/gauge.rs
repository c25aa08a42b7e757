//! Measures the main memory of this process against its share. The memory pool only knows the
//! requests of operators. Batches in flight, buffers of readers and writers, memory kept by the
//! allocator and the program itself are not requested, and are more than the requests if memory is
//! scarce. The measurement has two consequences:
//!
//! ```text
//! share ─┬─ minus unrequested memory: the size of the pool              [Gauge::left]
//!        └─ plus a fifth, or 64 MiB: queries end with an error          [Gauge::over]
//! ```
//!
//! Made by [`memory`](crate::base::memory) for a process that does nothing but the work of its
//! session.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use bigslice_cluster::Resident;
use bigslice_flight::OverMemory;
use tokio::sync::watch;

/// The time between two measurements. A core fills about 5 MB of new memory in this time, and a
/// measurement takes a thousandth of it.
const INTERVAL: Duration = Duration::from_millis(2);

/// The time until more queries are ended, unless the process still grows: freed memory takes a
/// moment to be returned.
const RESPITE: Duration = Duration::from_millis(500);

/// The minimum by which a process may exceed its share: an operator that spills first sorts its
/// rows, and needs twice their size for a moment.
const EXCESS_BYTES_MIN: u64 = 64 * 1024 * 1024;

/// Measures this process while it lives.
#[derive(Debug)]
pub(crate) struct Gauge {
    share: u64,
    resident: AtomicU64,
    /// How often the process had too much.
    over: watch::Sender<u64>,
}

impl Gauge {
    /// Starts to measure against `share` bytes; `None` if the system does not report memory.
    pub(crate) fn start(share: u64) -> Option<Arc<Self>> {
        let resident = Resident::of_this_process()?;
        let bytes = AtomicU64::new(resident.bytes());
        let gauge = Arc::new(Self { share, resident: bytes, over: watch::Sender::new(0) });
        let weak = Arc::downgrade(&gauge);
        let measuring = thread::Builder::new()
            .name("bigslice-memory".to_owned())
            .stack_size(64 * 1024)
            .spawn(move || measure(&resident, &weak));
        // Without the thread, the pool only counts requests, as in processes that are not measured.
        measuring.is_ok().then_some(gauge)
    }

    /// The size of the pool, of which `reserved` is in use: the share minus the memory outside the
    /// pool.
    pub(crate) fn left(&self, reserved: usize) -> usize {
        let apart = self.resident.load(Ordering::Relaxed).saturating_sub(reserved as u64);
        usize::try_from(self.share.saturating_sub(apart)).unwrap_or(usize::MAX)
    }

    /// Reports when the process next has too much.
    pub(crate) fn over(&self) -> OverMemory {
        OverMemory::new(self.share, self.over.subscribe())
    }

    /// The size of the process above which its queries end.
    fn most(&self) -> u64 {
        self.share + (self.share / 5).max(EXCESS_BYTES_MIN)
    }
}

fn measure(resident: &Resident, gauge: &Weak<Gauge>) {
    let mut reported: Option<(Instant, u64)> = None;
    while let Some(gauge) = gauge.upgrade() {
        let bytes = resident.bytes();
        gauge.resident.store(bytes, Ordering::Relaxed);
        let respite = reported.is_some_and(|(at, bytes_then)| {
            at.elapsed() < RESPITE && bytes <= bytes_then + bytes_then / 32
        });
        if bytes > gauge.most() && !respite {
            reported = Some((Instant::now(), bytes));
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
        // More than any process may exceed its share by.
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
