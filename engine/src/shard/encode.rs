//! Encodes rows as a block, for the [`ShardWriter`](super::ShardWriter).

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{
    DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions, write_message,
};

use super::{Error, Result, compact, written};

/// The end of a stream: a message without bytes.
pub(super) const END_OF_STREAM: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// Most bytes of a block: the index has 32 bits for them, and Arrow allocates as much memory.
pub(super) const BLOCK_BYTES_MAX: usize = u32::MAX as usize;

/// Most bytes of the buffer that is kept for the next block: larger blocks are rare.
const KEPT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Encodes a schema for [`schema_from_bytes`](super::schema_from_bytes).
pub(crate) fn schema_to_bytes(schema: &Schema) -> Result<Vec<u8>> {
    Ok(Encoder::new(0)?.schema(schema)?.to_vec())
}

/// Encodes blocks. Each can be decoded without the others.
#[derive(Debug)]
pub(super) struct Encoder {
    options: IpcWriteOptions,
    generator: IpcDataGenerator,
    context: IpcWriteContext,
    bytes: Vec<u8>,
    bytes_max: usize,
}

impl Encoder {
    /// An encoder of blocks of at most `bytes_max` bytes.
    pub(super) fn new(bytes_max: usize) -> Result<Self> {
        let options = IpcWriteOptions::default();
        Ok(Self {
            options: options.try_with_compression(Some(CompressionType::LZ4_FRAME))?,
            generator: IpcDataGenerator::default(),
            context: IpcWriteContext::default(),
            bytes: Vec::new(),
            bytes_max,
        })
    }

    /// The first message of a stream.
    pub(super) fn schema(&mut self, schema: &Schema) -> Result<&[u8]> {
        self.bytes.clear();
        self.begin(schema)?;
        Ok(&self.bytes)
    }

    /// The messages of one block.
    pub(super) fn block(&mut self, batch: &RecordBatch) -> Result<&[u8]> {
        let bytes_max = self.bytes_max;
        let too_large = |bytes| Err(Error::Row { bytes, bytes_max });
        // The writer splits rows into blocks, so a block that is too large is one row.
        let bytes = written::of_batch(batch);
        if bytes > bytes_max {
            return too_large(bytes);
        }
        let batch = compact::to_write(batch)?;
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES_MAX);
        // A tracker numbers the dictionaries of the schema, and writes each once. A new tracker for
        // each block makes the block contain its dictionaries.
        let mut tracker = self.begin(batch.schema_ref())?;
        self.bytes.clear();
        let (generator, options) = (&self.generator, &self.options);
        let encoded = generator.encode(&batch, &mut tracker, options, &mut self.context)?;
        for message in encoded.0.into_iter().chain([encoded.1]) {
            write_message(&mut self.bytes, message, options)?;
        }
        if self.bytes.len() > bytes_max { too_large(self.bytes.len()) } else { Ok(&self.bytes) }
    }

    fn begin(&mut self, schema: &Schema) -> Result<DictionaryTracker> {
        let mut tracker = DictionaryTracker::new(false);
        let (generator, options) = (&self.generator, &self.options);
        let message =
            generator.schema_to_bytes_with_dictionary_tracker(schema, &mut tracker, options);
        write_message(&mut self.bytes, message, options)?;
        Ok(tracker)
    }
}
