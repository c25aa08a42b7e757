//! How a file of delimited text is written: its delimiter, quotes, ends of rows and header line.

use datafusion::common::config::CsvOptions;
use datafusion::error::Result;
use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::source::error::{SourceError, SourceErrorKind};

/// How values and rows are told apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Dialect {
    /// Between two values of a row.
    pub(super) delimiter: u8,
    /// Around a value that has a delimiter, a quote or a line break in it.
    pub(super) quote: u8,
    /// Before a quote that is part of a quoted value, besides doubling it.
    pub(super) escape: Option<u8>,
    /// At the start of a line that is no row.
    pub(super) comment: Option<u8>,
    /// At the end of a row, if it is neither of `\n`, `\r\n` and `\r`.
    pub(super) terminator: Option<u8>,
    /// The first row has the names of the columns.
    pub(super) header: bool,
    /// Rows and files may lack columns, which are null there.
    pub(super) ragged: bool,
    /// Which texts are null, instead of the empty one.
    pub(super) null_regex: Option<String>,
}

impl Dialect {
    /// What the options of a table say; `header` is what counts when they do not.
    pub(crate) fn of(options: &CsvOptions, header: bool) -> Result<Self> {
        let dialect = Self {
            delimiter: options.delimiter,
            quote: options.quote,
            escape: options.escape.filter(|escape| *escape != options.quote),
            comment: options.comment,
            terminator: options.terminator.filter(|byte| !matches!(byte, b'\n' | b'\r')),
            header: options.has_header.unwrap_or(header),
            ragged: options.truncated_rows.unwrap_or(false),
            null_regex: options.null_regex.clone(),
        };
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

    /// The expression for texts that are null.
    pub(super) fn nulls(&self) -> Result<Option<Regex>> {
        let compiled = self.null_regex.as_deref().map(Regex::new).transpose();
        compiled.map_err(|error| {
            let reason = error.to_string();
            let reason = reason.lines().last().unwrap_or_default().trim().to_owned();
            SourceError::new(
                SourceErrorKind::Invalid,
                format!("the option \"null_regex\" is no regular expression: {reason}"),
            )
            .into_datafusion()
        })
    }

    /// The byte after which a row may begin: a file is cut only there.
    pub(super) fn row_end(&self) -> u8 {
        self.terminator.unwrap_or(b'\n')
    }

    /// Can a value begin after this byte?
    pub(super) fn precedes_value(&self, byte: u8) -> bool {
        byte == self.delimiter || self.ends_row(byte)
    }

    /// Does this byte end a row, outside of quotes?
    pub(super) fn ends_row(&self, byte: u8) -> bool {
        match self.terminator {
            Some(terminator) => byte == terminator,
            None => matches!(byte, b'\n' | b'\r'),
        }
    }
}
