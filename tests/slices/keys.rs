//! Equality of keys: the same for every verb, whether it hashes, sorts or compares.

use bigslice::Value;
use bigslice::prelude::*;
use bigslice::row::Decimal;

use crate::cases;
use crate::world::World;

cases![
    zeros_and_nans_are_one_key_each_for_every_verb,
    a_join_finds_what_a_reduce_has_made,
    frequent_keys_and_rare_ones_of_any_width,
];

/// Two NaNs, two zeros, and a number, twenty times each.
fn float(n: u64) -> f64 {
    let negative_nan = f64::from_bits(f64::NAN.to_bits() | 1 << 63);
    [f64::NAN, negative_nan, 0.0, -0.0, 1.5][n as usize % 5]
}

/// The number of the 100 rows under each key, by a verb.
fn counts<K: Value>(verb: &str, key: fn(u64) -> K) -> Slice<u64> {
    let keys = move || Slice::const_(3, (0..100u64).map(move |n| (key(n), 1u64)));
    let each = || Slice::const_(2, (2..5u64).map(move |n| (key(n), 1u64)));
    match verb {
        "reduce" => keys().reduce(|a, b| a + b).map(|(_, n)| n),
        "map and reduce" => {
            let made = Slice::const_(3, 0..100u64).map(move |n| (key(n), 1u64));
            made.reduce(|a, b| a + b).map(|(_, n)| n)
        }
        "count" => keys().count_by_key().map(|(_, n)| n),
        "fold" => keys().fold(0u64, |sum, n| sum + n).map(|(_, n)| n),
        "group" => keys().group().map(|(_, ones)| ones.len() as u64),
        "cogroup" => keys().cogroup(each()).map(|(_, (ones, _))| ones.len() as u64),
        // One zero of each sign and 1.5 on the right: no NaN finds a match.
        "join" => keys().join(each()).fold(0u64, |sum, (n, _)| sum + n).map(|(_, n)| n),
        "semi_join" => keys().semi_join(each()).count_by_key().map(|(_, n)| n),
        "distinct" => keys().distinct().map(|(_, n)| n),
        _ => unreachable!(),
    }
}

#[bigslice::func]
fn counted(verb: String, kind: String) -> Slice<u64> {
    match kind.as_str() {
        "float" => counts(&verb, float),
        "list" => counts(&verb, |n| vec![float(n), 7.0]),
        "array" => counts(&verb, |n| [float(n) as f32, 7.0]),
        _ => counts(&verb, |n| (7u8, Some((float(n) as f32, vec![Some(float(n))])))),
    }
}

async fn zeros_and_nans_are_one_key_each_for_every_verb(world: &World) {
    let each_key = &[20, 40, 40][..];
    let right = [
        ("reduce", each_key),
        ("map and reduce", each_key),
        ("count", each_key),
        ("fold", each_key),
        ("group", each_key),
        ("cogroup", each_key),
        ("join", &[20, 80]),
        ("semi_join", &[20, 40]),
        ("distinct", &[1, 1, 1]),
    ];
    for (verb, right) in right {
        for kind in ["float", "list", "array", "parts"] {
            let found = world.sorted(counted(verb.to_owned(), kind.to_owned())).await;
            assert_eq!(found, right, "{verb} by {kind}");
        }
    }
}

#[bigslice::func]
fn rejoined() -> Slice<(f64, (u64, u64))> {
    let rows = Slice::const_(3, (0..100u64).map(|n| (float(n), 1u64)));
    rows.clone().join(rows.reduce(|a, b| a + b))
}

async fn a_join_finds_what_a_reduce_has_made(world: &World) {
    let rows = world.rows(rejoined()).await;
    assert_eq!(rows.len(), 100);
    assert!(rows.iter().all(|(key, (_, sum))| *sum == if *key == 1.5 { 20 } else { 40 }));
    assert!(rows.iter().all(|(key, _)| !key.is_sign_negative()), "a negative zero came out");
}

/// Rows whose keys alternate between one of a few, one of many, and a unique one.
///
/// Enough to fill the table that combines pairs as they are made, and to give it up.
const ROWS: u64 = 180_000;

fn key(n: u64) -> u64 {
    match n % 3 {
        0 => n % 40,
        1 => 1000 + n % 9000,
        _ => 100_000 + n,
    }
}

/// The number of rows per key, and the sum of their numbers, for each kind of key.
#[bigslice::func]
fn sums_by(kind: String) -> Slice<(u64, u64)> {
    fn sums<K: Value>(key_of: fn(u64) -> K) -> Slice<(u64, u64)> {
        let rows = Slice::const_(3, 0..ROWS);
        let pairs = rows.map(move |n| (key_of(key(n)), (1u64, n)));
        pairs.reduce(|a, b| (a.0 + b.0, a.1 + b.1)).map(|(_, sums)| sums)
    }
    match kind.as_str() {
        "8 bits" => sums(|key| key as u8),
        "16 bits" => sums(|key| (key as i16).wrapping_neg()),
        "32 bits" => sums(|key| key as f32),
        "64 bits" => sums(|key| u64::MAX - key),
        "128 bits" => sums(|key| Decimal::<38, 2>::from_unscaled(key.into()).unwrap()),
        "all bits" => sums(|key| Decimal::<38, 2>::from_unscaled(-i128::from(key % 7)).unwrap()),
        "texts" => sums(|key| format!("{key}")),
        "long texts" => sums(|key| "x".repeat((key % 30) as usize)),
        "nulls" => sums(|key| (key % 5 != 0).then(|| format!("{key}"))),
        _ => sums(|key| (key, "a struct".to_owned())),
    }
}

async fn frequent_keys_and_rare_ones_of_any_width(world: &World) {
    let same: fn(u64) -> u64 = |key| key;
    let kinds: [(&str, fn(u64) -> u64); 10] = [
        ("8 bits", |key| key % 256),
        ("16 bits", |key| key % 65536),
        ("32 bits", same),
        ("64 bits", same),
        ("128 bits", same),
        ("all bits", |key| key % 7),
        ("texts", same),
        ("long texts", |key| key % 30),
        ("nulls", |key| if key % 5 == 0 { 0 } else { key }),
        ("structs", same),
    ];
    for (kind, as_is) in kinds {
        let mut right = std::collections::HashMap::<u64, (u64, u64)>::new();
        for n in 0..ROWS {
            let (count, sum) = right.entry(as_is(key(n))).or_default();
            (*count, *sum) = (*count + 1, *sum + n);
        }
        let mut right: Vec<_> = right.into_values().collect();
        right.sort_unstable();
        assert!(world.sorted(sums_by(kind.to_owned())).await == right, "{kind}");
    }
}
