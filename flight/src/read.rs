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

use std::pin::pin;
use std::time::{SystemTime, UNIX_EPOCH};

use arrow_flight::encode::{DictionaryHandling, FlightDataEncoderBuilder};
use arrow_flight::error::FlightError;
use arrow_flight::{FlightData, SchemaAsIpc};
use datafusion::arrow::ipc::writer::IpcWriteOptions;
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion_distributed::{
    CompressionType, DistributedConfig, ExecuteTaskRequest, MaybeEncoded, ProducerHead, TaskKey,
    Worker,
};
use futures::{Stream, StreamExt, TryStreamExt, stream};
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
    let mut messages = pin!(encoded(stream, options));
    while let Some(message) = send_queue.next_of(&mut messages).await {
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

/// The messages of one partition: its schema, and its batches, cut to size and compressed.
///
/// arrow-flight 59.3 declares a `LargeList` as a `List` (`prepare_field_for_flight`), so that the
/// reader finds empty lists below another list, and elsewhere an error. Here the schema is as it
/// is.
fn encoded(
    stream: SendableRecordBatchStream,
    options: IpcWriteOptions,
) -> impl Stream<Item = std::result::Result<FlightData, FlightError>> {
    let schema = stream.schema();
    let first: FlightData = SchemaAsIpc::new(&schema, &options).into();
    let pieces = stream
        .map(|batch| {
            let pieces = split(batch?)?;
            Ok::<_, DataFusionError>(stream::iter(pieces).map(Ok::<_, DataFusionError>))
        })
        .try_flatten()
        .map_err(|err| FlightError::ExternalError(Box::new(err)));
    let encoder = FlightDataEncoderBuilder::new()
        .with_options(options)
        .with_schema(schema)
        // Both ends are ours and support dictionaries. Expanding them would multiply the bytes.
        .with_dictionary_handling(DictionaryHandling::Resend)
        // The batches are already cut by the size of their rows, not of their buffers.
        .with_max_flight_data_size(usize::MAX)
        .build(pieces);
    stream::iter([Ok(first)]).chain(encoder.skip(1))
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_flight::decode::FlightRecordBatchStream;
    use datafusion::arrow::array::{
        ArrayRef, DictionaryArray, Int64Array, LargeListArray, ListArray, RecordBatch, StructArray,
    };
    use datafusion::arrow::buffer::OffsetBuffer;
    use datafusion::arrow::datatypes::{Field, Int32Type};
    use datafusion::physical_plan::stream::RecordBatchStreamAdapter;

    use super::*;

    /// Large lists at the top, in a list and in a struct, beside dictionaries.
    fn batch() -> RecordBatch {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..6));
        let item = Arc::new(Field::new_list_field(numbers.data_type().clone(), true));
        let offsets = OffsetBuffer::from_lengths([1, 0, 2, 3]);
        let large: ArrayRef = Arc::new(LargeListArray::new(item, offsets, numbers, None));
        let item = Arc::new(Field::new_list_field(large.data_type().clone(), true));
        let offsets = OffsetBuffer::from_lengths([1, 1, 1, 1]);
        let nested: ArrayRef = Arc::new(ListArray::new(item, offsets, Arc::clone(&large), None));
        let words = || -> ArrayRef {
            Arc::new(DictionaryArray::<Int32Type>::from_iter(["a", "b", "a", "c"]))
        };
        let fields = vec![
            (Arc::new(Field::new("l", large.data_type().clone(), true)), Arc::clone(&large)),
            (Arc::new(Field::new("w", words().data_type().clone(), true)), words()),
        ];
        let record: ArrayRef = Arc::new(StructArray::from(fields));
        let columns = [("a", words()), ("b", large), ("c", nested), ("d", record), ("e", words())];
        RecordBatch::try_from_iter(columns).expect("columns of one length")
    }

    fn rows(batch: &RecordBatch) -> SendableRecordBatchStream {
        let batches = stream::iter([Ok(batch.clone()), Ok(batch.slice(2, 2))]);
        Box::pin(RecordBatchStreamAdapter::new(batch.schema(), batches))
    }

    #[tokio::test]
    async fn the_reader_gets_the_types_and_values_that_are_sent() {
        let batch = batch();
        for compression in [None, Some(CompressionType::LZ4_FRAME)] {
            let options = IpcWriteOptions::default().try_with_compression(compression);
            let messages = encoded(rows(&batch), options.expect("LZ4 is compiled in"));
            let read = FlightRecordBatchStream::new_from_flight_data(messages);
            let read: Vec<_> = read.try_collect().await.expect("what was sent can be read");
            assert_eq!(read, [batch.clone(), batch.slice(2, 2)]);
        }
    }

    #[tokio::test]
    async fn our_schema_is_still_needed() {
        let batch = batch();
        let encoder = FlightDataEncoderBuilder::new()
            .with_dictionary_handling(DictionaryHandling::Resend)
            .build(rows(&batch).map_err(|err| FlightError::ExternalError(Box::new(err))));
        let read = FlightRecordBatchStream::new_from_flight_data(encoder);
        let read: std::result::Result<Vec<_>, _> = read.try_collect().await;
        let is_right = read.is_ok_and(|read| read == [batch.clone(), batch.slice(2, 2)]);
        assert!(!is_right, "arrow-flight sends large lists now: use its schema");
    }
}
