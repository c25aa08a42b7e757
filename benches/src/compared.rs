//! Bigslice as one of the engines of `benches/compare`: reads a request per line from standard
//! input, and answers on standard output.
//!
//! ```text
//! {"sql": "...", "to": "result.arrow"}   ->   {"seconds": 0.12, "rows": 10}   or   {"error": "..."}
//! ```
//!
//! The time is from the text of the query to its last row in memory. With "to", the result is also
//! written to that file, outside of the measured time.
#![expect(clippy::print_stdout, reason = "the answers go to standard output")]

use std::fs::{self, File};
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::FileWriter;
use arrow::record_batch::RecordBatch;
use bigslice::{Session, SystemSpec};
use clap::Parser;
use serde::{Deserialize, Serialize};

// The allocator of `bigsql`, to measure what users run.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs queries over the tables of a folder.
#[derive(Debug, Parser)]
struct Args {
    /// A folder with a folder of Parquet files, or a Parquet file, per table.
    folder: PathBuf,

    /// Number of local worker processes; 0 is this process alone.
    #[arg(long, value_name = "N", default_value_t = 0)]
    workers: usize,

    /// A setting of the session, such as "datafusion.execution.batch_size=4096".
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Request {
    sql: String,
    to: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Answer {
    Ready { ready: bool },
    Ran { seconds: f64, rows: usize },
    Failed { error: String },
}

impl Answer {
    fn give(&self) -> Result<()> {
        println!("{}", serde_json::to_string(self)?);
        Ok(std::io::stdout().flush()?)
    }
}

fn main() -> Result<ExitCode> {
    // Local machines run this program, too: a worker never gets past this line.
    if let Some(code) = bigslice::worker_main() {
        return Ok(code);
    }
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(&args))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(args: &Args) -> Result<()> {
    let mut builder = Session::builder();
    if args.workers > 0 {
        builder = builder.system(SystemSpec::Local { machines: args.workers });
    }
    for pair in &args.set {
        let (key, value) = pair.split_once('=').context("--set takes KEY=VALUE")?;
        builder = builder.set(key, value);
    }
    let session = builder.build().await?;
    register(&session, &args.folder).await?;
    Answer::Ready { ready: true }.give()?;
    let (lines, mut requests) = tokio::sync::mpsc::channel(1);
    tokio::task::spawn_blocking(move || {
        std::io::stdin()
            .lock()
            .lines()
            .try_for_each(|line| lines.blocking_send(line).map_err(|_| ()))
    });
    while let Some(line) = requests.recv().await {
        let answer = answer(&session, &line?).await;
        answer.unwrap_or_else(|error| Answer::Failed { error: error.to_string() }).give()?;
    }
    session.shutdown().await;
    Ok(())
}

async fn register(session: &Session, folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if !path.is_dir() && path.extension().is_none_or(|end| end != "parquet") {
            continue;
        }
        let place = path.display().to_string().replace('\'', "''");
        let slash = if path.is_dir() { "/" } else { "" };
        let name = path.file_stem().context("a table has a name")?.display();
        let sql =
            format!("CREATE EXTERNAL TABLE {name} STORED AS PARQUET LOCATION '{place}{slash}'");
        session.sql(&sql).await?.collect().await?;
    }
    Ok(())
}

async fn answer(session: &Session, line: &str) -> Result<Answer> {
    let request: Request = serde_json::from_str(line)?;
    let start = Instant::now();
    let query = session.sql(&request.sql).await?;
    let schema = query.schema();
    let batches = query.collect().await?;
    let seconds = start.elapsed().as_secs_f64();
    let rows = batches.iter().map(RecordBatch::num_rows).sum();
    if let Some(path) = request.to {
        write(&path, &schema, &batches)?;
    }
    Ok(Answer::Ran { seconds, rows })
}

fn write(path: &Path, schema: &SchemaRef, batches: &[RecordBatch]) -> Result<()> {
    // The schema of the rows, which may be stricter than the planned one.
    let schema = batches.first().map_or_else(|| SchemaRef::clone(schema), RecordBatch::schema);
    ensure!(!schema.fields().is_empty(), "the query has no columns");
    let mut writer = FileWriter::try_new(File::create(path)?, &schema)?;
    for batch in batches {
        writer.write(batch)?;
    }
    Ok(writer.finish()?)
}
