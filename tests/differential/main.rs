//! Random tables and queries, answered by our sessions in different ways, by DuckDB and by SQLite.
//! A difference without a [known](explained) reason is reduced and reported; the program then exits
//! with 1.
//!
//! ```text
//! cargo run --release -p bigslice-tests --bin differential -- --seed 1 --minutes 10
//! ```
//!
//! A round is one set of tables and some queries over them. Each report includes its seed, which
//! reproduces the tables and queries (`--seed N --rounds 1`).

#![expect(clippy::print_stdout, reason = "a program that reports to whoever started it")]

mod clauses;
mod conversions;
mod data;
mod engines;
mod explained;
mod expressions;
mod grammar;
mod random;
mod rows;
mod shrink;
mod tree;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;

use crate::data::Table;
use crate::engines::{Oracle, Ours};
use crate::grammar::Query;
use crate::random::Random;
use crate::rows::{Answer, difference};
use crate::tree::{Dialect, Node};

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Compares answers to random queries.
#[derive(Debug, Parser)]
struct Arguments {
    /// The seed of the first round; each further round uses the next one.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long to run, in minutes.
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// Stop after this many rounds.
    #[arg(long)]
    rounds: Option<u64>,
    /// Queries per round.
    #[arg(long, default_value_t = 40)]
    queries: usize,
    /// Time limit in seconds of a query over some hundred rows.
    #[arg(long, default_value_t = 20)]
    patience: u64,
    /// Stop after this many differences.
    #[arg(long, default_value_t = 5)]
    finds: usize,
    /// A Python with the package duckdb.
    #[arg(long, default_value = "python3")]
    python: String,
    /// Print every query before it runs, and each difference before it is reduced.
    #[arg(long)]
    show: bool,
    /// Compare only our sessions, without other engines.
    #[arg(long)]
    alone: bool,
}

/// A query that takes this long in our first session may take too long in one with batches of three
/// rows.
const HEAVY: Duration = Duration::from_millis(500);

/// The time limit of the other sessions for such a query.
const HEAVY_PATIENCE: Duration = Duration::from_secs(5);

/// Planning allocates and frees a lot.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Statistics so far.
#[derive(Debug, Default)]
struct Tally {
    rounds: u64,
    queries: u64,
    /// Queries that our first session answered with rows.
    answered: u64,
    duckdb: u64,
    sqlite: u64,
    explained: BTreeMap<&'static str, u64>,
    /// Our errors that another engine did not have, by their beginning.
    finds: usize,
}

/// All engines.
pub(crate) struct World {
    ours: Vec<Ours>,
    oracle: Option<Oracle>,
    folder: tempfile::TempDir,
}

/// A difference without a reason.
#[derive(Debug, Clone)]
pub(crate) struct Find {
    what: String,
}

impl World {
    async fn load(&mut self, tables: &[Table]) -> Result<(), Failed> {
        // Files with reused names: no engine may have cached their old content.
        let folder = tempfile::tempdir_in(self.folder.path())?.keep();
        for table in tables {
            table.write(&folder)?;
        }
        let names: Vec<String> = tables.iter().map(|table| table.name.clone()).collect();
        for ours in &self.ours {
            ours.tables(&folder, &names).await?;
        }
        if let Some(oracle) = &mut self.oracle {
            oracle.tables(&folder)?;
        }
        Ok(())
    }

    /// Runs the query on all engines; returns the difference, if any.
    async fn compare(&mut self, query: &Query, tally: &mut Tally) -> Result<Option<Find>, Failed> {
        let sql = query.tree.sql(Dialect::Ours);
        let mut first: Option<Answer> = None;
        let mut is_heavy = false;
        for ours in &self.ours {
            let begun = Instant::now();
            let answer = ours.ask(&sql, is_heavy.then_some(HEAVY_PATIENCE)).await;
            // A query too large for one session is not run on the others.
            if answer.as_ref().is_err_and(|said| said == engines::TOO_LARGE) {
                *tally
                    .explained
                    .entry("a query with more rows than can be compared")
                    .or_default() += 1;
                return Ok(None);
            }
            let Some(reference) = &first else {
                tally.answered += u64::from(answer.is_ok());
                is_heavy = begun.elapsed() > HEAVY;
                first = Some(answer);
                continue;
            };
            let gave_up = |said: &String| {
                said.contains(engines::TOO_LATE) || said.contains("not enough memory")
            };
            if is_heavy && answer.as_ref().is_err_and(gave_up) {
                *tally
                    .explained
                    .entry("a heavy query, and settings that make it heavier")
                    .or_default() += 1;
                continue;
            }
            if let Some(what) = differs(reference, &answer, query.ordered, true, tally) {
                let what = format!("{}, against {}: {what}", self.ours[0].name, ours.name);
                return Ok(Some(Find { what }));
            }
        }
        let (Some(reference), Some(oracle)) = (first, &mut self.oracle) else { return Ok(None) };
        for dialect in [Dialect::DuckDb, Dialect::Sqlite] {
            if dialect == Dialect::Sqlite && !query.plain {
                continue;
            }
            let answer = oracle.ask(&query.tree.sql(dialect), dialect)?;
            match dialect {
                Dialect::Sqlite => tally.sqlite += u64::from(answer.is_ok()),
                _ => tally.duckdb += u64::from(answer.is_ok()),
            }
            if let Some(what) = differs(&reference, &answer, query.ordered, false, tally) {
                return Ok(Some(Find { what: format!("ours, against {dialect:?}: {what}") }));
            }
        }
        Ok(None)
    }
}

/// The difference between two answers, if it has no known reason.
fn differs(
    ours: &Answer,
    other: &Answer,
    ordered: bool,
    alike: bool,
    tally: &mut Tally,
) -> Option<String> {
    let what = match (ours, other) {
        (Ok(a), Ok(b)) => difference(a, b, ordered)?,
        (Err(_), Err(_)) => return None,
        (Ok(_), Err(said)) if !alike && explained::is_refused(said) => return None,
        (Ok(_), Err(said)) => format!("rows, not \"{said}\""),
        (Err(said), Ok(_)) => format!("\"{said}\", not rows"),
    };
    let said = |answer: &Answer| answer.as_ref().err().cloned();
    let (ours, other) = (said(ours), said(other));
    if let Some(reason) = explained::reason(ours.as_deref(), other.as_deref()) {
        *tally.explained.entry(reason).or_default() += 1;
        return None;
    }
    Some(what)
}

fn main() -> ExitCode {
    // The SQL tests start this program as that of their machines.
    if let Some(code) = bigslice::worker_main() {
        return code;
    }
    compare()
}

#[tokio::main]
async fn compare() -> ExitCode {
    match run(&Arguments::parse()).await {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            println!("error: {error}");
            ExitCode::from(2)
        }
    }
}

async fn run(arguments: &Arguments) -> Result<usize, Failed> {
    let oracle = match arguments.alone {
        true => None,
        false => Some(Oracle::start(&arguments.python)?),
    };
    let mut world = World {
        ours: engines::ours(Duration::from_secs(arguments.patience)).await?,
        oracle,
        folder: tempfile::tempdir()?,
    };
    let mut tally = Tally::default();
    let begun = Instant::now();
    let end = Duration::from_secs_f64(arguments.minutes.max(0.0) * 60.0);
    let mut reported = Instant::now();
    while begun.elapsed() < end
        && arguments.rounds.is_none_or(|rounds| tally.rounds < rounds)
        && tally.finds < arguments.finds
    {
        let seed = arguments.seed + tally.rounds;
        round(seed, arguments, &mut world, &mut tally).await?;
        tally.rounds += 1;
        if reported.elapsed() >= Duration::from_secs(60) {
            reported = Instant::now();
            report(&tally, begun);
        }
    }
    report(&tally, begun);
    for ours in world.ours {
        ours.shutdown().await;
    }
    Ok(tally.finds)
}

async fn round(
    seed: u64,
    arguments: &Arguments,
    world: &mut World,
    tally: &mut Tally,
) -> Result<(), Failed> {
    let mut random = Random::new(seed);
    let tables = data::tables(&mut random)?;
    world.load(&tables).await?;
    for _ in 0..arguments.queries {
        let query = grammar::query(&mut random, &tables);
        tally.queries += 1;
        if arguments.show {
            println!("{}", query.tree.sql(Dialect::Ours));
        }
        let Some(find) = world.compare(&query, tally).await? else { continue };
        tally.finds += 1;
        if arguments.show {
            println!("  differs, and is made smaller: {}", find.what);
        }
        let small = shrink::shrink(world, &tables, &query, find).await?;
        print_find(seed, &small);
        world.load(&tables).await?;
        if tally.finds >= arguments.finds {
            break;
        }
    }
    Ok(())
}

/// A reduced difference.
pub(crate) struct Small {
    tables: Vec<Table>,
    tree: Node,
    find: Find,
}

fn print_find(seed: u64, small: &Small) {
    println!("\nDIFFERENCE (--seed {seed} --rounds 1)\n  {}", small.find.what);
    println!("  {}", small.tree.sql(Dialect::Ours));
    let text = small.tree.sql(Dialect::Ours);
    for table in small.tables.iter().filter(|table| text.contains(&table.name)) {
        let columns = table.columns.iter().map(|(name, of)| format!("{name} {of:?}"));
        println!("  {} ({}):", table.name, columns.collect::<Vec<_>>().join(", "));
        for row in rows::rows_of(std::slice::from_ref(&table.rows)).unwrap_or_default() {
            println!("    {}", rows::show(&row));
        }
    }
}

fn report(tally: &Tally, begun: Instant) {
    println!(
        "{} queries in {} rounds and {:.0} s: {} gave rows, {} compared with DuckDB, {} with SQLite; \
         {} differences",
        tally.queries,
        tally.rounds,
        begun.elapsed().as_secs_f64(),
        tally.answered,
        tally.duckdb,
        tally.sqlite,
        tally.finds
    );
    for (reason, count) in &tally.explained {
        println!("  {count} explained: {reason}");
    }
}
