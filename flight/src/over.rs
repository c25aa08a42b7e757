//! The signal that a process exceeds its memory limit. It ends the streams of the process before
//! the kernel ends the process.

use std::fmt;

use datafusion::error::DataFusionError;
use tokio::sync::watch;

/// Signals that the process exceeds its memory limit, from the moment that this was created or
/// cloned.
pub struct OverMemory {
    share: u64,
    times: watch::Receiver<u64>,
}

impl OverMemory {
    /// For a process with a limit of `share` bytes. `times` counts how often the process exceeded
    /// it.
    pub fn new(share: u64, times: watch::Receiver<u64>) -> Self {
        Self { share, times }
    }

    /// Waits for the signal. Returns the error with which the work must end.
    pub async fn happens(&mut self) -> DataFusionError {
        if self.times.changed().await.is_err() {
            // The process is not measured any more.
            std::future::pending::<()>().await;
        }
        let mib = self.share >> 20;
        DataFusionError::ResourcesExhausted(format!(
            "not enough memory: the process exceeds its limit of {mib} MiB"
        ))
    }
}

impl Clone for OverMemory {
    fn clone(&self) -> Self {
        let mut times = self.times.clone();
        times.mark_unchanged();
        Self { share: self.share, times }
    }
}

impl fmt::Debug for OverMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OverMemory").field("share", &self.share).finish_non_exhaustive()
    }
}
