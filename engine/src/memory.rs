//! How much memory each process of a session may use, and the runtime environment that holds it
//! to that. Called where a process of a session is set up: [`builder`](crate::builder) for the
//! driver, [`worker`](crate::worker) for a worker.
//!
//! ```text
//! limit of the session ─┬─ driver ─┬─ 65 %: the pool that operators ask
//!                       ├─ worker  └─ the rest: batches in flight, buffers of the
//!                       └─ worker     exchange, the program itself
//! ```

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use datafusion::execution::disk_manager::DiskManagerBuilder;
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::pool::HalvedPool;
use crate::source::{self, Stores};
use crate::spill::{SPILLED_BYTES_MAX, SpillFiles};

/// The part of a process's memory that operators may reserve, in percent. Batches in flight and
/// buffers are not counted by the pool: measured, a process exceeds its pool by 120 to 270 MB.
const POOL_PERCENT: u64 = 65;

/// Without a limit a session takes this part of the computer's memory for its pools, in percent.
const DEFAULT_PERCENT: u64 = 75;

/// The least that a process can work with.
const PROCESS_BYTES_MIN: u64 = 32 * 1024 * 1024;

/// Spilled runs that one merge opens, under a limit. Without a bound a merge opens as many as it
/// gets memory for, and leaves none to what comes after it.
const RUNS_MERGED_MAX: usize = 16;

/// Consumers that a message about exhausted memory names.
const CONSUMERS_NAMED: NonZeroUsize = NonZeroUsize::new(3).expect("three is not zero");

/// What one process may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Budget {
    /// Bytes that operators may reserve.
    pub(crate) pool_bytes: u64,
    /// True when the user set the limit. Then every operator that can spill gets a fair part, so
    /// that none starves; without a limit whoever comes first takes what it needs and spilling is
    /// the exception.
    pub(crate) limited: bool,
}

impl Budget {
    /// An equal part of `limit` for each of `processes`.
    pub(crate) fn split(limit: Option<u64>, processes: usize) -> Result<Self> {
        let processes = processes.max(1) as u64;
        let Some(limit) = limit else {
            let bytes = machine_bytes() / 100 * DEFAULT_PERCENT / processes;
            return Ok(Self { pool_bytes: bytes, limited: false });
        };
        let share = limit / processes;
        if share < PROCESS_BYTES_MIN {
            let least = processes * (PROCESS_BYTES_MIN >> 20);
            return Err(Error::config(format!(
                "a memory limit of {} MiB is too small for {processes} processes: they need at \
                 least {least} MiB together",
                limit >> 20
            )));
        }
        Ok(Self { pool_bytes: share / 100 * POOL_PERCENT, limited: true })
    }

    /// What a sort keeps for its merge. DataFusion's 10 MiB for every sort is more than a small
    /// pool holds when each partition sorts, and a join by merging sorts both of its sides.
    pub(crate) fn sort_reservation_bytes(&self, partitions: usize) -> u64 {
        const USUAL: u64 = 10 * 1024 * 1024;
        (self.pool_bytes / (16 * partitions.max(1) as u64)).clamp(256 * 1024, USUAL)
    }

    /// Rows of a batch. A merge of spilled runs holds two batches of each: with little memory, small
    /// batches are what lets it merge many runs at a time.
    pub(crate) fn batch_rows(&self, partitions: usize) -> usize {
        const USUAL: usize = 8192;
        const SMALL: usize = 1024;
        /// Bytes of the pool for each partition, below which memory is little.
        const LITTLE: u64 = 64 * 1024 * 1024;
        let little = self.limited && self.pool_bytes / (partitions.max(1) as u64) < LITTLE;
        if little { SMALL } else { USUAL }
    }

    fn pool(&self) -> Arc<dyn MemoryPool> {
        let bytes = usize::try_from(self.pool_bytes).unwrap_or(usize::MAX);
        if self.limited {
            Arc::new(TrackConsumersPool::new(HalvedPool::new(bytes), CONSUMERS_NAMED))
        } else {
            Arc::new(TrackConsumersPool::new(GreedyMemoryPool::new(bytes), CONSUMERS_NAMED))
        }
    }

    /// A runtime environment within this budget that spills into `folder`.
    pub(crate) fn runtime(&self, folder: PathBuf, stores: &Arc<Stores>) -> Result<Arc<RuntimeEnv>> {
        let runs_merged_max = if self.limited { RUNS_MERGED_MAX } else { 0 };
        let disk = DiskManagerBuilder::default()
            .with_max_spill_merge_fan_in(runs_merged_max)
            .with_max_temp_directory_size(SPILLED_BYTES_MAX)
            .with_temp_file_factory(Arc::new(SpillFiles::within(folder)));
        let builder =
            RuntimeEnvBuilder::new().with_memory_pool(self.pool()).with_disk_manager_builder(disk);
        source::runtime(builder, stores).build_arc().map_err(|e| Error::of(&e, ""))
    }
}

/// The memory of this computer, or of the control group this process is in if that is less.
fn machine_bytes() -> u64 {
    /// What is assumed where the system does not say.
    const UNKNOWN: u64 = 4 << 30;
    let installed = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
    });
    let allowed = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .iter()
        .find_map(|path| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok());
    match (installed, allowed) {
        (Some(installed), Some(allowed)) => installed.min(allowed),
        (Some(bytes), None) | (None, Some(bytes)) => bytes,
        (None, None) => UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_for_all_processes_together() {
        let budget = Budget::split(Some(4 << 30), 4).unwrap();
        assert!(budget.limited);
        assert!(budget.pool_bytes * 4 < 4 << 30);
        assert!(budget.pool_bytes > 600 << 20);
        let error = Budget::split(Some(64 << 20), 5).unwrap_err();
        assert!(error.to_string().contains("160 MiB"), "{error}");
        assert!(error.is_user_error());
    }

    #[test]
    fn without_a_limit_the_computer_is_one() {
        let alone = Budget::split(None, 1).unwrap();
        let shared = Budget::split(None, 3).unwrap();
        assert!(!alone.limited && alone.pool_bytes > 0);
        assert!(shared.pool_bytes * 3 <= alone.pool_bytes);
    }
}
