//! A worker's side of a partition read: runs the partitions and streams them as Flight data.
//!
//! It answers datafusion-distributed's `ExecuteTask` in place of that crate's handler, whose client
//! reads it, for three reasons (from its source, version 4.0.0):
//! * its handler sends each partition from a task that is never joined: **a panic there ends the
//!   partition like its last row, with a good status, and rows are missing without an error.** Here
//!   each partition reports how it ended, and the stream ends well only if all of them did;
//! * it sends a batch of any size as one message; here `split` cuts it;
//! * the errors of machines keep their type (`wire`).
//!
//! ```text
//!   partition 3 --> guard, cut, encode (a task on the CPU runtime) --\
//!   partition 4 --> guard, cut, encode                             ---> send_queue --> gRPC stream
//!   partition 5 --> guard, cut, encode                             --/
//! ```

use std::time::{SystemTime, UNIX_EPOCH};

use arrow_flight::FlightData;
use arrow_flight::encode::{DictionaryHandling, FlightDataEncoder, FlightDataEncoderBuilder};
use arrow_flight::error::FlightError;
use datafusion::arrow::ipc::writer::IpcWriteOptions;
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion_distributed::{
    CompressionType, DistributedConfig, ExecuteTaskRequest, MaybeEncoded, ProducerHead, TaskKey,
    Worker,
};
use futures::{StreamExt, TryStreamExt, stream};
use prost::Message;
use tokio::runtime::Handle;
use tonic::Status;
use uuid::Uuid;

use crate::error::fits;
use crate::limits::ROW_BYTES_MAX;
use crate::over::OverMemory;
use crate::send_queue::{MessageStream, SendQueue, message_bytes, send_queue};
use crate::split::split;
use crate::{classify, guard_stream, wire};

/// The most partitions in one read. A task has the partitions of its stage times the number of
/// readers.
const PARTITIONS_MAX: u64 = 4096;

/// The request of `ExecuteTask`, as datafusion-distributed's client sends it.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ReadRequest {
    #[prost(message, optional, tag = "1")]
    task: Option<Task>,
    #[prost(uint64, tag = "2")]
    start: u64,
    #[prost(uint64, tag = "3")]
    end: u64,
    #[prost(oneof = "Head", tags = "6, 7, 8")]
    head: Option<Head>,
}

#[derive(Clone, PartialEq, Message)]
struct Task {
    #[prost(bytes = "vec", tag = "1")]
    query: Vec<u8>,
    #[prost(uint64, tag = "2")]
    stage: u64,
    #[prost(uint64, tag = "3")]
    number: u64,
}

/// What the reader wants at the head of the task: rows as they are, copied, or split by a key.
#[derive(Clone, PartialEq, prost::Oneof)]
enum Head {
    #[prost(message, tag = "6")]
    Plain(PlainHead),
    #[prost(message, tag = "7")]
    Broadcast(BroadcastHead),
    #[prost(message, tag = "8")]
    Repartition(RepartitionHead),
}

#[derive(Clone, PartialEq, Message)]
struct PlainHead {}

#[derive(Clone, PartialEq, Message)]
struct BroadcastHead {
    #[prost(uint64, tag = "1")]
    output_partitions: u64,
}

#[derive(Clone, PartialEq, Message)]
struct RepartitionHead {
    #[prost(bytes = "vec", tag = "1")]
    partitioning: Vec<u8>,
}

/// The mark of each message for the client: its partition and its time.
#[derive(Clone, PartialEq, Message)]
struct MessageMark {
    #[prost(uint64, tag = "1")]
    partition: u64,
    #[prost(uint64, tag = "2")]
    created_unix_ns: u64,
}

/// Starts the partitions of `request` and returns the stream of their messages.
pub(crate) async fn read(
    worker: &Worker,
    over_memory: Option<&OverMemory>,
    cpu: &Handle,
    request: ReadRequest,
) -> Result<MessageStream, Status> {
    let request = request.decoded()?;
    let first = request.target_partition_start;
    let to_status = |err| wire::to_status(&classify::classified(err));
    let (streams, ctx) = worker.execute_task(request).await.map_err(to_status)?;
    let options = ipc_options(&ctx).map_err(to_status)?;

    let consumer = MemoryConsumer::new("exchange: messages waiting for their reader");
    let (send_queue, mut messages) =
        send_queue(streams.len(), consumer.register(ctx.memory_pool()));
    for (i, stream) in streams.into_iter().enumerate() {
        let (number, stream, options) = ((first + i) as u64, guard_stream(stream), options.clone());
        let mut over_memory = over_memory.cloned();
        messages.spawn(cpu, send_queue.clone(), move |send_queue| async move {
            tokio::select! {
                sent = send_rows(send_queue, number, stream, options) => sent,
                err = over(over_memory.as_mut()) => Err(err),
            }
        });
    }
    Ok(messages)
}

/// The error to end with when this process exceeds its memory limit.
async fn over(over_memory: Option<&mut OverMemory>) -> DataFusionError {
    match over_memory {
        Some(over_memory) => over_memory.happens().await,
        None => std::future::pending().await,
    }
}

/// The compression that the query's session asks for.
fn ipc_options(ctx: &TaskContext) -> Result<IpcWriteOptions> {
    let config = DistributedConfig::from_session_config(ctx.session_config())?;
    let compression = match config.compression.as_str() {
        "none" => None,
        "lz4" => Some(CompressionType::LZ4_FRAME),
        "zstd" => Some(CompressionType::ZSTD),
        other => {
            let text = format!("unknown compression \"{other}\" of the exchange");
            return Err(DataFusionError::Configuration(text));
        }
    };
    Ok(IpcWriteOptions::default().try_with_compression(compression)?)
}

/// Sends all rows of `stream`, the partition `number`.
async fn send_rows(
    send_queue: SendQueue,
    number: u64,
    stream: SendableRecordBatchStream,
    options: IpcWriteOptions,
) -> Result<()> {
    let mut encoder = encoder(stream, options);
    while let Some(message) = send_queue.next_of(&mut encoder).await {
        send_queue.send(vec![marked(message.map_err(from_flight)?, number)?]).await?;
    }
    Ok(())
}

fn marked(message: FlightData, partition: u64) -> Result<FlightData> {
    fits("one row of a result between machines", message_bytes(&message), ROW_BYTES_MAX)?;
    // A clock before 1970 only falsifies a latency metric.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mark =
        MessageMark { partition, created_unix_ns: u64::try_from(now.as_nanos()).unwrap_or(0) };
    Ok(message.with_app_metadata(mark.encode_to_vec()))
}

/// The messages of one partition: its batches, cut to size and compressed.
fn encoder(stream: SendableRecordBatchStream, options: IpcWriteOptions) -> FlightDataEncoder {
    let schema = stream.schema();
    let pieces = stream
        .map(|batch| {
            let pieces = split(batch?)?;
            Ok::<_, DataFusionError>(stream::iter(pieces).map(Ok::<_, DataFusionError>))
        })
        .try_flatten()
        .map_err(|err| FlightError::ExternalError(Box::new(err)));
    FlightDataEncoderBuilder::new()
        .with_options(options)
        .with_schema(schema)
        // Both ends are ours and support dictionaries. Expanding them would multiply the bytes.
        .with_dictionary_handling(DictionaryHandling::Resend)
        // The batches are already cut by the size of their rows, not of their buffers.
        .with_max_flight_data_size(usize::MAX)
        .build(pieces)
}

fn from_flight(err: FlightError) -> DataFusionError {
    match err {
        FlightError::ExternalError(err) => match err.downcast::<DataFusionError>() {
            Ok(err) => *err,
            Err(err) => DataFusionError::External(err),
        },
        FlightError::Arrow(err) => err.into(),
        err => DataFusionError::External(Box::new(err)),
    }
}

impl ReadRequest {
    fn decoded(self) -> Result<ExecuteTaskRequest, Status> {
        let task = self.task.ok_or_else(|| Status::invalid_argument("the read has no task"))?;
        let query_id = Uuid::from_slice(&task.query)
            .map_err(|err| Status::invalid_argument(format!("no query id: {err}")))?;
        if self.start > self.end || self.end - self.start > PARTITIONS_MAX {
            let text = format!("a read of the partitions {}..{}", self.start, self.end);
            return Err(Status::invalid_argument(text));
        }
        let producer_head = match self.head {
            None | Some(Head::Plain(_)) => ProducerHead::None,
            Some(Head::Broadcast(head)) => {
                ProducerHead::BroadcastExec { output_partitions: to_usize(head.output_partitions)? }
            }
            Some(Head::Repartition(head)) => ProducerHead::RepartitionExec {
                partitioning: MaybeEncoded::Encoded(head.partitioning),
            },
        };
        Ok(ExecuteTaskRequest {
            task_key: TaskKey {
                query_id,
                stage_id: to_usize(task.stage)?,
                task_number: to_usize(task.number)?,
            },
            target_partition_start: to_usize(self.start)?,
            target_partition_end: to_usize(self.end)?,
            producer_head,
        })
    }
}

fn to_usize(n: u64) -> Result<usize, Status> {
    usize::try_from(n).map_err(|_| Status::invalid_argument("a number over the address space"))
}
