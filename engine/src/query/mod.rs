//! A statement that is planned and ready to run. Made by [`Session::sql`](crate::Session::sql). The
//! life of a query, from its text to its rows, is in [`run`]; other statements are in [`command`].

pub(crate) mod attempt;
pub(crate) mod command;
pub(crate) mod distribute;
pub(crate) mod holdback;
pub(crate) mod low_memory;
pub(crate) mod run;
pub(crate) mod sendable;
pub(crate) mod show;
mod stored;
pub(crate) mod stream;

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::EmptyRecordBatchStream;
use futures::TryStreamExt;

use crate::error::{Error, Result};
use crate::pipeline::slice::Slice;
use crate::query::run::{Execution, Output};
use crate::row::Row;
use crate::runs::job::Runner;
use crate::statement::work::{Planned, Work};

/// A statement that is ready to run.
pub struct Query {
    runner: Arc<Runner>,
    planned: Planned,
}

impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Query").field("text", &self.planned.text).finish_non_exhaustive()
    }
}

impl Query {
    pub(crate) fn new(runner: Arc<Runner>, planned: Planned) -> Self {
        Self { runner, planned }
    }

    /// The columns of the result.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.planned.schema)
    }

    /// True if the result is rows to show, even if there are none.
    pub fn returns_rows(&self) -> bool {
        matches!(self.planned.work, Work::Rows(_) | Work::Stages(_)) || self.explains_a_write()
    }

    /// True if the result is one row with the number of rows written.
    pub fn returns_count(&self) -> bool {
        matches!(self.planned.work, Work::Write(_)) && !self.explains_a_write()
    }

    /// `EXPLAIN ANALYZE COPY ...` writes, and shows how.
    fn explains_a_write(&self) -> bool {
        matches!(&self.planned.work, Work::Write(plan) if matches!(**plan, LogicalPlan::Analyze(_)))
    }

    /// Runs the statement. Rows arrive as they are computed; dropping the stream cancels the query
    /// on all machines.
    ///
    /// If machines are lost, the query runs again on the remaining ones, unless rows of its result
    /// were returned before: then the stream ends with an error that says so. The stream yields
    /// `DataFusionError`; `Error::from` recovers the original [`Error`].
    ///
    /// # Errors
    /// When a statement that returns no rows fails.
    pub async fn stream(self) -> Result<SendableRecordBatchStream> {
        let Self { runner, planned: Planned { text, work, schema, materialized } } = self;
        let execution = |runner, text, plan, output| Execution { runner, text, plan, output };
        Ok(match work {
            Work::Rows(plan) => {
                let tables = match *plan {
                    LogicalPlan::Explain(_) => Vec::new(),
                    _ => materialized,
                };
                run::rows(execution(runner, text, plan, Output::Rows), tables, schema)
            }
            Work::Write(plan) => {
                run::rows(execution(runner, text, plan, Output::Count), materialized, schema)
            }
            Work::Stages(plan) => {
                command::stages(&execution(runner, text, plan, Output::Rows)).await?
            }
            Work::CreateTable(create) => {
                command::create_table(&runner, *create, materialized, text).await?;
                Box::pin(EmptyRecordBatchStream::new(schema))
            }
            Work::Command(plan) => {
                command::command(&runner, *plan, text).await?;
                Box::pin(EmptyRecordBatchStream::new(schema))
            }
        })
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

impl Query {
    /// The rows of this statement as a slice, see [`Slice::read_sql`]. The statement is planned
    /// again when the slice runs. This works without machines; for machines, use `Slice::read_sql`
    /// in a func.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// let session = Session::builder().build().await?;
    /// let query = session.sql("select 20 + 1").await?;
    /// let doubled = query.typed::<i64>().map(|x| 2 * x);
    /// assert_eq!(session.run(doubled).await?.collect().await?, [42]);
    /// # Ok::<(), Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn typed<T: Row>(&self) -> Slice<T> {
        Slice::of_query(&self.planned.text, Location::caller())
    }
}
