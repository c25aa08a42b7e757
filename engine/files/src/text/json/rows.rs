//! Finds the rows of a JSON file: objects one after the other, with or without line breaks between
//! them and within them, and the objects of lists. A null in place of an object is a row of nulls.
//!
//! A file is cut where an object is followed by a line break and another object. In JSON that is
//! between two rows and nowhere else: within a list there is a comma between two objects, and in a
//! string there is no line break.

use super::lex::{Stop, Walk, Walker};
use crate::text::fault::Fault;

/// The next item in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// A row: its bracket is next, or a null.
    Row,
    /// The next row belongs to someone else.
    Stop,
    /// Nothing.
    End,
}

/// The state of a reader of rows.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rows {
    /// Within a list of rows.
    in_list: bool,
    /// Just after a row.
    after_row: bool,
    /// The row before is a null, after which a file is never cut.
    after_null: bool,
}

impl Rows {
    /// Goes on to the next row. What ends before `stop` is followed by a row of this part of the
    /// file.
    pub(super) fn next(&mut self, walker: &mut Walker<'_>, last: bool, stop: usize) -> Walk<Next> {
        let mut rows = *self;
        let mut walked = *walker;
        let next = rows.go_on(&mut walked, last, stop)?;
        (*self, *walker) = (rows, walked);
        Ok(next)
    }

    fn go_on(&mut self, walker: &mut Walker<'_>, last: bool, stop: usize) -> Walk<Next> {
        let end = walker.at;
        loop {
            let byte = match walker.peek() {
                Err(Stop::Open) if last && !self.in_list => return Ok(Next::End),
                Err(Stop::Open) if last => {
                    return Err(
                        Fault::new(walker.at, "the file ends in the middle of a list").into()
                    );
                }
                peeked => peeked?,
            };
            match byte {
                b'[' if !self.in_list => {
                    walker.at += 1;
                    (self.in_list, self.after_row) = (true, false);
                }
                b']' if self.in_list => {
                    walker.at += 1;
                    (self.in_list, self.after_row) = (false, false);
                }
                b',' if self.in_list && self.after_row => {
                    walker.at += 1;
                    if !matches!(walker.peek()?, b'{' | b'n') {
                        return Err(walker.unexpected("a row in {}"));
                    }
                    self.after_row = false;
                }
                b'{' if !(self.in_list && self.after_row) => {
                    let between = walker.text.get(end..walker.at).unwrap_or_default();
                    let cut = self.after_row && end > stop && between.contains(&b'\n');
                    if cut && !self.after_null {
                        return Ok(Next::Stop);
                    }
                    (self.after_row, self.after_null) = (true, false);
                    return Ok(Next::Row);
                }
                b'n' if !(self.in_list && self.after_row) => {
                    (self.after_row, self.after_null) = (true, true);
                    return Ok(Next::Row);
                }
                _ if self.in_list && self.after_row => {
                    return Err(walker.unexpected("\",\" or \"]\""));
                }
                _ => return Err(walker.unexpected("a row in {}")),
            }
        }
    }
}

/// Where a row begins in a text that was cut: just after an object that ends in the text and a line
/// break. The end of the object comes with it.
pub(super) fn row_after_cut(text: &[u8], from: usize) -> Option<(usize, usize)> {
    let mut at = from;
    while let Some(length) = memchr::memchr(b'\n', text.get(at..)?) {
        let line_break = at + length;
        let before = text[..line_break].iter().rposition(|byte| !byte.is_ascii_whitespace());
        let after = text[line_break..].iter().position(|byte| !byte.is_ascii_whitespace())?;
        let row = line_break + after;
        if let Some(end) = before.filter(|end| text[*end] == b'}')
            && text[row] == b'{'
        {
            return Some((end, row));
        }
        at = row;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Result<usize, ()> {
        let mut walker = Walker { text: text.as_bytes(), at: 0 };
        let mut rows = Rows::default();
        let mut count = 0;
        while rows.next(&mut walker, true, usize::MAX).map_err(|_| ())? == Next::Row {
            match walker.peek().map_err(|_| ())? {
                b'n' => walker.null_row().map_err(|_| ())?,
                _ => walker.pass(0).map_err(|_| ())?,
            }
            count += 1;
        }
        Ok(count)
    }

    #[test]
    fn rows_are_found_however_they_are_written() {
        for text in ["{}{}", "{}\n{}\n", "[{},{}]", " [\n{\n} ,\n{}]\n", "[{}]\n[{}]", "{}[{}]"] {
            assert_eq!(rows(text), Ok(2), "{text}");
        }
        for text in ["null\n{}", "{}\nnull", "[null,{}]", "[{}, null]", "null null"] {
            assert_eq!(rows(text), Ok(2), "{text}");
        }
        assert_eq!(rows("[]"), Ok(0));
        for text in [
            "{},{}",
            "[{} {}]",
            "[{},]",
            "[,{}]",
            "[{}",
            "1",
            "[1]",
            "[[{}]]",
            "{}]",
            "nul",
            "no",
            "[null null]",
        ] {
            assert_eq!(rows(text), Err(()), "{text}");
        }
    }

    #[test]
    fn files_are_cut_between_rows() {
        let after = |text: &str| row_after_cut(text.as_bytes(), 0).map(|(_, row)| row);
        assert_eq!(after("1}\n{}"), Some(3));
        assert_eq!(after("}}\r\n \n{}"), Some(6));
        assert_eq!(after("{\"a\":1},\n{\"a\":2}\n]"), None);
        assert_eq!(after("}{}\n"), None);
    }
}
