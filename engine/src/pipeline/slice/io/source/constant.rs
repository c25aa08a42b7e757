//! Rows that the program has at hand.

use std::panic::Location;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::{Result as PlanResult, internal_datafusion_err};
use datafusion::execution::SendableRecordBatchStream;

use crate::error::Result;
use crate::pipeline::slice::Slice;
use crate::pipeline::slice::tree::node::{Op, Resolving, Source, TaskCx};
use crate::pipeline::slice::tree::streams;
use crate::pipeline::slice::tree::typed;
use crate::row::Row;

impl<T: Row> Slice<T> {
    /// These rows, in `shards` shards of equal size; the first ones have one more where it does not
    /// come out even.
    ///
    /// Rows keep their order. Within a func every machine makes all of the rows by calling it: many
    /// rows belong into a file, or into a [`reader`](Self::reader) that makes those of its shard.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// let session = Session::builder().build().await?;
    /// let run = session.run(Slice::const_(2, [5, 3, 4])).await?;
    /// assert_eq!(run.shard(0).await?, [5, 3]);
    /// assert_eq!(run.shard(1).await?, [4]);
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    ///
    /// `shards` must be at least 1: a run of a slice without shards fails.
    #[track_caller]
    pub fn const_(shards: usize, rows: impl IntoIterator<Item = T>) -> Self {
        let mut builder = T::builder(0);
        for row in rows {
            T::append(&mut builder, row.view());
        }
        let batch = typed::batch::<T>(&typed::schema::<T>(), &mut builder);
        let constant = Constant { shards, batch: batch.map_err(|e| e.to_string()) };
        Self::new("const_", Location::caller(), Op::Source(Arc::new(constant)))
    }
}

struct Constant {
    shards: usize,
    batch: Result<RecordBatch, String>,
}

#[async_trait]
impl Source for Constant {
    async fn shards(&self, _: &Resolving) -> Result<Vec<Arc<[u8]>>> {
        Ok(vec![Arc::default(); self.shards])
    }

    fn shards_given(&self) -> Option<usize> {
        Some(self.shards)
    }

    fn open(&self, _: &[u8], cx: &TaskCx) -> PlanResult<SendableRecordBatchStream> {
        let batch = self.batch.as_ref().map_err(|e| internal_datafusion_err!("{e}"))?;
        let (each, more) = (batch.num_rows() / self.shards, batch.num_rows() % self.shards);
        let begin = cx.shard * each + cx.shard.min(more);
        let shard = batch.slice(begin, each + usize::from(cx.shard < more));
        let step = cx.context.session_config().batch_size();
        let pieces = (0..shard.num_rows())
            .step_by(step.max(1))
            .map(move |at| Ok(shard.slice(at, step.min(shard.num_rows() - at))));
        Ok(streams::with_schema(batch.schema(), futures::stream::iter(pieces)))
    }
}
