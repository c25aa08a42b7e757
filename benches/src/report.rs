//! The figures: minimum and median of each query, their sums, and for a comparison, their ratios.
#![expect(clippy::print_stdout, reason = "what a benchmark measured goes to standard output")]

use std::{fs::File, path::Path, time::Duration};

use anyhow::{Context, Result};
use bigslice::SystemSpec;
use serde::Serialize;

use crate::{args::Args, contest::Contest};

/// Everything measured. Times are in milliseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    data: String,
    cores: usize,
    iterations: usize,
    partitions: Option<usize>,
    systems: Vec<String>,
    queries: Vec<Line>,
    /// The sums of the queries' minima and medians, for each system.
    total: Vec<Figures>,
    /// The ratio of the sums of medians, the second system's to the first's.
    ratio: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Line {
    query: usize,
    rows: usize,
    systems: Vec<Figures>,
    /// The ratio of medians.
    ratio: Option<f64>,
}

#[derive(Clone, Debug, Default, Serialize)]
struct Figures {
    min_ms: f64,
    median_ms: f64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    runs_ms: Vec<f64>,
}

impl Report {
    /// The measurements of a contest.
    pub(crate) fn of(args: &Args, contest: &Contest) -> Self {
        let mut queries = vec![];
        let mut total = vec![Figures::default(); contest.contestants.len()];
        for (i, &query) in contest.queries.iter().enumerate() {
            let runs = contest.contestants.iter().map(|contestant| &contestant.runs[i]);
            let rows = runs.clone().map(|runs| runs.rows).next().unwrap_or(0);
            let systems: Vec<_> = runs.map(|runs| Figures::of(&runs.times)).collect();
            for (total, figures) in total.iter_mut().zip(&systems) {
                total.min_ms += figures.min_ms;
                total.median_ms += figures.median_ms;
            }
            queries.push(Line { query, rows, ratio: ratio(&systems), systems });
        }
        Self {
            data: match (&args.data, args.tpch) {
                (Some(folder), _) => folder.display().to_string(),
                (None, scale) => format!("generated at {}", scale.unwrap_or_default()),
            },
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            iterations: args.iterations,
            partitions: args.partitions,
            systems: contest.contestants.iter().map(|c| c.system.to_string()).collect(),
            ratio: ratio(&total),
            queries,
            total,
        }
    }

    /// The query with the worst ratio or, on one system, the longest time.
    pub(crate) fn worst(&self) -> Option<usize> {
        let weight = |line: &Line| line.ratio.unwrap_or(line.systems[0].median_ms);
        self.queries.iter().max_by(|a, b| weight(a).total_cmp(&weight(b))).map(|line| line.query)
    }

    /// Prints a table.
    pub(crate) fn print(&self) {
        println!("{}, {} cores, {} iterations, ms", self.data, self.cores, self.iterations);
        print!("{:>5} {:>7}", "query", "rows");
        for system in &self.systems {
            print!(" {:>14} {:>8}", format!("{system} min"), "median");
        }
        println!("{}", if self.ratio.is_some() { "   ratio" } else { "" });
        for line in &self.queries {
            print_line(&line.query.to_string(), &line.rows.to_string(), &line.systems, line.ratio);
        }
        print_line("total", "", &self.total, self.ratio);
    }

    /// Writes the same figures, and each single time, as JSON.
    pub(crate) fn write_json(&self, path: &Path) -> Result<()> {
        let cannot = || format!("cannot write \"{}\"", path.display());
        let file = File::create(path).with_context(cannot)?;
        serde_json::to_writer_pretty(file, self).with_context(cannot)
    }
}

impl Figures {
    fn of(times: &[Duration]) -> Self {
        let runs_ms: Vec<_> = times.iter().map(|time| time.as_secs_f64() * 1e3).collect();
        let mut sorted = runs_ms.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let median_ms = match sorted.len() {
            0 => 0.0,
            n if n % 2 == 1 => sorted[middle],
            _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
        };
        Self { min_ms: sorted.first().copied().unwrap_or(0.0), median_ms, runs_ms }
    }
}

fn ratio(systems: &[Figures]) -> Option<f64> {
    match systems {
        [first, second] if first.median_ms > 0.0 => Some(second.median_ms / first.median_ms),
        _ => None,
    }
}

fn print_line(query: &str, rows: &str, systems: &[Figures], ratio: Option<f64>) {
    print!("{query:>5} {rows:>7}");
    for figures in systems {
        print!(" {:>14.1} {:>8.1}", figures.min_ms, figures.median_ms);
    }
    match ratio {
        Some(ratio) => println!(" {ratio:>7.2}"),
        None => println!(),
    }
}

/// Prints the plans of the worst query.
pub(crate) fn print_plans(query: usize, plans: &[(SystemSpec, String)]) {
    for (system, plan) in plans {
        println!("\nquery {query} on {system}\n{plan}");
    }
}
