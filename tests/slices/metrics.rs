//! Counters, gauges and histograms in closures, wherever the closures run.

use bigslice::metrics::{Counter, Gauge, Histogram};
use bigslice::prelude::*;
use bigslice::{Batch, BatchWriter, WrittenFile};

use crate::cases;
use crate::world::World;

cases![
    every_verb_counts,
    what_runs_on_threads_of_its_own_counts,
    gauges_and_histograms_of_all_tasks,
    runs_at_once_count_apart,
    outside_of_tasks_nothing_counts,
    what_is_computed_again_counts_once,
];

static READ: Counter = Counter::new("read");
static MAPPED: Counter = Counter::new("mapped");
static KEPT: Counter = Counter::new("kept");
static COMBINED: Counter = Counter::new("combined");
static MOVED: Counter = Counter::new("moved");
static SORTED: Counter = Counter::new("sorted");
static WHOLE: Counter = Counter::new("whole");
static FOLDED: Counter = Counter::new("folded");
static WRITTEN: Counter = Counter::new("written");

#[bigslice::func]
fn counted() -> Slice<u64> {
    MAPPED.add(1_000_000);
    let rows = Slice::reader(3, |shard| {
        (0..10_000u64).map(move |n| {
            READ.add(1);
            Ok::<_, String>((n % 100, n + shard as u64))
        })
    });
    let rows = rows.map(|row| {
        MAPPED.add(1);
        row
    });
    let rows = rows.filter(|(key, _)| {
        let kept = key < 50;
        KEPT.add(u64::from(kept));
        kept
    });
    let rows = rows.repartition(|shards, (_, n)| {
        MOVED.add(1);
        n as usize % shards
    });
    let rows = rows.map_partitions(|_, rows| rows.inspect(|_| WHOLE.add(1)));
    let sums = rows.reduce(|a, b| {
        COMBINED.add(1);
        a + b
    });
    let folded = sums.fold(0u64, |sum, n| {
        FOLDED.add(1);
        sum + n
    });
    let sorted = folded.sort_by(|(key, _)| {
        SORTED.add(1);
        key
    });
    sorted.for_each_shard(|_, rows| {
        let n = rows.count() as u64;
        WRITTEN.add(n);
        Ok::<_, String>(n)
    })
}

async fn every_verb_counts(world: &World) {
    let run = world.done(counted()).await;
    assert_eq!(run.collect().await.unwrap().iter().sum::<u64>(), 50);
    let counters = run.counters().await;
    let right = [
        // 50 of 15,000 values remain.
        ("combined", 14_950),
        ("folded", 50),
        ("kept", 15_000),
        ("mapped", 30_000),
        ("moved", 15_000),
        ("read", 30_000),
        ("sorted", 50),
        ("whole", 15_000),
        ("written", 50),
    ];
    assert!(counters.iter().map(|(name, n)| (name.as_str(), *n)).eq(right), "{counters:?}");
}

/// Counts its rows.
struct Clerk;

impl BatchWriter<u64> for Clerk {
    type Error = String;

    fn write(&mut self, batch: &Batch<u64>) -> Result<(), String> {
        WRITTEN.add(batch.len() as u64);
        Ok(())
    }

    fn finish(self) -> Result<(), String> {
        WHOLE.add(1);
        Ok(())
    }
}

#[bigslice::func]
fn counted_on_other_threads(folder: String) -> Slice<WrittenFile> {
    let pushed = Slice::<u64>::push_reader(3, |_, sink| {
        (0..10_000).try_for_each(|n| {
            READ.add(1);
            sink.push(n)
        })
    });
    let mapped = pushed.map(|n| {
        MAPPED.add(1);
        n
    });
    let written = mapped.writer(|_| {
        MOVED.add(1);
        Ok::<_, String>(Clerk)
    });
    let kept = written.filter(|_| {
        KEPT.add(1);
        true
    });
    kept.write_csv(folder)
}

async fn what_runs_on_threads_of_its_own_counts(world: &World) {
    let folder = world.path("counted");
    let counters = world.done(counted_on_other_threads(folder)).await.counters().await;
    let right = [
        ("kept", 30_000),
        ("mapped", 30_000),
        ("moved", 3),
        ("read", 30_000),
        ("whole", 3),
        ("written", 30_000),
    ];
    assert!(counters.iter().map(|(name, n)| (name.as_str(), *n)).eq(right), "{counters:?}");
}

static LEVEL: Gauge = Gauge::new("level");
static SIZES: Histogram = Histogram::new("sizes");

#[bigslice::func]
fn measured() -> Slice<i64> {
    Slice::const_(4, 0..1000i64).inspect(|n| {
        LEVEL.set(n);
        SIZES.record(n);
    })
}

async fn gauges_and_histograms_of_all_tasks(world: &World) {
    let metrics = world.done(measured()).await.metrics().await;
    let level = metrics.gauge("level").unwrap();
    // The last figure of each of four tasks: 249, 499, 749, 999.
    assert_eq!((level.tasks(), level.min(), level.max(), level.sum()), (4, 249.0, 999.0, 2496.0));
    let sizes = metrics.histogram("sizes").unwrap();
    assert_eq!((sizes.count(), sizes.sum()), (1000, 499_500.0));
    assert_eq!((sizes.min(), sizes.max(), sizes.mean()), (Some(0.0), Some(999.0), Some(499.5)));
    let median = sizes.quantile(0.5).unwrap();
    assert!((median - 500.0).abs() < 500.0 / 32.0, "{median}");
    assert!(metrics.gauge("none").is_none() && metrics.counters().next().is_none());
}

#[bigslice::func]
fn so_many(n: u64) -> Slice<u64> {
    Slice::const_(3, 0..n).inspect(|_| MAPPED.add(1))
}

async fn runs_at_once_count_apart(world: &World) {
    let runs = (1..7u64).map(|n| world.session.run(so_many(n * 1000)));
    for (n, run) in (1..7).zip(futures::future::join_all(runs).await) {
        assert_eq!(run.unwrap().metrics().await.counter("mapped"), n * 1000);
    }
}

#[bigslice::func]
fn on_a_thread_of_its_own() -> Slice<u64> {
    Slice::const_(1, 0..10u64).map(|n| {
        std::thread::scope(|threads| threads.spawn(|| KEPT.add(1)).join()).unwrap();
        n
    })
}

async fn outside_of_tasks_nothing_counts(world: &World) {
    KEPT.add(7);
    LEVEL.set(7);
    let run = world.done(on_a_thread_of_its_own()).await;
    assert!(run.counters().await.is_empty());
}

async fn what_is_computed_again_counts_once(world: &World) {
    let run = world.done(so_many(3000)).await;
    let begun = run.tasks_started().await;
    for file in world.files("") {
        std::fs::remove_file(file).unwrap();
    }
    assert_eq!(run.rows().await.unwrap(), 3000);
    assert_eq!(run.tasks_started().await, 2 * begun, "nothing was computed again");
    assert_eq!(run.metrics().await.counter("mapped"), 3000);
}
