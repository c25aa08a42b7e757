//! Verbs that move rows, most of them by key.

use std::collections::{BTreeMap, BTreeSet};

use bigslice::prelude::*;

use crate::cases;
use crate::world::World;

cases![
    reduce_gives_each_key_once,
    reduce_of_strings_and_structs,
    fold_of_any_key_and_accumulator,
    group_has_all_values,
    cogroup_has_keys_of_either_side,
    joins_by_key,
    reshuffle_and_reshard_keep_rows_and_bring_keys_together,
    repartition_by_the_users_function,
    keys_that_are_nan_null_or_equal_twice,
    distinct_rows,
    the_largest_and_all_in_order,
    materialized_slices_are_computed_once,
    a_key_may_be_changed_and_shuffled_again,
    count_by_key,
];

#[bigslice::func]
fn sums(shards: usize, keys: i64, times: i64) -> Slice<(i64, i64)> {
    Slice::const_(shards, 0..keys * times).map(move |x| (x % keys, x)).reduce(|a, b| a + b)
}

async fn reduce_gives_each_key_once(world: &World) {
    for shards in 1..=4 {
        let found = world.shards(sums(shards, 1000, 20)).await;
        assert_eq!(found.len(), shards);
        let mut found = found.concat();
        found.sort_unstable();
        let right = (0..1000).map(|key| (key, (0..20).map(|n| n * 1000 + key).sum::<i64>()));
        assert!(found.into_iter().eq(right), "{shards} shards");
    }
}

#[derive(Row, Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Word {
    text: String,
    upper: bool,
}

#[bigslice::func]
fn longest() -> Slice<(Word, String)> {
    let rows = (0..1000).map(|n| {
        let word = Word { text: format!("word {}", n % 10), upper: n % 3 == 0 };
        (word, "x".repeat(n / 10))
    });
    Slice::const_(3, rows).reduce(|a, b| if a.len() >= b.len() { a } else { b })
}

async fn reduce_of_strings_and_structs(world: &World) {
    let found = world.sorted(longest()).await;
    assert_eq!(found.len(), 20);
    assert!(found.iter().all(|(_, longest)| (97..=99).contains(&longest.len())));
}

#[bigslice::func]
fn lists() -> Slice<((String, u8), Vec<i64>)> {
    let rows = (0..5000i64).map(|n| ((format!("k{}", n % 7), (n % 3) as u8), n));
    Slice::const_(4, rows).fold(Vec::new(), |mut all: Vec<i64>, n| {
        all.push(n);
        all
    })
}

async fn fold_of_any_key_and_accumulator(world: &World) {
    let found = world.shards(lists()).await;
    let mut all = BTreeMap::new();
    for shard in found {
        assert!(shard.is_sorted_by_key(|(key, _)| key.clone()), "not in order of keys");
        for (key, mut values) in shard {
            values.sort_unstable();
            assert!(all.insert(key, values).is_none(), "a key twice");
        }
    }
    let mut right = BTreeMap::<(String, u8), Vec<i64>>::new();
    for n in 0..5000i64 {
        right.entry((format!("k{}", n % 7), (n % 3) as u8)).or_default().push(n);
    }
    assert_eq!(all, right);
}

#[bigslice::func]
fn groups(n: u32, keys: u32) -> Slice<(u32, Vec<String>)> {
    Slice::const_(5, (0..n).map(move |x| (x % keys, format!("value {x}")))).group()
}

async fn group_has_all_values(world: &World) {
    let found = world.sorted(groups(20_000, 9000)).await;
    assert_eq!(found.len(), 9000);
    for (key, mut values) in found {
        let mut right: Vec<_> =
            (0..20_000u32).skip(key as usize).step_by(9000).map(|x| format!("value {x}")).collect();
        values.sort();
        right.sort();
        assert_eq!(values, right);
    }
}

#[bigslice::func]
fn cogrouped(left: usize, right: usize) -> Slice<(String, (Vec<i32>, Vec<String>))> {
    let one = Slice::const_(left, (0..100).map(|n| (format!("{}", n % 10), n)));
    let other = Slice::const_(right, (0..50).map(|n| (format!("{}", n % 5 + 7), format!("v{n}"))));
    one.cogroup(other)
}

async fn cogroup_has_keys_of_either_side(world: &World) {
    for (left, right) in [(1, 1), (1, 4), (2, 1), (4, 4)] {
        let found = world.shards(cogrouped(left, right)).await;
        assert_eq!(found.len(), left.max(right));
        let mut found = found.concat();
        found.sort();
        let keys: BTreeSet<_> = found.iter().map(|(key, _)| key.clone()).collect();
        assert_eq!(keys.len(), 12);
        assert_eq!(found.len(), 12, "a key twice");
        for (key, (ones, others)) in found {
            let key: i32 = key.parse().unwrap();
            let right = (0..100).filter(|n| n % 10 == key).count();
            assert_eq!((ones.len(), ones.iter().all(|n| n % 10 == key)), (right, true));
            assert_eq!(others.len(), if key >= 7 { 10 } else { 0 });
        }
    }
}

#[bigslice::func]
fn ones() -> Slice<(Option<i64>, String)> {
    let rows = [(Some(1), "a"), (Some(1), "b"), (Some(2), "c"), (None, "n")];
    Slice::const_(2, rows.map(|(key, value)| (key, value.to_owned())))
}

type Pairs = Vec<(Option<i64>, (Option<String>, Option<bool>))>;

fn left_and_right() -> (Slice<(Option<i64>, String)>, Slice<(Option<i64>, bool)>) {
    let rows = [(Some(1), "a"), (Some(1), "b"), (Some(2), "c"), (None, "n")];
    let left = Slice::const_(2, rows.map(|(key, value)| (key, value.to_owned())));
    let right =
        Slice::const_(3, [(Some(1), true), (Some(1), false), (Some(3), true), (None, true)]);
    (left, right)
}

#[bigslice::func]
fn joined(kind: String) -> Slice<(Option<i64>, (Option<String>, Option<bool>))> {
    let (left, right) = left_and_right();
    let owned = |s: &str| Some(s.to_owned());
    match kind.as_str() {
        "inner" => left.join(right).map_values(move |(a, b)| (owned(a), Some(b))),
        "left" => left.left_join(right).map_values(move |(a, b)| (owned(a), b)),
        "full" => left.full_join(right).map_values(move |(a, b)| (a.and_then(owned), b)),
        "semi" => left.semi_join(right).map_values(move |a| (owned(a), None)),
        _ => left.anti_join(right).map_values(move |a| (owned(a), None)),
    }
}

async fn joins_by_key(world: &World) {
    assert_eq!(world.rows(ones()).await.len(), 4);
    let row = |key, a: Option<&str>, b| (key, (a.map(str::to_owned), b));
    let inner = vec![
        row(None, Some("n"), Some(true)),
        row(Some(1), Some("a"), Some(false)),
        row(Some(1), Some("a"), Some(true)),
        row(Some(1), Some("b"), Some(false)),
        row(Some(1), Some("b"), Some(true)),
    ];
    let alone = row(Some(2), Some("c"), None);
    let left: Pairs = inner.iter().cloned().chain([alone.clone()]).collect();
    let full = left.iter().cloned().chain([row(Some(3), None, Some(true))]).collect();
    let semi = vec![
        row(None, Some("n"), None),
        row(Some(1), Some("a"), None),
        row(Some(1), Some("b"), None),
    ];
    let cases: [(&str, Pairs); 5] =
        [("inner", inner), ("left", left), ("full", full), ("semi", semi), ("anti", vec![alone])];
    for (kind, right) in cases {
        assert_eq!(world.sorted(joined(kind.to_owned())).await, right, "{kind}");
    }
}

#[bigslice::func]
fn moved(kind: String, from: usize, to: usize) -> Slice<(u64, u64)> {
    let rows = Slice::const_(from, (0..3000u64).map(|n| (n % 50, n)));
    match kind.as_str() {
        "reshuffle" => rows.reshuffle(),
        "sorted" => rows.reshuffle_sorted(),
        _ => rows.reshard(to),
    }
}

async fn reshuffle_and_reshard_keep_rows_and_bring_keys_together(world: &World) {
    for (kind, from, to) in [
        ("reshuffle", 4, 4),
        ("sorted", 3, 3),
        ("reshard", 1, 5),
        ("reshard", 5, 2),
        ("reshard", 2, 10),
    ] {
        let found = world.shards(moved(kind.to_owned(), from, to)).await;
        assert_eq!(found.len(), to, "{kind}");
        let keys = found.iter().map(|s| s.iter().map(|(k, _)| *k).collect::<BTreeSet<_>>());
        assert_eq!(keys.map(|keys| keys.len()).sum::<usize>(), 50, "{kind}: a key in two shards");
        assert!(kind != "sorted" || found.iter().all(|s| s.is_sorted_by_key(|(k, _)| *k)));
        let mut all = found.concat();
        all.sort_unstable_by_key(|(_, n)| *n);
        assert!(all.into_iter().eq((0..3000).map(|n| (n % 50, n))), "{kind}");
    }
}

#[bigslice::func]
fn by_remainder(shards: usize) -> Slice<u64> {
    Slice::const_(shards, 0..100u64).repartition(|shards, n| (n as usize * 7) % shards)
}

async fn repartition_by_the_users_function(world: &World) {
    let found = world.shards(by_remainder(6)).await;
    for (shard, rows) in found.iter().enumerate() {
        assert!(rows.iter().copied().eq((0..100).filter(|n| (n * 7) % 6 == shard as u64)));
    }
}

#[bigslice::func]
fn floats() -> Slice<(Option<f64>, u64)> {
    let negative_nan = f64::from_bits(f64::NAN.to_bits() | 1 << 63);
    let keys = [Some(f64::NAN), Some(negative_nan), None, Some(1.5), Some(f64::INFINITY)];
    Slice::const_(4, (0..100).map(move |n| (keys[n % 5], 1u64))).reduce(|a, b| a + b)
}

#[bigslice::func]
fn pairs_of_equals() -> Slice<((i64, i64), u64)> {
    Slice::const_(2, (0..1000i64).map(|n| ((n, n), 1u64))).reshard(4)
}

async fn keys_that_are_nan_null_or_equal_twice(world: &World) {
    let mut found = world.rows(floats()).await;
    found.sort_by_key(|(key, _)| key.map(f64::to_bits));
    let found: Vec<_> = found.iter().map(|(key, n)| (key.map(|k| k.to_string()), *n)).collect();
    let key = |text: &str| Some(text.to_owned());
    assert_eq!(found, [(None, 20), (key("1.5"), 20), (key("inf"), 20), (key("NaN"), 40)]);
    let sizes: Vec<_> = world.shards(pairs_of_equals()).await.iter().map(Vec::len).collect();
    assert!(
        sizes.iter().all(|n| (150..350).contains(n)),
        "two equal parts of a key skew: {sizes:?}"
    );
}

#[bigslice::func]
fn distinct() -> Slice<(Option<String>, f64)> {
    let rows = (0..1000).map(|n| {
        let text = (n % 4 != 0).then(|| format!("{}", n % 4));
        (text, if n % 2 == 0 { f64::NAN } else { 0.5 })
    });
    Slice::const_(3, rows).distinct()
}

async fn distinct_rows(world: &World) {
    assert_eq!(world.rows(distinct()).await.len(), 4);
}

#[bigslice::func]
fn ordered(n: Option<usize>) -> Slice<(String, f64)> {
    let rows = Slice::const_(4, (0..1000u64).map(|n| (format!("{n}"), ((n * 7919) % 1000) as f64)));
    match n {
        Some(n) => rows.top_k(n, |(_, x)| x),
        None => rows.sort_by(|(_, x)| x),
    }
}

async fn the_largest_and_all_in_order(world: &World) {
    let found = world.rows(ordered(Some(3))).await;
    assert_eq!(found.iter().map(|(_, x)| *x).collect::<Vec<_>>(), [999.0, 998.0, 997.0]);
    assert!(world.rows(ordered(Some(0))).await.is_empty());
    assert_eq!(world.rows(ordered(Some(2000))).await.len(), 1000);
    let found = world.rows(ordered(None)).await;
    assert!(found.iter().map(|(_, x)| *x as u64).eq(0..1000));
}

#[bigslice::func]
fn twice_used(folder: String) -> Slice<(u64, u64)> {
    let once = Slice::const_(3, 0..9u64)
        .map(move |n| {
            let path = format!("{folder}/{n}");
            std::fs::File::create_new(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
            (n % 3, n)
        })
        .materialize();
    once.clone().reduce(|a, b| a + b).union(once.reduce(u64::max))
}

async fn materialized_slices_are_computed_once(world: &World) {
    let folder = world.path("seen");
    std::fs::create_dir(&folder).unwrap();
    let found = world.sorted(twice_used(folder)).await;
    assert_eq!(found, [(0, 6), (0, 9), (1, 7), (1, 12), (2, 8), (2, 15)]);
}

#[bigslice::func]
fn rekeyed() -> Slice<(u64, u64)> {
    Slice::const_(4, 0..10_000u64)
        .map(|n| (n % 1000, n))
        .reduce(|a, b| a + b)
        .map(|(key, sum)| (key % 10, sum))
        .fold(0, |a, b| a + b)
        .map(|(key, sum)| (key % 2, sum))
        .reduce(|a, b| a + b)
}

async fn a_key_may_be_changed_and_shuffled_again(world: &World) {
    let right = |odd| (0..10_000u64).filter(|n| n % 2 == odd).sum::<u64>();
    assert_eq!(world.sorted(rekeyed()).await, [(0, right(0)), (1, right(1))]);
}

#[bigslice::func]
fn counts() -> Slice<(String, u64)> {
    Slice::const_(3, (0..90).map(|n| (format!("{}", n % 4), n))).count_by_key()
}

async fn count_by_key(world: &World) {
    let found: Vec<_> = world.sorted(counts()).await.into_iter().map(|(_, n)| n).collect();
    assert_eq!(found, [23, 23, 22, 22]);
}
