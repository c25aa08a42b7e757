//! A worker's side of runs of slices: runs tasks for the driver and serves their shards to driver
//! and workers.
//!
//! `engine` implements [`TaskHost`]. In front of it is Arrow Flight's service, which implements two
//! methods:
//!
//! ```text
//!   DoAction "run"       driver only         TaskHost::run; the call lasts as long as the task
//!   DoAction "discard"   driver only         TaskHost::discard
//!   DoGet                driver and workers  TaskHost::read, as `blocks` has it on the wire
//! ```
//!
//! `admission` decides who may call what. The handler of a call is a task of the CPU runtime that
//! ends with the call: if the caller drops it, or its machine is lost, the future of the host is
//! dropped at its next await.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo,
    HandshakeRequest, HandshakeResponse, PollInfo, PutResult, SchemaResult, Ticket,
};
use async_trait::async_trait;
use bigslice_cluster::Role;
use bytes::Bytes;
use datafusion::common::Result;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool};
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};
use tokio::runtime::Handle;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::{Request, Response, Status, Streaming};
use tower::Service;

use crate::admission::{Guarded, method_of};
use crate::blocks::{Block, chunks, end};
use crate::error::fits;
use crate::limits::{FRAME_BYTES_MAX, MESSAGE_BYTES_MAX, TICKET_BYTES_MAX};
use crate::send_queue::{MessageStream, SendQueue, send_queue};
use crate::wire;

/// The action that runs a task.
pub(crate) const RUN: &str = "run";
/// The action that forgets shards.
pub(crate) const DISCARD: &str = "discard";

/// The names of requests and replies in errors.
pub(crate) const REQUEST: &str = "the request of a task";
pub(crate) const REPLY: &str = "the reply of a task";
pub(crate) const TICKET: &str = "the ticket of a shard";

/// What a worker does for the runs of its session.
///
/// All three methods run on the worker's CPU runtime, for any number of callers at once, up to the
/// worker's limit of open calls. The host limits what it runs at a time, if it must. If a caller or
/// its machine goes away, its future or stream is dropped. There is no other signal, so the future
/// or stream must own all that must not survive the caller; a long computation without an await is
/// dropped only at its next await.
///
/// Errors arrive at the caller with their type, as far as `wire` keeps it. An
/// [`Error::App`](crate::Error::App) arrives unchanged. A panic is the error of its call,
/// [`Error::Panic`](crate::Error::Panic), and the worker lives on.
#[async_trait]
pub trait TaskHost: Send + Sync + 'static {
    /// Runs one task to its end, for the driver. Request and reply are the engine's own encoding,
    /// at most 64 MiB each. Dropping the future cancels the task.
    ///
    /// A reply can be lost with the connection although the task is done, and the driver may then
    /// send the task again: two runs of one task must not disturb each other.
    async fn run(&self, request: Bytes) -> Result<Bytes>;

    /// The blocks of one partition of a stored shard, in order, each with the checksum taken when
    /// it was written. For the driver and the workers of the session.
    ///
    /// The ticket is the engine's own encoding, at most 1 KiB. The stream is read a few megabytes
    /// ahead of its reader and pauses when the reader does. A block counts in the worker's memory
    /// pool from when the stream returns it until it is sent. The end of the stream is the end of
    /// the partition: a missing block must be an error.
    fn read(&self, ticket: Bytes) -> Result<BoxStream<'static, Result<Block>>>;

    /// Discards stored shards, for the driver. Shards that are not here are ignored, so the call is
    /// idempotent. Open reads of them may end with an error.
    async fn discard(&self, request: Bytes) -> Result<()>;
}

/// The Flight service in front of a [`TaskHost`], with a limit for each method's requests.
#[derive(Clone)]
pub(crate) struct TaskService {
    actions: FlightServiceServer<Flight>,
    reads: FlightServiceServer<Flight>,
}

impl TaskService {
    /// Serves `host` on `cpu`. Messages that wait to be sent count in `pool`.
    pub(crate) fn new(host: Arc<dyn TaskHost>, pool: Arc<dyn MemoryPool>, cpu: Handle) -> Self {
        let flight = Arc::new(Flight { host, pool, cpu });
        let server = |limit: usize| {
            FlightServiceServer::from_arc(Arc::clone(&flight))
                .max_decoding_message_size(limit + FRAME_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX + FRAME_BYTES_MAX)
        };
        Self { actions: server(MESSAGE_BYTES_MAX), reads: server(TICKET_BYTES_MAX) }
    }
}

impl NamedService for TaskService {
    const NAME: &'static str = <FlightServiceServer<Flight> as NamedService>::NAME;
}

impl Guarded for TaskService {
    fn allows(method: &str, role: Role) -> bool {
        match method {
            "DoAction" => role == Role::Driver,
            // All methods but `DoGet` and `DoAction` answer "unimplemented".
            "DoGet" | "DoPut" | "DoExchange" | "GetFlightInfo" | "GetSchema" | "Handshake"
            | "ListActions" | "ListFlights" | "PollFlightInfo" => {
                matches!(role, Role::Driver | Role::Worker)
            }
            _ => false,
        }
    }
}

impl Service<http::Request<Body>> for TaskService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // The inner services are always ready: admission counts the calls.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        match method_of(request.uri().path(), Self::NAME) {
            Some("DoAction") => self.actions.call(request),
            _ => self.reads.call(request),
        }
    }
}

/// Flight's methods over a host.
struct Flight {
    host: Arc<dyn TaskHost>,
    pool: Arc<dyn MemoryPool>,
    cpu: Handle,
}

impl Flight {
    async fn act(&self, action: Action) -> Result<Bytes, Status> {
        let to_status = |err| wire::to_status(&err);
        let Action { r#type, body } = action;
        fits(REQUEST, body.len(), MESSAGE_BYTES_MAX).map_err(|err| to_status(err.into()))?;
        let reply = match r#type.as_str() {
            RUN => self.host.run(body).await,
            DISCARD => self.host.discard(body).await.map(|()| Bytes::new()),
            other => {
                let text = format!("a worker has no action \"{other}\", only {RUN} and {DISCARD}");
                return Err(Status::unimplemented(text));
            }
        };
        let reply = reply.map_err(to_status)?;
        fits(REPLY, reply.len(), MESSAGE_BYTES_MAX).map_err(|err| to_status(err.into()))?;
        Ok(reply)
    }

    fn blocks(&self, ticket: Bytes) -> Result<MessageStream> {
        fits(TICKET, ticket.len(), TICKET_BYTES_MAX)?;
        let blocks = self.host.read(ticket)?;
        let consumer = MemoryConsumer::new("shards: blocks waiting for their reader");
        let (send_queue, mut messages) = send_queue(1, consumer.register(&self.pool));
        messages.spawn(&self.cpu, send_queue, |send_queue| send_blocks(send_queue, blocks));
        Ok(messages)
    }
}

async fn send_blocks(
    send_queue: SendQueue,
    mut blocks: BoxStream<'static, Result<Block>>,
) -> Result<()> {
    let mut n_blocks = 0;
    while let Some(block) = send_queue.next_of(&mut blocks).await {
        send_queue.send(chunks(block?)?).await?;
        n_blocks += 1;
    }
    send_queue.send(vec![end(n_blocks)]).await
}

fn unimplemented<T>(method: &str) -> Result<T, Status> {
    let text = format!("a worker serves DoAction and DoGet of Arrow Flight, not {method}");
    Err(Status::unimplemented(text))
}

#[async_trait]
impl FlightService for Flight {
    type DoActionStream = BoxStream<'static, Result<arrow_flight::Result, Status>>;
    type DoExchangeStream = BoxStream<'static, Result<FlightData, Status>>;
    type DoGetStream = MessageStream;
    type DoPutStream = BoxStream<'static, Result<PutResult, Status>>;
    type HandshakeStream = BoxStream<'static, Result<HandshakeResponse, Status>>;
    type ListActionsStream = BoxStream<'static, Result<ActionType, Status>>;
    type ListFlightsStream = BoxStream<'static, Result<FlightInfo, Status>>;

    /// Answers when the action is done. Until then it runs in the handler, which is aborted with
    /// the call. In the stream of the answer it would run on the connection's runtime.
    async fn do_action(
        &self,
        request: Request<Action>,
    ) -> Result<Response<Self::DoActionStream>, Status> {
        let body = self.act(request.into_inner()).await?;
        let reply = stream::iter([Ok(arrow_flight::Result { body })]);
        Ok(Response::new(reply.boxed()))
    }

    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<MessageStream>, Status> {
        let messages = self.blocks(request.into_inner().ticket);
        messages.map(Response::new).map_err(|err| wire::to_status(&err))
    }

    async fn do_exchange(
        &self,
        _: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        unimplemented("DoExchange")
    }

    async fn do_put(
        &self,
        _: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoPutStream>, Status> {
        unimplemented("DoPut")
    }

    async fn get_flight_info(
        &self,
        _: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        unimplemented("GetFlightInfo")
    }

    async fn get_schema(
        &self,
        _: Request<FlightDescriptor>,
    ) -> Result<Response<SchemaResult>, Status> {
        unimplemented("GetSchema")
    }

    async fn handshake(
        &self,
        _: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        unimplemented("Handshake")
    }

    async fn list_actions(
        &self,
        _: Request<Empty>,
    ) -> Result<Response<Self::ListActionsStream>, Status> {
        unimplemented("ListActions")
    }

    async fn list_flights(
        &self,
        _: Request<Criteria>,
    ) -> Result<Response<Self::ListFlightsStream>, Status> {
        unimplemented("ListFlights")
    }

    async fn poll_flight_info(
        &self,
        _: Request<FlightDescriptor>,
    ) -> Result<Response<PollInfo>, Status> {
        unimplemented("PollFlightInfo")
    }
}
