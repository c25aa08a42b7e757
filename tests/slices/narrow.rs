//! Verbs within a shard, and sources.

use bigslice::prelude::*;

use crate::cases;
use crate::world::World;

cases![
    const_keeps_all_rows_in_even_shards,
    map_keeps_order,
    filter_of_half_none_and_few,
    flat_map_expands_and_leaves_out,
    try_flat_map_expands_or_ends_the_run,
    one_row_becomes_more_than_a_batch,
    emitted_strings_are_those_of_their_row,
    head_is_per_shard_and_limit_for_all,
    readers_give_rows_of_their_shard,
    batches_of_a_reader,
    map_batches_by_kernels,
    union_keeps_the_shards_of_both,
    empty_slices_run,
    structs_with_strings_and_options,
    samples_are_the_same_again,
    map_values_and_key_by,
    shards_as_iterators,
    one_row_for_each_shard,
];

#[bigslice::func]
fn numbers(shards: usize, n: i64) -> Slice<i64> {
    Slice::const_(shards, 0..n)
}

async fn const_keeps_all_rows_in_even_shards(world: &World) {
    for shards in [1, 2, 7, 19] {
        let found = world.shards(numbers(shards, 100)).await;
        assert_eq!(found.len(), shards);
        let sizes: Vec<usize> = found.iter().map(Vec::len).collect();
        assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1, "{sizes:?}");
        assert_eq!(found.concat(), (0..100).collect::<Vec<_>>());
    }
}

#[bigslice::func]
fn doubled(n: i64) -> Slice<i64> {
    Slice::const_(3, 0..n).map(|x| x * 2)
}

async fn map_keeps_order(world: &World) {
    let found = world.rows(doubled(100_000)).await;
    assert!(found.iter().copied().eq((0..100_000).map(|x| x * 2)));
}

#[bigslice::func]
fn divisible(n: i64, by: i64, least: i64) -> Slice<i64> {
    Slice::const_(10, 0..n).filter(move |x| x % by == 0 && x >= least)
}

async fn filter_of_half_none_and_few(world: &World) {
    for (by, least) in [(2, 0), (1, 1_000_000), (33_334, 0)] {
        let found = world.rows(divisible(100_000, by, least)).await;
        let right = (0..100_000).filter(|x| x % by == 0 && *x >= least);
        assert!(found.into_iter().eq(right), "{by} {least}");
    }
}

#[bigslice::func]
fn words(lines: Vec<String>) -> Slice<String> {
    Slice::const_(2, lines)
        .emit(|line, out| line.split_whitespace().for_each(|word| out.push(word)))
}

#[bigslice::func]
fn repeated(n: u32, times: u32) -> Slice<(u32, u32)> {
    Slice::const_(2, 0..n).flat_map(move |x| (0..x % times).map(move |y| (x, y)))
}

async fn flat_map_expands_and_leaves_out(world: &World) {
    let lines = vec!["a b  c".to_owned(), String::new(), "d".to_owned()];
    assert_eq!(world.rows(words(lines)).await, ["a", "b", "c", "d"]);
    let found = world.rows(repeated(1000, 4)).await;
    let right = (0..1000u32).flat_map(|x| (0..x % 4).map(move |y| (x, y)));
    assert!(found.into_iter().eq(right));
}

/// The numbers of each line, which must be numbers.
#[bigslice::func]
fn parsed(lines: Vec<String>) -> Slice<(i64, String)> {
    Slice::const_(2, lines).try_flat_map(|line| {
        let numbers = line.split_whitespace().map(|word| {
            word.parse().map(|n| (n, word.to_owned())).map_err(|e| format!("\"{word}\": {e}"))
        });
        numbers.collect::<Result<Vec<(i64, String)>, _>>()
    })
}

async fn try_flat_map_expands_or_ends_the_run(world: &World) {
    let lines = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    let found = world.rows(parsed(lines(&["1 02  3", "", "  ", "-4"]))).await;
    let right = [(1, "1"), (2, "02"), (3, "3"), (-4, "-4")].map(|(n, text)| (n, text.to_owned()));
    assert_eq!(found, right);
    // More rows from one line than a batch has.
    let long: String = (0..20_000).map(|n| format!("{n} ")).collect();
    let found = world.rows(parsed(vec![long, "7".to_owned()])).await;
    assert!(found.into_iter().map(|(n, _)| n).eq((0..20_000).chain([7])));
    let error = world.error(parsed(lines(&["1", "2", "3 x 4"]))).await;
    assert!(error.is_user_error() && !error.is_retryable(), "{error:?}");
    let text = error.to_string();
    assert!(text.starts_with("try_flat_map at tests/slices/narrow.rs:"), "{text}");
    assert!(text.ends_with("shard 1: \"x\": invalid digit found in string"), "{text}");
}

#[bigslice::func]
fn exploded(rows: Vec<u32>) -> Slice<u32> {
    Slice::const_(1, rows).flat_map(|n| 0..n)
}

async fn one_row_becomes_more_than_a_batch(world: &World) {
    assert!(
        world
            .rows(exploded(vec![3, 30_000, 0, 1]))
            .await
            .into_iter()
            .eq([3, 30_000, 0, 1].into_iter().flat_map(|n| 0..n))
    );
}

type Named = (String, Option<String>, u32);

/// `others` of a hundred rows get an additional row, with strings that are not from the input.
#[bigslice::func]
fn turned(rows: Vec<Named>, others: u32) -> Slice<(Option<String>, String, u32)> {
    Slice::const_(2, rows).filter(|(_, _, n)| n % 3 > 0).emit(move |(name, alias, n), out| {
        out.push((alias, name, n));
        if n % 100 < others {
            out.push((Some("other"), &name[..1], n));
        }
    })
}

async fn emitted_strings_are_those_of_their_row(world: &World) {
    let named = |n: u32| {
        let alias = (!n.is_multiple_of(7)).then(|| "long".repeat(n as usize % 5));
        (format!("name {}", n % 1000), alias, n)
    };
    let rows: Vec<Named> = (0..30_000).map(named).collect();
    for others in [0, 2] {
        let found = world.rows(turned(rows.clone(), others)).await;
        let right = rows.iter().filter(|(_, _, n)| n % 3 > 0).flat_map(|(name, alias, n)| {
            let other = (n % 100 < others).then(|| (Some("other".to_owned()), "n".to_owned(), *n));
            [Some((alias.clone(), name.clone(), *n)), other].into_iter().flatten()
        });
        assert!(found.into_iter().eq(right), "{others}");
    }
}

#[bigslice::func]
fn heads(n: usize, all: bool) -> Slice<i64> {
    let rows = Slice::const_(3, 0..30);
    if all { rows.limit(n) } else { rows.head(n) }
}

async fn head_is_per_shard_and_limit_for_all(world: &World) {
    assert_eq!(world.rows(heads(2, false)).await, [0, 1, 10, 11, 20, 21]);
    assert_eq!(world.shards(heads(12, true)).await, [(0..12).collect::<Vec<i64>>()]);
    assert!(world.rows(heads(0, true)).await.is_empty());
}

#[bigslice::func]
fn counted(shards: usize, each: u64) -> Slice<(u64, u64)> {
    Slice::reader(shards, move |shard| (0..each).map(move |n| Ok::<_, String>((shard as u64, n))))
}

async fn readers_give_rows_of_their_shard(world: &World) {
    let found = world.shards(counted(10, 10_000)).await;
    for (shard, rows) in found.iter().enumerate() {
        assert!(rows.iter().copied().eq((0..10_000).map(|n| (shard as u64, n))));
    }
    assert_eq!(found.len(), 10);
}

#[bigslice::func]
fn column_by_column() -> Slice<i64> {
    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    Slice::batches(2, |shard| {
        let rows = Int64Array::from_iter_values([shard as i64, 7]);
        let batch = RecordBatch::try_from_iter([("value", std::sync::Arc::new(rows) as ArrayRef)]);
        futures::stream::iter([batch])
    })
}

async fn batches_of_a_reader(world: &World) {
    assert_eq!(world.rows(column_by_column()).await, [0, 7, 1, 7]);
}

#[bigslice::func]
fn negated() -> Slice<i64> {
    use arrow::array::RecordBatch;
    Slice::const_(2, 0..10i64).map_batches(|batch: RecordBatch| {
        let column = arrow::compute::kernels::numeric::neg(batch.column(0))?;
        RecordBatch::try_new(batch.schema(), vec![column])
    })
}

async fn map_batches_by_kernels(world: &World) {
    assert!(world.rows(negated()).await.into_iter().eq((0..10).map(|x: i64| -x)));
}

#[bigslice::func]
fn both() -> Slice<i64> {
    let few = Slice::const_(2, 0..4);
    few.clone().union(Slice::const_(3, 10..16)).union(few.map(|x| x + 100)).filter(|x| x != 11)
}

async fn union_keeps_the_shards_of_both(world: &World) {
    let found = world.shards(both()).await;
    let right: [&[i64]; 7] =
        [&[0, 1], &[2, 3], &[10], &[12, 13], &[14, 15], &[100, 101], &[102, 103]];
    assert_eq!(found, right);
}

async fn empty_slices_run(world: &World) {
    assert_eq!(world.shards(numbers(4, 0)).await, vec![Vec::<i64>::new(); 4]);
    assert!(world.rows(heads(0, false)).await.is_empty());
}

#[derive(Row, Debug, PartialEq)]
struct Visit {
    url: String,
    ms: Option<i64>,
}

#[bigslice::func]
fn slow(cutoff: i64) -> Slice<Visit> {
    let visits = (0..100).map(|n| Visit {
        url: format!("http://host-{}/a/long/path/that/is/not/inline/{n}", n % 3),
        ms: (n % 5 != 0).then_some(n),
    });
    Slice::const_(4, visits)
        .filter(move |v| v.ms.is_some_and(|ms| ms > cutoff) && v.url.contains("-1/"))
}

async fn structs_with_strings_and_options(world: &World) {
    let found = world.rows(slow(50)).await;
    let right = (51..100).filter(|n| n % 5 != 0 && n % 3 == 1);
    let right: Vec<_> = right.map(|n| (n, true)).collect();
    let found: Vec<_> = found
        .iter()
        .map(|v| (v.ms.unwrap(), v.url.ends_with(&format!("/{}", v.ms.unwrap()))))
        .collect();
    assert_eq!(found, right);
}

#[bigslice::func]
fn some(fraction: f64, seed: u64) -> Slice<i64> {
    Slice::const_(4, 0..10_000).sample(fraction, seed)
}

async fn samples_are_the_same_again(world: &World) {
    let first = world.rows(some(0.1, 7)).await;
    assert!((800..1200).contains(&first.len()), "{}", first.len());
    assert_eq!(first, world.rows(some(0.1, 7)).await);
    assert_ne!(first, world.rows(some(0.1, 8)).await);
    assert_eq!(world.rows(some(1.0, 1)).await.len(), 10_000);
    assert!(world.rows(some(0.0, 1)).await.is_empty());
}

#[bigslice::func]
fn by_host() -> Slice<(String, Visit)> {
    let visits = (0..10).map(|n| Visit { url: format!("h{}/{n}", n % 2), ms: Some(n) });
    Slice::const_(2, visits).key_by(|v| v.url.split('/').next().unwrap_or_default().to_owned())
}

#[bigslice::func]
fn times() -> Slice<(String, i64)> {
    let visits = (0..10).map(|n| Visit { url: format!("h{}/{n}", n % 2), ms: Some(n) });
    let by_host = Slice::const_(2, visits).key_by(|v| v.url[..2].to_owned());
    by_host.map_values(|v| v.ms.unwrap_or(0)).reduce(|a, b| a + b)
}

async fn map_values_and_key_by(world: &World) {
    let found = world.rows(by_host()).await;
    assert_eq!(found[3].0, "h1");
    assert_eq!(found[3].1, Visit { url: "h1/3".to_owned(), ms: Some(3) });
    assert_eq!(world.sorted(times()).await, [("h0".to_owned(), 20), ("h1".to_owned(), 25)]);
}

#[bigslice::func]
fn gaps() -> Slice<(u64, i64)> {
    let rows = Slice::const_(3, (0..20_000i64).map(|n| n * n % 1009));
    rows.map_partitions(|shard, rows| {
        let mut before = 0;
        rows.map(move |n| {
            let gap = n - before;
            before = n;
            (shard as u64, gap)
        })
    })
}

#[bigslice::func]
fn firsts() -> Slice<i64> {
    Slice::const_(3, 0..30_000i64).map_partitions(|_, rows| rows.take(2))
}

async fn shards_as_iterators(world: &World) {
    let found = world.shards(gaps()).await;
    for (shard, rows) in found.iter().enumerate() {
        let sum: i64 = rows.iter().map(|(_, gap)| gap).sum();
        assert!(rows.iter().all(|(from, _)| *from == shard as u64));
        let end = [6667, 13334, 20_000][shard] - 1;
        assert_eq!(sum, end * end % 1009, "shard {shard}");
    }
    assert_eq!(world.rows(firsts()).await, [0, 1, 10_000, 10_001, 20_000, 20_001]);
}

#[bigslice::func]
fn written(folder: String, bad: usize) -> Slice<(String, u64)> {
    Slice::const_(4, 0..1000u64).for_each_shard(move |shard, rows| {
        if shard == bad {
            return Err(format!("shard {shard} is not to be written"));
        }
        let path = format!("{folder}/{shard}");
        let text: String = rows.map(|n| format!("{n}\n")).collect();
        std::fs::write(&path, &text).map_err(|e| e.to_string())?;
        Ok((path, text.lines().count() as u64))
    })
}

async fn one_row_for_each_shard(world: &World) {
    let folder = world.path("written");
    std::fs::create_dir(&folder).unwrap();
    let found = world.rows(written(folder.clone(), 9)).await;
    assert_eq!(found.iter().map(|(_, n)| *n).collect::<Vec<_>>(), [250; 4]);
    let text: String =
        found.iter().map(|(path, _)| std::fs::read_to_string(path).unwrap()).collect();
    assert!(text.lines().map(|line| line.parse::<u64>().unwrap()).eq(0..1000));
    let error = world.error(written(folder, 2)).await.to_string();
    assert!(
        error.contains("for_each_shard at") && error.ends_with("shard 2 is not to be written"),
        "{error}"
    );
}
