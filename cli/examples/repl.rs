//! bigsql with a table and a function of its own: how a tool offers SQL over its own data.
//!
//! ```text
//! cargo run --release -p bigsql --example repl                               # the prompt
//! cargo run --release -p bigsql --example repl -- --workers 2 --format csv \
//!     -c "select gene, gc(bases) as gc from genes order by gene"
//! ```

use std::process::ExitCode;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use bigslice::Session;

/// The first bases of some genes.
const GENES: [(&str, &str); 3] = [
    ("BRCA1", "ATGGATTTATCTGCTCTT"),
    ("INS", "ATGGCCCTGTGGATGCGC"),
    ("TP53", "ATGGAGGAGCCGCAGTCA"),
];

fn main() -> ExitCode {
    bigsql::embed("genes", async |session| prepare(session))
}

/// Adds the table. The function needs no call, because its attribute registers it.
fn prepare(session: &Session) -> bigslice::Result<()> {
    let column = |of: fn(&(&'static str, &'static str)) -> &'static str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(GENES.iter().map(of)))
    };
    let (names, bases) = (column(|gene| gene.0), column(|gene| gene.1));
    let genes = RecordBatch::try_from_iter([("gene", names), ("bases", bases)]);
    session.context().register_batch("genes", genes.map_err(arrow_error)?)?;
    Ok(())
}

fn arrow_error(error: arrow::error::ArrowError) -> bigslice::Error {
    datafusion::error::DataFusionError::from(error).into()
}

/// `gc(bases)`: the fraction of bases that are G or C.
#[bigslice::udf]
fn gc(bases: &str) -> f64 {
    let found = bases.bytes().filter(|base| matches!(base, b'G' | b'C' | b'g' | b'c')).count();
    found as f64 / bases.len() as f64
}
