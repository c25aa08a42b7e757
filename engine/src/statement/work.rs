//! A statement as it was planned, and what it is to do. Made by [`planning`](crate::statement::planning), run by
//! [`run`](crate::query::run).

use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::logical_expr::{CreateMemoryTable, LogicalPlan};

use crate::statement::drawn::DrawnTable;

/// A statement that was planned.
pub(crate) struct Planned {
    pub(crate) text: Arc<str>,
    pub(crate) work: Work,
    pub(crate) schema: SchemaRef,
    /// What is computed before the work, in this order.
    pub(crate) drawn: Vec<Arc<DrawnTable>>,
}

/// What a statement is to do.
pub(crate) enum Work {
    /// Give rows: a query, `SHOW`, `EXPLAIN`.
    Rows(Arc<LogicalPlan>),
    /// Write rows, all of them or none: `COPY`, `INSERT`.
    Write(Arc<LogicalPlan>),
    /// Make a table of a query's rows.
    CreateTable(Box<CreateMemoryTable>),
    /// Show how a query is cut.
    Stages(Arc<LogicalPlan>),
    /// Change the session: `CREATE`, `DROP`, `SET`.
    Command(Box<LogicalPlan>),
}
