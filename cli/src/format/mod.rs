//! How results are written. The shell opens one [`Writer`] per result, hands it the batches as
//! they arrive, and sends the bytes on; a writer never does I/O of its own.
//!
//! All formats but `table` keep nothing between two batches. `table` keeps what it needs to know
//! how wide its columns are, within bounds: see [`bigslice::render`].

mod delimited;
mod json;
mod markdown;
mod vertical;

use std::str::FromStr;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use bigslice::render::TextTable;
use clap::ValueEnum;

pub(crate) use bigslice::render::{Layout, Paint};

/// The form in which results are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table for people.
    #[default]
    Table,
    /// Comma-separated values with a header; a null is an empty field.
    Csv,
    /// Tab-separated values with a header; a null is an empty field.
    Tsv,
    /// One JSON array of objects.
    Json,
    /// One JSON object per line.
    Jsonl,
    /// A Markdown table.
    Markdown,
    /// One line per value, one block per row.
    Line,
}

impl Format {
    /// Whether people read this format rather than programs: only then is there a word about
    /// statements that have no result.
    pub(crate) fn is_for_people(self) -> bool {
        matches!(self, Self::Table | Self::Markdown | Self::Line)
    }

    /// The name by which users choose it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Csv => "csv",
            Self::Tsv => "tsv",
            Self::Json => "json",
            Self::Jsonl => "jsonl",
            Self::Markdown => "markdown",
            Self::Line => "line",
        }
    }

    /// All formats, in the order in which they are shown.
    pub fn all() -> &'static [Self] {
        Self::value_variants()
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        <Self as ValueEnum>::from_str(name, true).map_err(|_| {
            let names: Vec<_> = Self::all().iter().map(|format| format.name()).collect();
            format!("no format \"{name}\": there are {}", names.join(", "))
        })
    }
}

/// Writes one result. Called in this order: `start` once, `batch` for every batch, `finish` once
/// when the result is complete. What is to go out is appended to `out`, which the caller empties
/// between two calls.
pub(crate) trait Writer: Send {
    /// What stands before the first row.
    fn start(&mut self, out: &mut Vec<u8>) -> Result<(), ArrowError>;
    /// Some rows.
    fn batch(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ArrowError>;
    /// What stands after the last row.
    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), ArrowError>;
}

impl Writer for TextTable {
    fn start(&mut self, _out: &mut Vec<u8>) -> Result<(), ArrowError> {
        Ok(())
    }

    fn batch(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        Self::batch(self, batch, out)
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        Self::finish(self, out)
    }
}

/// Opens a writer for a result of the given schema.
pub(crate) fn writer(format: Format, schema: &SchemaRef, layout: Layout) -> Box<dyn Writer> {
    match format {
        Format::Table => Box::new(TextTable::new(schema, layout)),
        Format::Csv => Box::new(delimited::Delimited::csv(schema)),
        Format::Tsv => Box::new(delimited::Delimited::tsv(schema)),
        Format::Json => Box::new(json::Json::array()),
        Format::Jsonl => Box::new(json::Json::lines()),
        Format::Markdown => Box::new(markdown::Markdown::new(schema)),
        Format::Line => Box::new(vertical::Vertical::new(schema, layout.paint)),
    }
}

#[cfg(test)]
mod tests;
