//! The fields of JSON files and their types, from their first rows.

use datafusion::arrow::datatypes::Fields;
use datafusion::error::Result;
use futures::{StreamExt, TryStreamExt};

use super::lex::{Stop, Walk, Walker};
use super::rows::{Next, Rows};
use super::shape::Keys;
use crate::text::fault::{Fault, row_at};
use crate::text::heads::{ASKED_AT_ONCE, Most};
use crate::text::input::{Input, Origin};
use crate::text::scan::ROW_BYTES_MAX;

/// The fields of all files.
pub(in crate::text) async fn fields(files: Vec<(Origin, Most)>) -> Result<Fields> {
    // Collected before they are polled: a stream that borrows them inside an async trait is more
    // than the compiler can prove to be `Send`.
    let questions: Vec<_> = files.into_iter().map(|(file, most)| head(file, most)).collect();
    let heads: Vec<Keys> =
        futures::stream::iter(questions).buffered(ASKED_AT_ONCE).try_collect().await?;
    let mut all = Keys::default();
    heads.into_iter().for_each(|keys| all.join(keys));
    Ok(all.fields(0))
}

/// The columns by the first rows of a file.
async fn head(file: Origin, most: Most) -> Result<Keys> {
    let size = file.file.size;
    let mut input = Input::open(file, 0, size.min(most.bytes as u64)).await?;
    let mut keys = Keys::default();
    let mut rows = Rows::default();
    let (mut counted, mut passed) = (0, 0);
    while counted < most.rows && passed < most.bytes {
        let mut walker = Walker { text: &input.text, at: input.at };
        let walked = row(&mut rows, &mut keys, &mut walker, input.last);
        let at = walker.at;
        passed += at - input.at;
        input.at = at;
        match walked {
            Ok(true) => counted += 1,
            Ok(false) => break,
            Err(Stop::Wrong(fault)) => return Err(input.error(fault, 0).await),
            Err(Stop::Open) if input.last => {
                let fault =
                    Fault::new(row_at(&input.text, at), "the file ends in the middle of a row");
                return Err(input.error(fault, 0).await);
            }
            Err(Stop::Open) if input.text.len() - at > ROW_BYTES_MAX => {
                let most = ROW_BYTES_MAX >> 20;
                let fault = Fault::new(at, format!("a row is longer than {most} MiB"));
                return Err(input.error(fault, 0).await);
            }
            Err(Stop::Open) => {
                input.pass();
                input.more().await?;
            }
        }
    }
    Ok(keys)
}

/// Adds the next row, if there is one. Of a row that does not end within the text nothing is added.
fn row(rows: &mut Rows, keys: &mut Keys, walker: &mut Walker<'_>, last: bool) -> Walk<bool> {
    let (mut ahead, mut found) = (*walker, *rows);
    if found.next(&mut ahead, last, usize::MAX)? != Next::Row {
        return Ok(false);
    }
    if ahead.peek()? == b'n' {
        ahead.null_row()?;
    } else {
        let mut within = ahead;
        ahead.pass(0)?;
        keys.add(&mut within, 0)?;
    }
    (*rows, *walker) = (found, ahead);
    Ok(true)
}
