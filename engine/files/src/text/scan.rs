//! Splits delimited text into rows and values. What it finds are places in the text: nothing is
//! copied but values with quotes in them.
//!
//! Rows end in `\n`, `\r\n` or `\r`, outside of quotes. A quote counts where a value begins and
//! nowhere else; what follows a closing quote must be a delimiter or the end of the row. Lines with
//! nothing in them are no rows, except in a file of one column.

use memchr::{memchr, memchr2};

use super::dialect::Dialect;
use super::fault::{Fault, no_text};
use super::find::find;
use super::spans::{Rows, Span};

/// A value in quotes that is longer is refused in files that are cut: where no quote comes for so
/// long, a cut is taken to be outside of quotes (see `cut`).
pub(super) const QUOTED_BYTES_MAX: usize = 16 << 20;

/// A row that is longer is refused.
pub(super) const ROW_BYTES_MAX: usize = 256 << 20;

/// The result of the scan of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// The requested number of rows.
    Rows,
    /// The text ends, in the middle of a row if not at its end.
    End,
    /// The next row belongs to someone else.
    Stop,
}

/// Splits text.
#[derive(Debug)]
pub(super) struct Scanner {
    dialect: Dialect,
    /// For each value of a row, the column that it goes to.
    wanted: Vec<Option<u32>>,
    /// The file is read in parts.
    cut: bool,
}

/// The kind of a row.
enum Row {
    /// It ends before this place.
    Until(usize),
    /// The text ends before it does.
    Open,
}

impl Scanner {
    /// Rows have one value for each of `wanted`, which names the column that it goes to.
    pub(super) fn new(dialect: Dialect, wanted: Vec<Option<u32>>, cut: bool) -> Self {
        Self { dialect, wanted, cut }
    }

    /// Adds rows of `text` from `at` on, as long as there are fewer than `max` and they begin
    /// before `stop`. `last` says that the file has no more text. Returns where the next row
    /// begins.
    pub(super) fn rows(
        &self,
        text: &[u8],
        mut at: usize,
        last: bool,
        max: usize,
        stop: usize,
        rows: &mut Rows,
    ) -> Result<(usize, Found), Fault> {
        let row_end = self.dialect.row_end();
        loop {
            if rows.len() >= max {
                return Ok((at, Found::Rows));
            }
            if at >= stop && at > 0 && text.get(at - 1) == Some(&row_end) {
                return Ok((at, Found::Stop));
            }
            let Some(&first) = text.get(at) else { return Ok((at, Found::End)) };
            match self.no_row(text, at, first, last) {
                Some(Row::Until(next)) => {
                    at = next;
                    continue;
                }
                Some(Row::Open) => return Ok((at, Found::End)),
                None => {}
            }
            let copies = rows.copies.len();
            match self.row(text, at, last, rows)? {
                Row::Until(next) => {
                    rows.starts.push(u32::try_from(at).unwrap_or(u32::MAX));
                    at = next;
                }
                Row::Open => {
                    let whole = rows.len();
                    rows.columns.iter_mut().for_each(|column| column.truncate(whole));
                    rows.copies.truncate(copies);
                    return Ok((at, Found::End));
                }
            }
        }
    }

    /// A line that is not a row: an empty one or a comment.
    fn no_row(&self, text: &[u8], at: usize, first: u8, last: bool) -> Option<Row> {
        if self.dialect.ends_row(first) && self.wanted.len() > 1 {
            return Some(Row::Until(at + 1));
        }
        if self.dialect.comment == Some(first) {
            return Some(match memchr(self.dialect.row_end(), &text[at..]) {
                Some(length) => Row::Until(at + length + 1),
                None if last => Row::Until(text.len()),
                None => Row::Open,
            });
        }
        None
    }

    /// Adds the values of the row that begins at `begin`.
    fn row(&self, text: &[u8], begin: usize, last: bool, rows: &mut Rows) -> Result<Row, Fault> {
        let mut at = begin;
        let mut values = 0;
        let mut empty = false;
        loop {
            let Some((span, end)) = self.value(text, begin, at, last, &mut rows.copies)? else {
                return Ok(Row::Open);
            };
            match self.wanted.get(values) {
                Some(Some(column)) => rows.columns[*column as usize].push(span),
                Some(None) => {}
                None => empty = end == at && values == self.wanted.len(),
            }
            values += 1;
            let Some(&byte) = text.get(end) else {
                if !last {
                    return Ok(Row::Open);
                }
                self.check(begin, values, empty, rows)?;
                return Ok(Row::Until(end));
            };
            if byte == self.dialect.delimiter {
                at = end + 1;
                continue;
            }
            self.check(begin, values, empty, rows)?;
            let next = end + 1;
            let pair = byte == b'\r' && text.get(next) == Some(&b'\n');
            return Ok(match pair && self.dialect.terminator.is_none() {
                true => Row::Until(next + 1),
                false if byte == b'\r' && next == text.len() && !last => Row::Open,
                false => Row::Until(next),
            });
        }
    }

    /// The values of the first row from `at` on, whatever their number, and where the next one
    /// begins; none if the text ends before it does.
    pub(super) fn first(
        &self,
        text: &[u8],
        mut at: usize,
        last: bool,
    ) -> Result<Option<(Vec<String>, usize)>, Fault> {
        while let Some(&byte) = text.get(at) {
            if self.dialect.ends_row(byte) {
                at += 1;
                continue;
            }
            match self.no_row(text, at, byte, last) {
                Some(Row::Until(next)) => at = next,
                Some(Row::Open) => return Ok(None),
                None => break,
            }
        }
        let begin = at;
        let mut values = Vec::new();
        let mut copies = Vec::new();
        while at < text.len() || !values.is_empty() {
            let Some((span, end)) = self.value(text, begin, at, last, &mut copies)? else {
                return Ok(None);
            };
            let value = span.bytes(text, &copies);
            match std::str::from_utf8(value) {
                Ok(value) => values.push(value.to_owned()),
                Err(error) => return Err(no_text(value, error.valid_up_to()).moved_to(begin)),
            }
            match text.get(end) {
                Some(byte) if *byte == self.dialect.delimiter => at = end + 1,
                Some(b'\r') if self.dialect.terminator.is_none() => match text.get(end + 1) {
                    Some(b'\n') => return Ok(Some((values, end + 2))),
                    None if !last => return Ok(None),
                    _ => return Ok(Some((values, end + 1))),
                },
                Some(_) => return Ok(Some((values, end + 1))),
                None if last => return Ok(Some((values, end))),
                None => return Ok(None),
            }
        }
        Ok(if last { Some((values, at)) } else { None })
    }

    /// The value that begins at `at`, and where it ends; none if the text ends before.
    fn value(
        &self,
        text: &[u8],
        begin: usize,
        at: usize,
        last: bool,
        copies: &mut Vec<u8>,
    ) -> Result<Option<(Span, usize)>, Fault> {
        if text.get(at) == Some(&self.dialect.quote) {
            return self.quoted(text, begin, at, last, copies);
        }
        let other = self.dialect.terminator.unwrap_or(b'\r');
        let end = find(text, at, [self.dialect.delimiter, self.dialect.row_end(), other]);
        Ok(Some((Span::plain(at, end), end)))
    }

    /// A value in quotes and where it ends, just after the closing one; none if the text ends
    /// before.
    fn quoted(
        &self,
        text: &[u8],
        begin: usize,
        open: usize,
        last: bool,
        copies: &mut Vec<u8>,
    ) -> Result<Option<(Span, usize)>, Fault> {
        let quote = self.dialect.quote;
        let start = open + 1;
        let mut at = start;
        // Where the part of the value begins that was not copied, once one was.
        let mut copied: Option<(usize, usize)> = None;
        loop {
            let rest = &text[at.min(text.len())..];
            let found = match self.dialect.escape {
                Some(escape) => memchr2(quote, escape, rest),
                None => memchr(quote, rest),
            };
            let Some(length) = found else {
                return self.unclosed(begin, text.len() - start, last);
            };
            let mark = at + length;
            let next = text.get(mark + 1).copied();
            if next.is_none() && !last {
                return self.unclosed(begin, mark - start, last);
            }
            let doubled = self.dialect.double_quote && text[mark] == quote && next == Some(quote);
            if doubled || (text[mark] != quote && next.is_some()) {
                let (first, from) = copied.unwrap_or((copies.len(), start));
                copies.extend_from_slice(&text[from..mark]);
                copied = Some((first, mark + 1));
                at = mark + 2;
                continue;
            }
            if text[mark] != quote {
                return self.unclosed(begin, mark - start, last);
            }
            let follows = next.is_none_or(|byte| self.dialect.precedes_value(byte));
            if !follows {
                return Err(self.after_quote(text, begin, mark + 1));
            }
            if self.cut && mark - start > QUOTED_BYTES_MAX {
                return Err(too_long(begin));
            }
            let span = match copied {
                Some((first, from)) => {
                    copies.extend_from_slice(&text[from..mark]);
                    Span::copied(first, copies.len())
                }
                None => Span::quoted(start, mark),
            };
            return Ok(Some((span, mark + 1)));
        }
    }

    fn unclosed(
        &self,
        begin: usize,
        length: usize,
        last: bool,
    ) -> Result<Option<(Span, usize)>, Fault> {
        if self.cut && length > QUOTED_BYTES_MAX {
            return Err(too_long(begin));
        }
        if !last {
            return Ok(None);
        }
        let quote = char::from(self.dialect.quote);
        Err(Fault::new(begin, format!("the row has a quote ({quote}) that is never closed")).hint(
            "the file may be cut off; another quote, or none, is named with \
             CREATE EXTERNAL TABLE ... OPTIONS ('format.quote' '...')",
        ))
    }

    fn after_quote(&self, text: &[u8], begin: usize, at: usize) -> Fault {
        let rest = &text[at..text.len().min(at + 20)];
        let line = rest.split(|byte| self.dialect.precedes_value(*byte)).next().unwrap_or_default();
        let follows = super::fault::shown(&String::from_utf8_lossy(line));
        let quote = char::from(self.dialect.quote);
        Fault::new(begin, format!("a closing quote ({quote}) is followed by \"{follows}\"")).hint(
            "a quote within a quoted value is doubled; another way is named with \
             CREATE EXTERNAL TABLE ... OPTIONS ('format.escape' '\\') or ('format.quote' '...')",
        )
    }

    /// That a row has as many values as there are columns; fills those up that may be missing.
    fn check(
        &self,
        begin: usize,
        values: usize,
        empty: bool,
        rows: &mut Rows,
    ) -> Result<(), Fault> {
        let columns = self.wanted.len();
        if values == columns || (values == columns + 1 && empty) {
            return Ok(());
        }
        if values < columns && self.dialect.ragged {
            let missing = self.wanted[values..].iter().flatten();
            missing.for_each(|column| rows.columns[*column as usize].push(Span::MISSING));
            return Ok(());
        }
        let plural = if values == 1 { "" } else { "s" };
        let message = format!("the row has {values} value{plural} for {columns} columns");
        let fault = Fault::new(begin, message);
        Err(if values < columns {
            fault.hint(
                "rows may end early with CREATE EXTERNAL TABLE ... OPTIONS \
                 ('format.truncated_rows' 'true'): what they lack is null",
            )
        } else {
            fault.hint(
                "is the delimiter right, and are values that have it in quotes? another is named with \
                 CREATE EXTERNAL TABLE ... OPTIONS ('format.delimiter' ';')",
            )
        })
    }
}

fn too_long(begin: usize) -> Fault {
    let most = QUOTED_BYTES_MAX >> 20;
    Fault::new(begin, format!("a value in quotes is longer than {most} MiB")).hint(
        "is a quote never closed? a file with such values is read in one part: \
         SET datafusion.optimizer.repartition_file_scans = false",
    )
}
