//! The rows of a run that was made before: what makes iterations of.

use std::panic::Location;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::common::{Result as PlanResult, internal_datafusion_err};
use datafusion::execution::SendableRecordBatchStream;

use crate::base::wire::RunId;
use crate::error::{Error, Result};
use crate::pipeline::slice::Slice;
use crate::pipeline::slice::tree::node::{Op, Resolving, Source, TaskCx};
use crate::row::Row;

impl<T: Row> Slice<T> {
    /// The rows of a run.
    pub(crate) fn of_run(run: RunId, place: &'static Location<'static>) -> Self {
        Self::new("slice", place, Op::Source(Arc::new(OfRun { run })))
    }
}

struct OfRun {
    run: RunId,
}

#[async_trait]
impl Source for OfRun {
    async fn shards(&self, _: &Resolving) -> Result<Vec<Arc<[u8]>>> {
        Err(Error::internal("the shards of a run are known to its runner"))
    }

    fn open(&self, _: &[u8], _: &TaskCx) -> PlanResult<SendableRecordBatchStream> {
        Err(internal_datafusion_err!("the shards of a run are read by the task's host"))
    }

    fn run(&self) -> Option<RunId> {
        Some(self.run)
    }
}
