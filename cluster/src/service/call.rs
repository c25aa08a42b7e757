//! The caller's side of a call: [`Call`] is the future of its answer.

use std::fmt;
use std::future::{Future, pending};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use http::uri::PathAndQuery;
use serde::Serialize;
use tonic::Request;

use crate::error::chain;
use crate::identity::MachineName;
use crate::machine::remote::Remote;
use crate::machine::{Machine, State};
use crate::service::error::{CallError, Site};
use crate::service::failure::{Never, ServiceError};
use crate::service::feeder::{Encoded, feed};
use crate::service::frame::{InputFrame, Raw, WIRE_NAME, WIRE_SIZE_MAX, encode};
use crate::service::method::{Method, Reply};
use crate::service::replies::RawReplies;

/// The most attempts of a retried call. The pauses between them add up to about a minute.
const TRIES_MAX: u32 = 20;
/// The pause after the first failed attempt. Each further pause is half as long again...
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// ...up to this.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// A broken connection is most often the end of a machine, whose reason is known within this time.
const REASON_GRACE: Duration = Duration::from_millis(200);

/// A call: the future of its answer. Nothing is sent before it is polled, but the arguments are
/// already encoded.
#[must_use = "a call is not made before it is awaited"]
pub struct Call<T, E: fmt::Debug + 'static> {
    future: Pin<Box<dyn Future<Output = Result<T, CallError<E>>> + Send>>,
    site: Site,
}

impl<T: Send + 'static, E: ServiceError> Call<T, E> {
    /// Gives up after `timeout` from the first poll, including retries and pauses. If the method
    /// answers with a stream, the limit is for the start of the stream.
    pub fn timeout(self, timeout: Duration) -> Self {
        let Self { future, site } = self;
        let late = site.clone();
        let future = Box::pin(async move {
            match tokio::time::timeout(timeout, future).await {
                Ok(answer) => answer,
                Err(_) => Err(late.timed_out(timeout)),
            }
        });
        Self { future, site }
    }

    pub(crate) fn begin<S, A, R>(target: Target, method: Method<S, A, R>, arguments: &A) -> Self
    where
        A: Serialize,
        R: Reply<Output = T, Error = E>,
    {
        let order = Order::new(target, method, arguments);
        let site = order.site.clone();
        Self { future: Box::pin(async move { order.carry_out::<R>(None).await }), site }
    }

    pub(crate) fn begin_with<S, A, R, I>(
        target: Target,
        method: Method<S, A, R, I>,
        arguments: &A,
        input: impl Stream<Item = I> + Send + 'static,
    ) -> Self
    where
        A: Serialize,
        R: Reply<Output = T, Error = E>,
        I: Serialize + Send + 'static,
    {
        let order = Order::new(target, method, arguments);
        let site = order.site.clone();
        let items = input.map(|item| encode(&InputFrame::Item(item)));
        let end = stream::once(async { encode(&InputFrame::<()>::End) });
        let input = items.chain(end).boxed();
        Self { future: Box::pin(async move { order.carry_out::<R>(Some(input)).await }), site }
    }

    pub(crate) fn retrying<S, A, R>(target: Target, method: Method<S, A, R>, arguments: &A) -> Self
    where
        A: Serialize,
        R: Reply<Output = T, Error = E>,
    {
        let order = Order::new(target, method, arguments);
        let site = order.site.clone();
        let future = Box::pin(async move {
            let mut pause = PAUSE_MIN;
            for _ in 1..TRIES_MAX {
                match order.carry_out::<R>(None).await {
                    Err(err) if err.is_retryable() && !order.target.is_stopped() => {
                        tracing::debug!(error = %err, "a call is tried again");
                    }
                    answer => return answer,
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 3 / 2).min(PAUSE_MAX);
            }
            order.carry_out::<R>(None).await
        });
        Self { future, site }
    }
}

impl<T, E: fmt::Debug> Future for Call<T, E> {
    type Output = Result<T, CallError<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.future.as_mut().poll(cx)
    }
}

impl<T, E: fmt::Debug> fmt::Debug for Call<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Call").field(&self.site).finish()
    }
}

/// The machine that is called.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// A machine of this driver's fleet, which reports its end.
    Machine(Machine),
    /// Any other machine.
    Remote(Remote),
}

impl Target {
    fn name(&self) -> &MachineName {
        match self {
            Self::Machine(machine) => machine.name(),
            Self::Remote(remote) => remote.machine(),
        }
    }

    /// Its address, once it runs; otherwise why it ended.
    async fn reach(&self) -> Result<Remote, String> {
        match self {
            Self::Remote(remote) => Ok(remote.clone()),
            Self::Machine(machine) => match machine.wait(State::Running).await {
                State::Stopped => Err(self.stopped().await),
                _ => machine.remote().cloned().ok_or_else(|| "it has no address".to_owned()),
            },
        }
    }

    /// Returns the reason when it has stopped. Never returns for a machine of another process.
    async fn stopped(&self) -> String {
        match self {
            Self::Remote(_) => pending().await,
            Self::Machine(machine) => {
                machine.wait(State::Stopped).await;
                machine.err().unwrap_or_else(|| "it was stopped".to_owned())
            }
        }
    }

    fn is_stopped(&self) -> bool {
        matches!(self, Self::Machine(machine) if machine.state() == State::Stopped)
    }
}

/// A call without its input, so that it can be retried.
struct Order {
    target: Target,
    site: Site,
    path: String,
    arguments: Encoded,
}

impl Order {
    fn new<S, A: Serialize, R, I>(
        target: Target,
        method: Method<S, A, R, I>,
        arguments: &A,
    ) -> Self {
        let site = Site { machine: target.name().clone(), method: method.to_string() };
        let path = format!("/{WIRE_NAME}/{}/{}", method.service, method.method);
        Self { target, site, path, arguments: encode(arguments) }
    }

    async fn carry_out<R: Reply>(
        &self,
        input: Option<BoxStream<'static, Encoded>>,
    ) -> Result<R::Output, CallError<R::Error>> {
        let answer = match self.open(input).await {
            Ok(raw) => R::receive(raw).await,
            Err(err) => Err(err.widen()),
        };
        match answer {
            Err(CallError::Transport(mut lost)) => {
                // The connection reports the break, and the fleet the reason.
                let stopped = tokio::time::timeout(REASON_GRACE, self.target.stopped());
                if matches!(self.target, Target::Machine(_))
                    && let Ok(reason) = stopped.await
                {
                    lost.reason = reason;
                }
                Err(CallError::Transport(lost))
            }
            answer => answer,
        }
    }

    /// Sends the request. Does not wait for the answer.
    async fn open(
        &self,
        input: Option<BoxStream<'static, Encoded>>,
    ) -> Result<RawReplies, CallError<Never>> {
        let site = || self.site.clone();
        let arguments = self
            .arguments
            .clone()
            .map_err(|reason| site().refused(format!("the arguments cannot be sent: {reason}")))?;
        let path = PathAndQuery::try_from(self.path.as_str())
            .map_err(|e| site().refused(format!("its name cannot be sent: {e}")))?;
        let remote = self.target.reach().await.map_err(|reason| site().lost(reason))?;
        let opening = async {
            let channel = remote.channel().await.map_err(|e| site().lost(chain(&e)))?;
            let mut client = tonic::client::Grpc::new(channel)
                .max_decoding_message_size(WIRE_SIZE_MAX)
                .max_encoding_message_size(WIRE_SIZE_MAX);
            client.ready().await.map_err(|e| site().lost(chain(&e)))?;
            let (feeder, items) = input.map(feed).unzip();
            let items = stream::iter(items).flatten();
            let messages = stream::once(async { arguments }).chain(items);
            let response = client.streaming(Request::new(messages), path, Raw).await;
            let messages = response.map_err(|status| site().broken(&status))?.into_inner();
            Ok((messages, feeder))
        };
        let (messages, feeder) = tokio::select! {
            opened = opening => opened?,
            reason = self.target.stopped() => return Err(site().lost(reason)),
        };
        let target = self.target.clone();
        let stopped = Box::pin(async move { target.stopped().await });
        Ok(RawReplies::new(site(), messages, feeder, stopped))
    }
}
