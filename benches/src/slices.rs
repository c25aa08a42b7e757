//! The cost of closures in CPU time: a filter, a map and a reduce over rows of an integer, a float
//! and a short string, in four ways: by closures, by SQL, by a loop over the same Arrow arrays, and
//! by a filter of one column alone. All read the same batches. CPU time is that of all threads
//! together, so other load does not matter.
//!
//! ```text
//! cargo run --release -p bigslice-benches --bin slices -- --rows 100000000
//! ```

#![expect(clippy::print_stdout, reason = "what a benchmark measured goes to standard output")]

use std::fmt;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use arrow::array::{Array, AsArray, Float64Array, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::{Float64Type, Int64Type, SchemaRef};
use bigslice::prelude::*;
use clap::Parser;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::HashMap;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;

// The allocator of `bigsql`, to measure what users run.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Rows per batch.
const BATCH_ROWS: usize = 8192;
/// Number of distinct strings.
const KEYS: u64 = 1000;

/// Times a pipeline of closures against SQL and against a loop.
#[derive(Debug, Parser)]
#[command(name = "slices")]
struct Args {
    /// Rows that each of them reads.
    #[arg(long, value_name = "N", default_value_t = 100_000_000)]
    rows: usize,

    /// Rows held in memory, at 32 bytes each, and read repeatedly. The default exceeds CPU caches.
    #[arg(long, value_name = "N", default_value_t = 2_000_000)]
    held: usize,

    /// Timed runs of each, after one warm-up run.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 5)]
    iterations: usize,
}

/// A row of the table.
#[derive(Row, Debug)]
struct Reading {
    n: i64,
    x: f64,
    place: String,
}

/// The only column of the narrow filter.
#[derive(Row, Debug)]
struct Sample {
    n: i64,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(contest(&args))
}

async fn contest(args: &Args) -> Result<()> {
    let table = Arc::new(Table::new(args.rows, args.held));
    let session = Session::builder().build().await?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    session.context().register_table("readings", table.provider(cores)?)?;
    let mut times: [Vec<Duration>; 4] = Default::default();
    let right = looped(&table);
    for iteration in 0..=args.iterations {
        let mut marks = vec![cpu_time()?];
        ensure!(looped(&table) == right, "the loop is wrong");
        marks.push(cpu_time()?);
        ensure!(closures(&session, &table, cores).await? == right, "closures are wrong");
        marks.push(cpu_time()?);
        ensure!(sql(&session).await? == right, "SQL is wrong");
        marks.push(cpu_time()?);
        black_box(narrow(&session, &table, cores).await?);
        marks.push(cpu_time()?);
        if iteration > 0 {
            let all = marks.windows(2).map(|pair| pair[1] - pair[0]);
            times.iter_mut().zip(all).for_each(|(times, time)| times.push(time));
        }
    }
    report(args, cores, times);
    session.shutdown().await;
    Ok(())
}

fn report(args: &Args, cores: usize, times: [Vec<Duration>; 4]) {
    let Args { rows, held, iterations } = args;
    println!(
        "{rows} rows ({held} in memory), {cores} cores, n = {iterations}, CPU time in ns per row"
    );
    let [by_loop, by_closures, by_sql, by_narrow] = times;
    let per_row = |mut times: Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64() * 1e9 / args.rows as f64
    };
    let by_loop = per_row(by_loop);
    let by_closures = per_row(by_closures);
    let by_sql = per_row(by_sql);
    let by_narrow = per_row(by_narrow);
    println!("  loop over the arrays, one thread      {by_loop:6.2}");
    println!("  filter, map and reduce by closures    {by_closures:6.2}");
    println!("  the same by SQL                       {by_sql:6.2}");
    println!("  filter of one column by a closure     {by_narrow:6.2}");
    println!(
        "closures / loop {:.2}, closures / SQL {:.2}",
        by_closures / by_loop,
        by_closures / by_sql
    );
}

/// The CPU time of all threads of this process so far; no thread ends during the measurement. This
/// is the scheduler's own count: that in `/proc/self/stat` is in hundredths of a second, attributed
/// by sampling.
fn cpu_time() -> Result<Duration> {
    let mut total = Duration::ZERO;
    for task in std::fs::read_dir("/proc/self/task")? {
        let stat = std::fs::read_to_string(task?.path().join("schedstat"))?;
        let ran = stat.split_whitespace().next().unwrap_or_default();
        total += Duration::from_nanos(ran.parse()?);
    }
    Ok(total)
}

/// The sums by place, in order.
type Sums = Vec<(String, i64)>;

/// The batches that all of them read.
struct Table {
    batches: Vec<RecordBatch>,
    /// The number of batches in the table, which repeats those above.
    length: usize,
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Table of {} batches", self.length)
    }
}

impl Table {
    fn new(rows: usize, held: usize) -> Self {
        let held = held.min(rows).div_ceil(BATCH_ROWS).max(1);
        let batches = (0..held as u64).map(|batch| {
            let rows = batch * BATCH_ROWS as u64..(batch + 1) * BATCH_ROWS as u64;
            let random = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
            let n = Int64Array::from_iter_values(rows.clone().map(|n| (random(n) >> 40) as i64));
            let x = rows.clone().map(|n| (random(n) >> 11) as f64 / (1u64 << 53) as f64);
            let place = rows.map(|n| format!("place {}", random(n + 7) % KEYS));
            RecordBatch::try_from_iter([
                ("n", Arc::new(n) as Arc<dyn Array>),
                ("x", Arc::new(Float64Array::from_iter_values(x))),
                ("place", Arc::new(StringViewArray::from_iter_values(place))),
            ])
        });
        let batches = batches.collect::<Result<_, _>>().expect("columns of one length");
        Self { batches, length: rows.div_ceil(BATCH_ROWS) }
    }

    /// The batches of one of `shards` parts.
    fn part(
        self: &Arc<Self>,
        part: usize,
        shards: usize,
    ) -> impl Iterator<Item = RecordBatch> + use<> {
        let table = Arc::clone(self);
        (part..self.length)
            .step_by(shards)
            .map(move |n| table.batches[n % table.batches.len()].clone())
    }

    fn provider(self: &Arc<Self>, parts: usize) -> Result<Arc<StreamingTable>> {
        let schema = self.batches[0].schema();
        let parts = (0..parts).map(|part| {
            let table = Arc::clone(self);
            let schema = Arc::clone(&schema);
            Arc::new(Part { table, part, parts, schema }) as Arc<dyn PartitionStream>
        });
        Ok(Arc::new(StreamingTable::try_new(Arc::clone(&schema), parts.collect())?))
    }
}

#[derive(Debug)]
struct Part {
    table: Arc<Table>,
    part: usize,
    parts: usize,
    schema: SchemaRef,
}

impl PartitionStream for Part {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let batches = futures::stream::iter(self.table.part(self.part, self.parts).map(Ok));
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches))
    }
}

fn sorted(mut sums: Sums) -> Sums {
    sums.sort();
    sums
}

/// The loop that a programmer would write by hand.
fn looped(table: &Arc<Table>) -> Sums {
    let mut sums = HashMap::<String, i64>::default();
    for batch in table.part(0, 1) {
        let n = batch.column(0).as_primitive::<Int64Type>();
        let x = batch.column(1).as_primitive::<Float64Type>();
        let place = batch.column(2).as_string_view();
        for row in 0..batch.num_rows() {
            if x.value(row) < 0.75 {
                let (place, n) = (place.value(row), n.value(row) * 2);
                match sums.get_mut(place) {
                    Some(sum) => *sum += n,
                    None => {
                        sums.insert(place.to_owned(), n);
                    }
                }
            }
        }
    }
    sorted(sums.into_iter().collect())
}

async fn closures(session: &Session, table: &Arc<Table>, cores: usize) -> Result<Sums> {
    let table = Arc::clone(table);
    let readings = Slice::<Reading>::batches(cores, move |shard| {
        futures::stream::iter(table.part(shard, cores).map(Ok::<_, String>))
    });
    let sums = readings
        .filter(|r| r.x < 0.75)
        .emit(|r, out| out.push((r.place, r.n * 2)))
        .reduce(|a: i64, b| a + b);
    Ok(sorted(session.run(sums).await?.collect().await?))
}

async fn sql(session: &Session) -> Result<Sums> {
    let sql = "select place, sum(n * 2) as s from readings where x < 0.75 group by place";
    let batches = session.sql(sql).await?.collect().await?;
    let rows = batches.iter().flat_map(|batch| {
        let (place, sum) = (batch.column(0).as_string_view(), batch.column(1));
        let sum = sum.as_primitive::<Int64Type>();
        (0..batch.num_rows())
            .map(|row| (place.value(row).to_owned(), sum.value(row)))
            .collect::<Vec<_>>()
    });
    Ok(sorted(rows.collect()))
}

/// A filter on one of three columns that keeps one row in a thousand.
async fn narrow(session: &Session, table: &Arc<Table>, cores: usize) -> Result<u64> {
    let table = Arc::clone(table);
    let readings = Slice::<Reading>::batches(cores, move |shard| {
        futures::stream::iter(table.part(shard, cores).map(Ok::<_, String>))
    });
    let few = readings.filter(|r| r.n % 1024 == 0).map(|r| Sample { n: r.n });
    Ok(session.run(few).await?.rows().await?)
}
