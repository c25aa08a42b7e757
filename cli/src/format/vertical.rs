//! The format line: one block per row, one line per value, for rows too wide for a table.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use super::{Paint, Writer};
use crate::cell;

/// Minimum width of the rule above a row.
const RULE_COLUMNS: usize = 32;

/// Writes the format line.
pub(super) struct Vertical {
    names: Vec<String>,
    names_width: usize,
    paint: Paint,
    rows: usize,
}

impl Vertical {
    pub(super) fn new(schema: &SchemaRef, paint: Paint) -> Self {
        let names: Vec<_> = schema
            .fields()
            .iter()
            .map(|field| cell::escape_line(field.name()).into_owned())
            .collect();
        let names_width = names.iter().map(|name| cell::width(name)).max().unwrap_or(0);
        Self { names, names_width, paint, rows: 0 }
    }

    fn value(&self, name: &str, text: Option<&str>, out: &mut Vec<u8>) {
        let pad = " ".repeat(self.names_width - cell::width(name));
        let lines = match text {
            None => vec![self.paint.dim(cell::NULL)],
            Some(text) => text.split('\n').map(str::to_owned).collect(),
        };
        for (i, line) in lines.iter().enumerate() {
            let head = match i {
                0 => format!("{}{pad}", self.paint.bold(name)),
                _ => " ".repeat(self.names_width),
            };
            out.extend_from_slice(format!("{head} | {line}").trim_end().as_bytes());
            out.push(b'\n');
        }
    }
}

impl Writer for Vertical {
    fn start(&mut self, _out: &mut Vec<u8>) -> Result<(), ArrowError> {
        Ok(())
    }

    fn batch(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        let columns = batch
            .columns()
            .iter()
            .map(|column| cell::Cells::of(column.as_ref()))
            .collect::<Result<Vec<_>, _>>()?;
        for index in 0..batch.num_rows() {
            self.rows += 1;
            let title = format!("-[ row {} ]", cell::count(self.rows));
            let rule = "-".repeat(RULE_COLUMNS.saturating_sub(title.len()));
            out.extend_from_slice(self.paint.dim(&format!("{title}{rule}")).as_bytes());
            out.push(b'\n');
            for (name, cells) in self.names.iter().zip(&columns) {
                self.value(name, cells.text(index).as_deref(), out);
            }
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        if self.rows == 0 {
            let names = self.names.join(", ");
            out.extend_from_slice(format!("no rows; columns: {names}\n").as_bytes());
        }
        Ok(())
    }
}
