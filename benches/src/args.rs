//! Command-line arguments.

use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use bigslice::{SystemSpec, tpch};
use clap::Parser;

/// Times the 22 queries of TPC-H over a folder of Parquet files.
///
/// Start it with `taskset` to use fewer cores: machines share the cores available to the program.
#[derive(Debug, Parser)]
#[command(name = "tpch")]
pub(crate) struct Args {
    /// A folder with one folder of Parquet files per table.
    #[arg(long, value_name = "DIR", required_unless_present = "tpch")]
    pub(crate) data: Option<PathBuf>,

    /// Generate the tables on the fly at this scale factor, instead of reading files.
    #[arg(long, value_name = "SF", conflicts_with = "data")]
    pub(crate) tpch: Option<f64>,

    /// Number of local worker processes; 0 is this process alone.
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "system")]
    pub(crate) workers: usize,

    /// The system to run on: "in-process:N" or "local:N".
    #[arg(long, value_name = "SPEC")]
    pub(crate) system: Option<SystemSpec>,

    /// Run in this process and on the machines, in turn, and print the ratio of the times.
    #[arg(long)]
    pub(crate) compare: bool,

    /// The queries to run, separated by commas [default: all 22]
    #[arg(long, value_name = "N,N,...", value_delimiter = ',')]
    queries: Vec<usize>,

    /// Timed runs per query, after one warm-up run.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 3)]
    pub(crate) iterations: usize,

    /// Partitions per task [default: its number of cores]
    #[arg(long, value_name = "N")]
    pub(crate) partitions: Option<usize>,

    /// Memory limit of all processes together, in bytes.
    #[arg(long, value_name = "BYTES")]
    pub(crate) memory_limit: Option<u64>,

    /// A setting of the session, such as "datafusion.execution.batch_size=4096".
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,

    /// Also write the figures as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Show the plan, with times, of the query with the worst ratio, or otherwise the longest time.
    #[arg(long)]
    pub(crate) explain_worst: bool,
}

impl Args {
    /// The queries to run.
    pub(crate) fn queries(&self) -> Result<Vec<usize>> {
        ensure!(self.iterations > 0, "the number of iterations must not be 0");
        for &n in &self.queries {
            ensure!(tpch::query(n).is_some(), "there is no query {n}: choose 1 to 22");
        }
        let all = || (1..=tpch::QUERIES.len()).collect();
        Ok(if self.queries.is_empty() { all() } else { self.queries.clone() })
    }

    /// The systems to run on: one, or two for a comparison, of which this process is first.
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
