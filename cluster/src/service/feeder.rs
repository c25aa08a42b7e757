//! Feeds the input of a call into its stream of messages.

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;

/// Items of input that wait for the connection.
const ITEMS_AHEAD: usize = 2;

/// A message, or why it cannot be sent.
pub(crate) type Encoded = Result<Bytes, String>;

/// Reads the input in a task of the caller's runtime: the connection's threads must not wait for
/// it.
pub(crate) struct Feeder {
    pub(crate) task: AbortOnDropHandle<Result<(), String>>,
    /// Keeps the stream open until the result of the input is known: a failed input must not look
    /// complete to the method, and the method's complaint must not hide the cause.
    _items: mpsc::Sender<Bytes>,
}

/// Feeds `input` into the stream of messages.
pub(crate) fn feed(mut input: BoxStream<'static, Encoded>) -> (Feeder, ReceiverStream<Bytes>) {
    let (sender, items) = mpsc::channel(ITEMS_AHEAD);
    let held = sender.clone();
    let feeding = Handle::current().spawn(async move {
        while let Some(item) = input.next().await {
            if sender.send(item?).await.is_err() {
                break;
            }
        }
        Ok(())
    });
    (Feeder { task: AbortOnDropHandle::new(feeding), _items: held }, ReceiverStream::new(items))
}
