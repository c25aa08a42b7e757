//! Reads stored shards, from this process or over Flight from the machines that have them.

use std::sync::Arc;

use bigslice_flight::Channels;
use bytes::Bytes;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::{Result, internal_datafusion_err};
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};
use url::Url;

use crate::base::wire::{StoredAt, encode, number};
use crate::runs::task::request::ShardTicket;
use crate::runs::task::store::{Store, missing};
use crate::shard::Decoder;

/// Most shards that a reader has open: while it decodes one, it fetches the next.
const SHARDS_OPEN_MAX: usize = 2;

/// Reads stored shards of any machine.
pub(crate) struct ShardReader {
    /// The shards of this process.
    pub(super) store: Arc<Store>,
    /// Connections to the machines, if there are any.
    pub(super) channels: Option<Channels>,
    /// The address of this machine; `None` in the driver.
    pub(super) me: Option<String>,
}

impl std::fmt::Debug for ShardReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShardReader").field("me", &self.me).finish_non_exhaustive()
    }
}

impl ShardReader {
    /// The rows in `partition` of each of these shards, one after the other.
    pub(crate) fn read(
        self: &Arc<Self>,
        stored: Vec<StoredAt>,
        partition: usize,
        schema: &SchemaRef,
    ) -> SendableRecordBatchStream {
        let partition = match number(partition, "partitions") {
            Ok(partition) => partition,
            Err(error) => {
                let error = futures::stream::iter([Err(DataFusionError::from(error))]);
                return with_schema(schema, error);
            }
        };
        let tickets = stored.into_iter().map(move |at| ShardTicket { at, partition, blocks: None });
        self.read_tickets(tickets.collect(), schema, None)
    }

    /// The rows for these tickets, one after the other; with `columns`, only those columns of
    /// `schema`.
    pub(crate) fn read_tickets(
        self: &Arc<Self>,
        tickets: Vec<ShardTicket>,
        schema: &SchemaRef,
        columns: Option<&[usize]>,
    ) -> SendableRecordBatchStream {
        let decoder = match columns {
            None => Decoder::new(schema),
            Some(columns) => Decoder::of_columns(schema, columns),
        };
        let decoder = match decoder {
            Ok(decoder) => Arc::new(decoder),
            Err(e) => {
                let error = Err(internal_datafusion_err!("{e}"));
                return with_schema(schema, futures::stream::iter([error]));
            }
        };
        let (reader, of) = (Arc::clone(self), Arc::clone(&decoder));
        let rows = futures::stream::iter(tickets)
            .map(move |ticket| Arc::clone(&reader).shard(ticket, Arc::clone(&of)))
            .buffered(SHARDS_OPEN_MAX)
            .try_flatten();
        with_schema(decoder.schema(), rows)
    }

    async fn shard(
        self: Arc<Self>,
        ticket: ShardTicket,
        decoder: Arc<Decoder>,
    ) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let at = ticket.at.clone();
        let away = at.machine.as_deref().filter(|machine| self.me.as_deref() != Some(machine));
        let Some(machine) = away else {
            let blocks = self.store.get(&at)?.blocks(&ticket)?;
            let blocks = futures::stream::iter(blocks).map_err(DataFusionError::from);
            return Ok(decoded(blocks, decoder, at).boxed());
        };
        let url = Url::parse(machine)
            .map_err(|e| internal_datafusion_err!("the address of a machine is not a URL: {e}"))?;
        let ticket = encode(&ticket)?;
        let channels = self.channels.as_ref();
        let channels = channels
            .ok_or_else(|| internal_datafusion_err!("a shard on a machine, without a fleet"))?;
        let blocks = channels.read_shard(&url, ticket).await?;
        let blocks = blocks.map_ok(|block| (block.bytes, block.crc));
        Ok(decoded(blocks, decoder, at).boxed())
    }
}

fn decoded(
    blocks: impl Stream<Item = Result<(Bytes, u32)>> + Send + 'static,
    decoder: Arc<Decoder>,
    at: StoredAt,
) -> impl Stream<Item = Result<RecordBatch>> + Send + 'static {
    blocks.map(move |block| {
        let (bytes, crc) = block?;
        // A block that was damaged on disk or on its way counts as lost.
        decoder.decode(bytes, crc).map_err(|e| missing(&at, &e.to_string()).into())
    })
}

/// A stream of `rows` with this schema.
pub(super) fn with_schema(
    schema: &SchemaRef,
    rows: impl Stream<Item = Result<RecordBatch>> + Send + 'static,
) -> SendableRecordBatchStream {
    Box::pin(RecordBatchStreamAdapter::new(Arc::clone(schema), rows))
}
