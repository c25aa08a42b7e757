//! The columns of text files and their types, from their first rows.

use std::sync::Arc;

use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::error::Result;
use futures::{StreamExt, TryStreamExt};

use super::csv::columns_of;
use super::dialect::Dialect;
use super::fault::whole;
use super::header::Places;
use super::heads::{ASKED_AT_ONCE, Most, asked};
use super::input::{Input, Origin};
use super::json;
use super::scan::{Found, ROW_BYTES_MAX, Scanner};
use super::seen::Seen;
use super::source::{Layout, TextOptions};
use super::spans::Rows;

/// The columns of files; `rows` is how many rows of each decide, if an option says it.
pub(crate) async fn infer(
    options: &TextOptions,
    files: Vec<Origin>,
    rows: Option<usize>,
) -> Result<SchemaRef> {
    match &options.layout {
        Layout::Csv(dialect) => of_csv(dialect, files, rows).await,
        Layout::Json => Ok(Arc::new(Schema::new(json::fields(asked(files, rows)).await?))),
    }
}

/// The columns of files of delimited text.
async fn of_csv(dialect: &Dialect, files: Vec<Origin>, rows: Option<usize>) -> Result<SchemaRef> {
    // Collected before they are polled: a stream that borrows them inside an async trait is more
    // than the compiler can prove to be `Send`.
    let questions: Vec<_> =
        asked(files, rows).into_iter().map(|(file, most)| head(dialect, file, most)).collect();
    let heads: Vec<Head> =
        futures::stream::iter(questions).buffered(ASKED_AT_ONCE).try_collect().await?;
    let first_file = heads.first().map(|head| head.file.clone()).unwrap_or_default();
    let mut heads = heads.into_iter().filter(|head| !head.columns.is_empty());
    let Some(first) = heads.next() else {
        return Err(whole(&first_file, "has no columns: there is nothing but empty lines"));
    };
    let mut columns = first.columns;
    for head in heads {
        join(dialect, &mut columns, head)?;
    }
    let fields = columns.into_iter().map(|(name, seen)| Field::new(name, seen.data_type(), true));
    Ok(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
}

/// The columns by the first rows of a file.
#[derive(Debug)]
struct Head {
    file: String,
    columns: Vec<(String, Seen)>,
}

async fn head(dialect: &Dialect, file: Origin, most: Most) -> Result<Head> {
    let size = file.file.size;
    let name = file.name.clone();
    let mut input = Input::open(file, 0, size.min(most.bytes as u64)).await?;
    let names = columns_of(dialect, &mut input).await?;
    let nulls = dialect.nulls()?;
    let wanted = (0..names.len()).map(|at| u32::try_from(at).ok()).collect();
    let scanner = Scanner::new(dialect.clone(), wanted, false);
    let mut seen = vec![Seen::default(); names.len()];
    let mut rows = Rows::new(names.len());
    let (mut counted, mut passed) = (0, 0);
    while counted < most.rows && passed < most.bytes && !names.is_empty() {
        let begin = input.at;
        let batch = (most.rows - counted).min(8192);
        let scanned = scanner.rows(&input.text, input.at, input.last, batch, usize::MAX, &mut rows);
        let (at, found) = match scanned {
            Ok(scanned) => scanned,
            Err(fault) => return Err(input.error(fault, 0).await),
        };
        let text = String::from_utf8_lossy(&input.text[..at]);
        // With bytes that are no UTF-8 the places of values are others: the reader says so.
        if let std::borrow::Cow::Borrowed(text) = text {
            let copies = String::from_utf8_lossy(&rows.copies);
            for (seen, spans) in seen.iter_mut().zip(&rows.columns) {
                for span in spans {
                    let value = span.of(text, &copies);
                    let null = nulls.is(value, span.is_quoted());
                    if !value.is_empty() && !null {
                        seen.add(value);
                    }
                }
            }
        }
        counted += rows.len();
        passed += at - begin;
        rows.clear();
        input.at = at;
        if found == Found::End {
            if input.last || input.text.len() - at > ROW_BYTES_MAX {
                break;
            }
            input.pass();
            input.more().await?;
        }
    }
    Ok(Head { file: name, columns: names.into_iter().zip(seen).collect() })
}

/// Adds the columns of one more file.
fn join(dialect: &Dialect, columns: &mut Vec<(String, Seen)>, head: Head) -> Result<()> {
    let names: Vec<String> = head.columns.iter().map(|(name, _)| name.clone()).collect();
    if dialect.ragged {
        for (name, seen) in head.columns {
            match columns.iter_mut().find(|(known, _)| *known == name) {
                Some((_, known)) => known.join(seen),
                None => columns.push((name, seen)),
            }
        }
        return Ok(());
    }
    let fields = columns
        .iter()
        .map(|(name, seen)| Field::new(name, seen.data_type(), true))
        .collect::<Vec<_>>();
    let places = Places::by_name(&names, &Schema::new(fields), false, false, &head.file)?;
    for (place, (_, seen)) in places.0.into_iter().zip(head.columns) {
        if let Some((_, known)) = place.and_then(|place| columns.get_mut(place)) {
            known.join(seen);
        }
    }
    Ok(())
}
