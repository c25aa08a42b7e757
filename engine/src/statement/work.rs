//! A planned statement and its work. Made by [`planning`](crate::statement::planning), run by
//! [`Query::stream`](crate::Query::stream).

use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::logical_expr::{CreateMemoryTable, LogicalPlan};

use crate::statement::materialized::MaterializedTable;

/// A planned statement.
pub(crate) struct Planned {
    pub(crate) text: Arc<str>,
    pub(crate) work: Work,
    pub(crate) schema: SchemaRef,
    /// The tables to compute before the work, in this order.
    pub(crate) materialized: Vec<Arc<MaterializedTable>>,
}

/// The work of a statement.
pub(crate) enum Work {
    /// Return rows: a query, `SHOW`, `EXPLAIN`.
    Rows(Arc<LogicalPlan>),
    /// Write rows, all of them or none: `COPY`, `INSERT`.
    Write(Arc<LogicalPlan>),
    /// Create a table from a query's rows.
    CreateTable(Box<CreateMemoryTable>),
    /// Show the stages of a query.
    Stages(Arc<LogicalPlan>),
    /// Change the session: `CREATE`, `DROP`, `SET`.
    Command(Box<LogicalPlan>),
}
