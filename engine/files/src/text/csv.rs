//! Reads delimited text: the rows of a file, or of a part of one, as batches.

use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use datafusion::arrow::datatypes::DataType;
use datafusion::error::Result;
use object_store::ObjectStoreExt;

use super::columns::{Unfit, Values};
use super::cut::{CutFile, LOOK_BACK};
use super::dialect::{Dialect, Nulls};
use super::fault::{Fault, declare, no_text, perhaps_null, shown, type_name, whole};
use super::header::{Places, by_place, names};
use super::input::{Input, Origin, is_utf16};
use super::reading::Reading;
use super::scan::{Found, ROW_BYTES_MAX, Scanner};
use super::spans::Rows;

/// Text of a batch at which it ends, however few rows it has.
const BATCH_BYTES: usize = 16 << 20;

/// The size of the first read of a file, for its header.
const HEAD_BYTES: u64 = 64 << 10;

/// Reads the rows of a file.
#[derive(Debug)]
pub(super) struct CsvReader {
    reading: Arc<Reading>,
    nulls: Nulls,
    date_format: Option<String>,
    timestamp_format: Option<String>,
    input: Input,
    scanner: Scanner,
    rows: Rows,
    /// The columns of the projection that the file has.
    present: Vec<bool>,
    /// The start of the part to read.
    start: u64,
    /// Where it ends, as a place in the text that waits in `input`.
    stop: usize,
    done: bool,
}

impl CsvReader {
    /// Opens a file, or a part of it; none if no row begins in the part.
    pub(super) async fn open(
        reading: Arc<Reading>,
        dialect: &Dialect,
        origin: Origin,
        part: Option<Range<u64>>,
    ) -> Result<Option<Self>> {
        let size = origin.file.size;
        let part = part.unwrap_or(0..size);
        if part.start == 0 {
            return Self::beginning(reading, dialect, origin, part.end).await.map(Some);
        }
        let Some(places) = head_of(&reading, dialect, &origin).await? else { return Ok(None) };
        let (store, file) = (&origin.store, &origin.file);
        let cut = CutFile { store, file, dialect, look_back: LOOK_BACK };
        let Some(start) = cut.first_row(part.start, part.end).await? else { return Ok(None) };
        let input = Input::open(origin, start, part.end).await?;
        let stop = usize::try_from(part.end - start).unwrap_or(usize::MAX);
        let scanner = scanner(&reading, dialect, &places, true);
        Self::new(reading, dialect, input, scanner, start, stop).map(Some)
    }

    /// Opens a file at its beginning, where its header is.
    async fn beginning(
        reading: Arc<Reading>,
        dialect: &Dialect,
        origin: Origin,
        end: u64,
    ) -> Result<Self> {
        let size = origin.file.size;
        let mut input = Input::open(origin, 0, end).await?;
        let places = read_header(&reading, dialect, &mut input).await?;
        let cut = end < size && !input.is_converted();
        let stop = if cut { usize::try_from(end).unwrap_or(usize::MAX) } else { usize::MAX };
        let stop = if cut { stop.saturating_sub(input.mark()) } else { stop };
        let scanner = scanner(&reading, dialect, &places, cut);
        Self::new(reading, dialect, input, scanner, 0, stop)
    }

    fn new(
        reading: Arc<Reading>,
        dialect: &Dialect,
        input: Input,
        (scanner, present): (Scanner, Vec<bool>),
        start: u64,
        stop: usize,
    ) -> Result<Self> {
        let rows = Rows::new(reading.projection.len());
        let nulls = dialect.nulls()?;
        let (date_format, timestamp_format) =
            (dialect.date_format.clone(), dialect.timestamp_format.clone());
        Ok(Self {
            nulls,
            date_format,
            timestamp_format,
            rows,
            reading,
            input,
            scanner,
            present,
            start,
            stop,
            done: false,
        })
    }

    /// The next rows; none after the last ones.
    pub(super) async fn next(&mut self) -> Result<Option<RecordBatch>> {
        if self.done {
            return Ok(None);
        }
        let gone = self.input.pass();
        if self.stop != usize::MAX {
            self.stop = self.stop.saturating_sub(gone);
        }
        self.rows.clear();
        let begin = self.input.at;
        loop {
            let input = &mut self.input;
            let max = self.reading.batch_rows;
            let scanned = self.scanner.rows(
                &input.text,
                input.at,
                input.last,
                max,
                self.stop,
                &mut self.rows,
            );
            let (at, found) = match scanned {
                Ok(scanned) => scanned,
                Err(fault) => return Err(self.input.error(fault, self.start).await),
            };
            input.at = at;
            match found {
                Found::Rows => break,
                Found::Stop => self.done = true,
                Found::End if input.last => self.done = true,
                Found::End if self.rows.len() > 0 && at - begin >= BATCH_BYTES => break,
                Found::End if input.text.len() - at > ROW_BYTES_MAX => {
                    let most = ROW_BYTES_MAX >> 20;
                    let fault = Fault::new(at, format!("a row is longer than {most} MiB"))
                        .hint("is a quote never closed, or is the file no text?");
                    return Err(self.input.error(fault, self.start).await);
                }
                Found::End => {
                    input.more().await?;
                    continue;
                }
            }
            break;
        }
        if self.rows.len() == 0 && self.done {
            return Ok(None);
        }
        match self.batch() {
            Ok(batch) => Ok(Some(batch?)),
            Err(fault) => Err(self.input.error(fault, self.start).await),
        }
    }

    /// The rows that were found, as a batch.
    fn batch(&self) -> Result<Result<RecordBatch>, Fault> {
        let read = &self.input.text[..self.input.at];
        let text = std::str::from_utf8(read).map_err(|error| no_text(read, error.valid_up_to()))?;
        let copies = std::str::from_utf8(&self.rows.copies)
            .map_err(|_| Fault::new(0, "the text is not UTF-8"))?;
        let reading = &self.reading;
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(reading.projection.len());
        for (at, field) in reading.schema.fields().iter().enumerate() {
            if !self.present[at] {
                arrays.push(new_null_array(field.data_type(), self.rows.len()));
                continue;
            }
            let values = Values {
                text,
                copies,
                spans: &self.rows.columns[at],
                nulls: &self.nulls,
                date_format: self.date_format.as_deref().filter(|_| reading.declared),
                timestamp_format: self.timestamp_format.as_deref().filter(|_| reading.declared),
                declared: reading.declared,
            };
            let array = values.array(field.data_type());
            arrays
                .push(array.map_err(|unfit| self.unfit(&unfit, field.name(), field.data_type()))?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows.len()));
        let schema = Arc::clone(&reading.schema);
        Ok(RecordBatch::try_new_with_options(schema, arrays, &options).map_err(Into::into))
    }

    fn unfit(&self, unfit: &Unfit, column: &str, kind: &DataType) -> Fault {
        let at = self.rows.starts.get(unfit.row).map_or(0, |start| *start as usize);
        let (value, kind) = (shown(&unfit.text), type_name(kind));
        if self.reading.declared {
            return Fault::new(at, format!("\"{value}\" is not a valid {kind}, the declared type"))
                .column(column)
                .hint(
                    "declare the column as VARCHAR and cast it with TRY_CAST, or name what is null with \
                     OPTIONS ('format.null_regex' '^(NA|-)?$')",
                );
        }
        let message =
            format!("\"{value}\" is not a valid {kind}, the type of the column's first rows");
        let hint = perhaps_null(&unfit.text).unwrap_or_else(|| declare(column, "CSV"));
        Fault::new(at, message).column(column).hint(hint)
    }
}

/// Splits the rows of a file into the columns to read, and knows which of them the file has.
fn scanner(
    reading: &Reading,
    dialect: &Dialect,
    places: &Places,
    cut: bool,
) -> (Scanner, Vec<bool>) {
    let mut slots: Vec<Option<u32>> = vec![None; reading.table.fields().len()];
    for (slot, column) in reading.projection.iter().enumerate() {
        slots[*column] = u32::try_from(slot).ok();
    }
    let wanted: Vec<Option<u32>> =
        places.0.iter().map(|place| place.and_then(|column| slots[column])).collect();
    let mut present = vec![false; reading.projection.len()];
    wanted.iter().flatten().for_each(|slot| present[*slot as usize] = true);
    (Scanner::new(dialect.clone(), wanted, cut), present)
}

/// Reads the header, if there is one: which value of a row is which column.
async fn read_header(reading: &Reading, dialect: &Dialect, input: &mut Input) -> Result<Places> {
    let first = first_row(dialect, input).await?;
    let file = input.origin().name.clone();
    let table = &reading.table;
    if dialect.header {
        let (header, at) = first;
        input.at = at;
        if header.is_empty() {
            // Nothing but empty lines.
            return Ok(Places(Vec::new()));
        }
        let names = names(header, &file)?;
        return Places::by_name(&names, table, dialect.ragged, reading.declared, &file);
    }
    // Without a header the first row may be one with too few values, which is for its reader to
    // say.
    Ok(Places::in_order(table.fields().len()))
}

/// The values of the first row and where the next one begins; the row is not passed.
pub(super) async fn first_row(
    dialect: &Dialect,
    input: &mut Input,
) -> Result<(Vec<String>, usize)> {
    let scanner = Scanner::new(dialect.clone(), Vec::new(), false);
    loop {
        match scanner.first(&input.text, input.at, input.last) {
            Ok(Some(found)) => return Ok(found),
            Ok(None) if input.text.len() > ROW_BYTES_MAX => {
                return Err(whole(&input.origin().name, "has no end of its first row"));
            }
            Ok(None) => input.more().await?,
            Err(fault) => return Err(input.error(fault, 0).await),
        }
    }
}

/// What the beginning of a file says to the reader of another part of it; none if the file is not
/// read in parts.
async fn head_of(reading: &Reading, dialect: &Dialect, origin: &Origin) -> Result<Option<Places>> {
    let size = origin.file.size;
    if is_utf16(&origin.store.get_range(&origin.file.location, 0..size.min(4)).await?) {
        return Ok(None);
    }
    if !dialect.header {
        return Ok(Some(Places::in_order(reading.table.fields().len())));
    }
    let mut input = Input::open(origin.clone(), 0, HEAD_BYTES.min(size)).await?;
    read_header(reading, dialect, &mut input).await.map(Some)
}

/// Which columns a file has by its header, or by the number of values of its first row.
pub(super) async fn columns_of(dialect: &Dialect, input: &mut Input) -> Result<Vec<String>> {
    let (first, at) = first_row(dialect, input).await?;
    if dialect.header {
        input.at = at;
        return names(first, &input.origin().name.clone());
    }
    Ok((0..first.len()).map(by_place).collect())
}
