//! The TPC-H runner: times the 22 queries over a folder of Parquet files, in this process, on
//! machines, or on both in turn.
//!
//! ```text
//! bigsql tpch generate --sf 1 --out /tmp/sf1
//! cargo run --release -p bigslice-benches --bin tpch -- --data /tmp/sf1 --workers 2 --compare
//! ```
//!
//! [`args`] has the options, [`contest`] runs the queries, [`report`] prints and writes the
//! figures.

mod args;
mod contest;
mod report;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::{args::Args, contest::Contest, report::Report};

// The allocator of `bigsql`, to measure what users run.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<ExitCode> {
    // Local machines run this program, too: a worker never gets past this line.
    if let Some(code) = bigslice::worker_main() {
        return Ok(code);
    }
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(&args))?;
    Ok(ExitCode::SUCCESS)
}

async fn run(args: &Args) -> Result<()> {
    let mut contest = Contest::start(args).await?;
    let outcome = contest.run(args).await;
    let report = outcome.map(|()| Report::of(args, &contest));
    if let Ok(report) = &report {
        report.print();
        if let Some(worst) = report.worst().filter(|_| args.explain_worst) {
            report::print_plans(worst, &contest.explain(worst).await?);
        }
    }
    contest.end().await;
    match &args.json {
        Some(path) => report?.write_json(path),
        None => report.map(drop),
    }
}
