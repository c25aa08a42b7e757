//! Counts the words of text files and prints the ten most frequent.
//!
//! It shows a custom reader ([`Slice::reader`]) and a pipeline from its lines to a few rows. Only
//! the counts of words move between machines.
//!
//! ```text
//! cargo run --release -p bigslice --example wordcount -- --workers 2 README.md docs/*.md
//! ```

#![expect(clippy::print_stdout, reason = "a program that prints what it found")]

use std::fs::File;
use std::io::{BufRead, BufReader};

use bigslice::prelude::*;
use clap::Parser;

/// The most shards that the files are read in.
const SHARDS_MAX: usize = 256;

/// Counts the words of text files.
#[derive(Debug, Parser)]
struct Args {
    /// Text files, in UTF-8.
    #[arg(required = true)]
    files: Vec<String>,

    /// How many words to print.
    #[arg(long, value_name = "N", default_value_t = 10)]
    top: usize,

    #[command(flatten)]
    session: SessionArgs,
}

/// The most frequent words of `files`, with their counts.
#[bigslice::func]
fn top_words(files: Vec<String>, top: usize) -> Slice<(String, u64)> {
    let shards = files.len().clamp(1, SHARDS_MAX);
    // Shard 0 has the files 0, shards, 2 * shards and so on.
    Slice::reader(shards, move |shard| {
        let own: Vec<String> = files.iter().skip(shard).step_by(shards).cloned().collect();
        own.into_iter().flat_map(lines)
    })
    .emit::<(String, u64), _>(|line, out| {
        line.split_whitespace().for_each(|word| out.push((word, 1)))
    })
    .reduce(|a, b| a + b)
    .top_k(top, |(_, times)| times)
}

/// The lines of a file, or the error of reading them.
fn lines(path: String) -> Box<dyn Iterator<Item = Result<String, String>>> {
    match File::open(&path) {
        Err(error) => Box::new(std::iter::once(Err(format!("{path}: {error}")))),
        Ok(file) => {
            let lines = BufReader::new(file).lines();
            Box::new(lines.map(move |line| line.map_err(|error| format!("{path}: {error}"))))
        }
    }
}

#[bigslice::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let session = args.session.open().await?;
    let found = session.run(top_words(args.files, args.top)).await?;
    for (word, times) in found.collect().await? {
        println!("{times:>8} {word}");
    }
    session.shutdown().await;
    Ok(())
}
