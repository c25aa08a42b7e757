//! The caller's side of runs of slices: the driver sends tasks and discards shards; driver and
//! workers read shards. All calls use the [`Channels`] of the exchange.
//!
//! Calls have no time limit: a task may take hours. The keep-alive of the connection notices a lost
//! machine within 10 s of silence, and at once when its port closes. The calls then end as
//! [`Error::Lost`](crate::Error::Lost). Dropping a future or a stream resets its HTTP/2 stream,
//! which cancels the call on the other side.

use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::{Action, FlightData, Ticket};
use bytes::Bytes;
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use futures::stream::{self, BoxStream, StreamExt};
use tonic::{Status, Streaming};
use url::Url;

use crate::blocks::{Assembly, Block};
use crate::channels::{Channels, Evicting, machine_name};
use crate::error::fits;
use crate::limits::{FRAME_BYTES_MAX, MESSAGE_BYTES_MAX, TICKET_BYTES_MAX};
use crate::task_host::{DISCARD, REQUEST, RUN, TICKET};

/// Calls of a machine's [`TaskHost`](crate::TaskHost). Errors keep their type;
/// [`is_transport_error`](crate::is_transport_error) recognises the loss of a machine.
impl Channels {
    /// Runs a task on the machine at `url` and waits for its reply, for hours if need be. Only a
    /// driver may. Dropping the future cancels the task.
    pub async fn run_task(&self, url: &Url, request: Bytes) -> Result<Bytes> {
        self.act(url, RUN, request).await
    }

    /// Discards stored shards on the machine at `url`. Only a driver may.
    pub async fn discard_shards(&self, url: &Url, request: Bytes) -> Result<()> {
        self.act(url, DISCARD, request).await.map(drop)
    }

    /// The blocks of a stored partition on the machine at `url`. The stream ends after the last
    /// block, or after an error. The decoder of a block verifies its checksum.
    pub async fn read_shard(
        &self,
        url: &Url,
        ticket: Bytes,
    ) -> Result<BoxStream<'static, Result<Block>>> {
        fits(TICKET, ticket.len(), TICKET_BYTES_MAX)?;
        let mut client = self.flight(url).await?;
        let messages =
            client.do_get(Ticket { ticket }).await.map_err(|err| self.status(url, err))?;
        let read = ShardRead {
            channels: self.clone(),
            url: url.clone(),
            messages: messages.into_inner(),
            assembly: Assembly::default(),
        };
        Ok(stream::unfold(Some(read), |read| async {
            let mut read = read?;
            match read.next().await {
                Ok(Some(block)) => Some((Ok(block), Some(read))),
                Ok(None) => None,
                Err(err) => Some((Err(err), None)),
            }
        })
        .boxed())
    }

    async fn act(&self, url: &Url, action: &str, request: Bytes) -> Result<Bytes> {
        fits(REQUEST, request.len(), MESSAGE_BYTES_MAX)?;
        let judged = |err| self.status(url, err);
        let mut client = self.flight(url).await?;
        let action = Action { r#type: action.to_owned(), body: request };
        let mut replies = client.do_action(action).await.map_err(judged)?.into_inner();
        let reply = replies.message().await.map_err(judged)?;
        // Only the status behind the reply confirms that the reply is complete.
        let more = replies.message().await.map_err(judged)?;
        match (reply, more) {
            (Some(reply), None) => Ok(reply.body),
            (reply, _) => {
                let n_replies = if reply.is_none() { "no reply" } else { "several replies" };
                Err(nonsense(url, &format!("{n_replies} to an action")))
            }
        }
    }

    async fn flight(&self, url: &Url) -> Result<FlightServiceClient<Evicting>> {
        let channel = self.channel(url).await?;
        Ok(FlightServiceClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX + FRAME_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX + FRAME_BYTES_MAX))
    }

    fn status(&self, url: &Url, status: Status) -> DataFusionError {
        self.judged(url, DataFusionError::External(Box::new(status)))
    }
}

/// The state of one read of a shard.
struct ShardRead {
    channels: Channels,
    url: Url,
    messages: Streaming<FlightData>,
    assembly: Assembly,
}

impl ShardRead {
    async fn next(&mut self) -> Result<Option<Block>> {
        loop {
            let message = self.messages.message().await;
            let Some(message) = message.map_err(|err| self.channels.status(&self.url, err))? else {
                let whole = self.assembly.finish();
                return whole.map(|()| None).map_err(|reason| self.broken(&reason));
            };
            let block = self.assembly.push(message).map_err(|reason| self.broken(&reason))?;
            if block.is_some() {
                return Ok(block);
            }
        }
    }

    fn broken(&self, reason: &str) -> DataFusionError {
        nonsense(&self.url, &format!("an inconsistent shard: {reason}"))
    }
}

/// A machine of the session violates the protocol: another attempt would not help.
fn nonsense(url: &Url, what: &str) -> DataFusionError {
    DataFusionError::Internal(format!("machine \"{}\" sent {what}", machine_name(url)))
}
