//! A process that has more memory than it may have: how whoever measures that tells it to the
//! streams of the process, so that they end before the kernel ends the process.

use std::fmt;

use datafusion::error::DataFusionError;
use tokio::sync::watch;

/// Tells when the process has more memory than it may have, from the moment that this was made or
/// cloned.
pub struct OverMemory {
    share: u64,
    times: watch::Receiver<u64>,
}

impl OverMemory {
    /// Of a process that may have `share` bytes. `times` counts how often it was found to have more.
    pub fn new(share: u64, times: watch::Receiver<u64>) -> Self {
        Self { share, times }
    }

    /// Waits for it; gives the error that whatever runs is to end with.
    pub async fn happens(&mut self) -> DataFusionError {
        if self.times.changed().await.is_err() {
            // Nobody measures any more.
            std::future::pending::<()>().await;
        }
        let mib = self.share >> 20;
        DataFusionError::ResourcesExhausted(format!(
            "not enough memory: the process has more than the {mib} MiB that it may have"
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
