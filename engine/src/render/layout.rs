//! What a table shows and how wide its columns are. A result of `EXPLAIN` is shown as text
//! ([`plan`]), any other in one of two ways:
//!
//! - **In excerpts**, when a number of rows to show is set: the first and the last rows are kept,
//!   those between them are counted and dropped. On a terminal, columns that do not fit are
//!   narrowed, and then left out from the middle. A line below says what was left out.
//! - **Complete**, to a pipe or a file: the widths of the columns are those of the first rows, as
//!   many as fit in [`SAMPLE_BYTES`]. Whatever comes after them is written as it arrives; a cell
//!   that is wider than its column then moves the border of its own row only.

use std::fmt;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use super::excerpt::Excerpt;
use super::grid::{Border, Column, Grid, Paint, block_width};
use super::plan::{self, Plan};
use super::{cell, types};

/// How much text of a complete table is held to find out how wide its columns are. Enough for a
/// few hundred thousand rows of ordinary width.
const SAMPLE_BYTES: usize = 32 << 20;

/// The memory of a cell of the sample besides its text.
const SAMPLE_CELL_BYTES: usize = size_of::<SampleCell>();

/// Columns are not made narrower than this before columns are left out.
const NARROW_COLUMNS: usize = 12;

/// Where columns are left out, those that stay are at most this wide: a time with its date fits.
const KEPT_COLUMNS: usize = 20;

/// The width of a column besides its text: a border and a space on either side.
const COLUMN_FRAME: usize = 3;

/// Where a table is written to.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// The width of the terminal; `None` if the output is not a terminal, which makes it plain.
    pub terminal_columns: Option<usize>,
    /// Whether a table shows the types of its columns.
    pub types: bool,
    /// Whether colours may be used.
    pub paint: Paint,
    /// How many rows a table shows before it leaves out those in the middle.
    pub rows_max: Option<usize>,
}

/// Writes one table: [`Self::batch`] for every batch of its rows, then [`Self::finish`]. What is to
/// go out is appended to `out`, which the caller empties between two calls.
pub struct TextTable {
    schema: SchemaRef,
    layout: Layout,
    way: Way,
}

enum Way {
    Sampling(Sample),
    Streaming(Grid),
    Excerpt(Excerpt),
    Plan(Plan),
}

impl fmt::Debug for TextTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextTable").field("layout", &self.layout).finish_non_exhaustive()
    }
}

impl TextTable {
    /// A table of rows that have this schema.
    pub fn new(schema: &SchemaRef, layout: Layout) -> Self {
        let way = match layout.rows_max {
            _ if plan::is_plan(schema) => Way::Plan(Plan::new(layout.paint)),
            None => Way::Sampling(Sample::new(schema.fields().len())),
            Some(rows_max) => Way::Excerpt(Excerpt::new(rows_max)),
        };
        Self { schema: SchemaRef::clone(schema), layout, way }
    }

    /// Takes some rows.
    ///
    /// # Errors
    /// When a value has no text.
    pub fn batch(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        match &mut self.way {
            Way::Excerpt(excerpt) => excerpt.push(batch),
            Way::Plan(plan) => plan.batch(batch, out)?,
            Way::Streaming(grid) => for_each_row(batch, |cells| grid.row(cells, out))?,
            Way::Sampling(sample) => {
                for_each_row(batch, |cells| sample.push(cells))?;
                if sample.bytes() >= SAMPLE_BYTES {
                    let sample = std::mem::replace(sample, Sample::new(0));
                    self.way = Way::Streaming(self.draw_sample(&sample, out));
                }
            }
        }
        Ok(())
    }

    /// Ends the table.
    ///
    /// # Errors
    /// When a value has no text.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        if self.schema.fields().is_empty() {
            return Ok(());
        }
        match &self.way {
            Way::Sampling(sample) => self.draw_sample(sample, out).footer(out),
            Way::Streaming(grid) => grid.footer(out),
            Way::Excerpt(excerpt) => self.draw_excerpt(excerpt, out)?,
            Way::Plan(_) => {}
        }
        Ok(())
    }

    fn border(&self) -> Border {
        match self.layout.terminal_columns {
            Some(_) => Border::Box,
            None => Border::Plain,
        }
    }

    /// The columns, as wide as their headers.
    fn columns(&self) -> Vec<Column> {
        self.schema
            .fields()
            .iter()
            .map(|field| {
                let name = cell::escape_line(field.name()).into_owned();
                let type_name = self.layout.types.then(|| types::sql_name(field.data_type()));
                let type_width = type_name.as_deref().map_or(0, cell::width);
                Column {
                    width: cell::width(&name).max(type_width),
                    right: types::is_right_aligned(field.data_type()),
                    name,
                    type_name,
                }
            })
            .collect()
    }

    /// Ends the sampling: draws the sampled rows, and returns the grid for the others.
    fn draw_sample(&self, sample: &Sample, out: &mut Vec<u8>) -> Grid {
        let mut columns = self.columns();
        for row in 0..sample.rows() {
            widen(&mut columns, &sample.row(row));
        }
        let grid = Grid { columns, border: self.border(), paint: self.layout.paint };
        grid.header(out);
        for row in 0..sample.rows() {
            grid.row(&sample.row(row), out);
        }
        grid
    }

    fn draw_excerpt(&self, excerpt: &Excerpt, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        let mut sample = Sample::new(self.schema.fields().len());
        for batch in excerpt.head.iter().chain(&excerpt.tail) {
            for_each_row(batch, |cells| sample.push(cells))?;
        }
        let mut columns = self.columns();
        for row in 0..sample.rows() {
            widen(&mut columns, &sample.row(row));
        }
        let all = columns.len();
        let (columns, shown) = fit(columns, self.layout.terminal_columns, self.border());
        let grid = Grid { columns, border: self.border(), paint: self.layout.paint };
        grid.header(out);
        for row in 0..sample.rows() {
            if row == excerpt.head_rows && excerpt.rows > sample.rows() {
                grid.gap(out);
            }
            let cells = sample.row(row);
            let cells: Vec<_> = shown
                .iter()
                .map(|place| match place {
                    Place::Column(index) => cells[*index],
                    Place::Gap => Some(self.border().ellipsis()),
                })
                .collect();
            grid.row(&cells, out);
        }
        if excerpt.rows > sample.rows() && excerpt.head_rows == sample.rows() {
            grid.gap(out);
        }
        grid.footer(out);
        let shown = shown.iter().filter(|place| matches!(place, Place::Column(_))).count();
        self.summary((excerpt.rows, sample.rows()), (all, shown), out);
        Ok(())
    }

    /// The line below an excerpt, if anything was left out.
    fn summary(
        &self,
        (rows, rows_shown): (usize, usize),
        (columns, columns_shown): (usize, usize),
        out: &mut Vec<u8>,
    ) {
        let mut parts = Vec::new();
        if rows_shown < rows {
            parts.push(format!(
                "{} ({} shown)",
                cell::counted(rows, "row"),
                cell::count(rows_shown)
            ));
        }
        if columns_shown < columns {
            if parts.is_empty() {
                parts.push(cell::counted(rows, "row"));
            }
            parts.push(format!("{} ({columns_shown} shown)", cell::counted(columns, "column")));
        }
        if !parts.is_empty() {
            out.extend_from_slice(self.layout.paint.dim(&parts.join(", ")).as_bytes());
            out.push(b'\n');
        }
    }
}

/// Calls back for every row of a batch with its cells.
fn for_each_row(
    batch: &RecordBatch,
    mut each: impl FnMut(&[Option<&str>]),
) -> Result<(), ArrowError> {
    let columns = batch
        .columns()
        .iter()
        .map(|column| cell::Cells::of(column.as_ref()))
        .collect::<Result<Vec<_>, _>>()?;
    for row in 0..batch.num_rows() {
        let texts: Vec<_> = columns.iter().map(|cells| cells.text(row)).collect();
        let texts: Vec<_> = texts.iter().map(Option::as_deref).collect();
        each(&texts);
    }
    Ok(())
}

fn widen(columns: &mut [Column], cells: &[Option<&str>]) {
    for (column, cell) in columns.iter_mut().zip(cells) {
        column.width = column.width.max(block_width(cell.unwrap_or(cell::NULL)));
    }
}

/// The text of rows that are waiting for the widths of their columns.
struct Sample {
    columns: usize,
    text: String,
    cells: Vec<SampleCell>,
}

struct SampleCell {
    end: usize,
    null: bool,
}

impl Sample {
    fn new(columns: usize) -> Self {
        Self { columns, text: String::new(), cells: Vec::new() }
    }

    fn push(&mut self, cells: &[Option<&str>]) {
        for cell in cells {
            self.text.push_str(cell.unwrap_or_default());
            self.cells.push(SampleCell { end: self.text.len(), null: cell.is_none() });
        }
    }

    fn bytes(&self) -> usize {
        self.text.len() + self.cells.len() * SAMPLE_CELL_BYTES
    }

    fn rows(&self) -> usize {
        self.cells.len().checked_div(self.columns).unwrap_or(0)
    }

    fn row(&self, row: usize) -> Vec<Option<&str>> {
        let first = row * self.columns;
        (first..first + self.columns)
            .map(|i| {
                let start = if i == 0 { 0 } else { self.cells[i - 1].end };
                (!self.cells[i].null).then(|| &self.text[start..self.cells[i].end])
            })
            .collect()
    }
}

/// One position of a drawn row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Column(usize),
    Gap,
}

/// Makes columns fit into a terminal: narrows the widest, and if that is not enough leaves out
/// columns from the middle.
fn fit(
    mut columns: Vec<Column>,
    terminal_columns: Option<usize>,
    border: Border,
) -> (Vec<Column>, Vec<Place>) {
    let all: Vec<_> = (0..columns.len()).map(Place::Column).collect();
    let Some(room) = terminal_columns else { return (columns, all) };
    let total = |cap: usize| {
        columns.iter().map(|column| column.width.min(cap) + COLUMN_FRAME).sum::<usize>() + 1
    };
    let widest = columns.iter().map(|column| column.width).max().unwrap_or(0);
    if let Some(cap) = (NARROW_COLUMNS..=widest.max(NARROW_COLUMNS)).rev().find(|&cap| {
        // From the widest down: the first that fits narrows the least.
        total(cap) <= room
    }) {
        for column in &mut columns {
            column.width = column.width.min(cap);
        }
        return (columns, all);
    }

    for column in &mut columns {
        column.width = column.width.min(KEPT_COLUMNS);
    }
    let gap = Column {
        name: border.ellipsis().to_owned(),
        type_name: None,
        width: cell::width(border.ellipsis()),
        right: false,
    };
    let mut used = 1 + gap.width + COLUMN_FRAME;
    let (mut left, mut right) = (0, columns.len());
    while left < right {
        let next = if left <= columns.len() - right { left } else { right - 1 };
        used += columns[next].width + COLUMN_FRAME;
        // One column is shown even where not even that fits: a broken line beats nothing.
        if used > room && left + columns.len() - right > 0 {
            break;
        }
        if next == left {
            left += 1;
        } else {
            right -= 1;
        }
    }
    let mut places: Vec<_> = (0..left).map(Place::Column).collect();
    places.push(Place::Gap);
    places.extend((right..columns.len()).map(Place::Column));
    let shown = places
        .iter()
        .map(|place| match place {
            Place::Column(index) => columns[*index].clone(),
            Place::Gap => gap.clone(),
        })
        .collect();
    (shown, places)
}
