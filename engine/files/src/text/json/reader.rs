//! Reads JSON: the rows of a file, or of a part of one, as batches.

use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::error::Result;
use object_store::ObjectStoreExt;

use super::build::Object;
use super::lex::{Stop, Walk, Walker};
use super::rows::{Next, Rows, row_after_cut};
use crate::text::fault::{Fault, no_text, row_at};
use crate::text::input::{Input, Origin, is_utf16};
use crate::text::reading::Reading;
use crate::text::scan::ROW_BYTES_MAX;

/// Text of a batch at which it ends, however few rows it has.
const BATCH_BYTES: usize = 16 << 20;

/// The size of a read on the way to the first row of a part.
const STEP: u64 = 1 << 20;

/// Reads the rows of a file.
#[derive(Debug)]
pub(in crate::text) struct JsonReader {
    schema: SchemaRef,
    batch_rows: usize,
    input: Input,
    rows: Rows,
    object: Object,
    /// The start of the part to read.
    start: u64,
    /// Where it ends, as a place in the text that waits in `input`.
    stop: usize,
    done: bool,
}

impl JsonReader {
    /// Opens a file, or a part of it; none if no row begins in the part.
    pub(in crate::text) async fn open(
        reading: &Reading,
        origin: Origin,
        part: Option<Range<u64>>,
    ) -> Result<Option<Self>> {
        let size = origin.file.size;
        let part = part.unwrap_or(0..size);
        let mut start = 0;
        if part.start > 0 {
            match first_row(&origin, part.clone()).await? {
                Some(row) => start = row,
                None => return Ok(None),
            }
        }
        // The first row may begin after the part, if it comes after an object that ends in it.
        let mut input = Input::open(origin, start, part.end.max(start + 1)).await?;
        input.more().await?;
        let whole = part.end >= size || input.is_converted();
        let stop = usize::try_from(part.end.saturating_sub(start)).unwrap_or(usize::MAX);
        let stop = if whole { usize::MAX } else { stop.saturating_sub(input.mark()) };
        Ok(Some(Self {
            schema: Arc::clone(&reading.schema),
            batch_rows: reading.batch_rows,
            input,
            rows: Rows::default(),
            object: Object::of_rows(&reading.table, &reading.projection, reading.declared),
            start,
            stop,
            done: false,
        }))
    }

    /// The next rows; none after the last ones.
    pub(in crate::text) async fn next(&mut self) -> Result<Option<RecordBatch>> {
        if self.done {
            return Ok(None);
        }
        let gone = self.input.pass();
        if self.stop != usize::MAX {
            self.stop = self.stop.saturating_sub(gone);
        }
        let begin = self.input.at;
        loop {
            let input = &self.input;
            let mut walker = Walker { text: &input.text, at: input.at };
            let (rows, object) = (&mut self.rows, &mut self.object);
            let walked = rows_of(rows, object, &mut walker, input.last, self.stop, self.batch_rows);
            let at = walker.at;
            self.input.at = at;
            match walked {
                Ok(Next::Row) => break,
                Ok(Next::Stop | Next::End) => {
                    self.done = true;
                    break;
                }
                Err(Stop::Wrong(fault)) => return Err(self.input.error(fault, self.start).await),
                Err(Stop::Open) if self.input.last => {
                    let fault = Fault::new(
                        row_at(&self.input.text, at),
                        "the file ends in the middle of a row",
                    );
                    return Err(self.input.error(fault, self.start).await);
                }
                Err(Stop::Open) if self.object.len() > 0 && at - begin >= BATCH_BYTES => break,
                Err(Stop::Open) if self.input.text.len() - at > ROW_BYTES_MAX => {
                    let most = ROW_BYTES_MAX >> 20;
                    let fault = Fault::new(at, format!("a row is longer than {most} MiB"));
                    return Err(self.input.error(fault, self.start).await);
                }
                Err(Stop::Open) => self.input.more().await?,
            }
        }
        if self.object.len() == 0 {
            return Ok(None);
        }
        match self.batch()? {
            Ok(batch) => Ok(Some(batch)),
            Err(fault) => Err(self.input.error(fault, self.start).await),
        }
    }

    fn batch(&mut self) -> Result<Result<RecordBatch, Fault>> {
        let read = &self.input.text[..self.input.at];
        if let Err(error) = std::str::from_utf8(read) {
            return Ok(Err(no_text(read, error.valid_up_to())));
        }
        let count = self.object.len();
        let columns = match self.object.columns()? {
            Ok(columns) => columns,
            Err(fault) => return Ok(Err(fault)),
        };
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        Ok(Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?))
    }
}

/// Adds rows until there are enough of them. The walker ends after the last whole row.
fn rows_of(
    rows: &mut Rows,
    object: &mut Object,
    walker: &mut Walker<'_>,
    last: bool,
    stop: usize,
    max: usize,
) -> Walk<Next> {
    while object.len() < max {
        let (before, at, count) = (*rows, walker.at, object.len());
        match rows.next(walker, last, stop)? {
            Next::Row => {}
            other => return Ok(other),
        }
        let added = match walker.peek()? {
            b'n' => walker.null_row().map(|()| object.add_nulls()),
            _ => object.add(walker, 0),
        };
        if let Err(stop) = added {
            (*rows, walker.at) = (before, at);
            object.truncate(count);
            return Err(stop);
        }
    }
    Ok(Next::Row)
}

/// Where the first row begins after an object that ends in a part of a file.
async fn first_row(origin: &Origin, part: Range<u64>) -> Result<Option<u64>> {
    let (store, path) = (&origin.store, &origin.file.location);
    if is_utf16(&store.get_range(path, 0..origin.file.size.min(4)).await?) {
        return Ok(None);
    }
    // From the last byte on that may be the end of an object.
    let mut text: Vec<u8> = Vec::new();
    let mut base = part.start;
    while base < part.end {
        let at = base + text.len() as u64;
        let next = (at + STEP).min(origin.file.size);
        if at >= next {
            break;
        }
        text.extend_from_slice(&store.get_range(path, at..next).await?);
        if let Some((end, row)) = row_after_cut(&text, 0) {
            return Ok((base + (end as u64) < part.end).then_some(base + row as u64));
        }
        let kept = text.iter().rposition(|byte| !byte.is_ascii_whitespace()).unwrap_or_default();
        text.drain(..kept);
        base += kept as u64;
    }
    Ok(None)
}
