//! Pipelines of random verbs over rows whose keys are texts and floats, including nulls, NaNs and
//! zeros of both signs. Rows are compared by the equality of keys: there is one NaN and one zero.

use std::collections::{BTreeMap, BTreeSet};

use bigslice::prelude::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde::{Deserialize, Serialize};

use crate::cases;
use crate::world::World;

cases![random_pipelines_by_texts_and_floats_are_like_iterators];

/// Number of pipelines.
const PIPELINES: u32 = 48;

#[derive(Debug, Clone, Serialize, Deserialize)]
enum Verb {
    Negate,
    Shorten(usize),
    Known,
    Reduce,
    Fold,
    LargestOfGroup,
    CountByKey,
    Distinct,
    UnionSelf,
    Reshuffle,
    Reshard(usize),
    Repartition,
    Materialize,
    JoinGreatest,
    LeftJoinNamed,
    FullJoinShortened,
    SemiJoin,
    AntiJoin,
    SemiJoinByList,
    Cogroup,
    CountNames,
    SortByLevel,
    SortUnstable,
    TopK(usize),
}

type Key = (Option<String>, Option<f64>);
type Row = (Key, Option<i32>);

#[bigslice::func]
fn pipeline(shards: usize, rows: Vec<Row>, verbs: Vec<Verb>) -> Slice<Row> {
    verbs.iter().fold(Slice::const_(shards, rows), one)
}

fn shortened(name: &str, n: usize) -> Option<String> {
    // Some are null then, and others empty.
    (name.len() != 1).then(|| name.chars().skip(n).collect())
}

fn sum(sum: Option<i32>, value: Option<i32>) -> Option<i32> {
    value.map(|value| sum.unwrap_or(1).wrapping_add(value)).or(sum)
}

/// Values with a marker for a missing side of a join: a null is not enough.
fn present(slice: Slice<Row>) -> Slice<(Key, (Option<i32>, bool))> {
    slice.map_values(|n| (n, true))
}

fn one(slice: Slice<Row>, verb: &Verb) -> Slice<Row> {
    let owned = |name: Option<&str>| name.map(str::to_owned);
    match *verb {
        Verb::Negate => slice.map(move |((name, level), n)| ((owned(name), level.map(|x| -x)), n)),
        Verb::Shorten(by) => slice
            .map(move |((name, level), n)| ((name.and_then(|name| shortened(name, by)), level), n)),
        Verb::Known => slice.filter(|((name, _), n)| name.is_some() || n.is_none()),
        Verb::Reduce => slice.reduce(Option::max),
        Verb::Fold => slice.fold(None, sum),
        Verb::LargestOfGroup => slice.group().map_values(|all| all.iter().max().flatten()),
        Verb::CountByKey => slice.count_by_key().map_values(|n| Some(n as i32)),
        Verb::Distinct => slice.distinct(),
        Verb::UnionSelf => slice.clone().union(slice),
        Verb::Reshuffle => slice.reshuffle(),
        Verb::Reshard(n) => slice.reshard(n),
        Verb::Repartition => {
            slice.repartition(|shards, ((name, _), _)| name.map_or(0, str::len) % shards)
        }
        Verb::Materialize => slice.materialize(),
        Verb::JoinGreatest => {
            let greatest = slice.clone().reduce(Option::max);
            slice.join(greatest).map_values(|(a, b)| if a == b { None } else { b })
        }
        Verb::LeftJoinNamed => {
            let named = slice.clone().filter(|((name, _), _)| name.is_some());
            let greatest = named.reduce(Option::max);
            slice.left_join(present(greatest)).map_values(|(n, other)| match other {
                Some((other, _)) => sum(n, other),
                None => Some(-1),
            })
        }
        Verb::FullJoinShortened => {
            let others = one(slice.clone(), &Verb::Shorten(1)).reduce(Option::max);
            let joined = present(slice).full_join(present(others));
            joined.map_values(|(n, other)| match (n, other) {
                (Some((n, _)), Some((other, _))) => sum(n, other),
                (Some((n, _)), None) => n,
                (None, other) => other.and_then(|(other, _)| other).or(Some(7)),
            })
        }
        Verb::SemiJoin => slice.clone().semi_join(one(slice, &Verb::Negate)),
        Verb::AntiJoin => slice.clone().anti_join(one(slice, &Verb::Negate)),
        Verb::SemiJoinByList => {
            let listed = |slice: Slice<Row>| {
                slice.map(move |((name, level), n)| (vec![(owned(name), level)], n))
            };
            let others = listed(one(slice.clone(), &Verb::Negate));
            listed(slice).semi_join(others).map(move |(keys, n)| {
                let (name, level) = keys.get(0).unwrap_or((None, None));
                ((owned(name), level), n)
            })
        }
        Verb::Cogroup => {
            let others = one(slice.clone(), &Verb::Shorten(1));
            slice.cogroup(others).map_values(|(ones, others)| {
                ones.iter().max().flatten().map(|n| n.wrapping_add(others.len() as i32))
            })
        }
        Verb::CountNames => {
            let names = slice.key_by(move |((name, _), _)| owned(name)).count_by_key();
            names.map(move |(name, n)| ((owned(name), None), Some(n as i32)))
        }
        Verb::SortByLevel => slice.sort_by(|((_, level), _)| level),
        Verb::SortUnstable => slice.sort_unstable(),
        Verb::TopK(n) => slice.top_k(n, move |((name, level), n)| (level, owned(name), n)),
    }
}

/// A float as an integer in the same total order.
fn total(x: f64) -> i64 {
    let bits = x.to_bits() as i64;
    bits ^ ((bits >> 63) & i64::MAX)
}

/// A float as a key, in key order: there is one zero, and one NaN, which is last.
fn ordered(x: f64) -> i64 {
    total(if x.is_nan() { f64::NAN } else { x + 0.0 })
}

fn float(ordered: i64) -> f64 {
    f64::from_bits((ordered ^ ((ordered >> 63) & i64::MAX)) as u64)
}

/// A row with its float normalized by [`ordered`].
type Plain = ((Option<String>, Option<i64>), Option<i32>);

fn plain_row(((name, level), n): Row) -> Plain {
    ((name, level.map(ordered)), n)
}

type PlainKey = (Option<String>, Option<i64>);

fn folded(
    rows: Vec<Plain>,
    init: Option<i32>,
    f: impl Fn(Option<i32>, Option<i32>) -> Option<i32>,
) -> BTreeMap<PlainKey, Option<i32>> {
    let mut all = BTreeMap::new();
    for (key, n) in rows {
        let now = all.entry(key).or_insert(init);
        *now = f(*now, n);
    }
    all
}

fn counted<K: Ord>(keys: impl Iterator<Item = K>) -> BTreeMap<K, i32> {
    let mut counts = BTreeMap::new();
    keys.for_each(|key| *counts.entry(key).or_insert(0) += 1);
    counts
}

fn plain(rows: Vec<Plain>, verb: &Verb) -> Vec<Plain> {
    // Null is less than all values, so the maximum starts with it.
    let greatest = |rows: Vec<Plain>| folded(rows, None, Option::max);
    match verb {
        Verb::Negate => rows
            .into_iter()
            .map(|((name, level), n)| ((name, level.map(|x| ordered(-float(x)))), n))
            .collect(),
        Verb::Shorten(by) => rows
            .into_iter()
            .map(|((name, level), n)| ((name.and_then(|name| shortened(&name, *by)), level), n))
            .collect(),
        Verb::Known => {
            rows.into_iter().filter(|((name, _), n)| name.is_some() || n.is_none()).collect()
        }
        Verb::Reduce | Verb::LargestOfGroup => greatest(rows).into_iter().collect(),
        Verb::Fold => folded(rows, None, sum).into_iter().collect(),
        Verb::CountByKey => {
            let counts = counted(rows.into_iter().map(|(key, _)| key));
            counts.into_iter().map(|(key, n)| (key, Some(n))).collect()
        }
        Verb::Distinct => rows.into_iter().collect::<BTreeSet<_>>().into_iter().collect(),
        Verb::UnionSelf => [rows.clone(), rows].concat(),
        Verb::Reshuffle | Verb::Reshard(_) | Verb::Repartition | Verb::Materialize => rows,
        Verb::SortByLevel | Verb::SortUnstable => rows,
        Verb::JoinGreatest => {
            let greatest = greatest(rows.clone());
            let other = |key, n| if greatest[key] == n { None } else { greatest[key] };
            rows.iter().map(|(key, n)| (key.clone(), other(key, *n))).collect()
        }
        Verb::LeftJoinNamed => {
            let named = rows.iter().filter(|((name, _), _)| name.is_some()).cloned();
            let greatest = greatest(named.collect());
            let value = |key, n| greatest.get(key).map_or(Some(-1), |other| sum(n, *other));
            rows.iter().map(|(key, n)| (key.clone(), value(key, *n))).collect()
        }
        Verb::FullJoinShortened => {
            let others = greatest(plain(rows.clone(), &Verb::Shorten(1)));
            let keys: BTreeSet<_> = rows.iter().map(|(key, _)| key.clone()).collect();
            let alone = others.iter().filter(|(key, _)| !keys.contains(*key));
            let alone = alone.map(|(key, other)| (key.clone(), other.or(Some(7))));
            let value = |key, n| others.get(key).map_or(n, |other| sum(n, *other));
            let both = rows.iter().map(|(key, n)| (key.clone(), value(key, *n)));
            both.chain(alone).collect()
        }
        Verb::SemiJoin | Verb::SemiJoinByList | Verb::AntiJoin => {
            let others = plain(rows.clone(), &Verb::Negate).into_iter();
            let keys: BTreeSet<_> = others.map(|(key, _)| key).collect();
            let anti = matches!(verb, Verb::AntiJoin);
            rows.into_iter().filter(|(key, _)| keys.contains(key) != anti).collect()
        }
        Verb::Cogroup => {
            let others = plain(rows.clone(), &Verb::Shorten(1)).into_iter();
            let others = counted(others.map(|(key, _)| key));
            let ones = greatest(rows);
            let keys: BTreeSet<_> = ones.keys().chain(others.keys()).collect();
            let value = |key| {
                let largest = ones.get(key).copied().flatten();
                largest.map(|n| n.wrapping_add(others.get(key).copied().unwrap_or(0)))
            };
            keys.into_iter().map(|key| (key.clone(), value(key))).collect()
        }
        Verb::CountNames => {
            let counts = counted(rows.into_iter().map(|((name, _), _)| name));
            counts.into_iter().map(|(name, n)| ((name, None), Some(n))).collect()
        }
        Verb::TopK(n) => {
            let mut rows = rows;
            let key = |((name, level), n): &Plain| std::cmp::Reverse((*level, name.clone(), *n));
            rows.sort_unstable_by_key(key);
            rows.into_iter().take(*n).collect()
        }
    }
}

/// Asserts that rows are the expected ones, in the order that the last verb promises.
fn check(found: Vec<Row>, right: Vec<Plain>, last: Option<&Verb>) -> Result<(), TestCaseError> {
    if let Some(Verb::SortUnstable) = last {
        // This distinguishes zeros, and NaNs.
        let key = |((name, level), n): &Row| (name.clone(), level.map(total), *n);
        prop_assert!(found.is_sorted_by_key(key), "{:?}", found);
    }
    let (mut found, mut right): (Vec<_>, _) = (found.into_iter().map(plain_row).collect(), right);
    if let Some(Verb::SortByLevel) = last {
        prop_assert!(found.is_sorted_by_key(|((_, level), _)| *level), "{:?}", found);
    }
    if !matches!(last, Some(Verb::TopK(_))) {
        found.sort_unstable();
        right.sort_unstable();
    }
    prop_assert_eq!(found, right);
    Ok(())
}

fn verb() -> impl Strategy<Value = Verb> {
    prop_oneof![
        Just(Verb::Negate),
        (1usize..3).prop_map(Verb::Shorten),
        Just(Verb::Known),
        Just(Verb::Reduce),
        Just(Verb::Fold),
        Just(Verb::LargestOfGroup),
        Just(Verb::CountByKey),
        Just(Verb::Distinct),
        Just(Verb::UnionSelf),
        Just(Verb::Reshuffle),
        (1usize..6).prop_map(Verb::Reshard),
        Just(Verb::Repartition),
        Just(Verb::Materialize),
        Just(Verb::JoinGreatest),
        Just(Verb::LeftJoinNamed),
        Just(Verb::FullJoinShortened),
        Just(Verb::SemiJoin),
        Just(Verb::AntiJoin),
        Just(Verb::SemiJoinByList),
        Just(Verb::Cogroup),
        Just(Verb::CountNames),
        Just(Verb::SortByLevel),
        Just(Verb::SortUnstable),
        (0usize..200).prop_map(Verb::TopK),
    ]
}

fn level() -> impl Strategy<Value = f64> {
    let negative_nan = f64::from_bits(f64::NAN.to_bits() | 1 << 63);
    let infinities = [f64::INFINITY, f64::NEG_INFINITY];
    let others = [f64::NAN, negative_nan, 0.0, -0.0, 1.5, -1.5, infinities[0], infinities[1]];
    prop::sample::select(others.to_vec())
}

async fn random_pipelines_by_texts_and_floats_are_like_iterators(world: &World) {
    let name = prop::option::weighted(0.8, "[a\u{e4}]{0,2}");
    let row = ((name, prop::option::weighted(0.8, level())), prop::option::of(-9i32..9));
    let rows = prop::collection::vec(row, 0..250);
    let pipelines = (1usize..5, rows, prop::collection::vec(verb(), 0..6));
    let config = Config { cases: PIPELINES, failure_persistence: None, ..Config::default() };
    let runtime = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| {
        TestRunner::new(config)
            .run(&pipelines, |(shards, rows, verbs)| {
                let work = pipeline(shards, rows.clone(), verbs.clone());
                let found = runtime.block_on(world.rows(work));
                let rows = rows.into_iter().map(plain_row).collect();
                check(found, verbs.iter().fold(rows, plain), verbs.last())
            })
            .unwrap_or_else(|e| panic!("{e}"));
    });
}
