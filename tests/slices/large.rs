//! Rows so large that a batch of the usual number would not fit in memory: verbs make smaller
//! batches.

use arrow::record_batch::RecordBatch;
use bigslice::prelude::*;

use crate::cases;
use crate::world::World;

cases![
    large_rows_come_in_small_batches,
    large_rows_of_many_columns,
    large_accumulators_come_in_small_batches,
    large_values_are_grouped_and_sorted_in_small_batches,
];

/// Bytes per row.
const LARGE: usize = 64 * 1024;

/// Maximum rows per batch: a MiB, and one more.
const ROWS_MAX: usize = 17;

fn text(n: u64) -> String {
    char::from(b'a' + (n % 26) as u8).to_string().repeat(LARGE)
}

fn is_right(n: u64, text: &str) -> bool {
    text.len() == LARGE && text.bytes().all(|byte| byte == b'a' + (n % 26) as u8)
}

/// Fails on a batch with more rows than that.
fn small<T: Row>(slice: Slice<T>, what: &'static str) -> Slice<T> {
    slice.map_batches(move |batch: RecordBatch| match batch.num_rows() {
        0..=ROWS_MAX => Ok(batch),
        rows => Err(format!("a batch of {rows} rows after {what}")),
    })
}

fn texts(shards: usize, rows: u64) -> Slice<(u64, String)> {
    let rows = rows / shards as u64;
    Slice::reader(shards, move |shard| {
        let first = shard as u64 * rows;
        (first..first + rows).map(|n| Ok::<_, String>((n, text(n))))
    })
}

#[bigslice::func]
fn by_rows(rows: u64) -> Slice<(u64, String)> {
    let read = small(texts(2, rows), "reader");
    // One batch of rows with a few bytes each, which become large ones.
    let numbers = read.map(|(n, text)| if is_right(n, text) { n } else { u64::MAX });
    let numbers = numbers.repartition(|_, _| 0);
    let mapped = small(numbers.clone().map(|n| (n, text(n))), "map");
    let flat = numbers.clone().flat_map(|n| vec![(n, text(n)), (n, text(n))]);
    let flat = small(flat, "flat_map").filter(|(n, _)| n % 2 == 0);
    let chosen =
        small(numbers.clone().filter(|n| n % 3 == 0).map(|n| (n, text(n))), "filter and map");
    let emitted = numbers.clone().emit(|n, out| out.push((n, text(n).as_str())));
    let emitted = small(emitted, "emit");
    let keyed = small(numbers.clone().key_by(text), "key_by").map(|(text, n)| (n, text.to_owned()));
    let valued = small(numbers.clone().key_by(|n| n).map_values(text), "map_values");
    let parts = numbers.map_partitions(|_, rows| rows.map(|n| (n, text(n))));
    let parts = small(parts, "map_partitions");
    mapped.union(flat).union(chosen).union(emitted).union(keyed).union(valued).union(parts)
}

async fn large_rows_come_in_small_batches(world: &World) {
    let found = world.sorted(by_rows(240)).await;
    assert!(found.iter().all(|(n, text)| is_right(*n, text)));
    let right = (0..240u64).flat_map(|n| {
        let times = 5 + if n % 2 == 0 { 2 } else { 0 } + usize::from(n % 3 == 0);
        std::iter::repeat_n(n, times)
    });
    assert!(found.into_iter().map(|(n, _)| n).eq(right));
}

/// Large in its own size, and in what it refers to.
#[derive(Row)]
struct Sample {
    id: u64,
    counts: [u64; 1024],
    names: Option<Vec<String>>,
}

#[bigslice::func]
fn samples(rows: u64) -> Slice<Sample> {
    let names = |n: u64| n.is_multiple_of(2).then(|| (0..56).map(|_| "x".repeat(1000)).collect());
    let samples = Slice::const_(1, 0..rows).map(move |id| Sample {
        id,
        counts: [id; 1024],
        names: names(id),
    });
    // Every other row has 64 KB, the others have 8.
    samples.map_batches(|batch: RecordBatch| match batch.num_rows() {
        0..=34 => Ok(batch),
        rows => Err(format!("a batch of {rows} rows")),
    })
}

async fn large_rows_of_many_columns(world: &World) {
    let found = world.rows(samples(200)).await;
    assert_eq!(found.len(), 200);
    for (n, sample) in (0..200).zip(found) {
        assert_eq!((sample.id, sample.counts), (n, [n; 1024]));
        assert_eq!(sample.names.map(|names| names.len()), n.is_multiple_of(2).then_some(56));
    }
}

#[bigslice::func]
fn folded(keys: u64) -> Slice<(u64, Vec<u64>)> {
    let pairs = Slice::const_(2, (0..3 * keys).map(move |n| (n % keys, n)));
    let folded = pairs.fold(Vec::new(), |mut all: Vec<u64>, n| {
        all.extend(std::iter::repeat_n(n, LARGE / 24));
        all
    });
    small(folded, "fold")
}

async fn large_accumulators_come_in_small_batches(world: &World) {
    let found = world.sorted(folded(200)).await;
    assert_eq!(found.len(), 200);
    for (key, (found, all)) in (0..200).zip(found) {
        assert_eq!((found, all.len()), (key, LARGE / 24 * 3));
        let sum: u64 = all.iter().sum();
        assert_eq!(sum, (3 * key + 3 * 200) * (LARGE / 24) as u64);
    }
}

#[bigslice::func]
fn grouped(rows: u64) -> Slice<(u64, u64)> {
    let texts = texts(2, rows).map(|(n, text)| (n / 2, text.to_owned()));
    let sorted = small(texts.clone().reshuffle_sorted(), "reshuffle_sorted");
    let grouped = small(sorted.group(), "group").filter(|(_, texts)| texts.len() == 2);
    let both = grouped.map(|(n, texts)| (n, texts.iter().map(str::len).sum::<usize>() as u64));
    let joined = small(both.cogroup(texts), "cogroup");
    joined.map(|(n, (lengths, texts))| {
        let right = lengths.iter().eq([2 * LARGE as u64]) && texts.len() == 2;
        (n, u64::from(right))
    })
}

async fn large_values_are_grouped_and_sorted_in_small_batches(world: &World) {
    let found = world.sorted(grouped(240)).await;
    assert!(found.into_iter().eq((0..120).map(|n| (n, 1))));
}
