//! The reply of a call, on the caller's side.

use std::fmt;
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::Stream;
use futures::future::BoxFuture;
use serde::de::DeserializeOwned;
use tonic::Streaming;

use crate::service::error::{CallError, Site};
use crate::service::failure::ServiceError;
use crate::service::feeder::Feeder;
use crate::service::frame::ReplyFrame;

/// The frames of one reply. Dropping it resets the call's stream, which ends the method.
pub struct RawReplies {
    site: Site,
    messages: Streaming<Bytes>,
    feeder: Option<Feeder>,
    stopped: BoxFuture<'static, String>,
}

impl RawReplies {
    /// `stopped` ends when the machine has stopped, with the reason.
    pub(crate) fn new(
        site: Site,
        messages: Streaming<Bytes>,
        feeder: Option<Feeder>,
        stopped: BoxFuture<'static, String>,
    ) -> Self {
        Self { site, messages, feeder, stopped }
    }

    /// The reply of a method with one value.
    pub(crate) async fn one<T: DeserializeOwned, E: ServiceError>(
        mut self,
    ) -> Result<T, CallError<E>> {
        match poll_fn(|cx| self.poll_frame(cx)).await? {
            ReplyFrame::Item(value) => {
                // A stream read to its end need not be reset. The end comes with the value.
                poll_fn(|cx| Pin::new(&mut self.messages).poll_next(cx).map(drop)).await;
                Ok(value)
            }
            other => Err(self.ended(other)),
        }
    }

    /// The stream of replies, once it has started.
    pub(crate) async fn many<T: DeserializeOwned, E: ServiceError>(
        mut self,
    ) -> Result<Replies<T, E>, CallError<E>> {
        match poll_fn(|cx| self.poll_frame(cx)).await? {
            ReplyFrame::<T, E>::Begin => Ok(Replies { raw: Some(self), types: PhantomData }),
            other => Err(self.ended(other)),
        }
    }

    /// The meaning of a frame without a value.
    fn ended<T, E: ServiceError>(&self, frame: ReplyFrame<T, E>) -> CallError<E> {
        let site = self.site.clone();
        match frame {
            ReplyFrame::Failed(error, cause) => site.failed(error, cause),
            ReplyFrame::Panicked(text) => site.panicked(text),
            ReplyFrame::Refused(reason) => site.refused(reason),
            ReplyFrame::Begin | ReplyFrame::Item(_) | ReplyFrame::End => {
                site.refused("the reply does not have the type of the method")
            }
        }
    }

    fn poll_frame<T: DeserializeOwned, E: ServiceError>(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<ReplyFrame<T, E>, CallError<E>>> {
        if let Some(feeder) = self.feeder.as_mut()
            && let Poll::Ready(fed) = Pin::new(&mut feeder.task).poll(cx)
        {
            self.feeder = None;
            match fed.map_err(tokio::task::JoinError::try_into_panic) {
                Ok(Ok(())) => {}
                Ok(Err(reason)) => {
                    let reason = format!("an item of the input cannot be sent: {reason}");
                    return Poll::Ready(Err(self.site.clone().refused(reason)));
                }
                // The caller's own input, in the caller's own process.
                Err(Ok(payload)) => resume_unwind(payload),
                Err(Err(_)) => {
                    let reason = "the caller's runtime is being shut down";
                    return Poll::Ready(Err(self.site.clone().refused(reason)));
                }
            }
        }
        let site = || self.site.clone();
        if let Poll::Ready(message) = Pin::new(&mut self.messages).poll_next(cx) {
            return Poll::Ready(match message {
                Some(Ok(message)) => postcard::from_bytes(&message)
                    .map_err(|e| site().refused(format!("the reply cannot be read: {e}"))),
                Some(Err(status)) => Err(site().broken(&status)),
                None => Err(site().lost("the reply broke off before its end")),
            });
        }
        let reason = ready!(self.stopped.as_mut().poll(cx));
        Poll::Ready(Err(site().lost(reason)))
    }
}

impl fmt::Debug for RawReplies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawReplies").field("site", &self.site).finish_non_exhaustive()
    }
}

/// The stream of replies of a method. It ends after the first error. The method is at most HTTP/2's
/// window ahead of the reader; dropping the stream ends the method.
pub struct Replies<T, E> {
    raw: Option<RawReplies>,
    types: PhantomData<fn() -> (T, E)>,
}

impl<T: DeserializeOwned, E: ServiceError> Stream for Replies<T, E> {
    type Item = Result<T, CallError<E>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(raw) = self.raw.as_mut() else { return Poll::Ready(None) };
        let last = match ready!(raw.poll_frame::<T, E>(cx)) {
            Ok(ReplyFrame::Item(item)) => return Poll::Ready(Some(Ok(item))),
            Ok(ReplyFrame::End) => None,
            Ok(other) => Some(Err(raw.ended(other))),
            Err(err) => Some(Err(err)),
        };
        self.raw = None;
        Poll::Ready(last)
    }
}

impl<T, E> fmt::Debug for Replies<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replies").field("raw", &self.raw).finish()
    }
}
