//! The memory budget of each process of a session, and the runtime environment that enforces it.
//! Called where a process of a session is set up: [`builder`](crate::session::builder) for the
//! driver, [`worker`](crate::session::worker) for a worker.
//!
//! ```text
//! limit of the session ─┬─ driver ─┬─ 65 %: the pool that operators ask
//!                       ├─ worker  └─ the rest: batches in flight, buffers of the
//!                       └─ worker     exchange, the program itself
//! ```
//!
//! If the processes do nothing but the work of the session, like those of `bigsql`, the share is
//! for all the memory of a process: the program is subtracted first, and the process is
//! [measured](crate::base::memory::gauge).

pub(crate) mod compact_views;
pub(crate) mod gauge;
pub(crate) mod messages;
pub(crate) mod pool;
pub(crate) mod spill;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use datafusion::execution::disk_manager::DiskManagerBuilder;
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use serde::{Deserialize, Serialize};

use crate::base::memory::gauge::Gauge;
use crate::base::memory::pool::HalvedPool;
use crate::base::memory::spill::{SPILLED_BYTES_MAX, SpillFiles};
use crate::error::{Error, Result};
use bigslice_files::Stores;

/// The part of a process's memory that operators may reserve, in percent. Batches in flight and
/// buffers are not counted by the pool: measured, a process exceeds its pool by 120 to 270 MB.
const POOL_PERCENT: u64 = 65;

/// Without a limit, a session uses this part of the computer's memory for its pools, in percent.
const DEFAULT_PERCENT: u64 = 75;

/// The minimum that a process needs besides the program.
const PROCESS_BYTES_MIN: u64 = 32 * 1024 * 1024;

/// The memory of an idle process, mostly the loaded parts of the program. Measured: 75 to 90 MB.
const PROGRAM_BYTES: u64 = 80 * 1024 * 1024;

/// The minimum for a measured process: 16 MiB for its pool are enough for queries that need little,
/// and for others to fail with a message.
const MEASURED_BYTES_MIN: u64 = 16 * 1024 * 1024;

/// The divisor of a process's memory for a result that is held back, and for data from machines
/// that is not read yet.
const BUFFERS_PART: u64 = 8;

/// Spilled runs that one merge opens under a limit. Without a bound, a merge opens as many as it
/// gets memory for, and leaves none to the next operator.
const RUNS_MERGED_MAX: usize = 16;

/// Size of the cache of Parquet footers: DataFusion's default.
const FOOTERS_BYTES: usize = 50 * 1024 * 1024;

/// Maximum bytes of a build side that is collected into one hash table.
const BUILD_BYTES_MAX: usize = 1 << 30;

/// Consumers that a message about exhausted memory lists.
const CONSUMERS_NAMED: NonZeroUsize = NonZeroUsize::new(3).expect("three is not zero");

/// The memory budget of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Budget {
    /// Bytes that operators may reserve.
    pub(crate) pool_bytes: u64,
    /// Set if the process is measured: the bytes that it may have in all.
    resident_bytes: Option<u64>,
    /// True if the user set the limit. Then every operator that can spill gets a fair part, so that
    /// none starves; without a limit operators take what they need, first come, first served, and
    /// spilling is the exception.
    pub(crate) limited: bool,
}

impl Budget {
    /// An equal part of `limit` for each of `processes`; it covers all of their memory if they are
    /// `measured`.
    pub(crate) fn split(limit: Option<u64>, processes: usize, measured: bool) -> Result<Self> {
        let processes = processes.max(1) as u64;
        let Some(limit) = limit else {
            let bytes = machine_bytes() / 100 * DEFAULT_PERCENT / processes;
            return Ok(Self { pool_bytes: bytes, resident_bytes: None, limited: false });
        };
        let share = limit / processes;
        let (program, work) =
            if measured { (PROGRAM_BYTES, MEASURED_BYTES_MIN) } else { (0, PROCESS_BYTES_MIN) };
        if share < program + work {
            let least = processes * ((program + work) >> 20);
            let whose = match processes {
                1 => "this program: it needs".to_owned(),
                n => format!("{n} processes, the driver among them: together they need"),
            };
            return Err(Error::config(format!(
                "a memory limit of {} MiB is too small for {whose} at least {least} MiB",
                limit >> 20
            )));
        }
        Ok(Self {
            pool_bytes: (share - program) / 100 * POOL_PERCENT,
            resident_bytes: measured.then_some(share),
            limited: true,
        })
    }

    /// The size of buffers outside the pool for one purpose: `usual`, or less with a limit.
    pub(crate) fn buffer_bytes(&self, usual: usize) -> usize {
        let part = usize::try_from(self.pool_bytes / BUFFERS_PART).unwrap_or(usize::MAX);
        if self.limited { usual.min(part) } else { usual }
    }

    /// The maximum that a top-k may hold in one of `partitions`; above it, sorting everything,
    /// which can spill, is better. Half of what is reserved for operators that cannot spill.
    pub(crate) fn top_k_bytes(&self, partitions: usize) -> Option<usize> {
        let bytes = self.pool_bytes / 4 / partitions.max(1) as u64;
        self.limited.then(|| usize::try_from(bytes).unwrap_or(usize::MAX))
    }

    /// The maximum of a join's build side that is collected into one hash table, which cannot
    /// spill.
    pub(crate) fn build_bytes(&self) -> usize {
        usize::try_from(self.pool_bytes / 8).unwrap_or(usize::MAX).min(BUILD_BYTES_MAX)
    }

    /// The memory that a sort reserves for its merge. DataFusion's 10 MiB for every sort is more
    /// than a small pool has if each partition sorts, and a merge join sorts both of its inputs.
    pub(crate) fn sort_reservation_bytes(&self, partitions: usize) -> u64 {
        const USUAL: u64 = 10 * 1024 * 1024;
        (self.pool_bytes / (16 * partitions.max(1) as u64)).clamp(256 * 1024, USUAL)
    }

    /// Rows per batch. A merge of spilled runs holds two batches of each: with little memory, small
    /// batches let it merge many runs at a time.
    pub(crate) fn batch_rows(&self, partitions: usize) -> usize {
        const USUAL: usize = 8192;
        const SMALL: usize = 1024;
        /// Bytes of the pool per partition below which batches are smaller.
        const LITTLE: u64 = 256 * 1024 * 1024;
        let little = self.limited && self.pool_bytes / (partitions.max(1) as u64) < LITTLE;
        if little { SMALL } else { USUAL }
    }

    /// Starts to measure this process, if it is to be measured.
    pub(crate) fn gauge(&self) -> Option<Arc<Gauge>> {
        self.resident_bytes.and_then(Gauge::start)
    }

    fn pool(&self, gauge: Option<Arc<Gauge>>) -> Arc<dyn MemoryPool> {
        let bytes = usize::try_from(self.pool_bytes).unwrap_or(usize::MAX);
        if self.limited {
            Arc::new(TrackConsumersPool::new(HalvedPool::new(bytes, gauge), CONSUMERS_NAMED))
        } else {
            Arc::new(TrackConsumersPool::new(GreedyMemoryPool::new(bytes), CONSUMERS_NAMED))
        }
    }

    /// A runtime environment within this budget that spills into `folder`, for a process that
    /// `gauge` measures.
    pub(crate) fn runtime(
        &self,
        gauge: Option<Arc<Gauge>>,
        folder: PathBuf,
        stores: &Arc<Stores>,
    ) -> Result<Arc<RuntimeEnv>> {
        let runs_merged_max = if self.limited { RUNS_MERGED_MAX } else { 0 };
        let disk = DiskManagerBuilder::default()
            .with_max_spill_merge_fan_in(runs_merged_max)
            .with_max_temp_directory_size(SPILLED_BYTES_MAX)
            .with_temp_file_factory(Arc::new(SpillFiles::within(folder)));
        let builder = RuntimeEnvBuilder::new()
            .with_memory_pool(self.pool(gauge))
            .with_metadata_cache_limit(self.buffer_bytes(FOOTERS_BYTES))
            .with_disk_manager_builder(disk);
        bigslice_files::runtime(builder, stores).build_arc().map_err(Error::from)
    }
}

/// The memory of this computer, or of the control group this process is in if that is less.
fn machine_bytes() -> u64 {
    /// Assumed if the system does not report it.
    const UNKNOWN: u64 = 4 << 30;
    bigslice_cluster::memory_bytes().unwrap_or(UNKNOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_for_all_processes_together() {
        let budget = Budget::split(Some(4 << 30), 4, false).unwrap();
        assert!(budget.limited);
        assert!(budget.pool_bytes * 4 < 4 << 30);
        assert!(budget.pool_bytes > 600 << 20);
        let error = Budget::split(Some(64 << 20), 5, false).unwrap_err();
        assert!(error.to_string().contains("160 MiB"), "{error}");
        assert!(error.is_user_error());
    }

    #[test]
    fn a_process_that_is_measured_has_room_for_the_program() {
        let whole = Budget::split(Some(300 << 20), 3, true).unwrap();
        let part = Budget::split(Some(300 << 20), 3, false).unwrap();
        assert!(whole.pool_bytes < part.pool_bytes);
        assert!(whole.gauge().is_some() && part.gauge().is_none());
        let error = Budget::split(Some(200 << 20), 3, true).unwrap_err();
        assert!(error.to_string().contains("288 MiB"), "{error}");
        assert!(Budget::split(Some(288 << 20), 3, true).is_ok());
    }

    #[test]
    fn without_a_limit_the_computer_is_one() {
        let alone = Budget::split(None, 1, true).unwrap();
        let shared = Budget::split(None, 3, true).unwrap();
        assert!(!alone.limited && alone.pool_bytes > 0);
        assert!(shared.pool_bytes * 3 <= alone.pool_bytes);
    }
}
