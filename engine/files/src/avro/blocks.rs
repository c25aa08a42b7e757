//! The head of an Avro file and its blocks, as whole as they say that they are.

use std::io::{BufRead, Error, ErrorKind, Read, Result};

use super::names;

/// The bytes at the start of every Avro file.
const MAGIC: &[u8] = b"Obj\x01";

/// The keys of a head.
const SCHEMA: &[u8] = b"avro.schema";
const CODEC: &[u8] = b"avro.codec";

/// Bytes of a text in a head, at most.
const TEXT_BYTES_MAX: u64 = 64 << 20;

/// Bytes of the mark that ends each block.
const SYNC_BYTES: usize = 16;

/// Bytes of the longest number.
const LONG_BYTES_MAX: u32 = 10;

/// The header of a file.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) schema: String,
    pub(super) codec: Option<Vec<u8>>,
    pub(super) sync: [u8; SYNC_BYTES],
}

impl Head {
    /// Reads it, and nothing after it.
    pub(super) fn read(file: &mut impl Read) -> Result<Self> {
        let mut magic = [0; MAGIC.len()];
        let whole = file.read_exact(&mut magic);
        if whole.is_err() || magic != MAGIC {
            return Err(invalid("it does not begin as Avro files do"));
        }
        let (mut schema, mut codec) = (None, None);
        loop {
            let count = number(file, "its head")?;
            if count == 0 {
                break;
            }
            if count < 0 {
                // What follows is its size in bytes.
                number(file, "its head")?;
            }
            for _ in 0..count.unsigned_abs() {
                let (key, value) = (text(file)?, text(file)?);
                match key.as_slice() {
                    SCHEMA => schema = Some(value),
                    CODEC => codec = Some(value),
                    _ => {}
                }
            }
        }
        let mut sync = [0; SYNC_BYTES];
        file.read_exact(&mut sync).map_err(|error| ended(error, "its head"))?;
        let schema = schema.ok_or_else(|| invalid("its head has no schema"))?;
        let schema =
            String::from_utf8(schema).map_err(|_| invalid("its schema is not valid UTF-8"))?;
        Ok(Self { schema, codec, sync })
    }

    /// The head with a schema that the decoder understands, and whether that is in parts that need
    /// each other.
    pub(super) fn bytes(&self) -> std::result::Result<(Vec<u8>, bool), String> {
        let (schema, refers) = names::plain(&self.schema)?;
        let mut out = MAGIC.to_vec();
        put_number(&mut out, 1 + u64::from(self.codec.is_some()));
        put_text(&mut out, SCHEMA);
        put_text(&mut out, schema.as_bytes());
        if let Some(codec) = &self.codec {
            put_text(&mut out, CODEC);
            put_text(&mut out, codec);
        }
        put_number(&mut out, 0);
        out.extend_from_slice(&self.sync);
        Ok((out, refers))
    }
}

/// The blocks of a file: each is given out when it is there with its mark.
#[derive(Debug)]
pub(super) struct Blocks<R> {
    file: R,
    sync: [u8; SYNC_BYTES],
    block: Vec<u8>,
    at: usize,
}

impl<R: Read> Blocks<R> {
    /// The blocks that follow a head with this mark.
    pub(super) fn new(file: R, sync: [u8; SYNC_BYTES]) -> Self {
        Self { file, sync, block: Vec::new(), at: 0 }
    }

    /// Reads the next block; `None` after the last one.
    fn next(&mut self) -> Result<()> {
        self.block.clear();
        self.at = 0;
        let mut first = [0];
        if read_one(&mut self.file, &mut first)? == 0 {
            return Ok(());
        }
        let mut file = first.as_slice().chain(&mut self.file);
        let count = number(&mut file, "a block")?;
        let size = number(&mut file, "a block")?;
        let possible = u64::try_from(count).ok().zip(u64::try_from(size).ok());
        let Some((count, size)) = possible else {
            return Err(invalid("the bytes after a block are not a block"));
        };
        if (count == 0) != (size == 0) {
            return Err(invalid(format!("a block says that it has {count} rows in {size} bytes")));
        }
        put_number(&mut self.block, count);
        put_number(&mut self.block, size);
        let read = (&mut self.file).take(size).read_to_end(&mut self.block)?;
        if read as u64 != size {
            return Err(cut_off("a block"));
        }
        let mut sync = [0; SYNC_BYTES];
        self.file.read_exact(&mut sync).map_err(|error| ended(error, "a block"))?;
        if sync != self.sync {
            return Err(invalid("a block does not end with the mark that ends all of them"));
        }
        self.block.extend_from_slice(&sync);
        Ok(())
    }
}

impl<R: Read> Read for Blocks<R> {
    fn read(&mut self, out: &mut [u8]) -> Result<usize> {
        let mut there = self.fill_buf()?;
        let length = there.read(out)?;
        self.consume(length);
        Ok(length)
    }
}

impl<R: Read> BufRead for Blocks<R> {
    fn fill_buf(&mut self) -> Result<&[u8]> {
        if self.at >= self.block.len() {
            self.next()?;
        }
        Ok(self.block.get(self.at..).unwrap_or_default())
    }

    fn consume(&mut self, length: usize) {
        self.at += length;
    }
}

fn read_one(file: &mut impl Read, byte: &mut [u8; 1]) -> Result<usize> {
    loop {
        match file.read(byte) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// A number as Avro writes them: seven bits in a byte, the sign in the lowest.
fn number(file: &mut impl Read, within: &str) -> Result<i64> {
    let mut bits = 0_u64;
    for place in 0..LONG_BYTES_MAX {
        let mut byte = [0];
        file.read_exact(&mut byte).map_err(|error| ended(error, within))?;
        bits |= u64::from(byte[0] & 0x7f) << (7 * place);
        if byte[0] & 0x80 == 0 {
            return Ok((bits >> 1).cast_signed() ^ -((bits & 1).cast_signed()));
        }
    }
    Err(invalid(format!("{within} has a number that is longer than any")))
}

fn text(file: &mut impl Read) -> Result<Vec<u8>> {
    let length = u64::try_from(number(file, "its head")?).ok();
    let length = length.filter(|length| *length <= TEXT_BYTES_MAX);
    let length = length.ok_or_else(|| invalid("its head has a text of no possible length"))?;
    let mut text = Vec::new();
    match file.take(length).read_to_end(&mut text)? as u64 == length {
        true => Ok(text),
        false => Err(cut_off("its head")),
    }
}

fn put_number(out: &mut Vec<u8>, value: u64) {
    let mut rest = value << 1;
    while rest >= 0x80 {
        out.push(u8::try_from(rest & 0x7f).unwrap_or_default() | 0x80);
        rest >>= 7;
    }
    out.push(u8::try_from(rest).unwrap_or_default());
}

fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    put_number(out, text.len() as u64);
    out.extend_from_slice(text);
}

fn ended(error: Error, within: &str) -> Error {
    match error.kind() {
        ErrorKind::UnexpectedEof => cut_off(within),
        _ => error,
    }
}

fn cut_off(within: &str) -> Error {
    Error::new(ErrorKind::UnexpectedEof, format!("it ends within {within}"))
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidData, message.into())
}
