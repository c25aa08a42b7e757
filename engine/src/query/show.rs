//! Prints a result: the only place in this crate that prints, on behalf of [`Query::show`].

use std::io::{self, ErrorKind, IsTerminal, Write};

use datafusion::arrow::array::UInt64Array;
use datafusion::arrow::record_batch::RecordBatch;
use futures::{StreamExt, TryStreamExt};

use crate::error::{Error, Result};
use crate::query::Query;
use crate::render::{Layout, Paint, TextTable, cell};

/// Default maximum of rows on a terminal: about one screen.
const TERMINAL_ROWS_MAX: usize = 40;

/// Rows that are formatted at once: the text of a batch may be many times its size.
const ROWS_AT_ONCE: usize = 1_024;

impl Query {
    /// Runs the statement and prints its rows on standard output, as a table like those of bigsql.
    /// On a terminal, a long result is shortened to its first and last 20 rows and to the
    /// terminal's width; elsewhere it is printed in full. A statement that writes prints the number
    /// of rows written; one that returns no rows prints nothing.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # let session = bigslice::Session::builder().build().await?;
    /// session.sql("select 1 as one").await?.show().await?;
    /// # session.shutdown().await; Ok::<(), bigslice::Error>(()) }).unwrap();
    /// ```
    ///
    /// Only a part of the result is in memory at a time. If the reader of standard output goes
    /// away, the query is cancelled, without an error.
    ///
    /// # Errors
    /// When the statement fails or its rows cannot be printed.
    pub async fn show(self) -> Result<()> {
        let rows_max = io::stdout().is_terminal().then_some(TERMINAL_ROWS_MAX);
        self.print(rows_max).await
    }

    /// Like [`Self::show`], but shortens a result to `rows` rows, its first and its last ones,
    /// wherever standard output goes.
    ///
    /// # Errors
    /// When the statement fails or its rows cannot be printed.
    pub async fn show_limit(self, rows: usize) -> Result<()> {
        self.print(Some(rows)).await
    }

    async fn print(self, rows_max: Option<usize>) -> Result<()> {
        self.write_to(layout(rows_max), &mut io::stdout()).await
    }

    async fn write_to(self, layout: Layout, to: &mut (impl Write + Send)) -> Result<()> {
        if !self.returns_rows() {
            if let Some(rows) = written(&self.collect().await?) {
                send(&mut format!("{} written\n", cell::counted(rows, "row")).into_bytes(), to)?;
            }
            return Ok(());
        }
        let wrong = |e| Error::query(format!("the result cannot be shown: {e}"));
        let mut table = TextTable::new(&self.schema(), layout);
        let mut stream = self.stream().await?.map_err(Error::from);
        let mut out = Vec::new();
        while let Some(batch) = stream.next().await {
            let batch = batch?;
            for start in (0..batch.num_rows()).step_by(ROWS_AT_ONCE) {
                let rows = ROWS_AT_ONCE.min(batch.num_rows() - start);
                table.batch(&batch.slice(start, rows), &mut out).map_err(wrong)?;
                if send(&mut out, to)? == Reader::Gone {
                    return Ok(());
                }
            }
        }
        table.finish(&mut out).map_err(wrong)?;
        send(&mut out, to)?;
        Ok(())
    }
}

/// The layout for standard output.
fn layout(rows_max: Option<usize>) -> Layout {
    let terminal = io::stdout().is_terminal();
    let columns = terminal_size::terminal_size().map(|(columns, _)| usize::from(columns.0));
    Layout {
        terminal_columns: columns.filter(|columns| terminal && *columns > 0),
        types: terminal,
        paint: Paint::Off,
        rows_max,
    }
}

/// The number of rows that a statement reports as written.
fn written(batches: &[RecordBatch]) -> Option<usize> {
    let counts = batches.iter().filter(|batch| batch.num_columns() == 1).filter_map(|batch| {
        let counts = batch.column(0).as_any().downcast_ref::<UInt64Array>()?;
        Some(counts.iter().flatten().sum::<u64>())
    });
    let counts: Vec<u64> = counts.collect();
    (!counts.is_empty()).then(|| usize::try_from(counts.iter().sum::<u64>()).unwrap_or(usize::MAX))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reader {
    There,
    Gone,
}

/// Writes `out` and empties it.
fn send(out: &mut Vec<u8>, to: &mut impl Write) -> Result<Reader> {
    let sent = to.write_all(out).and_then(|()| to.flush());
    out.clear();
    match sent {
        Ok(()) => Ok(Reader::There),
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(e) => Err(Error::Source {
            message: format!("cannot write to standard output: {e}"),
            hint: None,
            source: None,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Session;

    async fn shown(session: &Session, sql: &str, rows_max: Option<usize>) -> String {
        let layout = Layout { terminal_columns: None, types: false, paint: Paint::Off, rows_max };
        let mut text = Vec::new();
        session.sql(sql).await.unwrap().write_to(layout, &mut text).await.unwrap();
        String::from_utf8(text).unwrap()
    }

    #[tokio::test]
    async fn a_result_is_a_table() {
        let session = Session::builder().build().await.unwrap();
        let sql = "select value as n from generate_series(1, 3000) order by 1";
        let short = shown(&session, sql, Some(3)).await;
        assert_eq!(
            short,
            "+------+\n|  n   |\n+------+\n|    1 |\n|    2 |\n| ...  |\n| 3000 |\n+------+\n\
             3,000 rows (3 shown)\n"
        );
        assert_eq!(shown(&session, sql, None).await.lines().count(), 3000 + 4);
        let none = shown(&session, "select 1 as one where false", None).await;
        assert_eq!(none, "+-----+\n| one |\n+-----+\n+-----+\n");
    }

    #[tokio::test]
    async fn statements_without_rows_print_a_message_or_nothing() {
        let session = Session::builder().build().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.csv");
        let copy = format!("copy (values (1), (2)) to '{}' stored as csv", path.display());
        assert_eq!(shown(&session, &copy, None).await, "2 rows written\n");
        assert_eq!(shown(&session, "create view one as select 1 as n", None).await, "");
        let plan = shown(&session, "explain select * from one", None).await;
        assert!(plan.starts_with("logical plan\n  "), "{plan}");
    }

    /// A pipe whose reader is gone.
    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_reader_that_is_gone_ends_the_query() {
        let session = Session::builder().build().await.unwrap();
        let endless = session.sql("select value from generate_series(1, 9000000000000)").await;
        let layout = Layout { rows_max: None, ..layout(None) };
        endless.unwrap().write_to(layout, &mut Closed).await.unwrap();
    }
}
