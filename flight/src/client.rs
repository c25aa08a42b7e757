//! The client of a machine: datafusion-distributed's client, plus what it does not do.
//!
//! * errors name the machine, and a broken connection is [`Error::Lost`](crate::Error::Lost);
//! * a broken connection is not handed out again;
//! * in the driver, the failure of one task's channel ends the whole query (see `failure_latch`);
//! * **partitions with an order are read one by one.** The client of datafusion-distributed 4.0.0
//!   reads all partitions of a task in one stream and stops reading when its buffer is full. A
//!   merge of sorted partitions reads one partition to its end before it reads the next. The rows
//!   of the next fill the buffer, and the rows that the merge needs come behind them: an `ORDER BY`
//!   over files in that order hangs. So each partition gets a stream of its own, with HTTP/2's flow
//!   control. The connection's window must then have room for all stopped streams: the connector
//!   gives it the largest window there is, and each stream a share. Rows that are split by a key
//!   stay in one stream: every reader drains what it receives before it waits for something else.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::Result;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricsSet};
use datafusion_distributed::{
    ChannelResolver, CoordinatorToWorkerMsg, ExecuteTaskRequest, GetWorkerInfoRequest,
    GetWorkerInfoResponse, MaybeEncoded, ProducerHead, SetPlanRequest, TaskMetrics, WorkerChannel,
    WorkerToCoordinatorMsg,
};
use futures::stream::{self, BoxStream, StreamExt};
use http::HeaderMap;
use url::Url;

use crate::channels::Channels;
use crate::failure_latch::FailureLatch;

/// A client of one machine. Connects at its first call.
pub(crate) struct MachineClient {
    channels: Channels,
    url: Url,
}

impl MachineClient {
    pub(crate) fn new(channels: Channels, url: Url) -> Self {
        Self { channels, url }
    }

    fn judged(&self, err: DataFusionError) -> DataFusionError {
        self.channels.judged(&self.url, err)
    }

    fn failed(&self, latch: &Arc<FailureLatch>, err: DataFusionError) -> DataFusionError {
        let err = self.judged(err);
        DataFusionError::Shared(self.channels.latches().fail(latch, err))
    }

    /// The rows of one read, with errors of this crate, ended by the failure of their query.
    fn rows(
        &self,
        stream: BoxStream<'static, Result<RecordBatch>>,
        latch: Arc<FailureLatch>,
    ) -> BoxStream<'static, Result<RecordBatch>> {
        let this = Self::new(self.channels.clone(), self.url.clone());
        latch.over(stream.map(move |batch| batch.map_err(|err| this.judged(err))))
    }
}

#[async_trait]
impl ChannelResolver for Channels {
    /// Does not connect yet: a failure to connect belongs to a query, and only the call names the
    /// query.
    async fn get_worker_client_for_url(
        &self,
        url: &Url,
    ) -> Result<Box<dyn WorkerChannel>, DataFusionError> {
        Ok(Box::new(MachineClient::new(self.clone(), url.clone())))
    }
}

#[async_trait]
impl WorkerChannel for MachineClient {
    /// Sends a plan and stays open while its query runs.
    ///
    /// A channel that breaks while rows are being read ends the query through its latch. One that
    /// breaks after the last row costs only the metrics of its task, which are then empty: a reader
    /// of the metrics waits for all of them.
    async fn coordinator_channel(
        &mut self,
        headers: HeaderMap,
        request: SetPlanRequest,
        messages: BoxStream<'static, CoordinatorToWorkerMsg>,
        metrics: ExecutionPlanMetricsSet,
        ctx: &Arc<TaskContext>,
    ) -> Result<BoxStream<'static, Result<WorkerToCoordinatorMsg>>> {
        let latch = self.channels.latches().of(request.task_key.query_id);
        let n_nodes = node_count(&request.plan);
        let mut client =
            self.channels.client(&self.url).await.map_err(|err| self.failed(&latch, err.into()))?;
        let replies = client
            .coordinator_channel(headers, request, messages, metrics, ctx)
            .await
            .map_err(|err| self.failed(&latch, err))?;

        let this = Self::new(self.channels.clone(), self.url.clone());
        let state = Some((this, latch, replies));
        Ok(stream::unfold(state, move |state| async move {
            let (this, latch, mut replies) = state?;
            match replies.next().await? {
                Ok(message) => Some((Ok(message), Some((this, latch, replies)))),
                Err(err) => {
                    let err = this.failed(&latch, err);
                    tracing::debug!(error = %err, "the channel to a task broke");
                    let metrics = WorkerToCoordinatorMsg::TaskMetrics(no_metrics(n_nodes));
                    Some((Ok(metrics), None))
                }
            }
        })
        .boxed())
    }

    async fn execute_task(
        &mut self,
        headers: HeaderMap,
        request: ExecuteTaskRequest,
        metrics: ExecutionPlanMetricsSet,
        ctx: &Arc<TaskContext>,
    ) -> Result<Vec<BoxStream<'static, Result<RecordBatch>>>> {
        let latch = self.channels.latches().of(request.task_key.query_id);
        let mut client = self.channels.client(&self.url).await?;
        let mut streams = Vec::new();
        for request in requests(request) {
            let headers = headers.clone();
            let group = client
                .execute_task(headers, request, metrics.clone(), ctx)
                .await
                .map_err(|err| self.judged(err))?;
            streams.extend(group.into_iter().map(|rows| self.rows(rows, Arc::clone(&latch))));
        }
        Ok(streams)
    }

    async fn get_worker_info(
        &mut self,
        request: GetWorkerInfoRequest,
    ) -> Result<GetWorkerInfoResponse> {
        let mut client = self.channels.client(&self.url).await?;
        client.get_worker_info(request).await.map_err(|err| self.judged(err))
    }
}

/// The reads to make for `request`: one, or one for each partition if their order matters.
fn requests(request: ExecuteTaskRequest) -> Vec<ExecuteTaskRequest> {
    if !matches!(request.producer_head, ProducerHead::None) {
        return vec![request];
    }
    (request.target_partition_start..request.target_partition_end)
        .map(|partition| ExecuteTaskRequest {
            task_key: request.task_key,
            target_partition_start: partition,
            target_partition_end: partition + 1,
            producer_head: ProducerHead::None,
        })
        .collect()
}

fn node_count(plan: &MaybeEncoded<Arc<dyn ExecutionPlan>>) -> usize {
    let MaybeEncoded::Decoded(plan) = plan else { return 0 };
    let mut n = 0;
    let counted = plan.apply(|_| {
        n += 1;
        Ok(TreeNodeRecursion::Continue)
    });
    if counted.is_ok() { n } else { 0 }
}

fn no_metrics(n_nodes: usize) -> TaskMetrics {
    TaskMetrics {
        pre_order_plan_metrics: vec![MetricsSet::new(); n_nodes],
        task_metrics: MetricsSet::new(),
    }
}
