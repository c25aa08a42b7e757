//! A table of TPC-H as a table of a session: plans a [`Scan`] over as many parts as the session
//! runs partitions.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider},
    common::{Result, Statistics},
    logical_expr::{Expr, TableType},
    physical_plan::ExecutionPlan,
};

use super::{part::part_count, scan::Scan, table::TableName};

/// A table of TPC-H at a scale factor, which [`check_scale`](super::check_scale) has let pass.
pub fn table_provider(table: TableName, scale: f64) -> Arc<dyn TableProvider> {
    Arc::new(Table { table, scale })
}

#[derive(Debug)]
struct Table {
    table: TableName,
    scale: f64,
}

#[async_trait]
impl TableProvider for Table {
    fn schema(&self) -> SchemaRef {
        self.table.schema()
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
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let parts = part_count(self.table, self.scale, state.config().target_partitions());
        let columns = match projection {
            Some(columns) => columns.clone(),
            None => (0..self.schema().fields().len()).collect(),
        };
        let parts = (1..=parts).collect();
        Ok(Arc::new(Scan::try_new(self.table, self.scale, parts, columns, limit)?))
    }

    fn statistics(&self) -> Option<Statistics> {
        let mut statistics = Statistics::new_unknown(&self.schema());
        statistics.num_rows = self.table.row_count(self.scale);
        Some(statistics)
    }
}
