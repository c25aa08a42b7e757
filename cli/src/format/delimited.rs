//! The formats csv and tsv: a header, then one line per row. A null is an empty field, and an empty
//! text is two quotes; in a single-column result, a null is two quotes as well. Nested values are
//! JSON text, which programs can parse.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::csv::WriterBuilder;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;

use super::{Writer, json};

/// Writes csv or tsv.
pub(super) struct Delimited {
    options: WriterBuilder,
    rows: bigslice::Delimited,
    schema: SchemaRef,
}

impl Delimited {
    pub(super) fn csv(schema: &SchemaRef) -> Self {
        Self::new(b',', schema)
    }

    pub(super) fn tsv(schema: &SchemaRef) -> Self {
        Self::new(b'\t', schema)
    }

    fn new(delimiter: u8, schema: &SchemaRef) -> Self {
        let options = WriterBuilder::new().with_delimiter(delimiter).with_header(false);
        let rows = bigslice::Delimited::new(options.clone());
        Self { options, rows, schema: flat(schema) }
    }
}

impl Writer for Delimited {
    fn start(&mut self, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        self.rows.names(&self.schema, out);
        Ok(())
    }

    fn batch(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        let columns = batch
            .schema_ref()
            .fields()
            .iter()
            .zip(batch.columns())
            .map(|(field, column)| match is_text_needed(field.data_type()) {
                true => Ok(Arc::new(json::texts(field, column)?) as ArrayRef),
                false => Ok(Arc::clone(column)),
            })
            .collect::<Result<Vec<_>, ArrowError>>()?;
        if columns.is_empty() {
            return Ok(());
        }
        let is_only = columns.len() == 1;
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
        // A null in a single column would be an empty line, which most readers skip, so arrow-csv
        // writes quotes.
        match is_only {
            true => self.options.clone().build(out).write(&batch),
            false => self.rows.rows(&batch, out),
        }
    }

    fn finish(&mut self, _out: &mut Vec<u8>) -> Result<(), ArrowError> {
        Ok(())
    }
}

fn is_text_needed(data_type: &DataType) -> bool {
    data_type.is_nested()
}

/// The output schema: nested columns become text.
fn flat(schema: &SchemaRef) -> SchemaRef {
    let fields: Vec<_> = schema
        .fields()
        .iter()
        .map(|field| match is_text_needed(field.data_type()) {
            true => Arc::new(Field::new(field.name(), DataType::Utf8, true)),
            // A column of a stream may contain nulls that its schema does not declare.
            false => Arc::new(field.as_ref().clone().with_nullable(true)),
        })
        .collect();
    Arc::new(Schema::new(fields))
}
