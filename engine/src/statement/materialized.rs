//! Queries of `WITH` that are computed once, before the statement that reads them: see
//! [`materialize_ctes`](bigslice_planner::materialize_ctes). This process holds their rows, as it
//! does for a table created from a query.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::catalog::{MemTable, Session, TableProvider};
use datafusion::error::Result;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use datafusion::logical_expr::{Expr, LogicalPlan, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use parking_lot::Mutex;

/// The rows of one of these queries.
pub(crate) struct MaterializedTable {
    /// Optimized.
    pub(crate) plan: Arc<LogicalPlan>,
    schema: SchemaRef,
    rows: OnceLock<MemTable>,
    held: Mutex<Option<MemoryReservation>>,
}

impl std::fmt::Debug for MaterializedTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MaterializedTable").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl MaterializedTable {
    pub(crate) fn new(plan: LogicalPlan) -> Self {
        let schema = Arc::clone(plan.schema().inner());
        Self { plan: Arc::new(plan), schema, rows: OnceLock::new(), held: Mutex::new(None) }
    }

    /// True if its rows are computed.
    pub(crate) fn is_computed(&self) -> bool {
        self.rows.get().is_some()
    }

    /// Reserves memory for rows before they are kept.
    pub(crate) fn reserve(&self, batch: &RecordBatch, pool: &Arc<dyn MemoryPool>) -> Result<()> {
        let mut held = self.held.lock();
        let held =
            held.get_or_insert_with(|| MemoryConsumer::new("a query of WITH").register(pool));
        held.try_grow(batch.get_array_memory_size())
    }

    /// Sets its rows, which have the columns of the plan. From now on it can be read.
    pub(crate) fn fill(&self, batches: Vec<RecordBatch>, partitions: usize) -> Result<()> {
        let mut spread = vec![Vec::new(); partitions.max(1)];
        for (i, batch) in batches.into_iter().enumerate() {
            let to = i % spread.len();
            spread[to].push(batch);
        }
        let table = MemTable::try_new(Arc::clone(&self.schema), spread)?;
        // If it is set already, the rows are the same.
        let _ = self.rows.set(table);
        Ok(())
    }

    pub(crate) fn columns(&self) -> &SchemaRef {
        &self.schema
    }
}

#[async_trait]
impl TableProvider for MaterializedTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match self.rows.get() {
            Some(rows) => rows.scan(session, projection, filters, limit).await,
            // Only EXPLAIN plans before the rows are computed.
            None => {
                let schema = match projection {
                    Some(columns) => Arc::new(self.schema.project(columns)?),
                    None => Arc::clone(&self.schema),
                };
                Ok(Arc::new(EmptyExec::new(schema)))
            }
        }
    }
}
