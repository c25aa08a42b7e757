//! Keeps a column in `generate_series` scans that are only counted.
//!
//! datafusion-proto 55.2 serializes the scan of `generate_series` with its remaining columns, but
//! not that they are a projection. If none remain (`SELECT count(*) FROM generate_series(1, 5)`),
//! the worker produces one column anyway and fails. [`with_column`] keeps the column in the scan
//! and projects it away above.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::memory::LazyMemoryExec;
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};

/// Gives the scan of a series its column back if `plan` is one without columns.
pub(crate) fn with_column(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let Some(series) = plan.downcast_ref::<LazyMemoryExec>() else { return Ok(plan) };
    if !series.schema().fields().is_empty() {
        return Ok(plan);
    }
    let generators: Vec<_> =
        series.generators().iter().map(|generator| generator.read().reset_state()).collect();
    // Only its rows show which column a generator produces. A generator without rows loses nothing.
    let Some(generator) = generators.first() else { return Ok(plan) };
    let rows = generator.read().reset_state().write().generate_next_batch()?;
    let Some(rows) = rows else { return Ok(plan) };
    let series = LazyMemoryExec::try_new(rows.schema(), generators)?;
    Ok(Arc::new(ProjectionExec::try_new(Vec::<ProjectionExpr>::new(), Arc::new(series))?))
}
