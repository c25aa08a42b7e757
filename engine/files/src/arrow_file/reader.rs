//! Arrow files and streams, read by the names of their columns, and checked before they are
//! believed.
//!
//! DataFusion 55.2 reads the columns of every Arrow file at the places where the table has them: of
//! files whose columns are in another order it gave the values of one column as those of another.
//! It also believes a footer that names bytes the file does not have, and buffers that claim to be
//! any size once they are decompressed.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::buffer::Buffer;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::ipc::reader::{FileDecoder, StreamDecoder, read_footer_length};
use datafusion::arrow::ipc::{self, Block, CompressionType};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{
    ArrowSource, FileOpenFuture, FileOpener, FileScanConfig, FileSource,
};
use datafusion::datasource::projection::{ProjectionOpener, SplitProjection};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr_adapter::{BatchAdapter, BatchAdapterFactory};
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::adapt::{Adapters, columns_of};

/// The bytes at the start and at the end of an Arrow file; a stream has others.
const MAGIC: &[u8] = b"ARROW1";

/// The size of a read of a stream.
const PIECE_BYTES: u64 = 4 << 20;

/// The length of the footer and the magic, at the end of a file.
const TRAILER_BYTES: usize = 10;

/// How many times larger than stored the content of a buffer can be: the most of LZ4, and of blocks
/// of Zstandard.
const LZ4_RATIO_MAX: i64 = 255;
const ZSTD_RATIO_MAX: i64 = 1 << 15;

/// Buffers up to this size may claim whatever they like.
const BUFFER_BYTES_SMALL: i64 = 1 << 20;

/// A source of Arrow files that reads them as this module does.
pub(crate) struct ByName(pub(crate) ArrowSource);

impl FileSource for ByName {
    fn create_file_opener(
        &self,
        store: Arc<dyn ObjectStore>,
        _scan: &FileScanConfig,
        _partition: usize,
    ) -> Result<Arc<dyn FileOpener>> {
        let table = self.0.table_schema();
        let split = match self.0.projection() {
            Some(projection) => SplitProjection::new(table.file_schema(), projection),
            None => SplitProjection::unprojected(table),
        };
        let wanted = Arc::new(table.file_schema().project(&split.file_indices)?);
        let whole = Arc::clone(table.file_schema());
        let files =
            Arc::new(ArrowFiles { store, wanted: Arc::new(Wanted { wanted, table: whole }) });
        ProjectionOpener::try_new(split, files, table.file_schema())
    }

    fn table_schema(&self) -> &TableSchema {
        self.0.table_schema()
    }

    fn with_batch_size(&self, _batch_size: usize) -> Arc<dyn FileSource> {
        Arc::new(Self(self.0.clone()))
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        self.0.metrics()
    }

    fn file_type(&self) -> &str {
        self.0.file_type()
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.0.apply_expressions(visit)
    }
}

/// Opens files and streams of Arrow batches.
struct ArrowFiles {
    store: Arc<dyn ObjectStore>,
    wanted: Arc<Wanted>,
}

/// The columns to read of each file.
struct Wanted {
    /// The columns that come out.
    wanted: SchemaRef,
    /// All columns of the table's files.
    table: SchemaRef,
}

impl FileOpener for ArrowFiles {
    fn open(&self, file: PartitionedFile) -> Result<FileOpenFuture> {
        let (store, wanted) = (Arc::clone(&self.store), Arc::clone(&self.wanted));
        Ok(async move {
            let path = file.object_meta.location.clone();
            let part = match &file.range {
                Some(range) => range.start.max(0).cast_unsigned()..range.end.max(0).cast_unsigned(),
                None => 0..u64::MAX,
            };
            let size = file.object_meta.size;
            let magic = store.get_range(&path, 0..size.min(MAGIC.len() as u64)).await?;
            if magic.as_ref() == MAGIC {
                return of_file(store, path, size, part, wanted).await;
            }
            // A stream has no list of its batches: the task with its first byte reads all of it.
            match part.start {
                0 => Ok(of_stream(store, path, size, wanted)),
                _ => Ok(futures::stream::empty().boxed()),
            }
        }
        .boxed())
    }
}

type Batches = BoxStream<'static, Result<RecordBatch>>;

/// The batches of a stream, message by message: what these say of their lengths is not believed.
fn of_stream(store: Arc<dyn ObjectStore>, path: Path, size: u64, wanted: Arc<Wanted>) -> Batches {
    let messages = Messages { store, path, size, at: 0, rest: BytesMut::new(), ended: false };
    let state = (messages, StreamDecoder::new(), Buffer::default(), None::<Columns>);
    futures::stream::try_unfold(state, move |(mut messages, mut decoder, mut bytes, columns)| {
        let wanted = Arc::clone(&wanted);
        async move {
            loop {
                if bytes.is_empty() {
                    let Some(message) = messages.next().await? else {
                        return Ok::<_, DataFusionError>(None);
                    };
                    bytes = Buffer::from(message);
                }
                let batch = decoder.decode(&mut bytes).map_err(of_decoder)?;
                let Some(batch) = batch else { continue };
                let columns = match columns {
                    Some(columns) => columns,
                    None => Columns::new(&batch.schema(), &wanted)?,
                };
                let batch = columns.adapt(&batch.project(&columns.places)?)?;
                return Ok(Some((batch, (messages, decoder, bytes, Some(columns)))));
            }
        }
    })
    .boxed()
}

/// The messages of a stream, each checked against what is there.
struct Messages {
    store: Arc<dyn ObjectStore>,
    path: Path,
    size: u64,
    /// Up to where the stream was read.
    at: u64,
    /// Bytes that were read and not used yet.
    rest: BytesMut,
    /// The end was given out.
    ended: bool,
}

impl Messages {
    /// Reads until there are this many bytes; false if the stream ends before.
    async fn fill(&mut self, length: usize) -> Result<bool> {
        while self.rest.len() < length {
            if self.at >= self.size {
                return Ok(false);
            }
            let end = self.size.min(self.at + PIECE_BYTES);
            let piece = self.store.get_range(&self.path, self.at..end).await?;
            self.rest.extend_from_slice(&piece);
            self.at = end;
        }
        Ok(true)
    }

    /// A length that a message says, if the stream has so much more than `before`.
    fn possible(&self, length: i64, before: usize) -> Result<usize> {
        let left = (self.size - self.at).saturating_add(self.rest.len() as u64);
        let length = usize::try_from(length).ok().and_then(|length| length.checked_add(before));
        length.filter(|length| *length as u64 <= left).ok_or_else(|| {
            damaged("a message says that it is longer than the rest of the file".to_owned())
        })
    }

    /// The next message with its body, after the last one the mark of the end, which the decoder
    /// needs to give a batch without a body; then none.
    async fn next(&mut self) -> Result<Option<Bytes>> {
        const END: &[u8] = &[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
        if self.ended {
            return Ok(None);
        }
        let message = self.message().await?;
        self.ended = message.is_none();
        Ok(message.or(Some(Bytes::from_static(END))))
    }

    async fn message(&mut self) -> Result<Option<Bytes>> {
        const LENGTH_BYTES: usize = 4;
        if !self.fill(LENGTH_BYTES).await? {
            return match self.rest.is_empty() {
                true => Ok(None),
                false => Err(damaged("it ends within a message".to_owned())),
            };
        }
        let marked = self.rest.starts_with(&[0xff; LENGTH_BYTES]);
        let prefix = if marked { 2 * LENGTH_BYTES } else { LENGTH_BYTES };
        if !self.fill(prefix).await? {
            return Err(damaged("it ends within a message".to_owned()));
        }
        let length = self.rest.get(prefix - LENGTH_BYTES..prefix).and_then(|b| b.try_into().ok());
        let length = i32::from_le_bytes(length.unwrap_or_default());
        if length == 0 {
            return Ok(None);
        }
        let head = self.possible(i64::from(length), prefix)?;
        self.fill(head).await?;
        let body = message(self.rest.get(..head).unwrap_or_default())?.bodyLength();
        let whole = self.possible(body, head)?;
        self.fill(whole).await?;
        let bytes = self.rest.split_to(whole).freeze();
        let message = message(&bytes)?;
        let batch = message.header_as_record_batch();
        let dictionary = message.header_as_dictionary_batch().and_then(|batch| batch.data());
        if let Some(batch) = batch.or(dictionary) {
            check(Some(batch), head, &bytes)?;
        }
        Ok(Some(bytes))
    }
}

/// The batches of a file that begin in a part of it.
async fn of_file(
    store: Arc<dyn ObjectStore>,
    path: Path,
    size: u64,
    part: Range<u64>,
    wanted: Arc<Wanted>,
) -> Result<Batches> {
    let footer = footer(&store, &path, size).await?;
    let footer =
        ipc::root_as_footer(&footer).map_err(|_| damaged("its footer is not one".to_owned()))?;
    let schema = footer.schema().ok_or_else(|| damaged("its footer has no schema".to_owned()))?;
    let schema: SchemaRef = Arc::new(ipc::convert::fb_to_schema(schema));
    let columns = Columns::new(&schema, &wanted)?;
    let mut decoder =
        FileDecoder::new(schema, footer.version()).with_projection(columns.places.clone());
    for block in footer.dictionaries().iter().flatten() {
        let bytes = store.get_range(&path, range(block, size)?).await?;
        let message = message(&bytes)?;
        let content = message.header_as_dictionary_batch().and_then(|dictionary| dictionary.data());
        check(content, head_of(block), &bytes)?;
        decoder.read_dictionary(block, &Buffer::from(bytes)).map_err(of_decoder)?;
    }
    let blocks: Vec<Block> = footer.recordBatches().iter().flatten().copied().collect();
    let blocks = blocks.into_iter().filter(move |block| {
        u64::try_from(block.offset()).is_ok_and(|offset| part.contains(&offset))
    });
    let state = Arc::new((store, path, decoder, columns));
    let batches = futures::stream::iter(blocks).then(move |block| {
        let state = Arc::clone(&state);
        async move {
            let (store, path, decoder, columns) = state.as_ref();
            let bytes = store.get_range(path, range(&block, size)?).await?;
            check(message(&bytes)?.header_as_record_batch(), head_of(&block), &bytes)?;
            let batch =
                decoder.read_record_batch(&block, &Buffer::from(bytes)).map_err(of_decoder)?;
            batch.map(|batch| columns.adapt(&batch)).transpose()
        }
    });
    Ok(batches.try_filter_map(|batch| async move { Ok(batch) }).boxed())
}

async fn footer(store: &Arc<dyn ObjectStore>, path: &Path, size: u64) -> Result<Bytes> {
    let short = || damaged(format!("it has {size} bytes, too few for its footer"));
    let end = size.checked_sub(TRAILER_BYTES as u64).ok_or_else(short)?;
    let trailer = store.get_range(path, end..size).await?;
    let trailer = trailer.as_ref().try_into().map_err(|_| short())?;
    let length = read_footer_length(trailer).map_err(of_decoder)?;
    let start = u64::try_from(length).ok().and_then(|length| end.checked_sub(length));
    Ok(store.get_range(path, start.ok_or_else(short)?..end).await?)
}

/// The position of a block.
fn range(block: &Block, size: u64) -> Result<Range<u64>> {
    let start = u64::try_from(block.offset()).ok();
    let head = u64::try_from(block.metaDataLength()).ok();
    let body = u64::try_from(block.bodyLength()).ok();
    let range = start
        .zip(head)
        .zip(body)
        .and_then(|((start, head), body)| Some(start..start.checked_add(head)?.checked_add(body)?));
    range.filter(|range| range.end <= size).ok_or_else(|| {
        damaged(format!("its footer names a batch at byte {}, but it has {size}", block.offset()))
    })
}

/// Bytes of a block before its body.
fn head_of(block: &Block) -> usize {
    usize::try_from(block.metaDataLength()).unwrap_or_default()
}

/// The message at the start of a block: after the mark of a message, which old writers leave out,
/// and its length.
fn message(bytes: &[u8]) -> Result<ipc::Message<'_>> {
    const CONTINUATION: &[u8] = &[0xff; 4];
    let start = if bytes.starts_with(CONTINUATION) { 8 } else { 4 };
    let content = bytes.get(start..).unwrap_or_default();
    ipc::root_as_message(content).map_err(|_| damaged("a batch is not one".to_owned()))
}

/// Checks the lengths that a batch declares against its buffers.
fn check(batch: Option<ipc::RecordBatch<'_>>, head: usize, bytes: &[u8]) -> Result<()> {
    let batch = batch
        .ok_or_else(|| damaged("a block is of another kind than the footer says".to_owned()))?;
    let rows = batch.nodes().and_then(|nodes| nodes.iter().next().map(ipc::FieldNode::length));
    if rows.is_some_and(|rows| rows != batch.length()) {
        return Err(damaged("the columns of a batch have different numbers of rows".to_owned()));
    }
    let body = bytes.get(head..).unwrap_or_default();
    for buffer in batch.buffers().iter().flatten() {
        let start = usize::try_from(buffer.offset()).ok();
        let length = usize::try_from(buffer.length()).ok();
        let content = start.zip(length).and_then(|(s, l)| body.get(s..s.checked_add(l)?));
        let content =
            content.ok_or_else(|| damaged("a buffer lies outside of its batch".to_owned()))?;
        if let Some(compression) = batch.compression() {
            check_size(content, compression.codec())?;
        }
    }
    Ok(())
}

/// Checks the size that a compressed buffer says that it has.
fn check_size(content: &[u8], codec: CompressionType) -> Result<()> {
    let Some((size, stored)) = content.split_first_chunk::<8>() else { return Ok(()) };
    let size = i64::from_le_bytes(*size);
    let length = i64::try_from(stored.len()).unwrap_or(i64::MAX);
    let zstd = codec == CompressionType::ZSTD;
    let ratio = if zstd { ZSTD_RATIO_MAX } else { LZ4_RATIO_MAX };
    let known = match zstd {
        true => zstd::zstd_safe::get_frame_content_size(stored).ok().flatten(),
        false => None,
    };
    let possible = size <= BUFFER_BYTES_SMALL.max(length.saturating_mul(ratio))
        && known
            .is_none_or(|known| size < 0 || u64::try_from(size).is_ok_and(|size| size == known));
    match possible {
        true => Ok(()),
        false => Err(damaged(format!(
            "a buffer of {length} bytes says that it has {size} when decompressed"
        ))),
    }
}

/// Turns the columns of a file into the requested ones.
struct Columns {
    /// Places in the file of those that are wanted and there.
    places: Vec<usize>,
    adapter: BatchAdapter,
}

impl Columns {
    fn new(file: &SchemaRef, Wanted { wanted, table }: &Wanted) -> Result<Self> {
        let named = columns_of(file, table);
        let mut places = Vec::with_capacity(wanted.fields().len());
        let mut fields = Vec::with_capacity(wanted.fields().len());
        for field in wanted.fields() {
            if let Some(place) = table.index_of(field.name()).ok().and_then(|at| named[at]) {
                places.push(place);
                fields.push(file.field(place).clone().with_name(field.name()));
            }
        }
        let there: SchemaRef = Arc::new(Schema::new_with_metadata(fields, file.metadata().clone()));
        let factory = BatchAdapterFactory::new(Arc::clone(wanted));
        let adapter = factory.with_adapter_factory(Arc::new(Adapters)).make_adapter(&there)?;
        Ok(Self { places, adapter })
    }

    fn adapt(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        self.adapter.adapt_batch(batch)
    }
}

/// An error of a decoder, as one about the bytes of a file whatever kind it is of.
fn of_decoder(error: ArrowError) -> DataFusionError {
    match error {
        // What decompresses speaks of its own types.
        error if error.to_string().contains("DecompressionError") => {
            damaged("a buffer cannot be decompressed".to_owned())
        }
        ArrowError::IpcError(_) | ArrowError::IoError(..) => error.into(),
        other => damaged(other.to_string()),
    }
}

fn damaged(message: String) -> DataFusionError {
    DataFusionError::from(ArrowError::IpcError(message))
}
