//! Scans of `generate_series` as they are after serialization to a worker.
//!
//! datafusion-proto 55.2 serializes the scan with its remaining columns, but not that they are a
//! projection. If none remain (`SELECT count(*) FROM generate_series(1, 5)`), the worker produces
//! one column anyway and fails. It does not serialize the order of the rows either, and operators
//! above that need it fail.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::memory::LazyMemoryExec;
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};

use crate::ordering::claims_order;

/// If `plan` is the scan of a series, gives it back its column, which a projection above removes,
/// and takes from it the order that it declares.
pub(crate) fn sendable(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let Some(series) = plan.downcast_ref::<LazyMemoryExec>() else { return Ok(plan) };
    let is_counted = series.schema().fields().is_empty();
    if !is_counted && !claims_order(&series.properties().eq_properties) {
        return Ok(plan);
    }
    let generators: Vec<_> =
        series.generators().iter().map(|generator| generator.read().reset_state()).collect();
    if !is_counted {
        return Ok(Arc::new(LazyMemoryExec::try_new(series.schema(), generators)?));
    }
    // Only its rows show which column a generator produces. A generator without rows loses nothing.
    let Some(generator) = generators.first() else { return Ok(plan) };
    let rows = generator.read().reset_state().write().generate_next_batch()?;
    let Some(rows) = rows else { return Ok(plan) };
    let series = LazyMemoryExec::try_new(rows.schema(), generators)?;
    Ok(Arc::new(ProjectionExec::try_new(Vec::<ProjectionExpr>::new(), Arc::new(series))?))
}
