//! Output formats. The shell opens one [`Writer`] per result, passes it batches as they arrive, and
//! writes out its bytes. Writers do no I/O themselves.
//!
//! Only `table` keeps state between batches: it needs to know how wide its columns are, within
//! bounds. See [`bigslice::render`].

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

/// The output format of results.
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
    /// Whether the format is for people rather than programs: only then are statements without a
    /// result acknowledged.
    pub(crate) fn is_for_people(self) -> bool {
        matches!(self, Self::Table | Self::Markdown | Self::Line)
    }

    /// The name that users choose it by.
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

    /// All formats, in display order.
    pub fn all() -> &'static [Self] {
        Self::value_variants()
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        <Self as ValueEnum>::from_str(name, true).map_err(|_| {
            let names: Vec<_> = Self::all().iter().map(|format| format.name()).collect();
            format!("unknown format \"{name}\": choose one of {}", names.join(", "))
        })
    }
}

/// Writes one result. Call `start` once, `batch` for every batch, and `finish` once when the result
/// is complete. Each call appends its output to `out`, which the caller empties between calls.
pub(crate) trait Writer: Send {
    /// Writes the part before the first row.
    fn start(&mut self, out: &mut Vec<u8>) -> Result<(), ArrowError>;
    /// Writes some rows.
    fn batch(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ArrowError>;
    /// Writes the part after the last row.
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

/// Creates a writer for a result with the given schema.
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
