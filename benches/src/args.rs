//! What the user asked for.

use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use bigslice::{SystemSpec, tpch};
use clap::Parser;

/// Times the 22 queries of TPC-H over a folder of Parquet files.
///
/// To leave it fewer cores than the computer has, start it with `taskset`: machines share the
/// cores that the program may use.
#[derive(Debug, Parser)]
#[command(name = "tpch")]
pub(crate) struct Args {
    /// The folder with a folder of Parquet files for each table.
    #[arg(long, value_name = "DIR", required_unless_present = "tpch")]
    pub(crate) data: Option<PathBuf>,

    /// Tables generated on the fly at this scale factor, instead of files.
    #[arg(long, value_name = "SF", conflicts_with = "data")]
    pub(crate) tpch: Option<f64>,

    /// So many local worker processes; 0 is this process alone.
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "system")]
    pub(crate) workers: usize,

    /// Where to run: "in-process:N" or "local:N".
    #[arg(long, value_name = "SPEC")]
    pub(crate) system: Option<SystemSpec>,

    /// In this process and on the machines, in turn, with the ratio of the times.
    #[arg(long)]
    pub(crate) compare: bool,

    /// The queries to run, separated by commas; all 22 if this is not given.
    #[arg(long, value_name = "N,N,...", value_delimiter = ',')]
    queries: Vec<usize>,

    /// How often each query is timed, after one run that is not.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 3)]
    pub(crate) iterations: usize,

    /// Partitions of a task; as many as it has cores if this is not given.
    #[arg(long, value_name = "N")]
    pub(crate) partitions: Option<usize>,

    /// Bytes that all processes may use together.
    #[arg(long, value_name = "BYTES")]
    pub(crate) memory_limit: Option<u64>,

    /// A setting of the session, such as "datafusion.execution.batch_size=4096".
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,

    /// Writes the figures as JSON too.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Shows the plan, with times, of the query with the worst ratio, or else the longest time.
    #[arg(long)]
    pub(crate) explain_worst: bool,
}

impl Args {
    /// The queries to run.
    pub(crate) fn queries(&self) -> Result<Vec<usize>> {
        ensure!(self.iterations > 0, "the number of iterations must not be 0");
        for &n in &self.queries {
            ensure!(tpch::query(n).is_some(), "there is no query {n}: there are 1 to 22");
        }
        let all = || (1..=tpch::QUERIES.len()).collect();
        Ok(if self.queries.is_empty() { all() } else { self.queries.clone() })
    }

    /// The systems to run on, one or, to compare, two: this process is first.
    pub(crate) fn systems(&self) -> Result<Vec<SystemSpec>> {
        let system = match (self.system.clone(), self.workers) {
            (Some(system), _) => system,
            (None, 0) => SystemSpec::Here,
            (None, machines) => SystemSpec::Local { machines },
        };
        match (self.compare, system) {
            (false, system) => Ok(vec![system]),
            (true, SystemSpec::Here) => bail!("to compare, name machines: --workers or --system"),
            (true, system) => Ok(vec![SystemSpec::Here, system]),
        }
    }

    /// The settings.
    pub(crate) fn settings(&self) -> Result<Vec<(&str, &str)>> {
        self.set
            .iter()
            .map(|text| match text.split_once('=') {
                Some(pair) => Ok(pair),
                None => bail!("\"{text}\" is not KEY=VALUE"),
            })
            .collect()
    }
}
