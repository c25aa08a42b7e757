//! The text of one value, for people: whatever shows rows reads its cells here, and whatever shows
//! foreign text on a terminal escapes it here.

use std::borrow::Cow;
use std::fmt;

use arrow::array::Array;
use arrow::buffer::NullBuffer;
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The text for null.
pub const NULL: &str = "NULL";

/// The mark for the part of a cell that was cut off.
const CUT: char = '…';

/// How values look where people read: SQL's way of writing times, and nulls inside nested values
/// in words.
fn options() -> FormatOptions<'static> {
    FormatOptions::new()
        .with_display_error(true)
        .with_null(NULL)
        .with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"))
        .with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S%.f%:z"))
        .with_datetime_format(Some("%Y-%m-%d %H:%M:%S%.f"))
}

/// The cells of one column of one batch.
pub struct Cells<'a> {
    formatter: ArrayFormatter<'a>,
    nulls: Option<NullBuffer>,
}

impl fmt::Debug for Cells<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cells").finish_non_exhaustive()
    }
}

impl<'a> Cells<'a> {
    /// The cells of an array.
    ///
    /// # Errors
    /// When values of its type have no text.
    pub fn of(array: &'a dyn Array) -> Result<Self, ArrowError> {
        Ok(Self {
            formatter: ArrayFormatter::try_new(array, &options())?,
            nulls: array.logical_nulls(),
        })
    }

    /// The text of a row's value, or nothing for a null. Control characters are escaped, but
    /// newlines are left for the format to lay out.
    pub fn text(&self, row: usize) -> Option<String> {
        if self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            return None;
        }
        let text = self.formatter.value(row).to_string();
        Some(match escape(&text) {
            Cow::Borrowed(_) => text,
            Cow::Owned(escaped) => escaped,
        })
    }
}

/// Makes text harmless for a terminal: control characters and the characters that change the
/// direction of writing become escapes. Newlines stay.
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(harmful) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for char in text.chars() {
        match char {
            '\t' => escaped.push_str("\\t"),
            '\r' => escaped.push_str("\\r"),
            char if harmful(char) => escaped.extend(char.escape_unicode()),
            char => escaped.push(char),
        }
    }
    Cow::Owned(escaped)
}

/// As [`escape`], and newlines too: for text that must stay on one line.
pub fn escape_line(text: &str) -> Cow<'_, str> {
    match escape(text) {
        escaped if escaped.contains('\n') => Cow::Owned(escaped.replace('\n', "\\n")),
        escaped => escaped,
    }
}

fn harmful(char: char) -> bool {
    (char.is_control() && char != '\n')
        || matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// How many columns of a terminal a text takes.
pub fn width(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.width() }
}

/// Cuts a text to a number of terminal columns; what was cut off shows as an ellipsis.
pub fn cut(text: &str, columns: usize) -> Cow<'_, str> {
    if width(text) <= columns {
        return Cow::Borrowed(text);
    }
    let mut kept = String::new();
    let mut used = 0;
    for char in text.chars() {
        let next = char.width().unwrap_or(0);
        if used + next + 1 > columns {
            break;
        }
        kept.push(char);
        used += next;
    }
    kept.push(CUT);
    Cow::Owned(kept)
}

/// A number with its digits in groups of three, as counts are shown to people.
pub fn count(n: usize) -> String {
    let digits = n.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A count with its noun: `1 row`, `1,024 rows`.
pub fn counted(n: usize, noun: &str) -> String {
    format!("{} {noun}{}", count(n), if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use arrow::array::{BinaryArray, Float64Array, StringArray};

    use super::*;

    #[test]
    fn control_characters_and_direction_marks_are_escaped() {
        assert_eq!(escape("a\u{1b}[31mb\tc\u{202e}"), "a\\u{1b}[31mb\\tc\\u{202e}");
        assert_eq!(escape("two\nlines"), "two\nlines");
        assert_eq!(escape_line("two\nlines"), "two\\nlines");
        assert!(matches!(escape("plain – ünïcode"), Cow::Borrowed(_)));
    }

    #[test]
    fn text_is_cut_by_its_width_on_a_terminal() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("日本語", 4), "日…");
    }

    #[test]
    fn counts_are_grouped() {
        assert_eq!(count(0), "0");
        assert_eq!(count(1_024), "1,024");
        assert_eq!(count(336_776_000), "336,776,000");
        assert_eq!(counted(1, "row"), "1 row");
        assert_eq!(counted(0, "row"), "0 rows");
    }

    #[test]
    fn floats_are_shortest_and_binary_is_hexadecimal() {
        let floats = Float64Array::from(vec![0.1, 1e300, f64::NAN, 2.0]);
        let cells = Cells::of(&floats).unwrap();
        let texts: Vec<_> = (0..4).filter_map(|row| cells.text(row)).collect();
        assert_eq!(texts, ["0.1", "1e300", "NaN", "2.0"]);

        let bytes = BinaryArray::from_vec(vec![b"\x00\xff"]);
        assert_eq!(Cells::of(&bytes).unwrap().text(0).as_deref(), Some("00ff"));

        let texts = StringArray::from(vec![Some(""), None]);
        let cells = Cells::of(&texts).unwrap();
        assert_eq!((cells.text(0).as_deref(), cells.text(1)), (Some(""), None));
    }
}
