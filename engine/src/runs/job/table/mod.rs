//! A run as a table of SQL.
//!
//! ```text
//! statement ─► [`located`]  before it is planned: computes lost shards again, finds where all are
//!                  │
//!              [`RunTable::scan`] ─► [`RunScan`] of [`pieces`], which any machine can read
//!                                      │ distributed: its pieces are dealt to tasks  [`deal`]
//!                                      │ sent: as bytes                              [`wire`]
//!                                      └ read: from where they are, over Flight
//! ```
//!
//! Without that step (DataFusion's own methods of a `DataFrame`), the scan can only be read by the
//! driver, shard by shard: it computes missing shards when it gets to them.

mod deal;
mod located;
mod pieces;
mod scan;
mod wire;

use std::fmt;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result as PlanResult;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;

use crate::runs::job::job::Job;
pub(crate) use deal::{run_scan_route, run_scan_scale_up, run_scan_tasks};
pub(crate) use located::{Located, Missing};
pub(crate) use scan::RunScan;

/// A table of the rows of `job`, with the columns `schema`.
pub(crate) fn table(job: &Arc<Job>, schema: &SchemaRef) -> Arc<dyn TableProvider> {
    let (job, schema) = (Arc::clone(job), Arc::clone(schema));
    Arc::new(RunTable { job, schema, generation: Arc::default() })
}

/// A run as DataFusion sees it. It holds the result.
struct RunTable {
    job: Arc<Job>,
    schema: SchemaRef,
    /// The generation of the result that its first reader has seen.
    generation: Arc<OnceLock<u64>>,
}

impl fmt::Debug for RunTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RunTable({:?})", self.job.id())
    }
}

#[async_trait]
impl TableProvider for RunTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> PlanResult<Arc<dyn ExecutionPlan>> {
        let columns = match projection {
            Some(columns) => columns.clone(),
            None => (0..self.schema.fields().len()).collect(),
        };
        let located = state.config().get_extension::<Located>();
        let scan = match located.and_then(|located| located.scan(&self.job, state)) {
            Some(reading) => reading,
            None => scan::Reading::by_driver(&self.job, &self.generation),
        };
        let title = self.job.title().into();
        Ok(Arc::new(RunScan::new(title, &self.schema, columns.into(), limit, scan)?))
    }
}
