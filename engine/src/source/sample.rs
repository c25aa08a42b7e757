//! The head of a file, for what has to be known before it is read: the types of its columns, and
//! what its name does not tell.
//!
//! DataFusion's own inference reads JSON and Avro from a bucket to the end and into memory. Here it
//! gets the head alone, decompressed and cut after a whole row, in a store of its own.

use std::io::Cursor;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::ipc::reader::StreamReader;
use datafusion::common::parsers::CompressionTypeVariant;
use datafusion::error::{DataFusionError, Result};
use futures::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use super::format::{Format, Kind, Sniffed};
use super::members;

/// How much of a file is looked at first, as stored.
const SAMPLE_BYTES: u64 = 1 << 20;

/// How much of it is looked at most, as stored and decompressed: a first row longer than this is
/// refused by the reader.
const SAMPLE_BYTES_MAX: u64 = 64 << 20;

/// By how much a head that held no whole row grows.
const SAMPLE_GROWTH: u64 = 8;

/// The bytes at the start of every Arrow file; a stream has others.
const ARROW_MAGIC: &[u8] = b"ARROW1";

/// Everything in an Arrow file begins at a multiple of this.
const ARROW_ALIGNMENT: usize = 8;

/// The head of a file.
#[derive(Debug)]
pub(crate) struct Sample {
    /// Decompressed.
    bytes: Bytes,
    /// It is the file to its end.
    whole: bool,
}

impl Sample {
    /// Reads the head of a file, with at least one whole row of a text file.
    pub(crate) async fn read(
        store: &Arc<dyn ObjectStore>,
        file: &ObjectMeta,
        format: Format,
    ) -> Result<Self> {
        let mut length = SAMPLE_BYTES;
        loop {
            let whole = length >= file.size;
            let stored = store.get_range(&file.location, 0..length.min(file.size)).await?;
            let (bytes, all) = decompress(stored, format.compression, whole).await?;
            let sample = Self { bytes, whole: all };
            let text = !matches!(format.kind, Kind::Avro | Kind::Arrow | Kind::Parquet);
            let enough = all || !text || sample.end_of_rows() > 0;
            if enough || whole || length >= SAMPLE_BYTES_MAX {
                return Ok(sample);
            }
            length = length.saturating_mul(SAMPLE_GROWTH).min(SAMPLE_BYTES_MAX);
        }
    }

    /// What it tells about the file.
    pub(crate) fn sniff(&self, format: Format) -> Sniffed {
        match format.kind {
            Kind::Json => {
                let first = self.bytes.iter().find(|byte| !byte.is_ascii_whitespace());
                Sniffed { json_array: first == Some(&b'['), ..Sniffed::default() }
            }
            Kind::Csv | Kind::Tsv => {
                Sniffed { newlines_in_values: quoted_newline(&self.bytes), ..Sniffed::default() }
            }
            Kind::Parquet | Kind::Arrow | Kind::Avro => Sniffed::default(),
        }
    }

    /// Is it the first of an array that does not end within it? Then inference needs the rest.
    pub(crate) fn is_cut_array(&self, sniffed: Sniffed) -> bool {
        sniffed.json_array && !self.whole
    }

    /// A store with the head as its only file, under the name that is returned with it.
    pub(crate) async fn into_store(
        self,
        file: &ObjectMeta,
        cut: bool,
    ) -> Result<(Arc<dyn ObjectStore>, ObjectMeta)> {
        let end = match self.end_of_rows() {
            0 => self.bytes.len(),
            end => end,
        };
        let bytes = if cut && !self.whole { self.bytes.slice(..end) } else { self.bytes };
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        store.put(&file.location, bytes.into()).await?;
        let meta = store.head(&file.location).await?;
        Ok((store, meta))
    }

    /// Just after the last line break that is not in quotes.
    fn end_of_rows(&self) -> usize {
        let mut quoted = false;
        let mut end = 0;
        for (at, byte) in self.bytes.iter().enumerate() {
            match byte {
                b'"' => quoted = !quoted,
                b'\n' if !quoted => end = at + 1,
                _ => {}
            }
        }
        end
    }
}

/// Is this Arrow file in the stream format?
pub(crate) async fn is_arrow_stream(
    store: &Arc<dyn ObjectStore>,
    file: &ObjectMeta,
) -> Result<bool> {
    let length = (ARROW_MAGIC.len() as u64).min(file.size);
    let head = store.get_range(&file.location, 0..length).await?;
    Ok(head.as_ref() != ARROW_MAGIC)
}

/// The columns of an Arrow file or stream, from the message at its start. DataFusion's own
/// inference does not find that message in a bucket when the file pads its mark to more than eight
/// bytes, as files do that DataFusion writes.
pub(crate) async fn arrow_schema(
    store: &Arc<dyn ObjectStore>,
    file: &ObjectMeta,
) -> Result<SchemaRef> {
    let mut length = SAMPLE_BYTES;
    loop {
        let head = store.get_range(&file.location, 0..length.min(file.size)).await?;
        let start = first_message(&head);
        match StreamReader::try_new(Cursor::new(head.slice(start..)), None) {
            Ok(reader) => return Ok(reader.schema()),
            Err(error) if length >= file.size.min(SAMPLE_BYTES_MAX) => return Err(error.into()),
            Err(_) => length = length.saturating_mul(SAMPLE_GROWTH),
        }
    }
}

/// Where the first message begins: after the mark of a file and its padding.
fn first_message(head: &[u8]) -> usize {
    if !head.starts_with(ARROW_MAGIC) {
        return 0;
    }
    let zeros = head.get(ARROW_ALIGNMENT..).unwrap_or_default().chunks(ARROW_ALIGNMENT);
    let padding = zeros.take_while(|chunk| chunk.iter().all(|byte| *byte == 0)).count();
    (ARROW_ALIGNMENT * (padding + 1)).min(head.len())
}

/// Is there a line break between quotes?
fn quoted_newline(bytes: &[u8]) -> bool {
    let mut quoted = false;
    for byte in bytes {
        match byte {
            b'"' => quoted = !quoted,
            b'\n' if quoted => return true,
            _ => {}
        }
    }
    false
}

/// Decompresses as far as it goes; true when that is the end of the file.
async fn decompress(
    stored: Bytes,
    compression: CompressionTypeVariant,
    whole: bool,
) -> Result<(Bytes, bool)> {
    if compression == CompressionTypeVariant::UNCOMPRESSED {
        return Ok((stored, whole));
    }
    let stored = futures::stream::once(async move { Ok::<_, DataFusionError>(stored) }).boxed();
    let mut chunks = members::decompress(stored, compression);
    let mut out = BytesMut::new();
    loop {
        match chunks.try_next().await {
            Ok(Some(chunk)) => out.extend_from_slice(&chunk),
            Ok(None) => return Ok((out.freeze(), whole)),
            // The end of what was fetched is in the middle of what was compressed.
            Err(_) if !whole && !out.is_empty() => return Ok((out.freeze(), false)),
            Err(error) => return Err(error.into()),
        }
        if out.len() as u64 >= SAMPLE_BYTES_MAX {
            return Ok((out.freeze(), false));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(text: &str) -> Sample {
        Sample { bytes: Bytes::copy_from_slice(text.as_bytes()), whole: false }
    }

    #[test]
    fn rows_end_outside_of_quotes() {
        assert_eq!(sample("a,b\n1,\"x\ny").end_of_rows(), 4);
        assert_eq!(sample("a,b\n1,\"x\ny\"\n2,").end_of_rows(), 12);
        assert_eq!(sample("a").end_of_rows(), 0);
    }

    #[test]
    fn messages_begin_after_mark_and_padding() {
        let mut head = b"ARROW1".to_vec();
        head.resize(64, 0);
        head.extend([0xff; 4]);
        assert_eq!(first_message(&head), 64);
        assert_eq!(first_message(b"ARROW1\0\0\xff\xff\xff\xff"), 8);
        assert_eq!(first_message(&[0xff; 4]), 0);
        assert_eq!(first_message(b"ARROW1"), 6);
    }

    #[test]
    fn a_head_tells_what_the_name_does_not() {
        let json = Format::of_name("x.json").unwrap();
        assert!(sample(" \n[{\"a\":1}]").sniff(json).json_array);
        assert!(!sample("{\"a\":1}").sniff(json).json_array);
        let csv = Format::of_name("x.csv").unwrap();
        assert!(sample("a\n\"x\ny\"\n").sniff(csv).newlines_in_values);
        assert!(!sample("a\n\"x\"\n").sniff(csv).newlines_in_values);
    }
}
