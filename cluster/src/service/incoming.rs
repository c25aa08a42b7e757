//! A call as the macro's code sees it on the machine: takes arguments and input from it, and puts
//! frames of the reply into it.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{Stream, StreamExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tonic::Streaming;

use crate::error::chain;
use crate::service::context::ServiceContext;
use crate::service::failure::ServiceError;
use crate::service::frame::{PlainFrame, ReplyFrame, encode};
use crate::service::input::Input;
use crate::service::method::Service;
use crate::service::value::{Shared, decode};

/// A running method, until its last frame is passed on.
pub type Answering = BoxFuture<'static, ()>;

/// A received call.
pub struct Incoming {
    pub(crate) service: Shared,
    pub(crate) context: ServiceContext,
    pub(crate) messages: Option<Streaming<Bytes>>,
    pub(crate) frames: mpsc::Sender<Bytes>,
}

impl Incoming {
    /// The service that is called.
    pub fn service<S: Service>(&self) -> Arc<S> {
        Arc::clone(&self.service).downcast().expect("a service's entries are called with it alone")
    }

    /// The machine and the caller.
    pub fn context(&self) -> ServiceContext {
        self.context.clone()
    }

    /// The arguments. If they cannot be read, the call has been answered.
    pub async fn arguments<A: DeserializeOwned>(&mut self) -> Option<A> {
        let message = match self.messages.as_mut()?.next().await {
            Some(Ok(message)) => decode(&message).map_err(|e| e.to_string()),
            Some(Err(status)) => Err(chain(&status)),
            None => Err("the call ended before its arguments".to_owned()),
        };
        match message {
            Ok(arguments) => Some(arguments),
            Err(reason) => {
                self.replies().refuse(format!("the arguments cannot be read: {reason}")).await;
                None
            }
        }
    }

    /// The input after the arguments.
    pub fn input<T>(&mut self) -> Input<T> {
        Input::new(self.messages.take())
    }

    /// The sender of replies.
    pub fn replies(&self) -> Outgoing {
        Outgoing { frames: self.frames.clone() }
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("context", &self.context).finish_non_exhaustive()
    }
}

/// Sends the frames of a reply. Waits when the caller reads more slowly than the method answers.
#[derive(Debug)]
pub struct Outgoing {
    frames: mpsc::Sender<Bytes>,
}

impl Outgoing {
    /// Sends the reply of a method with one value.
    pub async fn one<T: Serialize, E: ServiceError>(self, answer: Result<T, E>) {
        match answer {
            Ok(value) => {
                self.send(&ReplyFrame::<T, E>::Item(value)).await;
            }
            Err(error) => self.fail(&error).await,
        }
    }

    /// Sends the reply of a method with a stream, up to its first error.
    pub async fn many<T: Serialize, E: ServiceError>(
        self,
        items: impl Stream<Item = Result<T, E>>,
    ) {
        let mut items = pin!(items);
        let mut open = self.send(&PlainFrame::Begin).await;
        while open {
            open = match items.next().await {
                Some(Ok(item)) => self.send(&ReplyFrame::<T, E>::Item(item)).await,
                Some(Err(error)) => return self.fail(&error).await,
                None => {
                    self.send(&PlainFrame::End).await;
                    false
                }
            };
        }
    }

    /// Sends the error of a method.
    pub async fn fail<E: ServiceError>(&self, error: &E) {
        self.send(&ReplyFrame::<(), &E>::Failed(error, error.cause())).await;
    }

    async fn refuse(&self, reason: String) {
        self.send(&PlainFrame::Refused(reason)).await;
    }

    /// Sends a frame. Returns false if no further frame is needed.
    async fn send<T: Serialize, E: Serialize>(&self, frame: &ReplyFrame<T, E>) -> bool {
        let (bytes, fits) = match encode(frame) {
            Ok(bytes) => (bytes, true),
            Err(reason) => (refusal(format!("the reply cannot be sent: {reason}")), false),
        };
        self.frames.send(bytes).await.is_ok() && fits
    }
}

/// The frame of a refusal.
pub(crate) fn refusal(reason: String) -> Bytes {
    encode(&PlainFrame::Refused(reason)).unwrap_or_default()
}

/// Gives a stream that cannot fail the type of one that can.
pub fn all_ok<S: Stream, E>(stream: S) -> impl Stream<Item = Result<S::Item, E>> {
    stream.map(Ok)
}
