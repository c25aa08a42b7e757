//! Rows as delimited text, such that null and the empty text stay apart: null is nothing between
//! two delimiters (or what the option `null_value` says), the empty text is two quotes, and so is
//! quoted whatever text would be read as null.
//!
//! DataFusion 55.2: arrow-csv writes both as nothing, and the null of a table of one column as two
//! quotes.

use bytes::Bytes;
use datafusion::arrow::csv::writer::Terminator;
use datafusion::arrow::csv::{QuoteStyle, WriterBuilder};
use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::Result;
use datafusion::datasource::file_format::write::BatchSerializer;

/// Writes rows as delimited text (CSV) that keeps null and the empty text apart.
#[derive(Debug, Clone)]
pub struct Delimited(WriterBuilder);

impl Delimited {
    /// By the options of arrow-csv.
    pub fn new(options: WriterBuilder) -> Self {
        Self(options)
    }

    /// Appends the line of names.
    pub fn names(&self, schema: &Schema, out: &mut Vec<u8>) {
        for (at, field) in schema.fields().iter().enumerate() {
            if at > 0 {
                out.push(self.0.delimiter());
            }
            let always =
                matches!(self.0.quote_style(), QuoteStyle::Always | QuoteStyle::NonNumeric);
            self.value(field.name(), always || field.name().is_empty(), out);
        }
        self.end_row(out);
    }

    /// Appends rows.
    ///
    /// # Errors
    /// When a column is nested.
    pub fn rows(&self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        let options = &self.0;
        let formats = FormatOptions::default()
            .with_date_format(options.date_format())
            .with_datetime_format(options.datetime_format())
            .with_timestamp_format(options.timestamp_format())
            .with_timestamp_tz_format(options.timestamp_tz_format())
            .with_time_format(options.time_format());
        let mut columns = Vec::with_capacity(batch.num_columns());
        for (field, array) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            if array.data_type().is_nested() {
                let message = format!(
                    "the column \"{}\" is {}, which CSV cannot hold",
                    field.name(),
                    array.data_type()
                );
                return Err(ArrowError::CsvError(message));
            }
            let formatter = ArrayFormatter::try_new(array.as_ref(), &formats)?;
            columns.push((
                array.logical_nulls(),
                formatter,
                Quoting::of(options, array.data_type()),
            ));
        }
        let mut text = String::new();
        for row in 0..batch.num_rows() {
            for (at, (nulls, formatter, quoting)) in columns.iter().enumerate() {
                if at > 0 {
                    out.push(options.delimiter());
                }
                if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                    out.extend_from_slice(options.null().as_bytes());
                    continue;
                }
                text.clear();
                formatter.value(row).write(&mut text)?;
                let value = if quoting.is_text { self.trimmed(&text) } else { &text };
                let empty = value.is_empty() && (quoting.is_text || quoting.is_binary);
                let null_like = empty || (quoting.is_text && value == options.null());
                self.value(value, quoting.always || null_like, out);
            }
            self.end_row(out);
        }
        Ok(())
    }

    fn trimmed<'a>(&self, text: &'a str) -> &'a str {
        let text = if self.0.ignore_leading_whitespace() { text.trim_start() } else { text };
        if self.0.ignore_trailing_whitespace() { text.trim_end() } else { text }
    }

    fn end_row(&self, out: &mut Vec<u8>) {
        match self.0.line_terminator() {
            Terminator::CRLF => out.extend_from_slice(b"\r\n"),
            Terminator::Any(byte) => out.push(*byte),
        }
    }

    /// Appends a value, in quotes if it needs them.
    fn value(&self, value: &str, quoted: bool, out: &mut Vec<u8>) {
        let options = &self.0;
        let quote = options.quote();
        let end = match options.line_terminator() {
            Terminator::CRLF => b'\n',
            Terminator::Any(byte) => *byte,
        };
        let delimiter = options.delimiter();
        let needs = |byte: u8| {
            byte == delimiter || byte == quote || byte == end || matches!(byte, b'\n' | b'\r')
        };
        let never = matches!(options.quote_style(), QuoteStyle::Never);
        if never || !(quoted || value.bytes().any(needs)) {
            out.extend_from_slice(value.as_bytes());
            return;
        }
        out.push(quote);
        for byte in value.bytes() {
            if options.double_quote() {
                if byte == quote {
                    out.push(quote);
                }
            } else if byte == quote || byte == options.escape() {
                out.push(options.escape());
            }
            out.push(byte);
        }
        out.push(quote);
    }
}

/// How the values of a column are quoted.
#[derive(Debug, Clone, Copy)]
struct Quoting {
    is_text: bool,
    /// Bytes, which are written as text.
    is_binary: bool,
    always: bool,
}

impl Quoting {
    fn of(options: &WriterBuilder, kind: &DataType) -> Self {
        let of_text = |kind: &DataType| {
            matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
        };
        let is_text = match kind {
            DataType::Dictionary(_, values) => of_text(values),
            kind => of_text(kind),
        };
        let always = match options.quote_style() {
            QuoteStyle::Always => true,
            QuoteStyle::NonNumeric => !kind.is_numeric(),
            _ => false,
        };
        let is_binary =
            matches!(kind, DataType::Binary | DataType::LargeBinary | DataType::BinaryView);
        Self { is_text, is_binary, always }
    }
}

impl BatchSerializer for Delimited {
    fn serialize(&self, batch: RecordBatch, initial: bool) -> Result<Bytes> {
        let mut out = Vec::with_capacity(4096);
        if initial && self.0.header() {
            self.names(batch.schema_ref(), &mut out);
        }
        self.rows(&batch, &mut out)?;
        Ok(out.into())
    }
}
