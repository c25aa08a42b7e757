//! Where the rows of a part of a file begin. A file of delimited text is cut at any byte; the first
//! row of a part is the one after the first line break that is not in quotes. Whether a line break
//! is in quotes depends on all that is before it, so it has to be proven:
//!
//! - Text before the cut is read twice at once, as if it began in quotes and as if not. Where the
//!   two come to the same, or one of them meets a closing quote with text right after it, the other
//!   is true: `,"x` opens, `x",` closes.
//! - Where there is no quote at all in the last [`QUOTED_BYTES_MAX`] bytes, the cut is not in
//!   quotes: the reader refuses longer values in quotes.
//! - Else the text is read from the beginning of the file.
//!
//! DataFusion 55.2: takes any line break for the end of a row, so that the lines of a quoted text
//! become rows (datafusion#11472). Its option `newlines_in_values` reads such a file in one part,
//! and has to be known before.

use std::sync::Arc;

use bytes::Bytes;
use datafusion::error::Result;
use memchr::{memchr, memchr2};
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use super::dialect::Dialect;
use super::input::BYTE_ORDER_MARK;
use super::scan::QUOTED_BYTES_MAX;

/// The size of the text before a cut that is examined first. A short text with quotes is enough.
pub(super) const LOOK_BACK: u64 = 64 << 10;

/// By how much the look back grows while it does not tell.
const LOOK_BACK_GROWTH: u64 = 16;

/// The size of a read on the way forward.
const STEP: u64 = 256 << 10;

/// The size of a read from the beginning of a file.
const STRIDE: u64 = 4 << 20;

/// The state at a position of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Outside of quotes.
    Outside,
    /// In quotes.
    Inside,
    /// After a quote in quotes: it closes, or it is the first of two.
    Quote,
    /// In quotes, after the character that takes the meaning of the next.
    Escaped,
    /// Not possible in a file that can be read.
    Refuted,
}

/// Follows the quotes of a text.
#[derive(Debug, Clone, Copy)]
struct Quotes<'a> {
    dialect: &'a Dialect,
    state: State,
    previous: u8,
}

impl<'a> Quotes<'a> {
    /// Begins where a row may begin.
    fn at_row(dialect: &'a Dialect, state: State) -> Self {
        Self { dialect, state, previous: dialect.row_end() }
    }

    /// Goes to the end of `text`, or just after the first end of a row if `until_row` is set.
    fn follow(&mut self, text: &[u8], until_row: bool) -> Option<usize> {
        let (quote, row_end) = (self.dialect.quote, self.dialect.row_end());
        let mut at = 0;
        while at < text.len() {
            let rest = &text[at..];
            match self.state {
                State::Refuted => break,
                State::Outside => {
                    let found = match until_row {
                        true => memchr2(quote, row_end, rest),
                        false => memchr(quote, rest),
                    };
                    let Some(length) = found else { break };
                    let mark = at + length;
                    at = mark + 1;
                    if text[mark] == row_end && until_row {
                        return Some(at);
                    }
                    let before = if mark == 0 { self.previous } else { text[mark - 1] };
                    if text[mark] == quote && self.dialect.precedes_value(before) {
                        self.state = State::Inside;
                    }
                }
                State::Inside => {
                    let found = match self.dialect.escape {
                        Some(escape) => memchr2(quote, escape, rest),
                        None => memchr(quote, rest),
                    };
                    let Some(length) = found else { break };
                    let mark = at + length;
                    at = mark + 1;
                    self.state = if text[mark] == quote { State::Quote } else { State::Escaped };
                }
                State::Escaped => {
                    at += 1;
                    self.state = State::Inside;
                }
                State::Quote if rest[0] == quote => {
                    at += 1;
                    self.state = State::Inside;
                }
                State::Quote if self.dialect.precedes_value(rest[0]) => self.state = State::Outside,
                State::Quote => self.state = State::Refuted,
            }
        }
        self.previous = text.last().copied().unwrap_or(self.previous);
        None
    }
}

/// A file that is cut.
#[derive(Debug)]
pub(super) struct CutFile<'a> {
    pub(super) store: &'a Arc<dyn ObjectStore>,
    pub(super) file: &'a ObjectMeta,
    pub(super) dialect: &'a Dialect,
    /// The size of the text before a cut that is examined first.
    pub(super) look_back: u64,
}

impl CutFile<'_> {
    /// The start of the first row at or after `start`; `None` if it is not before `end`.
    pub(super) async fn first_row(&self, start: u64, end: u64) -> Result<Option<u64>> {
        // The byte before the part may be the line break that ends a row.
        let mut at = start.saturating_sub(1);
        let mut quotes = self.before(at).await?;
        while at < end {
            let next = (at + STEP).min(self.file.size);
            let text = self.read(at, next).await?;
            if text.is_empty() {
                break;
            }
            if let Some(length) = quotes.follow(&text, true) {
                let row = at + length as u64;
                return Ok((row < end).then_some(row));
            }
            at = next;
        }
        Ok(None)
    }

    /// The state at `cut`.
    async fn before(&self, cut: u64) -> Result<Quotes<'_>> {
        let most = QUOTED_BYTES_MAX as u64;
        let mut length = self.look_back;
        loop {
            length = length.min(most);
            let from = cut.saturating_sub(length);
            if from == 0 {
                return self.since_the_beginning(cut).await;
            }
            let text = self.read(from, cut).await?;
            if let Some(proven) = self.proven(&text) {
                return Ok(proven);
            }
            if length == most {
                if memchr(self.dialect.quote, &text).is_some() {
                    return self.since_the_beginning(cut).await;
                }
                let previous = text.last().copied().unwrap_or_default();
                return Ok(Quotes { dialect: self.dialect, state: State::Outside, previous });
            }
            length = length.saturating_mul(LOOK_BACK_GROWTH);
        }
    }

    /// The state at the end of a text from the middle of a file, if it is clear.
    fn proven(&self, text: &[u8]) -> Option<Quotes<'_>> {
        // After the end of a line, nothing is pending from the character before.
        let line = memchr(self.dialect.row_end(), text)? + 1;
        let text = &text[line..];
        let mut outside = Quotes::at_row(self.dialect, State::Outside);
        let mut inside = Quotes::at_row(self.dialect, State::Inside);
        // In steps, so that most of the text is followed once.
        for part in text.chunks(1 << 10) {
            if outside.state == inside.state {
                outside.follow(part, false);
                inside = outside;
            } else {
                outside.follow(part, false);
                inside.follow(part, false);
            }
        }
        match (outside.state, inside.state) {
            (State::Refuted, State::Refuted) => None,
            (_, State::Refuted) => Some(outside),
            (State::Refuted, _) => Some(inside),
            (one, other) if one == other => Some(outside),
            _ => None,
        }
    }

    async fn since_the_beginning(&self, cut: u64) -> Result<Quotes<'_>> {
        let mut quotes = Quotes::at_row(self.dialect, State::Outside);
        let mut at = 0;
        while at < cut {
            let next = (at + STRIDE).min(cut);
            let text = self.read(at, next).await?;
            if text.is_empty() {
                break;
            }
            let mark = at == 0 && text.starts_with(BYTE_ORDER_MARK);
            quotes.follow(if mark { &text[BYTE_ORDER_MARK.len()..] } else { &text }, false);
            if quotes.state == State::Refuted {
                // The part that has this place says what is wrong with it.
                quotes.state = State::Outside;
            }
            at = next;
        }
        Ok(quotes)
    }

    async fn read(&self, from: u64, to: u64) -> Result<Bytes> {
        if from >= to {
            return Ok(Bytes::new());
        }
        Ok(self.store.get_range(&self.file.location, from..to).await?)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::common::config::CsvOptions;
    use object_store::memory::InMemory;
    use object_store::path::Path;

    use super::*;

    /// Rows whose values are what a generator of numbers says: quotes, line breaks and delimiters,
    /// in quotes or not.
    fn text(mut seed: u64) -> Vec<u8> {
        let mut below = |end: u64| {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % end
        };
        let mut text = String::from("a,b\n");
        for _ in 0..30 {
            for column in 0..2 {
                match below(4) {
                    0 => {}
                    1 => text.push_str("plain"),
                    2 => text.push_str("5\" pipe"),
                    _ => {
                        text.push('"');
                        for _ in 0..below(9) {
                            let at = usize::try_from(below(5)).unwrap();
                            text.push_str([",", "\n", "\"\"", "x", "\r\n"][at]);
                        }
                        text.push('"');
                    }
                }
                text.push_str([",", "\n"][column]);
            }
        }
        text.into_bytes()
    }

    #[tokio::test]
    async fn a_part_begins_where_the_whole_text_says() {
        let dialect = Dialect::of(&CsvOptions::default(), true).unwrap();
        let memory: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        for seed in 0..200 {
            let text = text(seed);
            let path = Path::from("x.csv");
            memory.put(&path, text.clone().into()).await.unwrap();
            let file = memory.head(&path).await.unwrap();
            let at =
                |look_back| CutFile { store: &memory, file: &file, dialect: &dialect, look_back };
            let mut rows = Vec::new();
            let mut whole = Quotes::at_row(&dialect, State::Outside);
            let mut passed = 0;
            while let Some(length) = whole.follow(&text[passed..], true) {
                passed += length;
                whole = Quotes::at_row(&dialect, State::Outside);
                rows.push(passed as u64);
            }
            for start in 1..file.size {
                let first = rows.iter().copied().find(|row| *row >= start && *row < file.size);
                let found = at(8).first_row(start, file.size).await.unwrap();
                assert_eq!(found, first, "{seed} {start}");
            }
        }
    }

    /// DataFusion 55.2: the lines of a quoted text are rows where a file is cut. Without this fault
    /// `cut` can go.
    #[tokio::test]
    async fn the_proof_is_still_needed() {
        use datafusion::arrow::datatypes::{DataType, Field, Schema};
        use datafusion::prelude::{CsvReadOptions, SessionConfig, SessionContext};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.csv");
        let mut text = String::from("a,b\n");
        for row in 0..2000 {
            text.push_str(&format!("{row},\"begins\n{row},inner\n{row},inner\nends\"\n"));
        }
        std::fs::write(&path, text).unwrap();
        let mut config = SessionConfig::new().with_target_partitions(7);
        config.options_mut().optimizer.repartition_file_min_size = 1;
        let context = SessionContext::new_with_config(config);
        let fields = ["a", "b"].map(|name| Field::new(name, DataType::Utf8, true));
        let schema = Schema::new(fields.to_vec());
        let options = CsvReadOptions::new().schema(&schema);
        let read = context.read_csv(path.to_str().unwrap(), options).await.unwrap();
        let counted = read.count().await;
        assert!(counted.is_err() || counted.is_ok_and(|rows| rows != 2000));
    }
}
