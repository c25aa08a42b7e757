//! How a file of delimited text is written: its delimiter, quotes, ends of rows and header line.

use datafusion::common::config::CsvOptions;
use datafusion::error::Result;
use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::error::{SourceError, SourceErrorKind};

/// The characters that separate values and rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Dialect {
    /// Between two values of a row.
    pub(super) delimiter: u8,
    /// Around a value that has a delimiter, a quote or a line break in it.
    pub(super) quote: u8,
    /// Before a quote that is part of a quoted value, besides doubling it.
    pub(super) escape: Option<u8>,
    /// The start of a line that is a comment.
    pub(super) comment: Option<u8>,
    /// At the end of a row, if it is neither of `\n`, `\r\n` and `\r`.
    pub(super) terminator: Option<u8>,
    /// The first row has the names of the columns.
    pub(super) header: bool,
    /// Rows and files may lack columns, which are null there.
    pub(super) ragged: bool,
    /// A quote within a quoted value is doubled.
    pub(super) double_quote: bool,
    /// Which texts are null, instead of the empty one.
    pub(super) null_regex: Option<String>,
    /// The one text that is null, instead of the empty one, unless it is in quotes.
    pub(super) null_value: Option<String>,
    /// The format of declared dates and timestamps, in chrono's strftime syntax.
    pub(super) date_format: Option<String>,
    pub(super) timestamp_format: Option<String>,
}

/// Which texts are null.
#[derive(Debug)]
pub(super) enum Nulls {
    /// The empty one.
    Empty,
    /// Those that match.
    Like(Regex),
    /// This one, as it is and not in quotes.
    Word(String),
}

impl Nulls {
    /// True if the text is null by default.
    pub(super) fn is(&self, text: &str, quoted: bool) -> bool {
        match self {
            Self::Empty => false,
            Self::Like(nulls) => nulls.is_match(text),
            Self::Word(word) => text == word && !quoted,
        }
    }
}

impl Dialect {
    /// The dialect by the options of a table; `header` is the default.
    pub(crate) fn of(options: &CsvOptions, header: bool) -> Result<Self> {
        let dialect = Self {
            delimiter: options.delimiter,
            quote: options.quote,
            escape: options.escape.filter(|escape| *escape != options.quote),
            comment: options.comment,
            terminator: options.terminator.filter(|byte| !matches!(byte, b'\n' | b'\r')),
            header: options.has_header.unwrap_or(header),
            ragged: options.truncated_rows.unwrap_or(false),
            double_quote: options.double_quote.unwrap_or(true),
            null_regex: options.null_regex.clone(),
            null_value: options.null_value.clone().filter(|text| !text.is_empty()),
            date_format: options.date_format.clone(),
            timestamp_format: options.timestamp_format.clone(),
        };
        if dialect.null_regex.is_some() && dialect.null_value.is_some() {
            return Err(SourceError::new(
                SourceErrorKind::Invalid,
                "the options \"null_regex\" and \"null_value\" are both given",
            )
            .hint("say what is null with one of them")
            .into_datafusion());
        }
        dialect.nulls()?;
        let marks = [Some(dialect.delimiter), Some(dialect.quote), dialect.escape];
        let more = [dialect.comment, dialect.terminator];
        if marks.iter().chain(&more).flatten().any(|byte| !byte.is_ascii()) {
            return Err(SourceError::new(
                SourceErrorKind::Invalid,
                "delimiter, quote, escape, comment and terminator are single ASCII characters",
            )
            .into_datafusion());
        }
        Ok(dialect)
    }

    /// Which texts are null.
    pub(super) fn nulls(&self) -> Result<Nulls> {
        if let Some(word) = &self.null_value {
            return Ok(Nulls::Word(word.clone()));
        }
        let Some(expression) = self.null_regex.as_deref() else { return Ok(Nulls::Empty) };
        Regex::new(expression).map(Nulls::Like).map_err(|error| {
            let reason = error.to_string();
            let reason = reason.lines().last().unwrap_or_default().trim().to_owned();
            SourceError::new(
                SourceErrorKind::Invalid,
                format!("the option \"null_regex\" is not a valid regular expression: {reason}"),
            )
            .into_datafusion()
        })
    }

    /// The byte after which a row may begin: a file is cut only there.
    pub(super) fn row_end(&self) -> u8 {
        self.terminator.unwrap_or(b'\n')
    }

    /// True if a value can begin after this byte.
    pub(super) fn precedes_value(&self, byte: u8) -> bool {
        byte == self.delimiter || self.ends_row(byte)
    }

    /// True if this byte ends a row outside of quotes.
    pub(super) fn ends_row(&self, byte: u8) -> bool {
        match self.terminator {
            Some(terminator) => byte == terminator,
            None => matches!(byte, b'\n' | b'\r'),
        }
    }
}
