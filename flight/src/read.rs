//! A worker's side of a partition read: runs the partitions and streams them as Flight data.
//!
//! It answers datafusion-distributed's `ExecuteTask` in place of the handler of that crate, whose
//! client reads it, for three reasons (all read from its source, version 4.0.0):
//! * its handler pumps each partition in a task that nobody joins: **a panic there ends the
//!   partition like its last row, with a good status: rows are missing and nobody knows.** Here
//!   each partition says how it ended, and the stream ends well only when all of them did;
//! * it sends a batch of any size as one message; here `split` cuts it;
//! * the errors of machines keep their type (`wire`).
//!
//! ```text
//!   partition 3 --> guard, cut, encode (a task on the CPU runtime) --\
//!   partition 4 --> guard, cut, encode                             ---> queue --> gRPC stream
//!   partition 5 --> guard, cut, encode                             --/  (bounded)
//! ```
//!
//! Dropping the stream (the reader is gone, the query is cancelled) aborts its tasks.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{SystemTime, UNIX_EPOCH};

use arrow_flight::FlightData;
use arrow_flight::encode::{DictionaryHandling, FlightDataEncoder, FlightDataEncoderBuilder};
use arrow_flight::error::FlightError;
use datafusion::arrow::ipc::writer::IpcWriteOptions;
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion_distributed::{
    CompressionType, DistributedConfig, ExecuteTaskRequest, MaybeEncoded, ProducerHead, TaskKey,
    Worker,
};
use futures::{FutureExt, Stream, StreamExt, TryStreamExt, stream};
use prost::Message;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tonic::Status;
use uuid::Uuid;

use crate::server::MESSAGE_BYTES_MAX;
use crate::split::split;
use crate::{Error, blame, guard_stream, panic_text, wire};

/// Messages that wait for the reader, for each partition: one is being sent, one is ready.
const MESSAGES_WAITING: usize = 2;
/// Partitions in one read. A task has as many as its stage has partitions times readers.
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

/// What the client finds beside each message: whose it is, and when it was made.
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
    cpu: &Handle,
    request: ReadRequest,
) -> Result<ReadStream, Status> {
    let request = request.decoded()?;
    let first = request.target_partition_start;
    let told = |err| wire::to_status(&blame::told(err));
    let (streams, ctx) = worker.execute_task(request).await.map_err(told)?;
    let options = ipc_options(&ctx).map_err(told)?;

    let consumer = MemoryConsumer::new("exchange: messages waiting for their reader");
    let waiting = Arc::new(consumer.register(ctx.memory_pool()));
    let (sender, messages) = mpsc::channel(MESSAGES_WAITING * streams.len().max(1));
    let n_open = streams.len();
    let mut tasks = JoinSet::new();
    for (i, stream) in streams.into_iter().enumerate() {
        let partition = Partition {
            number: (first + i) as u64,
            sender: sender.clone(),
            waiting: Arc::clone(&waiting),
        };
        tasks.spawn_on(partition.run(guard_stream(stream), options.clone()), cpu);
    }
    Ok(ReadStream { messages, n_open, waiting, _tasks: tasks })
}

/// The compression that the session of the query asks for.
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

/// What a partition's task puts in the queue.
enum Item {
    Message(FlightData),
    /// The partition's last row has been sent.
    End,
    Failed(Status),
}

/// One partition on its way into the queue.
struct Partition {
    number: u64,
    sender: mpsc::Sender<Item>,
    waiting: Arc<MemoryReservation>,
}

impl Partition {
    /// Sends all rows, then how it ended. A panic anywhere, encoding included, is an error.
    async fn run(self, stream: SendableRecordBatchStream, options: IpcWriteOptions) {
        let sent = AssertUnwindSafe(self.send_rows(stream, options)).catch_unwind().await;
        let last = match sent {
            Ok(Ok(())) => Item::End,
            Ok(Err(err)) => Item::Failed(wire::to_status(&blame::told(err))),
            Err(payload) => {
                let text = panic_text(payload.as_ref());
                Item::Failed(wire::to_status(&Error::Panic { text }.into()))
            }
        };
        // A reader that is gone does not ask how it ended.
        let _gone = self.sender.send(last).await;
    }

    async fn send_rows(
        &self,
        stream: SendableRecordBatchStream,
        options: IpcWriteOptions,
    ) -> Result<()> {
        let mut encoder = encoder(stream, options);
        loop {
            let message = tokio::select! {
                biased;
                () = self.sender.closed() => return Ok(()),
                message = encoder.next() => message,
            };
            let Some(message) = message else { return Ok(()) };
            let message = self.marked(message.map_err(from_flight)?)?;
            self.waiting.grow(message_bytes(&message));
            if self.sender.send(Item::Message(message)).await.is_err() {
                return Ok(());
            }
        }
    }

    fn marked(&self, message: FlightData) -> Result<FlightData> {
        let bytes = message_bytes(&message);
        if bytes >= MESSAGE_BYTES_MAX {
            return Err(Error::TooLarge {
                what: "one row of a result between machines".to_owned(),
                bytes: bytes as u64,
                limit: MESSAGE_BYTES_MAX as u64,
            }
            .into());
        }
        // A clock before 1970 only spoils a latency metric.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mark = MessageMark {
            partition: self.number,
            created_unix_ns: u64::try_from(now.as_nanos()).unwrap_or(0),
        };
        Ok(message.with_app_metadata(mark.encode_to_vec()))
    }
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
        // Both ends are ours and know dictionaries; expanding them would multiply the bytes.
        .with_dictionary_handling(DictionaryHandling::Resend)
        // The batches are cut already, by the size of their rows and not of their buffers.
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

fn message_bytes(message: &FlightData) -> usize {
    message.data_header.len() + message.data_body.len() + message.app_metadata.len()
}

/// The messages of all partitions of one read. Ends well only when each partition has.
pub(crate) struct ReadStream {
    messages: mpsc::Receiver<Item>,
    /// Partitions whose end has not been seen.
    n_open: usize,
    waiting: Arc<MemoryReservation>,
    /// Aborted when the stream is dropped.
    _tasks: JoinSet<()>,
}

impl Stream for ReadStream {
    type Item = Result<FlightData, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        while self.n_open > 0 {
            let Poll::Ready(item) = self.messages.poll_recv(cx) else {
                return Poll::Pending;
            };
            match item {
                Some(Item::Message(message)) => {
                    self.waiting.shrink(message_bytes(&message));
                    return Poll::Ready(Some(Ok(message)));
                }
                Some(Item::End) => self.n_open -= 1,
                Some(Item::Failed(status)) => {
                    self.n_open = 0;
                    return Poll::Ready(Some(Err(status)));
                }
                None => {
                    self.n_open = 0;
                    let text = "the tasks of a partition read ended without its end";
                    let err = DataFusionError::Internal(text.to_owned());
                    return Poll::Ready(Some(Err(wire::to_status(&err))));
                }
            }
        }
        Poll::Ready(None)
    }
}

impl ReadRequest {
    fn decoded(self) -> Result<ExecuteTaskRequest, Status> {
        let task = self.task.ok_or_else(|| Status::invalid_argument("a read without a task"))?;
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
