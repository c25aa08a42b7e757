//! Scans of files in a plan: their statistics, how they are split, and errors that name the file.

mod deal;
pub(crate) mod float_bounds;
pub(crate) mod sealed;
pub(crate) mod statistics;
pub(crate) mod watched;

use std::sync::Arc;

use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;

pub use deal::{sealed_scan_scale_up, sealed_scan_tasks};
pub use sealed::SealedScan;
pub use watched::watch;

/// The files of a plan that is a scan of files.
pub fn file_scan(plan: &Arc<dyn ExecutionPlan>) -> Option<&FileScanConfig> {
    plan.downcast_ref::<DataSourceExec>()?.data_source().downcast_ref::<FileScanConfig>()
}
