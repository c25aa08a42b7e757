//! What EXPLAIN says, as text: a plan is an indented tree, and a box around it would only cut it.
//! What a [`TextTable`](super::TextTable) shows of results that have the shape of an EXPLAIN.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use super::cell;
use super::grid::Paint;

/// Whether a result is that of EXPLAIN.
pub(super) fn is_plan(schema: &SchemaRef) -> bool {
    let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    names == ["plan_type", "plan"]
}

/// Writes plans as text.
pub(super) struct Plan {
    paint: Paint,
    empty: bool,
}

impl Plan {
    pub(super) fn new(paint: Paint) -> Self {
        Self { paint, empty: true }
    }

    pub(super) fn batch(
        &mut self,
        batch: &RecordBatch,
        out: &mut Vec<u8>,
    ) -> Result<(), ArrowError> {
        let titles = cell::Cells::of(batch.column(0).as_ref())?;
        let plans = cell::Cells::of(batch.column(1).as_ref())?;
        for row in 0..batch.num_rows() {
            if !self.empty {
                out.push(b'\n');
            }
            self.empty = false;
            let title = titles.text(row).unwrap_or_default().replace('_', " ");
            out.extend_from_slice(self.paint.bold(&title).as_bytes());
            out.push(b'\n');
            for line in plans.text(row).unwrap_or_default().trim_end().split('\n') {
                out.extend_from_slice(b"  ");
                out.extend_from_slice(line.as_bytes());
                out.push(b'\n');
            }
        }
        Ok(())
    }
}
