//! Scans of files in a plan: their statistics, how they are split, and errors that name the file.

mod deal;
pub(crate) mod float_bounds;
pub(crate) mod sealed;
pub(crate) mod statistics;
pub(crate) mod watched;

pub use deal::{sealed_scan_scale_up, sealed_scan_tasks};
pub use sealed::{SealedScan, file_scan};
pub use watched::watch;
