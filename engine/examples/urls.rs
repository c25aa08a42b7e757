//! Counts the domains of web addresses: the last column of files of tab-separated lines, such as the
//! event files of [GDELT](https://www.gdeltproject.org/data.html). Writes one file per shard of the
//! result, and prints the domains that are there most often.
//!
//! It shows a result that stays where it was computed: it is the argument of two other funcs, one of
//! which writes the files, so that the domains are counted once.
//!
//! ```text
//! curl -O http://data.gdeltproject.org/gdeltv2/20260101000000.export.CSV.zip
//! unzip 20260101000000.export.CSV.zip -d events
//! cargo run --release -p bigslice --example urls -- --workers 2 --out domains events
//! ```

#![expect(clippy::print_stdout, reason = "a program that prints what it found")]

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use bigslice::{Run, Session, SessionArgs, Slice, WriteOptions, WrittenFile};
use clap::Parser;

/// Shards that the files are read in, at most.
const SHARDS_MAX: usize = 256;

/// Counts the domains of the web addresses in the last column of tab-separated files.
#[derive(Debug, Parser)]
struct Args {
    /// A file, or a folder with files that end in .tsv or .csv, in capitals or not.
    path: PathBuf,

    /// A folder for one file per shard, here or at s3://bucket/folder: part-00000-of-00008.tsv and so
    /// on. All of them appear, or none.
    #[arg(long, value_name = "DIR")]
    out: Option<String>,

    /// How many domains to print.
    #[arg(long, value_name = "N", default_value_t = 10)]
    top: usize,

    #[command(flatten)]
    session: SessionArgs,
}

/// How often each domain is there.
#[bigslice::func]
fn domains(files: Vec<String>) -> Slice<(String, u64)> {
    let shards = files.len().clamp(1, SHARDS_MAX);
    Slice::reader(shards, move |shard| {
        let own: Vec<String> = files.iter().skip(shard).step_by(shards).cloned().collect();
        own.into_iter().flat_map(urls)
    })
    .emit::<(String, u64), _>(|url, out| {
        if let Some(domain) = domain(url) {
            out.push((domain, 1));
        }
    })
    .reduce(|a, b| a + b)
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

/// The last column of each line of a file, or why it cannot be read.
fn urls(path: String) -> Box<dyn Iterator<Item = Result<String, String>>> {
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) => return Box::new(std::iter::once(Err(format!("{path}: {error}")))),
    };
    // Other columns may be in any encoding.
    let lines = BufReader::new(file).split(b'\n');
    Box::new(lines.map(move |line| {
        let line = line.map_err(|error| format!("{path}: {error}"))?;
        let last = line.rsplit(|byte| *byte == b'\t').next().unwrap_or_default();
        Ok(String::from_utf8_lossy(last.trim_ascii()).into_owned())
    }))
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
    let counted = session.run(domains(files(&args.path)?)).await?;
    if let Some(folder) = args.out {
        session.run(save(counted.clone(), folder)).await?;
    }
    print(&session, counted, args.top).await?;
    session.shutdown().await;
    Ok(())
}

/// The files at a path, in order.
fn files(path: &Path) -> Result<Vec<String>> {
    let what = || format!("cannot list {}", path.display());
    if !path.is_dir() {
        return Ok(vec![text(path)?]);
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).with_context(what)? {
        let file = entry.with_context(what)?.path();
        let ending = file.extension().map(|ending| ending.to_ascii_lowercase());
        if ending.is_some_and(|ending| ending == "tsv" || ending == "csv") {
            found.push(text(&file)?);
        }
    }
    if found.is_empty() {
        bail!("there is no file that ends in .tsv or .csv in {}", path.display());
    }
    found.sort();
    Ok(found)
}

/// A path as machines are told it: they may work in another folder.
fn text(path: &Path) -> Result<String> {
    let whole = path.canonicalize().with_context(|| format!("cannot read {}", path.display()))?;
    whole
        .into_os_string()
        .into_string()
        .map_err(|name| anyhow::anyhow!("the name {} is not in UTF-8", name.display()))
}

async fn print(session: &Session, counted: Run<(String, u64)>, top: usize) -> Result<()> {
    for (domain, times) in session.run(most(counted, top)).await?.collect().await? {
        println!("{times:>8} {domain}");
    }
    Ok(())
}
