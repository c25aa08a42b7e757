//! Splits spilled blocks into the Arrow messages in them, each in its own memory. Data that is
//! decoded from a block keeps the whole block alive: rows that a merge took from sixteen files
//! would keep sixteen blocks, a hundred times their own size, and uncounted. Used by
//! [`spill`](crate::base::memory::spill).

use bytes::Bytes;
use datafusion::arrow::ipc::root_as_message;
use datafusion::error::{DataFusionError, Result};

/// The start of a message: a marker, and the length of its metadata.
const PREFIX_BYTES: usize = 8;

/// Splits a stream of blocks where a message ends.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    /// The start of an incomplete message.
    partial: Vec<u8>,
    known: Known,
}

/// The known length of a message.
#[derive(Debug, Default, Clone, Copy)]
enum Known {
    /// Nothing yet: the prefix is not complete.
    #[default]
    Nothing,
    /// The end of its metadata.
    Description(usize),
    /// The end of the message.
    All(usize),
}

impl Messages {
    /// Adds the next block; returns the messages that end in it.
    pub(crate) fn push(&mut self, mut block: &[u8]) -> Result<Vec<Bytes>> {
        let mut whole = Vec::new();
        while !block.is_empty() {
            let end = match self.known {
                Known::Nothing => PREFIX_BYTES,
                Known::Description(end) | Known::All(end) => end,
            };
            let (now, later) = block.split_at(block.len().min(end - self.partial.len()));
            self.partial.extend_from_slice(now);
            block = later;
            if self.partial.len() < end {
                break;
            }
            // A message may have no body, and the last one has no metadata either.
            self.advance()?;
            if matches!(self.known, Known::All(end) if end == self.partial.len()) {
                whole.push(std::mem::take(&mut self.partial).into());
                self.known = Known::Nothing;
            }
        }
        Ok(whole)
    }

    /// The rest after the last block.
    pub(crate) fn rest(&mut self) -> Option<Bytes> {
        let rest = std::mem::take(&mut self.partial);
        (!rest.is_empty()).then(|| rest.into())
    }

    /// Reads the next length, once all bytes up to the known one are there.
    fn advance(&mut self) -> Result<()> {
        self.known = match self.known {
            Known::Nothing => {
                let length =
                    self.partial.get(4..PREFIX_BYTES).and_then(|four| four.try_into().ok());
                match length.map_or(0, u32::from_le_bytes) {
                    0 => Known::All(PREFIX_BYTES),
                    length => Known::Description(PREFIX_BYTES + length as usize),
                }
            }
            Known::Description(end) => {
                let description = self.partial.get(PREFIX_BYTES..end).unwrap_or_default();
                let message = root_as_message(description).map_err(|e| {
                    DataFusionError::Execution(format!("spilled data cannot be decoded: {e}"))
                })?;
                let all = end + usize::try_from(message.bodyLength()).unwrap_or(0);
                self.partial.reserve_exact(all - end);
                Known::All(all)
            }
            Known::All(end) => Known::All(end),
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{ArrayRef, Int64Array, StringViewArray};
    use datafusion::arrow::buffer::Buffer;
    use datafusion::arrow::ipc::reader::StreamDecoder;
    use datafusion::arrow::ipc::writer::StreamWriter;
    use datafusion::arrow::record_batch::RecordBatch;

    use super::*;

    #[test]
    fn messages_are_the_same_however_blocks_are_cut() {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..1000));
        let texts = (0..1000).map(|i| format!("a text of more than twelve bytes: {i}"));
        let texts: ArrayRef = Arc::new(StringViewArray::from_iter_values(texts));
        let batch = RecordBatch::try_from_iter([("n", numbers), ("t", texts)]).unwrap();
        let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
        for n_rows in [1000, 0, 17] {
            writer.write(&batch.slice(0, n_rows)).unwrap();
        }
        let stream = writer.into_inner().unwrap();
        for block_bytes in [1, 7, 1000, 50_000, stream.len()] {
            let mut messages = Messages::default();
            let mut cut = Vec::new();
            for block in stream.chunks(block_bytes) {
                cut.extend(messages.push(block).unwrap());
            }
            assert_eq!(messages.rest(), None);
            // A schema, three batches, the end.
            assert_eq!(cut.len(), 5, "blocks of {block_bytes}");
            assert_eq!(cut.concat(), stream);
            let mut decoder = StreamDecoder::new();
            let mut n_rows = Vec::new();
            for message in cut {
                let mut buffer = Buffer::from(message);
                while let Some(batch) = decoder.decode(&mut buffer).unwrap() {
                    n_rows.push(batch.num_rows());
                }
            }
            assert_eq!(n_rows, [1000, 0, 17]);
        }
    }

    #[test]
    fn a_message_that_is_cut_off_is_left_over() {
        let mut messages = Messages::default();
        assert!(messages.push(&[255, 255, 255, 255, 0]).unwrap().is_empty());
        assert_eq!(messages.rest().unwrap().len(), 5);
        assert!(messages.push(&[255, 255, 255, 255, 2, 0, 0, 0, 9, 9]).is_err());
    }
}
