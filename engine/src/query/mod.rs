//! One statement, parsed and planned, about to run. Made by [`Session::sql`](crate::Session::sql);
//! how it runs is in [`run`].

pub(crate) mod attempt;
pub(crate) mod distribute;
pub(crate) mod holdback;
pub(crate) mod low_memory;
pub(crate) mod run;
pub(crate) mod sendable;
pub(crate) mod show;

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::LogicalPlan;
use futures::TryStreamExt;

use crate::error::{Error, Result};
use crate::pipeline::slice::Slice;
use crate::row::Row;
use crate::runs::job::Runner;
use crate::statement::work::{Planned, Work};

/// A statement that is ready to run.
pub struct Query {
    session: Arc<Runner>,
    planned: Planned,
}

impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Query").field("text", &self.planned.text).finish_non_exhaustive()
    }
}

impl Query {
    pub(crate) fn new(session: Arc<Runner>, planned: Planned) -> Self {
        Self { session, planned }
    }

    /// The columns of the result.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.planned.schema)
    }

    /// True when the result is rows to show, even if there are none of them.
    pub fn returns_rows(&self) -> bool {
        matches!(self.planned.work, Work::Rows(_) | Work::Stages(_)) || self.explains_a_write()
    }

    /// True when the result is one row with the number of rows that were written.
    pub fn returns_count(&self) -> bool {
        matches!(self.planned.work, Work::Write(_)) && !self.explains_a_write()
    }

    /// `EXPLAIN ANALYZE COPY ...` writes and shows how.
    fn explains_a_write(&self) -> bool {
        matches!(&self.planned.work, Work::Write(plan) if matches!(**plan, LogicalPlan::Analyze(_)))
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
        run::start(self.session, self.planned).await
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
    /// The rows of this statement as a slice, see [`Slice::read_sql`]: it is planned again when the slice
    /// is run. Without machines it runs as it is; for machines, write `Slice::read_sql` in a func.
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
