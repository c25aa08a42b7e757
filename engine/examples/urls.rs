//! Counts the domains of web addresses: the last column of files of tab-separated lines, such as
//! the event files of [GDELT](https://www.gdeltproject.org/data.html), here or in a bucket. Writes
//! one file per shard of the result, and prints the most frequent domains.
//!
//! It shows a result that stays where it was computed: two other funcs take it as an argument, one
//! of which writes the files, so that the domains are counted only once.
//!
//! ```text
//! curl -O http://data.gdeltproject.org/gdeltv2/20260101000000.export.CSV.zip
//! unzip 20260101000000.export.CSV.zip -d events
//! cargo run --release -p bigslice --example urls -- --workers 2 --out domains events
//! cargo run --release -p bigslice --example urls -- --out s3://mine/domains 's3://mine/events/*.CSV.gz'
//! ```

#![expect(clippy::print_stdout, reason = "a program that prints what it found")]

use bigslice::prelude::*;
use bigslice::{SessionArgs, WriteOptions, WrittenFile};
use clap::Parser;

/// Counts the domains of the web addresses in the last column of tab-separated files.
#[derive(Debug, Parser)]
struct Args {
    /// Files, folders or patterns, here, at s3://bucket/... or https://...; those that end in .gz,
    /// .zst, .bz2 or .xz are decompressed.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<String>,

    /// A folder for one file per shard, here or at s3://bucket/folder: part-00000-of-00008.tsv and
    /// so on. All of them appear, or none.
    #[arg(long, value_name = "DIR")]
    out: Option<String>,

    /// How many domains to print.
    #[arg(long, value_name = "N", default_value_t = 10)]
    top: usize,

    #[command(flatten)]
    session: SessionArgs,
}

/// The number of addresses of each domain.
#[bigslice::func]
fn domains(paths: Vec<String>) -> Result<Slice<(String, u64)>> {
    // As bytes: other columns may be in any encoding.
    let counted = Slice::lines_bytes(paths)?.emit::<(String, u64), _>(|line, out| {
        let last = line.rsplit(|byte| *byte == b'\t').next().unwrap_or_default();
        if let Some(domain) = domain(&String::from_utf8_lossy(last.trim_ascii())) {
            out.push((domain, 1));
        }
    });
    Ok(counted.reduce(|a, b| a + b))
}

/// One file for each shard of them.
#[bigslice::func]
fn save(domains: Run<(String, u64)>, folder: String) -> Slice<WrittenFile> {
    let options = WriteOptions::new().header(false).delimiter(b'\t');
    domains.slice().write_csv_with(folder, options)
}

/// The most frequent of them.
#[bigslice::func]
fn most(domains: Run<(String, u64)>, top: usize) -> Slice<(String, u64)> {
    domains.slice().top_k(top, |(_, times)| times)
}

/// The host that an address names, without `www.` and a port.
fn domain(url: &str) -> Option<&str> {
    let (_scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?.split(':').next()?;
    let host = host.strip_prefix("www.").unwrap_or(host);
    (!host.is_empty()).then_some(host)
}

#[bigslice::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let session = args.session.open().await?;
    let counted = session.run(domains(args.paths)).await?;
    if let Some(folder) = args.out {
        session.run(save(counted.clone(), folder)).await?;
    }
    print(&session, counted, args.top).await?;
    session.shutdown().await;
    Ok(())
}

async fn print(session: &Session, counted: Run<(String, u64)>, top: usize) -> Result<()> {
    for (domain, times) in session.run(most(counted, top)).await?.collect().await? {
        println!("{times:>8} {domain}");
    }
    Ok(())
}
