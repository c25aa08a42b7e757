//! Pages of Parquet files, looked at before they are decoded: a page that has a checksum must have
//! the bytes that it is of, and no page may claim to be larger than a column's share of a file can
//! be.
//!
//! The Parquet crate compares checksums only when it is built to, and believes what pages say of
//! their size (apache/arrow-rs#6289). [`CheckedFiles`] stands between it and the store. It walks
//! over the headers of the pages in what was fetched, and computes a CRC-32 of the pages that have
//! one.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::ParquetFileReaderFactory;
use datafusion::error::Result as PlanResult;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::FutureExt;
use futures::future::BoxFuture;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::ParquetMetaData;

use crate::parquet_file::bounds::believable;
use crate::parquet_file::logical::without_intervals;

/// A page larger than this when decompressed is looked at twice: writers make pages of 1 MiB, and
/// few of 100.
const PAGE_BYTES_USUAL: u64 = 64 << 20;

/// Types of the compact protocol of Thrift.
mod thrift {
    pub(crate) const TRUE: u8 = 1;
    pub(crate) const FALSE: u8 = 2;
    pub(crate) const I8: u8 = 3;
    pub(crate) const I16: u8 = 4;
    pub(crate) const I64: u8 = 6;
    pub(crate) const DOUBLE: u8 = 7;
    pub(crate) const BINARY: u8 = 8;
    pub(crate) const LIST: u8 = 9;
    pub(crate) const SET: u8 = 10;
    pub(crate) const STRUCT: u8 = 12;
    /// Records within records; the format has three.
    pub(crate) const DEPTH_MAX: u8 = 16;
}

/// A factory of readers that check what they read.
#[derive(Debug)]
pub(crate) struct CheckedFiles {
    inner: Arc<dyn ParquetFileReaderFactory>,
}

impl CheckedFiles {
    /// Checks what the readers of `inner` read.
    pub(crate) fn new(inner: Arc<dyn ParquetFileReaderFactory>) -> Self {
        Self { inner }
    }
}

impl ParquetFileReaderFactory for CheckedFiles {
    fn create_reader(
        &self,
        partition: usize,
        file: PartitionedFile,
        metadata_size_hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> PlanResult<Box<dyn AsyncFileReader + Send>> {
        let size = file.object_meta.size;
        let inner = self.inner.create_reader(partition, file, metadata_size_hint, metrics)?;
        Ok(Box::new(CheckedReader { inner, size, chunks: None }))
    }
}

/// A reader that checks what it reads.
struct CheckedReader {
    inner: Box<dyn AsyncFileReader + Send>,
    /// Bytes of the file.
    size: u64,
    /// Where the columns are, in order; none before the footer was read.
    chunks: Option<Vec<Chunk>>,
}

/// One column of one group of rows.
#[derive(Debug)]
struct Chunk {
    bytes: Range<u64>,
    /// How large its pages are when decompressed, with their headers.
    decompressed: u64,
}

impl CheckedReader {
    /// Where the columns are; asked of the footer, which is cached, by a reader that was not asked
    /// for it before.
    async fn chunks(&mut self) -> Result<&[Chunk]> {
        if self.chunks.is_none() {
            let footer = self.inner.get_metadata(None).await?;
            self.chunks = Some(chunks(&footer));
        }
        Ok(self.chunks.as_deref().unwrap_or_default())
    }

    async fn check(&mut self, ranges: &[Range<u64>], fetched: &[Bytes]) -> Result<()> {
        let chunks = self.chunks().await?;
        for (range, bytes) in ranges.iter().zip(fetched) {
            let after = chunks.partition_point(|chunk| chunk.bytes.start <= range.start);
            let chunk = after.checked_sub(1).and_then(|at| chunks.get(at));
            if let Some(chunk) = chunk.filter(|chunk| range.start < chunk.bytes.end) {
                check_pages(bytes, chunk.decompressed, range.start)?;
            }
        }
        Ok(())
    }

    fn within(&self, ranges: &[Range<u64>]) -> Result<()> {
        match ranges.iter().find(|range| range.start > range.end || range.end > self.size) {
            None => Ok(()),
            Some(range) => Err(ParquetError::General(format!(
                "its footer names the bytes {} to {}, but it has {}",
                range.start, range.end, self.size
            ))),
        }
    }
}

impl AsyncFileReader for CheckedReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes>> {
        async move {
            let ranges = [range.clone()];
            self.within(&ranges)?;
            let fetched = [self.inner.get_bytes(range).await?];
            self.check(&ranges, &fetched).await?;
            let [bytes] = fetched;
            Ok(bytes)
        }
        .boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>>> {
        async move {
            self.within(&ranges)?;
            let fetched = self.inner.get_byte_ranges(ranges.clone()).await?;
            self.check(&ranges, &fetched).await?;
            Ok(fetched)
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>>> {
        async move {
            let footer = self.inner.get_metadata(options).await?;
            let footer = without_intervals(believable(footer)?)?;
            if self.chunks.is_none() {
                self.chunks = Some(chunks(&footer));
            }
            Ok(footer)
        }
        .boxed()
    }
}

fn chunks(footer: &ParquetMetaData) -> Vec<Chunk> {
    let columns = footer.row_groups().iter().flat_map(|group| group.columns());
    let mut chunks: Vec<Chunk> = columns
        .filter_map(|column| {
            let start = column.dictionary_page_offset().filter(|offset| *offset > 0);
            let start = start.unwrap_or(column.data_page_offset()).min(column.data_page_offset());
            let start = u64::try_from(start).ok()?;
            let length = u64::try_from(column.compressed_size()).ok()?;
            let decompressed = u64::try_from(column.uncompressed_size()).unwrap_or_default();
            Some(Chunk { bytes: start..start.checked_add(length)?, decompressed })
        })
        .collect();
    chunks.sort_unstable_by_key(|chunk| chunk.bytes.start);
    chunks
}

/// Checks the pages at the start of `bytes`, as far as they are whole.
fn check_pages(bytes: &Bytes, decompressed: u64, offset: u64) -> Result<()> {
    let mut at = 0;
    while at < bytes.len() {
        // The decoder reports an invalid header.
        let Some(page) = header(&bytes[at..]) else { return Ok(()) };
        let start = at + page.header_bytes;
        let Some(content) = start.checked_add(page.stored).and_then(|end| bytes.get(start..end))
        else {
            return Ok(());
        };
        if page.decompressed > PAGE_BYTES_USUAL.max(decompressed) {
            return Err(ParquetError::General(format!(
                "the page at byte {} says that it has {} bytes when decompressed, but its column has {decompressed}",
                offset + at as u64,
                page.decompressed
            )));
        }
        if let Some(checksum) = page.checksum
            && crc32fast::hash(content) != checksum
        {
            return Err(ParquetError::General(format!(
                "the checksum of the page at byte {} is not that of its bytes",
                offset + at as u64
            )));
        }
        at = start + page.stored;
    }
    Ok(())
}

/// The header of a page.
#[derive(Debug, Default, PartialEq, Eq)]
struct Page {
    header_bytes: usize,
    decompressed: u64,
    stored: usize,
    checksum: Option<u32>,
}

/// Reads the header of a page: the fields 2 to 4 of a record, and where the record ends.
fn header(bytes: &[u8]) -> Option<Page> {
    let mut input = Input { bytes, at: 0 };
    let mut page = Page::default();
    let mut field = 0;
    while let Some((number, kind)) = input.field(field)? {
        field = number;
        match number {
            2 => page.decompressed = u64::try_from(input.integer(kind)?).ok()?,
            3 => page.stored = usize::try_from(input.integer(kind)?).ok()?,
            // Written as a signed number, which keeps the bits.
            4 => page.checksum = Some((input.integer(kind)? as u64 & u64::from(u32::MAX)) as u32),
            _ => input.skip(kind, thrift::DEPTH_MAX)?,
        }
    }
    page.header_bytes = input.at;
    (field >= 3).then_some(page)
}

/// Bytes in the compact protocol of Thrift.
struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Input<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn zigzag(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1).cast_signed() ^ -((value & 1).cast_signed()))
    }

    /// The next field after one: number and type; `None` within when the record is over.
    fn field(&mut self, before: i64) -> Option<Option<(i64, u8)>> {
        let byte = self.byte()?;
        if byte == 0 {
            return Some(None);
        }
        let number = match byte >> 4 {
            0 => self.zigzag()?,
            step => before + i64::from(step),
        };
        Some(Some((number, byte & 0x0f)))
    }

    fn integer(&mut self, kind: u8) -> Option<i64> {
        matches!(kind, thrift::I16..=thrift::I64).then(|| self.zigzag()).flatten()
    }

    fn skip(&mut self, kind: u8, depth: u8) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match kind {
            thrift::TRUE | thrift::FALSE => {}
            thrift::I8 => self.advance(1)?,
            thrift::I16..=thrift::I64 => {
                self.varint()?;
            }
            thrift::DOUBLE => self.advance(8)?,
            thrift::BINARY => {
                let length = usize::try_from(self.varint()?).ok()?;
                self.advance(length)?;
            }
            thrift::LIST | thrift::SET => {
                let head = self.byte()?;
                let length = match head >> 4 {
                    15 => self.varint()?,
                    length => u64::from(length),
                };
                for _ in 0..length {
                    // Within a list, truth values have a byte each.
                    match head & 0x0f {
                        thrift::TRUE | thrift::FALSE => self.advance(1)?,
                        kind => self.skip(kind, depth)?,
                    }
                }
            }
            thrift::STRUCT => {
                let mut field = 0;
                while let Some((number, kind)) = self.field(field)? {
                    field = number;
                    self.skip(kind, depth)?;
                }
            }
            _ => return None,
        }
        Some(())
    }

    fn advance(&mut self, bytes: usize) -> Option<()> {
        self.at = self.at.checked_add(bytes).filter(|at| *at <= self.bytes.len())?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A data page of six bytes with a checksum, as a writer has it.
    fn page(checksum: u32) -> Vec<u8> {
        let zigzag = |value: i64| {
            let mut value = ((value << 1) ^ (value >> 63)).cast_unsigned();
            let mut bytes = Vec::new();
            while value >= 0x80 {
                bytes.push((value as u8 & 0x7f) | 0x80);
                value >>= 7;
            }
            bytes.push(value as u8);
            bytes
        };
        let mut bytes = vec![0x15, 0x00, 0x15];
        bytes.extend(zigzag(6));
        bytes.push(0x15);
        bytes.extend(zigzag(6));
        bytes.push(0x15);
        bytes.extend(zigzag(i64::from(checksum.cast_signed())));
        // Field 5, a record: the number of values, 1, and three encodings.
        bytes.extend([0x1c, 0x15, 0x02, 0x15, 0x00, 0x15, 0x06, 0x15, 0x06, 0x00, 0x00]);
        bytes.extend(b"values");
        bytes
    }

    #[test]
    fn checksums_are_compared() {
        let good = page(crc32fast::hash(b"values"));
        let length = good.len();
        let two = Bytes::from([good.clone(), good.clone()].concat());
        assert!(check_pages(&two, 100, 0).is_ok());
        let found = header(&good).unwrap();
        assert_eq!((found.decompressed, found.stored, found.header_bytes), (6, 6, length - 6));
        let mut bad = good.clone();
        bad[length - 1] ^= 1;
        let error = check_pages(&Bytes::from([good, bad].concat()), 100, 1000).unwrap_err();
        let text = format!("the page at byte {}", 1000 + length);
        assert!(error.to_string().contains(&text), "{error}");
    }

    #[test]
    fn what_is_no_page_is_passed_over() {
        for bytes in [&b""[..], b"\xff\xff\xff", b"PAR1PAR1PAR1", &[0x15; 40]] {
            assert!(check_pages(&Bytes::copy_from_slice(bytes), 100, 0).is_ok());
        }
    }
}
