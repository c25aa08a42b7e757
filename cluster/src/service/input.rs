//! A stream of arguments, on the method's side.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::Stream;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tonic::Streaming;

use crate::error::chain;
use crate::service::frame::InputFrame;

/// Why a stream of arguments is not complete. The call is lost then: there is no caller to answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("the stream of arguments broke off: {0}")]
pub struct InputError(String);

/// A stream of `T` from the caller: the last parameter of a method. The caller is at most HTTP/2's
/// window ahead of the method.
pub struct Input<T> {
    messages: Option<Streaming<Bytes>>,
    items: PhantomData<fn() -> T>,
}

impl<T> Input<T> {
    pub(crate) fn new(messages: Option<Streaming<Bytes>>) -> Self {
        Self { messages, items: PhantomData }
    }
}

impl<T: DeserializeOwned> Stream for Input<T> {
    type Item = Result<T, InputError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(messages) = self.messages.as_mut() else { return Poll::Ready(None) };
        let broken = match ready!(Pin::new(messages).poll_next(cx)) {
            Some(Ok(message)) => match postcard::from_bytes::<InputFrame<T>>(&message) {
                Ok(InputFrame::Item(item)) => return Poll::Ready(Some(Ok(item))),
                Ok(InputFrame::End) => None,
                Err(err) => Some(format!("could not decode an item: {err}")),
            },
            Some(Err(status)) => Some(chain(&status)),
            None => Some("the stream broke off before its end".to_owned()),
        };
        self.messages = None;
        Poll::Ready(broken.map(|reason| Err(InputError(reason))))
    }
}

impl<T> fmt::Debug for Input<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input").field("open", &self.messages.is_some()).finish()
    }
}
