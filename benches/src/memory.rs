//! Measures memory limits: runs statements that need far more than the limit, each with its own
//! program, and measures the resident memory of all its processes together.
//!
//! ```text
//! bigsql tpch generate --sf 1 --out /tmp/sf1
//! cargo run --release -p bigslice-benches --bin memory -- \
//!     --program target/release/bigsql --limit 400M --workers 2 --tpch /tmp/sf1
//! ```
//!
//! Prints one line per statement: the peak resident memory, also relative to the limit, the
//! seconds, and the first line of its error if it failed.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Parser;

/// Interval between measurements: shorter peaks may be missed.
const INTERVAL: Duration = Duration::from_millis(4);

/// The promised factor of the limit.
const PROMISE: f64 = 1.25;

/// Rows of random text, about 70 bytes each.
const ROWS: &str = "create view a as select value as k, value % 1000 as g, 3 as v, \
     'padding-' || md5(cast(value as varchar)) as pad from generate_series(0, 2999999); ";

/// Statements over [`ROWS`], by name.
const STATEMENTS: &[(&str, &str)] = &[
    ("little", "select count(*) from a where k < 1000"),
    ("join on numbers", "select count(*), sum(b.v) from a join a as b on a.k = b.k"),
    ("join on texts", "select count(*), max(length(b.pad)) from a join a as b on a.pad = b.pad"),
    ("left join", "select count(*) from a left join a as b on a.pad = b.pad and b.k % 2 = 0"),
    ("semi join", "select count(*) from a where pad in (select pad from a where k % 3 = 0)"),
    ("groups", "select count(*) from (select k, max(pad) as p from a group by k)"),
    ("groups of texts", "select count(*) from (select pad, count(*) from a group by pad)"),
    ("distinct", "select count(*) from (select distinct pad, k from a)"),
    ("count distinct", "select count(distinct pad) from a"),
    (
        "count distinct in groups",
        "select sum(n) from (select g, count(distinct pad) n from a group by g)",
    ),
    (
        "sort",
        "select count(*) from (select pad, row_number() over (order by pad) r from a) where r > 5",
    ),
    ("sort to the end", "select pad from a order by pad desc"),
    ("top 10", "select k, pad from a order by pad limit 10"),
    (
        "top 20 000",
        "select count(*), min(k) from (select k, pad from a order by pad, k limit 20000)",
    ),
    ("top 2 000 000", "select count(*) from (select k, pad from a order by pad, k limit 2000000)"),
    (
        "window in groups",
        "select max(s) from (select sum(k) over (partition by g order by pad) s from a)",
    ),
    (
        "window over all of a group",
        "select max(n) from (select count(pad) over (partition by g) n from a)",
    ),
    ("window over everything", "select max(s) from (select sum(length(pad)) over () s from a)"),
    ("lists", "select max(cardinality(l)) from (select g, array_agg(pad) l from a group by g)"),
    (
        "wide rows",
        "select count(*), max(length(w)) from (select repeat(pad, 500) w from a where k < 30000) group by w limit 3",
    ),
    ("union", "select count(*) from (select pad from a union select pad from a where k < 2000000)"),
    ("median", "select count(*) from (select k % 100000 m, median(k) from a group by 1)"),
    ("result to the reader", "select * from a"),
    ("copy to Parquet", "copy (select * from a) to 'out.parquet'"),
    ("copy sorted to CSV", "copy (select * from a order by pad) to 'out.csv'"),
    (
        "many partitions",
        "set datafusion.execution.target_partitions = 32; select count(*) from (select distinct pad from a)",
    ),
];

/// Measures the memory of a program that runs statements under a limit.
#[derive(Debug, Parser)]
struct Args {
    /// The program to measure.
    #[arg(long, value_name = "FILE")]
    program: PathBuf,
    /// The memory limit, in the syntax of the program.
    #[arg(long, default_value = "400M")]
    limit: String,
    /// Local workers; 0 is one process.
    #[arg(long, default_value_t = 0)]
    workers: usize,
    /// A folder of TPC-H tables in Parquet, for the TPC-H queries.
    #[arg(long, value_name = "FOLDER")]
    tpch: Option<PathBuf>,
    /// Run only statements whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Additional arguments for the program.
    #[arg(last = true)]
    more: Vec<String>,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let limit = bytes(&args.limit).context("the limit must be a size such as 400M")?;
    let mut statements: Vec<(String, String)> =
        STATEMENTS.iter().map(|(name, sql)| ((*name).to_owned(), format!("{ROWS}{sql}"))).collect();
    if let Some(folder) = &args.tpch {
        statements.extend(tpch(folder)?);
    }
    let mut kept = true;
    for (name, sql) in statements.iter().filter(|(name, _)| name.contains(&args.only)) {
        let run = measure(&args, sql)?;
        let part = run.peak as f64 / limit as f64;
        kept &= part <= PROMISE;
        say(&format!(
            "{name:28} {:6} MB {part:5.2} {:6.1} s  {}",
            run.peak >> 20,
            run.seconds,
            run.failure.unwrap_or_default()
        ));
    }
    Ok(if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[expect(clippy::print_stdout, reason = "the figures are what this program is for")]
fn say(line: &str) {
    println!("{line}");
}

/// The TPC-H queries over the tables in a folder.
fn tpch(folder: &PathBuf) -> Result<Vec<(String, String)>> {
    let mut tables = String::new();
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        let Some(name) = path.file_stem().and_then(|name| name.to_str()) else { continue };
        let place = path.display();
        let place = if path.is_dir() { format!("{place}/") } else { place.to_string() };
        tables += &format!("create view {name} as select * from '{place}'; ");
    }
    let named = |(i, sql): (usize, &&str)| (format!("tpch {}", i + 1), format!("{tables}{sql}"));
    Ok(bigslice::tpch::QUERIES.iter().enumerate().map(named).collect())
}

/// The measurements of one statement.
struct Measured {
    peak: u64,
    seconds: f64,
    failure: Option<String>,
}

fn measure(args: &Args, sql: &str) -> Result<Measured> {
    let folder = std::env::temp_dir().join(format!("bigslice-memory-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let started = Instant::now();
    let mut child = start(args, sql, &folder)?;
    let mut peak = 0;
    let status = loop {
        peak = peak.max(resident(child.id()));
        match child.try_wait()? {
            Some(status) => break status,
            None => thread::sleep(INTERVAL),
        }
    };
    let said = fs::read_to_string(folder.join("said"))?;
    let failure = (!status.success()).then(|| {
        let first = said.lines().find(|line| line.contains("error")).or(said.lines().next());
        first.unwrap_or("ended without a word").to_owned()
    });
    fs::remove_dir_all(&folder)?;
    Ok(Measured { peak, seconds: started.elapsed().as_secs_f64(), failure })
}

#[expect(clippy::disallowed_methods, reason = "the program to measure is no machine of a session")]
fn start(args: &Args, sql: &str, folder: &PathBuf) -> Result<Child> {
    let said = fs::File::create(folder.join("said"))?;
    let mut command = Command::new(fs::canonicalize(&args.program)?);
    command.current_dir(folder).args(["--memory-limit", &args.limit, "--quiet"]);
    if args.workers > 0 {
        command.args(["--workers", &args.workers.to_string()]);
    }
    command.args(&args.more).args(["--format", "csv", "-c", sql]);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said).spawn();
    child.with_context(|| format!("starting {}", args.program.display()))
}

/// The resident memory of a process and its descendants.
fn resident(root: u32) -> u64 {
    /// The page size on Linux.
    const PAGE_BYTES: u64 = 4096;
    let Ok(entries) = fs::read_dir("/proc") else { return 0 };
    let mut processes: HashMap<u32, (u32, u64)> = HashMap::new();
    for entry in entries.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        // The program's name, in parentheses, may contain anything.
        let Some((_, fields)) = stat.rsplit_once(") ") else { continue };
        let fields: Vec<&str> = fields.split(' ').collect();
        let field = |i: usize| fields.get(i).and_then(|field| field.parse::<u64>().ok());
        if let (Some(parent), Some(pages)) = (field(1), field(21)) {
            processes.insert(pid, (u32::try_from(parent).unwrap_or(0), pages * PAGE_BYTES));
        }
    }
    let below = |pid: &u32| {
        let mut at = *pid;
        while at != root {
            match processes.get(&at) {
                Some((parent, _)) if *parent != 0 => at = *parent,
                _ => return false,
            }
        }
        true
    };
    processes.iter().filter(|(pid, _)| below(pid)).map(|(_, (_, bytes))| bytes).sum()
}

/// Parses a size such as "400M" into bytes.
fn bytes(size: &str) -> Result<u64> {
    let Some((digits, unit)) = size.split_at_checked(size.len().saturating_sub(1)) else {
        bail!("no digits");
    };
    let unit: u64 = match unit {
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => bail!("no unit"),
    };
    Ok(digits.parse::<u64>()? * unit)
}
