//! The head of an Arrow file, for what has to be known before it is read. (That of text is read by
//! `text`, that of Avro by `avro`.)

use std::io::Cursor;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::ipc::reader::StreamReader;
use datafusion::error::{DataFusionError, Result};
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

/// The size of the first read of a file.
const SAMPLE_BYTES: u64 = 1 << 20;

/// The maximum size of that read.
const SAMPLE_BYTES_MAX: u64 = 64 << 20;

/// By how much a head that was not enough grows.
const SAMPLE_GROWTH: u64 = 8;

/// The bytes at the start of every Arrow file; a stream has others.
const ARROW_MAGIC: &[u8] = b"ARROW1";

/// Everything in an Arrow file begins at a multiple of this.
const ARROW_ALIGNMENT: usize = 8;

/// True if this Arrow file is in the stream format.
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
        if said_length(head.get(start..).unwrap_or_default()) > file.size {
            let message = "its first message says that it is longer than the file";
            return Err(DataFusionError::Execution(message.to_owned()));
        }
        match StreamReader::try_new(Cursor::new(head.slice(start..)), None) {
            Ok(reader) => return Ok(reader.schema()),
            Err(error) if length >= file.size.min(SAMPLE_BYTES_MAX) => return Err(error.into()),
            Err(_) => length = length.saturating_mul(SAMPLE_GROWTH),
        }
    }
}

/// The length of a message, which stands after its optional mark.
fn said_length(message: &[u8]) -> u64 {
    let at = if message.starts_with(&[0xff; 4]) { 4 } else { 0 };
    let length = message.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
    length.map_or(0, |bytes| u64::from(u32::from_le_bytes(bytes)))
}

/// The start of the first message, after the mark of a file and its padding.
fn first_message(head: &[u8]) -> usize {
    if !head.starts_with(ARROW_MAGIC) {
        return 0;
    }
    let zeros = head.get(ARROW_ALIGNMENT..).unwrap_or_default().chunks(ARROW_ALIGNMENT);
    let padding = zeros.take_while(|chunk| chunk.iter().all(|byte| *byte == 0)).count();
    (ARROW_ALIGNMENT * (padding + 1)).min(head.len())
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
