//! Loads the shuffle and checks every row of the result: prints one line that starts with `ok`, or
//! an error and exit code 1.
//!
//! * `reduce`: each shard has all keys in an order of its own; each key comes out once, with the
//!   sum of all its values;
//! * `cogroup`: two slices, of which the second has the even keys only; each key comes out once,
//!   with exactly the values that it was given on either side;
//! * `memiter`: a chain of runs, each of which reads the result of an earlier one, that leaves
//!   neither files nor memory behind.
//!
//! ```text
//! cargo run --release -p bigslice --example slicer -- reduce --shards 64 --keys 1000000 --workers 2
//! cargo run --release -p bigslice --example slicer -- memiter --iterations 100 --workers 2
//! ```

#![expect(clippy::print_stdout, reason = "a program that says how it went")]

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bigslice::{Run, Session, SessionArgs, Slice, parse_size};
use bytes::Bytes;
use clap::{Args, Parser, Subcommand};

/// Loads the shuffle and checks the result.
#[derive(Debug, Parser)]
struct Slicer {
    #[command(subcommand)]
    work: Work,
}

#[derive(Debug, Subcommand)]
enum Work {
    /// One pair for each key, with the sum of its values.
    Reduce(Load),
    /// One row for each key, with its values on either side.
    Cogroup(Load),
    /// Runs that read the result of a run before them.
    Memiter(Iterations),
}

#[derive(Args, Debug)]
struct Load {
    /// Shards.
    #[arg(long, value_name = "S", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..))]
    shards: u64,

    /// Keys, all of which each shard has.
    #[arg(long, value_name = "K", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    keys: u64,

    /// How often it is done.
    #[arg(long, value_name = "N", default_value_t = 1)]
    times: usize,

    #[command(flatten)]
    session: SessionArgs,
}

#[derive(Args, Debug)]
struct Iterations {
    /// Shards.
    #[arg(long, value_name = "S", default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..))]
    shards: u64,

    /// Rows of a shard.
    #[arg(long, value_name = "K", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..))]
    keys: u64,

    /// Bytes of a row.
    #[arg(long, value_name = "SIZE", default_value = "64K", value_parser = parse_size)]
    bytes: u64,

    /// How many runs read the result of one before them.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    iterations: u64,

    /// Each run reads the result of the last one, not that of the first.
    #[arg(long)]
    chain: bool,

    #[command(flatten)]
    session: SessionArgs,
}

#[bigslice::main]
async fn main() -> Result<()> {
    match Slicer::parse().work {
        Work::Reduce(load) => reduce(&load).await,
        Work::Cogroup(load) => cogroup(&load).await,
        Work::Memiter(iterations) => memiter(&iterations).await,
    }
}

/// All keys below `keys` in an order that depends on the shard: steps of a length that has no
/// factor in common with their number come to each of them once.
fn shuffled(keys: u64, shard: u64) -> impl Iterator<Item = u64> {
    let is_coprime = |step: &u64| greatest_common_divisor(*step, keys) == 1;
    // About the golden ratio of the keys, so that neighbours are far apart.
    let step = (keys * 5 / 8 + shard + 1..).find(is_coprime).unwrap_or(1);
    let first = shard.wrapping_mul(0x9e37_79b9_7f4a_7c15) % keys.max(1);
    (0..keys).scan(first, move |key, _| {
        let now = *key;
        *key = (*key + step) % keys;
        Some(now)
    })
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// A pair for each key of each shard, with what `value` makes of both.
fn pairs(
    shards: u64,
    keys: u64,
    value: impl Fn(u64, u64) -> u64 + Copy + Send + Sync + 'static,
) -> Slice<(u64, u64)> {
    Slice::reader(shards as usize, move |shard| {
        let shard = shard as u64;
        shuffled(keys, shard).map(move |key| Ok::<_, String>((key, value(key, shard))))
    })
}

/// The value of a key in a shard: sums of these are wrong if one is lost, or counted twice.
fn value(key: u64, shard: u64) -> u64 {
    key + shard + 1
}

#[bigslice::func]
fn reduced(shards: u64, keys: u64) -> Slice<(u64, u64)> {
    pairs(shards, keys, value).reduce(|a, b| a + b)
}

async fn reduce(load: &Load) -> Result<()> {
    let session = load.session.open().await?;
    for _ in 0..load.times {
        let began = Instant::now();
        let run = session.run(reduced(load.shards, load.keys)).await?;
        let took = began.elapsed();
        let mut seen = Seen::new(load.keys);
        for shard in 0..run.shards() {
            for (key, sum) in run.shard(shard).await? {
                seen.add(key)?;
                let right: u64 = (0..load.shards).map(|shard| value(key, shard)).sum();
                ensure!(sum == right, "the sum of key {key} is {sum}, not {right}");
            }
        }
        seen.all()?;
        tell(&session, "reduce", load.shards * load.keys, took)?;
    }
    session.shutdown().await;
    Ok(())
}

type Groups = (u64, (Vec<u64>, Vec<u64>));

#[bigslice::func]
fn cogrouped(shards: u64, keys: u64) -> Slice<Groups> {
    let even = pairs(shards, keys, |_, shard| shard).filter(|(key, _)| key % 2 == 0);
    pairs(shards, keys, value).cogroup(even)
}

async fn cogroup(load: &Load) -> Result<()> {
    let session = load.session.open().await?;
    for _ in 0..load.times {
        let began = Instant::now();
        let run = session.run(cogrouped(load.shards, load.keys)).await?;
        let took = began.elapsed();
        let mut seen = Seen::new(load.keys);
        for shard in 0..run.shards() {
            for (key, (mut ones, mut others)) in run.shard(shard).await? {
                seen.add(key)?;
                ones.sort_unstable();
                others.sort_unstable();
                let of_even = if key % 2 == 0 { load.shards } else { 0 };
                ensure!(
                    ones.into_iter().eq((0..load.shards).map(|shard| value(key, shard)))
                        && others.into_iter().eq(0..of_even),
                    "the values of key {key} are wrong"
                );
            }
        }
        seen.all()?;
        let rows = load.shards * (load.keys + load.keys.div_ceil(2));
        tell(&session, "cogroup", rows, took)?;
    }
    session.shutdown().await;
    Ok(())
}

/// The keys that came out so far.
struct Seen {
    keys: Vec<bool>,
    count: usize,
}

impl Seen {
    fn new(keys: u64) -> Self {
        Self { keys: vec![false; keys as usize], count: 0 }
    }

    fn add(&mut self, key: u64) -> Result<()> {
        let seen = self.keys.get_mut(key as usize);
        let seen = seen.with_context(|| format!("key {key} came out and was never there"))?;
        ensure!(!*seen, "key {key} came out twice");
        *seen = true;
        self.count += 1;
        Ok(())
    }

    fn all(&self) -> Result<()> {
        let (count, keys) = (self.count, self.keys.len());
        ensure!(count == keys, "{count} keys of {keys} came out");
        Ok(())
    }
}

/// A row of this many bytes.
type Block = (u64, Bytes);

#[bigslice::func]
fn blocks(shards: u64, keys: u64, bytes: u64) -> Slice<Block> {
    Slice::reader(shards as usize, move |shard| {
        // Bytes that lz4 makes no smaller.
        let mut state = shard as u64 + 1;
        let block = move || {
            let random = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            };
            Bytes::from_iter(std::iter::repeat_with(random).take(bytes as usize))
        };
        (0..keys).zip(std::iter::repeat_with(block)).map(Ok::<_, String>)
    })
}

#[bigslice::func]
fn counted_up(before: Run<Block>) -> Slice<Block> {
    before.slice().emit::<Block, _>(|(number, block), out| out.push((number + 1, block)))
}

async fn memiter(of: &Iterations) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let session = of.session.builder()?.temp_root(folder.path()).build().await?;
    let began = Instant::now();
    let first = session.run(blocks(of.shards, of.keys, of.bytes)).await?;
    let stored = settled(folder.path(), u64::MAX).await;
    let mut run = session.run(counted_up(first.clone())).await?;
    let mut early = 0;
    for iteration in 1..of.iterations {
        let input = if of.chain { &run } else { &first };
        run = session.run(counted_up(input.clone())).await?;
        // What is needed once, buffers and threads, is there by then.
        if iteration == of.iterations / 4 {
            early = resident(&session)?;
        }
    }
    let took = began.elapsed();
    let added = if of.chain { of.iterations } else { 1 };
    let mut rows = 0;
    for shard in 0..run.shards() {
        let found = run.shard(shard).await?;
        let right = (0..of.keys).map(|key| key + added);
        ensure!(found.iter().map(|(number, _)| *number).eq(right), "shard {shard} is wrong");
        ensure!(found.iter().all(|(_, block)| block.len() as u64 == of.bytes), "blocks are wrong");
        rows += found.len() as u64;
    }
    ensure!(rows == of.shards * of.keys, "{rows} rows came out");
    let late = resident(&session)?;
    // The first result and the last one, and the heads of files.
    let most = stored * 5 / 2;
    let left = settled(folder.path(), most).await;
    ensure!(left <= most, "{} of files are left, of results of {} each", mib(left), mib(stored));
    let grown = late.saturating_sub(early);
    ensure!(
        grown <= stored.max(64 << 20),
        "memory grew by {} from iteration {} to the last, to {}",
        mib(grown),
        of.iterations / 4,
        mib(late)
    );
    tell(&session, "memiter", rows * (of.iterations + 1), took)?;
    session.shutdown().await;
    Ok(())
}

/// The bytes of the files in a folder, once they are at most `most`, or after a while: machines
/// remove files in the background.
async fn settled(folder: &std::path::Path, most: u64) -> u64 {
    for _ in 0..100 {
        let bytes = bytes_in(folder);
        if bytes <= most {
            return bytes;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bytes_in(folder)
}

fn bytes_in(folder: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(about) if about.is_dir() => bytes_in(&entry.path()),
            Ok(about) => about.len(),
            // It was removed since.
            Err(_) => 0,
        })
        .sum()
}

/// The line that reports success.
fn tell(session: &Session, what: &str, rows: u64, took: Duration) -> Result<()> {
    let workers = workers(session).map(|pid| status(&pid, "VmHWM:"));
    let workers = workers.collect::<Result<Vec<_>>>()?.into_iter().map(mib).collect::<Vec<_>>();
    let workers = match workers.as_slice() {
        [] => String::new(),
        peaks => format!(", workers {}", peaks.join(" and ")),
    };
    println!(
        "ok {what}: {rows} rows in {:.2} s, {:.0} rows/s, at most {} in the driver{workers}",
        took.as_secs_f64(),
        rows as f64 / took.as_secs_f64(),
        mib(status("self", "VmHWM:")?),
    );
    Ok(())
}

/// The memory of all processes.
fn resident(session: &Session) -> Result<u64> {
    let all = std::iter::once("self".to_owned()).chain(workers(session));
    all.map(|process| status(&process, "VmRSS:")).sum()
}

fn workers(session: &Session) -> impl Iterator<Item = String> {
    session.machines().into_iter().filter_map(|machine| machine.pid).map(|pid| pid.to_string())
}

/// The memory of a process in bytes, according to Linux.
fn status(process: &str, what: &str) -> Result<u64> {
    let path = format!("/proc/{process}/status");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(what));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.map(|kib| kib * 1024).with_context(|| format!("no {what} in {path}"))
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}
