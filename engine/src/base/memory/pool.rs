//! The memory pool of a process with a limit: half is reserved for operators that cannot spill.
//!
//! DataFusion's own fair pool lets operators that spill take all of it. The merge at the end of a
//! spilled sort, which cannot spill, then finds nothing left and fails whenever more than one
//! partition sorts. Here, operators that spill share one half, so that the other half is always
//! there for merges and hash tables. Made by [`memory`](crate::base::memory).
//!
//! In a measured process, the pool shrinks when the process grows by memory that was not requested
//! from the pool: see [`gauge`](crate::base::memory::gauge).

use std::fmt;
use std::sync::Arc;

use datafusion::common::resources_datafusion_err;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{
    MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation, human_readable_size,
};
use parking_lot::Mutex;

use crate::base::memory::gauge::Gauge;

/// The minimum of the pool, in percent, however much the process has grown: with nothing, no
/// operator could continue, not even to release its memory.
const CERTAIN_PERCENT: usize = 25;

/// The minimum for an operator that can spill, unless all of them together would exceed half of the
/// pool: two batches and the memory to merge them, without which it could not continue.
const PART_BYTES_MIN: usize = 2 * 1024 * 1024;

/// The maximum size of a first batch.
const FIRST_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A pool that divides one half of its memory among the operators that can spill.
#[derive(Debug)]
pub(crate) struct HalvedPool {
    /// Its maximum size.
    bytes: usize,
    gauge: Option<Arc<Gauge>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The number of operators that can spill.
    spillers: usize,
    /// The bytes that they hold. This may exceed their half for a moment: an early operator held
    /// the part of two until it next grows, and spills.
    spillable: usize,
    /// The bytes that the others hold.
    unspillable: usize,
}

impl HalvedPool {
    /// A pool of `bytes`, or less according to the `gauge` of this process.
    pub(crate) fn new(bytes: usize, gauge: Option<Arc<Gauge>>) -> Self {
        Self { bytes, gauge, state: Mutex::default() }
    }

    /// Its current size.
    fn size(&self, state: &State) -> usize {
        let Some(gauge) = &self.gauge else { return self.bytes };
        let left = gauge.left(state.spillable + state.unspillable);
        left.clamp(self.bytes / 100 * CERTAIN_PERCENT, self.bytes)
    }

    /// The maximum for one operator that can spill.
    fn part(&self, state: &State) -> usize {
        let size = self.size(state);
        let left = size.saturating_sub(state.unspillable);
        let part = (size / 2).min(left) / state.spillers.max(1);
        part.max(PART_BYTES_MIN.min(self.bytes / 2 / state.spillers.max(1)))
    }

    /// True if an operator that can spill requests its first batch, which is always granted: it has
    /// nothing to spill yet, and would fail. Batches of text count all of the buffers that they
    /// share, several MB each.
    fn begins(&self, reservation: &MemoryReservation, additional: usize) -> bool {
        reservation.consumer().can_spill()
            && reservation.size() <= PART_BYTES_MIN.min(self.bytes / 16)
            && additional <= FIRST_BYTES_MAX.min(self.bytes / 4)
    }

    /// The maximum for all operators that cannot spill.
    fn rest(&self, state: &State) -> usize {
        let size = self.size(state);
        (size - state.spillable.min(size / 2)).max(self.bytes / 4)
    }
}

impl MemoryPool for HalvedPool {
    fn name(&self) -> &str {
        "halved"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        if consumer.can_spill() {
            self.state.lock().spillers += 1;
        }
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        if consumer.can_spill() {
            self.state.lock().spillers -= 1;
        }
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        *held(&mut self.state.lock(), reservation) += additional;
    }

    fn shrink(&self, reservation: &MemoryReservation, by: usize) {
        *held(&mut self.state.lock(), reservation) -= by;
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let mut state = self.state.lock();
        let left = if reservation.consumer().can_spill() {
            self.part(&state).saturating_sub(reservation.size())
        } else {
            self.rest(&state).saturating_sub(state.unspillable)
        };
        if additional > left && !self.begins(reservation, additional) {
            return Err(exhausted(reservation, additional, left));
        }
        *held(&mut state, reservation) += additional;
        Ok(())
    }

    fn reserved(&self) -> usize {
        let state = self.state.lock();
        state.spillable + state.unspillable
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.bytes)
    }
}

fn held<'a>(state: &'a mut State, reservation: &MemoryReservation) -> &'a mut usize {
    if reservation.consumer().can_spill() { &mut state.spillable } else { &mut state.unspillable }
}

/// In DataFusion's words, which [`diagnostics`](crate::base::diagnostics) translates.
fn exhausted(reservation: &MemoryReservation, additional: usize, left: usize) -> DataFusionError {
    resources_datafusion_err!(
        "Failed to allocate additional {} for {} with {} already allocated for this reservation - \
         {} remain available",
        human_readable_size(additional),
        reservation.consumer().name(),
        human_readable_size(reservation.size()),
        human_readable_size(left)
    )
}

impl fmt::Display for HalvedPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(pool_size: {})", self.name(), human_readable_size(self.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consumer(pool: &Arc<dyn MemoryPool>, name: &str, can_spill: bool) -> MemoryReservation {
        MemoryConsumer::new(name).with_can_spill(can_spill).register(pool)
    }

    #[test]
    fn one_half_is_kept_for_those_that_cannot_spill() {
        let pool: Arc<dyn MemoryPool> = Arc::new(HalvedPool::new(1000, None));
        let one = consumer(&pool, "one", true);
        one.try_grow(500).unwrap();
        assert!(one.try_grow(1).is_err());
        let two = consumer(&pool, "two", true);
        two.try_grow(250).unwrap();
        assert!(two.try_grow(1).is_err());
        // The first holds more than its part now; operators that cannot spill still have their
        // half.
        let merge = consumer(&pool, "merge", false);
        merge.try_grow(500).unwrap();
        let error = merge.try_grow(1).unwrap_err().to_string();
        assert!(error.contains("for merge"), "{error}");
        drop((one, two, merge));
        assert_eq!(pool.reserved(), 0);
    }

    #[test]
    fn without_spillers_the_others_have_all() {
        let pool: Arc<dyn MemoryPool> = Arc::new(HalvedPool::new(1000, None));
        let table = consumer(&pool, "table", false);
        table.try_grow(900).unwrap();
        let sort = consumer(&pool, "sort", true);
        // Except for its minimum.
        sort.try_grow(500).unwrap();
        assert!(sort.try_grow(1).is_err());
    }

    #[test]
    fn a_process_that_has_grown_has_a_smaller_pool() {
        // Any process has more than a MiB.
        let gauge = Gauge::start(1 << 20);
        assert!(gauge.is_some());
        let pool: Arc<dyn MemoryPool> = Arc::new(HalvedPool::new(1000, gauge));
        let table = consumer(&pool, "table", false);
        assert!(table.try_grow(251).is_err());
        table.try_grow(250).unwrap();
    }
}
