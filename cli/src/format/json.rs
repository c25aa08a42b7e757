//! The formats json (one array) and jsonl (one object per line), and the JSON text of nested values
//! for csv. Nulls are written, so that all objects have the same keys. Decimals keep all their
//! digits. NaN and infinities, which JSON does not have, become null.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray, StringBuilder, StructArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::error::ArrowError;
use arrow::json::writer::{EncoderOptions, make_encoder};

use super::Writer;
use crate::cell;

/// Writes json or jsonl.
pub(super) struct Json {
    array: bool,
    empty: bool,
}

impl Json {
    pub(super) fn array() -> Self {
        Self { array: true, empty: true }
    }

    pub(super) fn lines() -> Self {
        Self { array: false, empty: true }
    }
}

impl Writer for Json {
    fn start(&mut self, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        if self.array {
            out.push(b'[');
        }
        Ok(())
    }

    fn batch(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        let rows: ArrayRef = Arc::new(StructArray::from(batch.clone()));
        let field: FieldRef = Arc::new(Field::new("row", rows.data_type().clone(), false));
        let options = EncoderOptions::default().with_explicit_nulls(true);
        let mut encoder = make_encoder(&field, rows.as_ref(), &options)?;
        for row in 0..rows.len() {
            if self.array && !self.empty {
                out.extend_from_slice(b",\n");
            }
            encoder.encode(row, out);
            if !self.array {
                out.push(b'\n');
            }
            self.empty = false;
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        if self.array {
            out.extend_from_slice(b"]\n");
        }
        Ok(())
    }
}

/// The JSON text of every value of a column. Types without a JSON form use their display text.
pub(super) fn texts(field: &FieldRef, column: &ArrayRef) -> Result<StringArray, ArrowError> {
    let mut texts = StringBuilder::with_capacity(column.len(), 0);
    if matches!(field.data_type(), DataType::Union(..)) {
        let cells = cell::Cells::of(column.as_ref())?;
        for row in 0..column.len() {
            texts.append_option(cells.text(row));
        }
        return Ok(texts.finish());
    }
    let options = EncoderOptions::default().with_explicit_nulls(true);
    let mut encoder = make_encoder(field, column.as_ref(), &options)?;
    let nulls = column.logical_nulls();
    let mut text = Vec::new();
    for row in 0..column.len() {
        if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            texts.append_null();
            continue;
        }
        text.clear();
        encoder.encode(row, &mut text);
        texts.append_value(String::from_utf8_lossy(&text));
    }
    Ok(texts.finish())
}
