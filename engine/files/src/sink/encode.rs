//! Batches into the bytes of a file, piece by piece: what was encoded is given away, so that memory
//! holds one row group of Parquet, or nothing of a text file.

use std::fmt;
use std::io::Write;
use std::sync::Arc;

use datafusion::arrow::csv;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::Result;
use flate2::write::GzEncoder;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression as ParquetCompression, GzipLevel, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::delimited::Delimited;
use super::options::{Compression, Encoding, SinkSpec};
use super::text::JsonLines;
use crate::parquet_file::types::{stored_batch, stored_schema};

/// Encoded bytes at which a row group of Parquet ends: enough for scans, little for memory.
const ROW_GROUP_BYTES: usize = 64 << 20;

/// Rows at which a row group ends.
const ROW_GROUP_ROWS: usize = 1 << 20;

/// How hard text is compressed by Zstandard: the level of its own tool.
const ZSTD_LEVEL: i32 = 3;

/// Makes a file of batches.
pub(super) enum Encoder {
    Parquet { writer: Box<ArrowWriter<Vec<u8>>>, schema: SchemaRef },
    Text { kind: Text, packed: Box<Packed> },
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").finish_non_exhaustive()
    }
}

/// What text is made.
#[derive(Debug, Clone, Copy)]
pub(super) enum Text {
    Csv { delimiter: u8 },
    Json,
}

/// What compresses text on its way.
pub(super) enum Packed {
    Not(Vec<u8>),
    Gzip(GzEncoder<Vec<u8>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Encoder {
    /// An encoder that has written what stands before all rows.
    pub(super) fn new(spec: &SinkSpec) -> Result<Self> {
        let options = &spec.options;
        let kind = match spec.encoding {
            Encoding::Parquet => {
                let compression = match options.compression {
                    Some(Compression::Gzip) => ParquetCompression::GZIP(GzipLevel::default()),
                    Some(Compression::Zstd) | None => {
                        ParquetCompression::ZSTD(ZstdLevel::default())
                    }
                };
                let properties = WriterProperties::builder()
                    .set_compression(compression)
                    .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
                    .build();
                let schema = stored_schema(&spec.schema);
                let writer =
                    ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(properties))?;
                return Ok(Self::Parquet { writer: Box::new(writer), schema });
            }
            Encoding::Csv => Text::Csv { delimiter: options.delimiter },
            Encoding::Json => Text::Json,
        };
        let mut packed = match options.compression {
            None => Packed::Not(Vec::new()),
            Some(Compression::Gzip) => {
                Packed::Gzip(GzEncoder::new(Vec::new(), flate2::Compression::default()))
            }
            Some(Compression::Zstd) => {
                Packed::Zstd(zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL)?)
            }
        };
        if let (Text::Csv { delimiter }, true) = (kind, options.header) {
            // Without rows, so that a file of none has it too.
            let mut names = Vec::new();
            let options = csv::WriterBuilder::new().with_delimiter(delimiter);
            Delimited::new(options).names(&spec.schema, &mut names);
            packed.as_write().write_all(&names)?;
        }
        Ok(Self::Text { kind, packed: Box::new(packed) })
    }

    /// Adds the rows of a batch.
    pub(super) fn encode(&mut self, batch: &RecordBatch) -> Result<()> {
        match self {
            Self::Parquet { writer, schema } => {
                writer.write(&stored_batch(batch, schema)?)?;
                if writer.in_progress_size() >= ROW_GROUP_BYTES {
                    writer.flush()?;
                }
            }
            Self::Text { kind: Text::Csv { delimiter }, packed } => {
                let mut rows = Vec::new();
                let options = csv::WriterBuilder::new().with_delimiter(*delimiter);
                Delimited::new(options).rows(batch, &mut rows)?;
                packed.as_write().write_all(&rows)?;
            }
            Self::Text { kind: Text::Json, packed } => {
                let mut rows = Vec::new();
                JsonLines::rows(batch, &mut rows)?;
                packed.as_write().write_all(&rows)?;
            }
        }
        Ok(())
    }

    /// Bytes that wait for others: those of a row group that has not ended.
    pub(super) fn held_bytes(&self) -> usize {
        match self {
            Self::Parquet { writer, .. } => writer.memory_size(),
            Self::Text { .. } => 0,
        }
    }

    /// Ends a row group before its time.
    pub(super) fn flush(&mut self) -> Result<()> {
        match self {
            Self::Parquet { writer, .. } => Ok(writer.flush()?),
            Self::Text { .. } => Ok(()),
        }
    }

    /// The bytes that are finished, once.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(match self {
            Self::Parquet { writer, .. } => writer.inner_mut(),
            Self::Text { packed, .. } => packed.bytes(),
        })
    }

    /// Adds what stands after all rows; the last bytes.
    pub(super) fn finish(self) -> Result<Vec<u8>> {
        Ok(match self {
            Self::Parquet { writer, .. } => writer.into_inner()?,
            Self::Text { packed, .. } => match *packed {
                Packed::Not(bytes) => bytes,
                Packed::Gzip(encoder) => encoder.finish()?,
                Packed::Zstd(encoder) => encoder.finish()?,
            },
        })
    }
}

impl Packed {
    fn as_write(&mut self) -> &mut dyn Write {
        match self {
            Self::Not(bytes) => bytes,
            Self::Gzip(encoder) => encoder,
            Self::Zstd(encoder) => encoder,
        }
    }

    fn bytes(&mut self) -> &mut Vec<u8> {
        match self {
            Self::Not(bytes) => bytes,
            Self::Gzip(encoder) => encoder.get_mut(),
            Self::Zstd(encoder) => encoder.get_mut(),
        }
    }
}
