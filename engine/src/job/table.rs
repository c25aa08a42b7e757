//! A run as a table of SQL: one partition for each shard.

use std::fmt;
use std::sync::{Arc, OnceLock};

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::TryStreamExt;

use crate::error::Result;
use crate::job::evaluation::Job;
use crate::job::run::begun;

/// A table of the rows that `job` has computed, with the columns `schema`.
pub(crate) fn table(job: &Arc<Job>, schema: &SchemaRef) -> Result<Arc<dyn TableProvider>> {
    let generation = Arc::default();
    let shards = (0..job.shards()).map(|shard| {
        let (job, schema) = (Arc::clone(job), Arc::clone(schema));
        let generation = Arc::clone(&generation);
        Arc::new(Shard { job, shard, schema, generation }) as Arc<dyn PartitionStream>
    });
    Ok(Arc::new(StreamingTable::try_new(Arc::clone(schema), shards.collect())?))
}

struct Shard {
    job: Arc<Job>,
    shard: usize,
    schema: SchemaRef,
    /// The one that the table's first reader has found.
    generation: Arc<OnceLock<u64>>,
}

impl fmt::Debug for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shard {} of {:?}", self.shard, self.job.id())
    }
}

impl PartitionStream for Shard {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (job, shard, schema) = (Arc::clone(&self.job), self.shard, Arc::clone(&self.schema));
        let generation = Arc::clone(&self.generation);
        let rows = async move {
            begun(job, shard, schema, &generation).await.map_err(DataFusionError::from)
        };
        let rows = futures::stream::once(rows).try_flatten();
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), rows))
    }
}
