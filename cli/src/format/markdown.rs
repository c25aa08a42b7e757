//! The format markdown: a table to paste into an issue or a README. Columns are not padded, so no
//! rows are buffered.

use std::borrow::Cow;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use super::Writer;
use crate::{cell, types};

/// Writes markdown.
pub(super) struct Markdown {
    schema: SchemaRef,
}

impl Markdown {
    pub(super) fn new(schema: &SchemaRef) -> Self {
        Self { schema: SchemaRef::clone(schema) }
    }
}

impl Writer for Markdown {
    fn start(&mut self, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        let fields = self.schema.fields();
        if fields.is_empty() {
            return Ok(());
        }
        row(fields.iter().map(|field| inline(&cell::escape(field.name())).into_owned()), out);
        let rules = fields.iter().map(|field| match types::is_right_aligned(field.data_type()) {
            true => "---:".to_owned(),
            false => "---".to_owned(),
        });
        row(rules, out);
        Ok(())
    }

    fn batch(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        if batch.num_columns() == 0 {
            return Ok(());
        }
        let columns = batch
            .columns()
            .iter()
            .map(|column| cell::Cells::of(column.as_ref()))
            .collect::<Result<Vec<_>, _>>()?;
        for index in 0..batch.num_rows() {
            let cells = columns.iter().map(|cells| match cells.text(index) {
                Some(text) => inline(&text).into_owned(),
                None => cell::NULL.to_owned(),
            });
            row(cells, out);
        }
        Ok(())
    }

    fn finish(&mut self, _out: &mut Vec<u8>) -> Result<(), ArrowError> {
        Ok(())
    }
}

fn row(cells: impl Iterator<Item = String>, out: &mut Vec<u8>) {
    for cell in cells {
        out.extend_from_slice(b"| ");
        out.extend_from_slice(cell.as_bytes());
        out.push(b' ');
    }
    out.extend_from_slice(b"|\n");
}

/// A cell of a Markdown table is one line, with bars escaped.
fn inline(text: &str) -> Cow<'_, str> {
    match text.contains(['|', '\n', '\\']) {
        false => Cow::Borrowed(text),
        true => Cow::Owned(text.replace('\\', "\\\\").replace('|', "\\|").replace('\n', "<br>")),
    }
}
