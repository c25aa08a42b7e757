//! The queue between the tasks that make messages and the connection that sends them.
//!
//! ```text
//!   producer --\
//!   producer ----> queue (bounded, counted in the memory pool) --> MessageStream --> gRPC
//!   producer --/
//!   (tasks on the CPU runtime)                                 (polled by the connection)
//! ```
//!
//! Each producer reports how it ended, including a panic. The stream ends well only if all of them
//! did. Dropping the stream (the reader is gone, the query is cancelled) aborts them.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow_flight::FlightData;
use bigslice_diagnostics::panic_text;
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::MemoryReservation;
use futures::{FutureExt, Stream, StreamExt};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tonic::Status;

use crate::{Error, classify, wire};

/// Messages of each producer that wait for the reader: one is being sent, one is ready.
const MESSAGES_WAITING: usize = 2;

/// Messages sent together are large if they have more bytes than this: a row or a block that could
/// not be cut. They wait only if the memory pool has room for them. Smaller ones always have room.
const LARGE_BYTES: usize = 16 * 1024 * 1024;

/// An item of the queue.
enum Item {
    Message(FlightData),
    /// The producer's last message has been sent.
    End,
    Failed(Status),
}

/// A producer's end of the queue.
#[derive(Clone)]
pub(crate) struct SendQueue {
    sender: mpsc::Sender<Item>,
    waiting: Arc<MemoryReservation>,
}

/// A queue for `n_producers`, whose messages are reserved in `waiting`, and the stream of its
/// messages.
pub(crate) fn send_queue(
    n_producers: usize,
    waiting: MemoryReservation,
) -> (SendQueue, MessageStream) {
    let waiting = Arc::new(waiting);
    let (sender, messages) = mpsc::channel(MESSAGES_WAITING * n_producers.max(1));
    let stream = MessageStream {
        messages,
        n_open: 0,
        waiting: Arc::clone(&waiting),
        producers: JoinSet::new(),
    };
    (SendQueue { sender, waiting }, stream)
}

impl SendQueue {
    /// The next item of `stream`; `None` at its end, or if the reader is gone.
    pub(crate) async fn next_of<S: Stream + Unpin>(&self, stream: &mut S) -> Option<S::Item> {
        tokio::select! {
            biased;
            () = self.sender.closed() => None,
            item = stream.next() => item,
        }
    }

    /// Queues `messages`, which are in memory together. Without a reader they are dropped, and
    /// [`SendQueue::next_of`] ends. Fails if they are large and there is no memory.
    pub(crate) async fn send(&self, messages: Vec<FlightData>) -> Result<()> {
        let bytes = messages.iter().map(message_bytes).sum();
        if bytes > LARGE_BYTES {
            self.waiting.try_grow(bytes)?;
        } else {
            self.waiting.grow(bytes);
        }
        for message in messages {
            if self.sender.send(Item::Message(message)).await.is_err() {
                break;
            }
        }
        Ok(())
    }
}

pub(crate) fn message_bytes(message: &FlightData) -> usize {
    message.data_header.len() + message.data_body.len() + message.app_metadata.len()
}

/// The messages of all producers. Ends well only if each of them did.
pub(crate) struct MessageStream {
    messages: mpsc::Receiver<Item>,
    /// Producers that have not ended.
    n_open: usize,
    waiting: Arc<MemoryReservation>,
    /// Aborted when the stream is dropped.
    producers: JoinSet<()>,
}

impl MessageStream {
    /// Starts a producer on `cpu`, which sends its messages to `send_queue`.
    pub(crate) fn spawn<F>(
        &mut self,
        cpu: &Handle,
        send_queue: SendQueue,
        produce: impl FnOnce(SendQueue) -> F + Send + 'static,
    ) where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        self.n_open += 1;
        let sender = send_queue.sender.clone();
        let producer = async move {
            // The closure is called in here, so that its panic is caught as well.
            let produced = AssertUnwindSafe(async move { produce(send_queue).await });
            let last = match produced.catch_unwind().await {
                Ok(Ok(())) => Item::End,
                Ok(Err(err)) => Item::Failed(wire::to_status(&classify::classified(err))),
                Err(payload) => {
                    let text = panic_text(payload.as_ref()).to_owned();
                    Item::Failed(wire::to_status(&Error::Panic { text }.into()))
                }
            };
            // A reader that is gone does not need the end.
            let _gone = sender.send(last).await;
        };
        self.producers.spawn_on(producer, cpu);
    }
}

impl Stream for MessageStream {
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
                    let text = "the tasks of a read ended without reporting the end";
                    let err = DataFusionError::Internal(text.to_owned());
                    return Poll::Ready(Some(Err(wire::to_status(&err))));
                }
            }
        }
        Poll::Ready(None)
    }
}
