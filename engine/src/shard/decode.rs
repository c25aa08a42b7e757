//! Decodes blocks, in any process that has the bytes of a block, its checksum and the schema.
//!
//! The checksum proves that the bytes are the written ones. They are validated all the same while
//! they are decoded: that costs little compared to lz4, and a fault must not do worse than an
//! error.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::panic::{self, AssertUnwindSafe};

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc;
use arrow::ipc::convert::try_schema_from_ipc_buffer;
use arrow::ipc::reader::{read_dictionary, read_record_batch};
use bytes::Bytes;

use super::encode::schema_to_bytes;
use super::{Block, Error, Result};

/// The first bytes of each message, before its length.
const CONTINUATION: [u8; 4] = [0xff; 4];

/// The highest compression ratio of lz4. No memory is allocated for a buffer that claims a higher
/// one.
const EXPANSION_MAX: i64 = 255;

/// Reads the bytes of a block. Does not verify them: [`Decoder::decode`] does, where they are used.
pub(crate) fn read_block(file: &File, block: &Block) -> io::Result<Bytes> {
    let mut bytes = vec![0; block.bytes as usize];
    file.read_exact_at(&mut bytes, block.offset).map_err(|e| {
        let (n, offset) = (block.bytes, block.offset);
        let text = match e.kind() {
            io::ErrorKind::UnexpectedEof => {
                format!(
                    "shard file is truncated: it ends before its block of {n} bytes at {offset}"
                )
            }
            _ => format!("cannot read shard block of {n} bytes at {offset}: {e}"),
        };
        io::Error::new(e.kind(), text)
    })?;
    Ok(bytes.into())
}

/// Decodes a schema that [`schema_to_bytes`] encoded.
pub(crate) fn schema_from_bytes(bytes: &[u8]) -> Result<SchemaRef> {
    Ok(try_schema_from_ipc_buffer(bytes)?.into())
}

/// Decodes blocks of files with one schema.
#[derive(Debug)]
pub(crate) struct Decoder {
    /// The schema of decoded batches.
    schema: SchemaRef,
    /// The schema of the file, with all columns and the numbers of dictionaries.
    numbered: SchemaRef,
    /// The columns to decode; `None` for all.
    columns: Option<Vec<usize>>,
}

impl Decoder {
    /// A decoder for the blocks of files with this schema.
    pub(crate) fn new(schema: &SchemaRef) -> Result<Self> {
        let numbered = schema_from_bytes(&schema_to_bytes(schema)?)?;
        Ok(Self { schema: SchemaRef::clone(schema), numbered, columns: None })
    }

    /// A decoder of some columns only, by their indexes in `schema`: others are not decompressed.
    pub(crate) fn of_columns(schema: &SchemaRef, columns: &[usize]) -> Result<Self> {
        let all = Self::new(schema)?;
        let schema = schema.project(columns)?.into();
        Ok(Self { schema, columns: Some(columns.to_vec()), ..all })
    }

    /// The schema of decoded batches.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Decodes the block with these bytes, whose CRC-32 must be `crc`.
    pub(crate) fn decode(&self, bytes: Bytes, crc: u32) -> Result<RecordBatch> {
        if crc32fast::hash(&bytes) != crc {
            return Err(Error::Changed { bytes: bytes.len() });
        }
        // Arrow panics on some invalid metadata.
        let decoded = panic::catch_unwind(AssertUnwindSafe(|| self.messages(bytes.into())));
        match decoded {
            Ok(batch) => batch.map_err(|e| Error::Malformed(e.to_string())),
            Err(_) => Err(Error::Malformed("its metadata contradict each other".to_owned())),
        }
    }

    fn messages(&self, mut block: Buffer) -> Result<RecordBatch, ArrowError> {
        let mut dictionaries = HashMap::new();
        loop {
            let header = message(&mut block)?;
            let message = ipc::root_as_message(&header).map_err(|e| malformed(e.to_string()))?;
            let body = cut(&mut block, message.bodyLength())?;
            let version = message.version();
            if let Some(dictionary) = message.header_as_dictionary_batch() {
                let values = dictionary.data().ok_or_else(|| malformed("no values"))?;
                check(values, &body)?;
                let schema = &self.numbered;
                read_dictionary(&body, dictionary, schema, &mut dictionaries, &version)?;
            } else if let Some(batch) = message.header_as_record_batch() {
                check(batch, &body)?;
                let schema = SchemaRef::clone(&self.numbered);
                let columns = self.columns.as_deref();
                let batch =
                    read_record_batch(&body, batch, schema, &dictionaries, columns, &version)?;
                if !block.is_empty() {
                    return Err(malformed(format!("{} bytes after its rows", block.len())));
                }
                let (_, columns, rows) = batch.into_parts();
                let options = RecordBatchOptions::new().with_row_count(Some(rows));
                let schema = SchemaRef::clone(&self.schema);
                return RecordBatch::try_new_with_options(schema, columns, &options);
            } else {
                return Err(malformed("a message that is neither a record batch nor a dictionary"));
            }
        }
    }
}

/// Splits off the metadata of the next message.
fn message(block: &mut Buffer) -> Result<Buffer, ArrowError> {
    let prefix = cut(block, 8)?;
    let (marker, length) = prefix.split_at(4);
    match <[u8; 4]>::try_from(length) {
        Ok(length) if marker == CONTINUATION => cut(block, i32::from_le_bytes(length).into()),
        _ => Err(malformed("no message where one should start")),
    }
}

/// Splits off the first `length` bytes.
fn cut(block: &mut Buffer, length: i64) -> Result<Buffer, ArrowError> {
    let short = || malformed(format!("{} bytes instead of {length}", block.len()));
    let n = usize::try_from(length).ok().filter(|n| *n <= block.len()).ok_or_else(short)?;
    let first = block.slice_with_length(0, n);
    block.advance(n);
    Ok(first)
}

/// Checks that buffers are within the body, and do not claim an impossible compression ratio.
fn check(batch: ipc::RecordBatch<'_>, body: &Buffer) -> Result<(), ArrowError> {
    let compressed = batch.compression().is_some();
    for buffer in batch.buffers().into_iter().flatten() {
        let (offset, length) = (buffer.offset(), buffer.length());
        let end = offset.checked_add(length).filter(|_| offset >= 0 && length >= 0);
        let bytes = end.and_then(|end| body.get(offset as usize..end as usize));
        let bytes = bytes.ok_or_else(|| malformed("a buffer outside of the block"))?;
        if let Some(size) = bytes.first_chunk()
            && compressed
            && i64::from_le_bytes(*size) / EXPANSION_MAX > length
        {
            return Err(malformed("a buffer that claims an impossible size"));
        }
    }
    Ok(())
}

fn malformed(text: impl Into<String>) -> ArrowError {
    ArrowError::IpcError(text.into())
}
