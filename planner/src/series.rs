//! Series of numbers that are only counted.
//!
//! datafusion-proto 55.2 writes the scan of `generate_series` down with the columns that are left of it, and not
//! that they are a part: where none are left (`SELECT count(*) FROM generate_series(1, 5)`), the worker makes
//! one column all the same and fails. [`whole`] leaves the scan its column and takes it away above.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::memory::LazyMemoryExec;
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};

/// The plan, if it is a scan of a series without columns, with a scan that has its column.
pub(crate) fn whole(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let Some(series) = plan.downcast_ref::<LazyMemoryExec>() else { return Ok(plan) };
    if !series.schema().fields().is_empty() {
        return Ok(plan);
    }
    let generators: Vec<_> =
        series.generators().iter().map(|generator| generator.read().reset_state()).collect();
    // Only its rows tell which column a generator makes. One that makes none has nothing to lose.
    let Some(generator) = generators.first() else { return Ok(plan) };
    let rows = generator.read().reset_state().write().generate_next_batch()?;
    let Some(rows) = rows else { return Ok(plan) };
    let series = LazyMemoryExec::try_new(rows.schema(), generators)?;
    Ok(Arc::new(ProjectionExec::try_new(Vec::<ProjectionExpr>::new(), Arc::new(series))?))
}
