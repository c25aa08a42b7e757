//! The bytes of a text file in UTF-8: from a disk or a store, decompressed, without a byte order
//! mark; UTF-16 with a mark is converted on the way.

use std::fmt;
use std::io::{Error as IoError, Read, Seek, SeekFrom};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use datafusion::common::parsers::CompressionTypeVariant;
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::error::{DataFusionError, Result};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use memchr::{memchr, memchr_iter};
use object_store::{GetOptions, GetRange, GetResultPayload, ObjectMeta, ObjectStore};

use super::fault::{Fault, whole};
use crate::members;

/// The byte order mark that programs on Windows put in front of UTF-8.
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The longest byte order mark.
const MARK_BYTES_MAX: usize = 4;

/// The size of a read: enough to make reads cheap, and little memory.
const BLOCK_BYTES: usize = 512 << 10;

/// The maximum size of a read, for a single large row.
const BLOCK_BYTES_MAX: usize = 32 << 20;

/// The size of a read past the end of a part, for its last row.
const REST_BYTES: u64 = 1 << 20;

/// A file, and the part of it that is wanted.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    /// The store.
    pub(crate) store: Arc<dyn ObjectStore>,
    /// Which one.
    pub(crate) file: ObjectMeta,
    /// The compression of the whole file.
    pub(crate) compression: CompressionTypeVariant,
    /// The address as a user would write it.
    pub(crate) name: String,
}

/// The source of the bytes.
enum Bytewise {
    File(Box<dyn Read + Send>),
    Stream(BoxStream<'static, std::io::Result<Bytes>>),
}

/// The encoding of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    /// The first bytes will tell.
    Unknown,
    Utf8,
    Utf16Le,
    Utf16Be,
}

/// The bytes of a file, one after the other, and those that wait to be read as text.
pub(super) struct Input {
    origin: Origin,
    from: Bytewise,
    pending: Bytes,
    /// The start of the next request, if the requested part is not enough.
    next: u64,
    encoding: Encoding,
    /// The length of the byte order mark.
    mark: usize,
    /// Bytes of an incomplete UTF-16 character.
    half: Vec<u8>,
    block: usize,
    /// Line breaks in what was passed.
    lines: u64,
    /// What was read and not passed, and the byte before it.
    pub(super) text: Vec<u8>,
    /// The start of the next row in it.
    pub(super) at: usize,
    /// The end was reached.
    pub(super) last: bool,
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input").field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl Input {
    /// The file from `start` on; up to `end` is wanted for certain, and perhaps more.
    pub(super) async fn open(origin: Origin, start: u64, end: u64) -> Result<Self> {
        let compressed = origin.compression != CompressionTypeVariant::UNCOMPRESSED;
        let all = compressed || (start == 0 && end >= origin.file.size);
        let range = (!all).then_some(GetRange::Bounded(start..end));
        let options = GetOptions { range, ..GetOptions::default() };
        let found = origin.store.get_opts(&origin.file.location, options).await?;
        let mut next = end;
        let from = match found.payload {
            GetResultPayload::File(mut file, _) => {
                if compressed {
                    packed(&mut file, &origin)?;
                }
                file.seek(SeekFrom::Start(start)).map_err(|error| broken(&origin, error))?;
                next = origin.file.size;
                Bytewise::File(match origin.compression {
                    CompressionTypeVariant::GZIP => members::gunzip_file(file),
                    other => FileCompressionType::from(other).convert_read(file)?,
                })
            }
            GetResultPayload::Stream(stream) if compressed => {
                Bytewise::Stream(members::decompress(stream, origin.compression))
            }
            GetResultPayload::Stream(stream) => {
                Bytewise::Stream(stream.map_err(IoError::other).boxed())
            }
        };
        let encoding = if start == 0 { Encoding::Unknown } else { Encoding::Utf8 };
        Ok(Self {
            origin,
            from,
            pending: Bytes::new(),
            next: if compressed { u64::MAX } else { next },
            encoding,
            mark: 0,
            half: Vec::new(),
            block: BLOCK_BYTES,
            lines: 0,
            text: Vec::new(),
            at: 0,
            last: false,
        })
    }

    /// The file.
    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// True if the text is UTF-16. Known after the first read.
    pub(super) fn is_converted(&self) -> bool {
        matches!(self.encoding, Encoding::Utf16Be | Encoding::Utf16Le)
    }

    /// The length of the byte order mark.
    pub(super) fn mark(&self) -> usize {
        self.mark
    }

    /// Forgets the text before the next row, except for its last byte; returns how much was
    /// forgotten.
    pub(super) fn pass(&mut self) -> usize {
        let gone = self.at.saturating_sub(1);
        self.lines += line_breaks(&self.text[..gone]);
        self.text.drain(..gone);
        self.at -= gone;
        self.block = BLOCK_BYTES;
        gone
    }

    /// The number of the line that `at` is in, counted from 1 at the beginning of what was opened.
    pub(super) fn line(&self, at: usize) -> u64 {
        self.lines + line_breaks(&self.text[..at.min(self.text.len())]) + 1
    }

    /// Reads more text, the more the longer nothing was passed.
    pub(super) async fn more(&mut self) -> Result<()> {
        let want = self.block;
        self.block = (self.block * 2).min(BLOCK_BYTES_MAX);
        if self.encoding == Encoding::Utf8 {
            let mut text = std::mem::take(&mut self.text);
            let read = self.read(&mut text, want).await;
            self.text = text;
            return read;
        }
        let mut bytes = std::mem::take(&mut self.half);
        loop {
            self.read(&mut bytes, want).await?;
            let tells = self.encoding != Encoding::Unknown || bytes.len() >= MARK_BYTES_MAX;
            if tells || self.last {
                break;
            }
        }
        if self.encoding == Encoding::Unknown {
            (self.encoding, self.mark) = encoding(&bytes, &self.origin)?;
            bytes.drain(..self.mark);
            if self.encoding == Encoding::Utf8 {
                self.text.append(&mut bytes);
                return Ok(());
            }
        }
        self.half = self.convert(&bytes)?;
        Ok(())
    }

    async fn read(&mut self, into: &mut Vec<u8>, want: usize) -> Result<()> {
        let (before, all) = (into.len(), into.len() + want);
        loop {
            match &mut self.from {
                Bytewise::File(file) => {
                    let mut part = file.take((all - into.len()) as u64);
                    part.read_to_end(into).map_err(|error| broken(&self.origin, error))?;
                    self.last = into.len() < all;
                    return Ok(());
                }
                Bytewise::Stream(stream) => {
                    if self.pending.is_empty() {
                        let next = stream.try_next().await;
                        match next.map_err(|error| broken(&self.origin, error))? {
                            Some(bytes) => self.pending = bytes,
                            // What was asked for first may be enough.
                            None if into.len() > before => return Ok(()),
                            None if self.next < self.origin.file.size => self.rest().await?,
                            None => {
                                self.last = true;
                                return Ok(());
                            }
                        }
                    }
                    let length = self.pending.len().min(all - into.len());
                    into.extend_from_slice(&self.pending[..length]);
                    self.pending.advance(length);
                    if into.len() == all {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Asks for a little more than what was asked for first.
    async fn rest(&mut self) -> Result<()> {
        let end = (self.next + REST_BYTES).min(self.origin.file.size);
        let range = Some(GetRange::Bounded(self.next..end));
        let options = GetOptions { range, ..GetOptions::default() };
        let found = self.origin.store.get_opts(&self.origin.file.location, options).await?;
        self.from = Bytewise::Stream(found.into_stream().map_err(IoError::other).boxed());
        self.next = end;
        Ok(())
    }

    /// Appends UTF-16 as UTF-8; returns the bytes of an incomplete character.
    fn convert(&mut self, bytes: &[u8]) -> Result<Vec<u8>> {
        let mut whole_units = bytes.len() / 2 * 2;
        let unit = |at: usize| match self.encoding {
            Encoding::Utf16Be => u16::from_be_bytes([bytes[at], bytes[at + 1]]),
            _ => u16::from_le_bytes([bytes[at], bytes[at + 1]]),
        };
        // The first half of a pair waits for the second.
        if !self.last && whole_units >= 2 && (0xD800..0xDC00).contains(&unit(whole_units - 2)) {
            whole_units -= 2;
        }
        let left = &bytes[whole_units..];
        let units = (0..whole_units / 2).map(|at| unit(2 * at));
        let converted: std::result::Result<String, _> = char::decode_utf16(units).collect();
        match converted {
            Ok(text) if !self.last || left.is_empty() => self.text.extend(text.as_bytes()),
            _ => return Err(whole(&self.origin.name, "has bytes that are not valid UTF-16")),
        }
        Ok(left.to_vec())
    }

    /// The error for a user.
    pub(super) async fn error(&mut self, fault: Fault, start: u64) -> DataFusionError {
        let before = match lines_before(&self.origin, start).await {
            Ok(lines) => lines,
            Err(error) => return error,
        };
        let line = before + self.line(fault.at);
        fault.error(&self.origin.name, line)
    }
}

/// The number of lines that end before `start`, counted from the beginning of the file.
async fn lines_before(origin: &Origin, start: u64) -> Result<u64> {
    let mut lines = 0;
    let mut at = 0;
    while at < start {
        let end = (at + BLOCK_BYTES_MAX as u64).min(start);
        let options =
            GetOptions { range: Some(GetRange::Bounded(at..end)), ..GetOptions::default() };
        let found = origin.store.get_opts(&origin.file.location, options).await?;
        lines += line_breaks(&found.bytes().await?);
        at = end;
    }
    Ok(lines)
}

/// The number of lines that end in a text. Lines of old Macs end in `\r`.
fn line_breaks(text: &[u8]) -> u64 {
    let breaks = match memchr(b'\n', text) {
        Some(_) => memchr_iter(b'\n', text).count(),
        None => memchr_iter(b'\r', text).count(),
    };
    breaks as u64
}

/// True if a file begins with the byte order mark of UTF-16.
pub(super) fn is_utf16(head: &[u8]) -> bool {
    head.starts_with(&[0xFF, 0xFE]) || head.starts_with(&[0xFE, 0xFF])
}

/// The encoding by the first bytes, and the length of the byte order mark.
fn encoding(bytes: &[u8], origin: &Origin) -> Result<(Encoding, usize)> {
    match bytes {
        [0xEF, 0xBB, 0xBF, ..] => Ok((Encoding::Utf8, 3)),
        [0xFF, 0xFE, 0, 0, ..] | [0, 0, 0xFE, 0xFF, ..] => {
            Err(whole(&origin.name, "is in UTF-32, which is not read: convert it to UTF-8"))
        }
        [0xFF, 0xFE, ..] => Ok((Encoding::Utf16Le, 2)),
        [0xFE, 0xFF, ..] => Ok((Encoding::Utf16Be, 2)),
        _ => Ok((Encoding::Utf8, 0)),
    }
}

/// Checks that a file begins with the mark of its compression.
fn packed(file: &mut (impl Read + Seek), origin: &Origin) -> Result<()> {
    let (mark, name): (&[u8], &str) = match origin.compression {
        CompressionTypeVariant::GZIP => (&[0x1f, 0x8b], "gzip"),
        CompressionTypeVariant::BZIP2 => (b"BZh", "bzip2"),
        CompressionTypeVariant::XZ => (&[0xfd, b'7', b'z', b'X', b'Z'], "xz"),
        // A frame may be one that is passed over, of any of sixteen marks.
        CompressionTypeVariant::ZSTD | CompressionTypeVariant::UNCOMPRESSED => return Ok(()),
    };
    let mut head = Vec::with_capacity(mark.len());
    let read = Read::take(&mut *file, mark.len() as u64).read_to_end(&mut head);
    read.map_err(|error| broken(origin, error))?;
    match head == mark {
        true => Ok(()),
        false => Err(whole(
            &origin.name,
            &format!("is not compressed with {name}, as its name or table says"),
        )),
    }
}

/// An error of a disk, a store or a decoder.
fn broken(origin: &Origin, error: IoError) -> DataFusionError {
    match error.downcast::<object_store::Error>() {
        Ok(error) => error.into(),
        Err(error) if origin.compression == CompressionTypeVariant::UNCOMPRESSED => {
            whole(&origin.name, &format!("cannot be read: {error}"))
        }
        Err(error) => whole(&origin.name, &format!("cannot be decompressed: {error}")),
    }
}
