//! Walks over JSON text: strings, numbers and words, and values to skip.

use std::borrow::Cow;

use crate::text::fault::{Fault, shown};
use crate::text::find::find;

/// Objects and lists in each other, at most: a text that nests deeper is refused before it fills
/// the stack.
const DEPTH_MAX: usize = 512;

/// Why a walk ends before its time.
#[derive(Debug)]
pub(super) enum Stop {
    /// The text ends in the middle of a value.
    Open,
    /// Something is wrong.
    Wrong(Fault),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Wrong(fault)
    }
}

/// The result of a step.
pub(super) type Walk<T> = Result<T, Stop>;

/// A number or a word as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scalar<'a> {
    Null,
    Boolean(bool),
    /// A number without a fraction and an exponent.
    Integer(&'a str),
    /// Another number, also `NaN` and `Infinity`, which Python writes.
    Fraction(&'a str),
}

/// A place in a text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walker<'a> {
    pub(super) text: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Walker<'a> {
    /// The next byte that is not white space, without consuming it.
    #[inline]
    pub(super) fn peek(&mut self) -> Walk<u8> {
        loop {
            match self.text.get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                Some(byte) => return Ok(*byte),
                None => return Err(Stop::Open),
            }
        }
    }

    /// Passes a byte that must be next.
    #[inline]
    pub(super) fn expect(&mut self, byte: u8, what: &str) -> Walk<()> {
        if self.peek()? == byte {
            self.at += 1;
            return Ok(());
        }
        Err(self.unexpected(what))
    }

    /// Passes the separator after a value: true if another value follows, false at the end of the
    /// list or object.
    #[inline]
    pub(super) fn another(&mut self, close: u8) -> Walk<bool> {
        match self.peek()? {
            b',' => {
                self.at += 1;
                Ok(true)
            }
            byte if byte == close => {
                self.at += 1;
                Ok(false)
            }
            _ => Err(self.unexpected(if close == b'}' {
                "\",\" or \"}\""
            } else {
                "\",\" or \"]\""
            })),
        }
    }

    /// Passes an opening bracket: true if a value follows.
    #[inline]
    pub(super) fn open(&mut self, close: u8) -> Walk<bool> {
        self.at += 1;
        if self.peek()? == close {
            self.at += 1;
            return Ok(false);
        }
        Ok(true)
    }

    /// The error for what is next.
    pub(super) fn unexpected(&self, what: &str) -> Stop {
        let rest = &self.text[self.at.min(self.text.len())..];
        let found = shown(&String::from_utf8_lossy(&rest[..rest.len().min(20)]));
        Fault::new(self.at, format!("the JSON has \"{found}\" where {what} is expected")).into()
    }

    /// A key of an object, and the colon after it.
    #[inline]
    pub(super) fn key(&mut self) -> Walk<Cow<'a, [u8]>> {
        if self.peek()? != b'"' {
            return Err(self.unexpected("a key in double quotes"));
        }
        let key = self.string()?;
        self.expect(b':', "\":\"")?;
        Ok(key)
    }

    /// A string without its quotes; the next byte is its opening one.
    #[inline]
    pub(super) fn string(&mut self) -> Walk<Cow<'a, [u8]>> {
        let start = self.at + 1;
        let end = find(self.text, start, [b'"', b'\\', b'\n']);
        match self.text.get(end) {
            Some(b'"') => {
                self.at = end + 1;
                Ok(Cow::Borrowed(&self.text[start..end]))
            }
            Some(b'\\') => self.escaped(start, end).map(Cow::Owned),
            Some(_) => Err(self.broken_string()),
            None => Err(Stop::Open),
        }
    }

    /// Passes a string.
    fn pass_string(&mut self) -> Walk<()> {
        let mut at = self.at + 1;
        loop {
            at = find(self.text, at, [b'"', b'\\', b'\n']);
            match self.text.get(at) {
                Some(b'"') => {
                    self.at = at + 1;
                    return Ok(());
                }
                Some(b'\\') => at += 2,
                Some(_) => return Err(self.broken_string()),
                None => return Err(Stop::Open),
            }
        }
    }

    fn broken_string(&self) -> Stop {
        Fault::new(self.at, "the JSON has a string with a line break in it")
            .hint("is a quote missing? within strings a line break is written \\n")
            .into()
    }

    /// A string with escapes, of which the first is at `escape`.
    fn escaped(&mut self, start: usize, escape: usize) -> Walk<Vec<u8>> {
        let text = self.text;
        let mut out = text[start..escape].to_vec();
        let mut at = escape;
        loop {
            match text.get(at) {
                Some(b'"') => {
                    self.at = at + 1;
                    return Ok(out);
                }
                Some(b'\\') => at = self.escape(at, &mut out)?,
                Some(b'\n') => return Err(self.broken_string()),
                Some(_) => {
                    let end = find(text, at, [b'"', b'\\', b'\n']);
                    out.extend_from_slice(&text[at..end]);
                    at = end;
                }
                None => return Err(Stop::Open),
            }
        }
    }

    /// Appends the character of the escape at `at`; returns where it ends.
    fn escape(&self, at: usize, out: &mut Vec<u8>) -> Walk<usize> {
        let plain = match self.text.get(at + 1).ok_or(Stop::Open)? {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'b' => 8,
            b'f' => 12,
            byte @ (b'"' | b'\\' | b'/') => *byte,
            b'u' => {
                let (character, end) = self.unicode(at)?;
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(end);
            }
            _ => return Err(self.bad_escape(at, 2)),
        };
        out.push(plain);
        Ok(at + 2)
    }

    /// A `\u` escape, or two of them that are one character.
    fn unicode(&self, at: usize) -> Walk<(char, usize)> {
        let first = self.unit(at)?;
        if !(0xD800..0xE000).contains(&first) {
            let character = char::from_u32(first).ok_or_else(|| self.bad_escape(at, 6))?;
            return Ok((character, at + 6));
        }
        let next = self.text.get(at + 6..at + 8);
        let pair = match next {
            Some(b"\\u") if first < 0xDC00 => self.unit(at + 6)?,
            None if self.text.len() < at + 8 => return Err(Stop::Open),
            _ => return Err(self.bad_escape(at, 6)),
        };
        let second = pair.checked_sub(0xDC00).filter(|second| *second < 0x400);
        let second = second.ok_or_else(|| self.bad_escape(at, 12))?;
        let character = char::from_u32(0x10000 + ((first - 0xD800) << 10) + second);
        Ok((character.ok_or_else(|| self.bad_escape(at, 12))?, at + 12))
    }

    fn unit(&self, at: usize) -> Walk<u32> {
        let digits = self.text.get(at + 2..at + 6).ok_or(Stop::Open)?;
        let hex = |byte: &u8| char::from(*byte).to_digit(16);
        let unit = digits.iter().try_fold(0, |value, byte| Some(value << 4 | hex(byte)?));
        unit.ok_or_else(|| self.bad_escape(at, 6))
    }

    fn bad_escape(&self, at: usize, length: usize) -> Stop {
        let end = self.text.len().min(at + length);
        let escape = String::from_utf8_lossy(&self.text[at..end]);
        Fault::new(
            at,
            format!("the JSON has a string with \"{}\", which is not a character", shown(&escape)),
        )
        .into()
    }

    /// A number or a word.
    #[inline]
    pub(super) fn scalar(&mut self) -> Walk<Scalar<'a>> {
        let start = self.at;
        let ends =
            |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t' | b':');
        let rest = &self.text[start..];
        let length = rest.iter().position(ends).ok_or(Stop::Open)?;
        let word = &rest[..length];
        let scalar = match word {
            b"null" => Scalar::Null,
            b"true" => Scalar::Boolean(true),
            b"false" => Scalar::Boolean(false),
            b"NaN" => Scalar::Fraction("NaN"),
            b"Infinity" => Scalar::Fraction("inf"),
            b"-Infinity" => Scalar::Fraction("-inf"),
            _ => number(word).ok_or_else(|| self.unexpected("a value"))?,
        };
        self.at = start + length;
        Ok(scalar)
    }

    /// Passes a null in place of a row; the next byte is its first one.
    pub(super) fn null_row(&mut self) -> Walk<()> {
        let rest = &self.text[self.at..];
        let read = rest.len().min(b"null".len());
        if !b"null".starts_with(&rest[..read]) {
            return Err(self.unexpected("a row in {}"));
        }
        if read < b"null".len() {
            return Err(Stop::Open);
        }
        self.at += read;
        Ok(())
    }

    /// Passes any value; the next byte is its first one.
    pub(super) fn pass(&mut self, depth: usize) -> Walk<()> {
        if depth > DEPTH_MAX {
            return Err(self.too_deep());
        }
        match self.text.get(self.at).ok_or(Stop::Open)? {
            b'"' => self.pass_string(),
            b'{' => {
                let mut more = self.open(b'}')?;
                while more {
                    if self.peek()? != b'"' {
                        return Err(self.unexpected("a key in double quotes"));
                    }
                    self.pass_string()?;
                    self.expect(b':', "\":\"")?;
                    self.peek()?;
                    self.pass(depth + 1)?;
                    more = self.another(b'}')?;
                }
                Ok(())
            }
            b'[' => {
                let mut more = self.open(b']')?;
                while more {
                    self.peek()?;
                    self.pass(depth + 1)?;
                    more = self.another(b']')?;
                }
                Ok(())
            }
            _ => self.scalar().map(|_| ()),
        }
    }

    /// The error for values in values in values.
    pub(super) fn too_deep(&self) -> Stop {
        Fault::new(self.at, format!("the JSON nests deeper than {DEPTH_MAX} levels")).into()
    }

    /// The text of any value; the next byte is its first one.
    pub(super) fn raw(&mut self, depth: usize) -> Walk<&'a [u8]> {
        let start = self.at;
        self.pass(depth)?;
        Ok(&self.text[start..self.at])
    }
}

/// A number as JSON allows it.
#[inline]
fn number(word: &[u8]) -> Option<Scalar<'_>> {
    let text = std::str::from_utf8(word).ok()?;
    let digits = word.strip_prefix(b"-").unwrap_or(word);
    let count = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let whole = count(digits);
    if whole == 0 || (whole > 1 && digits[0] == b'0') {
        return None;
    }
    let mut rest = &digits[whole..];
    if rest.is_empty() {
        return Some(Scalar::Integer(text));
    }
    if let Some(decimals) = rest.strip_prefix(b".") {
        let length = count(decimals);
        if length == 0 {
            return None;
        }
        rest = &decimals[length..];
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let exponent =
            exponent.strip_prefix(b"+").or(exponent.strip_prefix(b"-")).unwrap_or(exponent);
        let length = count(exponent);
        if length == 0 {
            return None;
        }
        rest = &exponent[length..];
    }
    rest.is_empty().then_some(Scalar::Fraction(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(text: &str) -> Result<String, ()> {
        let walked = Walker { text: text.as_bytes(), at: 0 }.string();
        walked.map(|found| String::from_utf8(found.into_owned()).unwrap()).map_err(|_| ())
    }

    #[test]
    fn strings_are_unescaped() {
        assert_eq!(string(r#""a b""#).unwrap(), "a b");
        assert_eq!(string(r#""a\n\u00e9\"\\\/""#).unwrap(), "a\né\"\\/");
        assert_eq!(string(r#""\ud83d\ude00!""#).unwrap(), "😀!");
        for wrong in
            [r#""\ud83d""#, r#""\ude00x""#, r#""\x""#, r#""\u12g4""#, "\"a\nb\"", r#""open"#]
        {
            assert!(string(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn numbers_are_those_of_json() {
        for text in ["0", "-1", "18446744073709551616"] {
            assert_eq!(number(text.as_bytes()), Some(Scalar::Integer(text)));
        }
        for text in ["0.5", "-1.5e-3", "1E5"] {
            assert_eq!(number(text.as_bytes()), Some(Scalar::Fraction(text)));
        }
        for text in ["", "-", "01", ".5", "5.", "1e", "+1", "0x1", "1_0"] {
            assert_eq!(number(text.as_bytes()), None, "{text}");
        }
    }
}
