//! One statement, parsed and planned, about to run. Made by [`Session::sql`](crate::Session::sql);
//! how it runs is in [`run`].

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::{CreateMemoryTable, LogicalPlan};
use futures::TryStreamExt;

use crate::drawn::DrawnTable;
use crate::error::{Error, Result};
use crate::run;
use crate::session::Inner;

/// A statement that is ready to run.
pub struct Query {
    pub(crate) session: Arc<Inner>,
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

impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Query").field("text", &self.text).finish_non_exhaustive()
    }
}

impl Query {
    /// The columns of the result.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// True when the result is rows to show, even if there are none of them.
    pub fn returns_rows(&self) -> bool {
        matches!(self.work, Work::Rows(_) | Work::Stages(_)) || self.explains_a_write()
    }

    /// True when the result is one row with the number of rows that were written.
    pub fn returns_count(&self) -> bool {
        matches!(self.work, Work::Write(_)) && !self.explains_a_write()
    }

    /// `EXPLAIN ANALYZE COPY ...` writes and shows how.
    fn explains_a_write(&self) -> bool {
        matches!(&self.work, Work::Write(plan) if matches!(**plan, LogicalPlan::Analyze(_)))
    }

    /// Runs the statement. Its rows come as they are made; dropping the stream cancels the query
    /// on all machines.
    ///
    /// A query whose machines are lost runs again on those that are left, unless rows of its
    /// result were given out before: then the stream ends with an error that says so. Errors of
    /// the stream are [`Error`]s in DataFusion's clothes; `Error::from` undresses them.
    ///
    /// # Errors
    /// When a statement that gives no rows fails.
    pub async fn stream(self) -> Result<SendableRecordBatchStream> {
        run::start(self).await
    }

    /// Runs the statement and collects its rows.
    ///
    /// # Errors
    /// When the statement fails.
    pub async fn collect(self) -> Result<Vec<RecordBatch>> {
        let stream = self.stream().await?;
        stream.try_collect().await.map_err(Error::from)
    }
}
