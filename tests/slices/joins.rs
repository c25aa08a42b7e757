//! Joins agree with loops over both sides, for all keys, whichever side is small, and with little
//! memory.

use std::fmt::Debug;

use bigslice::prelude::*;
use bigslice::row::Value;

use crate::cases;
use crate::world::World;

cases![
    joins_are_what_loops_give,
    joins_by_keys_of_several_parts,
    joins_by_keys_that_operators_do_not_know,
    joins_of_sides_that_do_not_fit,
];

/// A key, and the values of the sides that have it.
type Joined<K> = Slice<(K, (Option<i64>, Option<String>))>;

const KINDS: [&str; 5] = ["inner", "left", "full", "semi", "anti"];

fn join<K: Value>(kind: &str, left: Slice<(K, i64)>, right: Slice<(K, String)>) -> Joined<K> {
    match kind {
        "inner" => left.join(right).map_values(|(a, b)| (Some(a), Some(b.to_owned()))),
        "left" => left.left_join(right).map_values(|(a, b)| (Some(a), b.map(str::to_owned))),
        "full" => left.full_join(right).map_values(|(a, b)| (a, b.map(str::to_owned))),
        "semi" => left.semi_join(right).map_values(|a| (Some(a), None)),
        _ => left.anti_join(right).map_values(|a| (Some(a), None)),
    }
}

/// The rows of [`join`], in order.
fn looped<K: Clone + Ord>(
    kind: &str,
    left: &[(K, i64)],
    right: &[(K, String)],
) -> Vec<(K, (Option<i64>, Option<String>))> {
    let mut rows = Vec::new();
    for (key, a) in left {
        let partners: Vec<_> = right.iter().filter(|(other, _)| other == key).collect();
        let a = Some(*a);
        match kind {
            "semi" if partners.is_empty() => {}
            "anti" if !partners.is_empty() => {}
            "semi" | "anti" => rows.push((key.clone(), (a, None))),
            _ => {
                let pairs = partners.iter().map(|(_, b)| (key.clone(), (a, Some(b.clone()))));
                rows.extend(pairs);
                if partners.is_empty() && kind != "inner" {
                    rows.push((key.clone(), (a, None)));
                }
            }
        }
    }
    if kind == "full" {
        let alone = right.iter().filter(|(key, _)| left.iter().all(|(other, _)| other != key));
        rows.extend(alone.map(|(key, b)| (key.clone(), (None, Some(b.clone())))));
    }
    rows.sort_unstable();
    rows
}

fn left<K>(n: i64, key: impl Fn(i64) -> K) -> Vec<(K, i64)> {
    (0..n).map(|n| (key(n * 7 % 31), n)).collect()
}

fn right<K>(n: i64, key: impl Fn(i64) -> K) -> Vec<(K, String)> {
    (0..n).map(|n| (key(n * 11 % 37), format!("right {n}"))).collect()
}

fn optional(n: i64) -> Option<i64> {
    (n % 9 != 0).then_some(n)
}

#[bigslice::func]
fn by_number(kind: String, n: i64, m: i64) -> Joined<Option<i64>> {
    let (left, right) = (left(n, optional), right(m, optional));
    join(&kind, Slice::const_(3, left), Slice::const_(2, right))
}

async fn joins_are_what_loops_give(world: &World) {
    for (n, m) in [(50, 400), (400, 50), (0, 20), (20, 0), (1, 1)] {
        for kind in KINDS {
            let right = looped(kind, &left(n, optional), &right(m, optional));
            let found = world.sorted(by_number(kind.to_owned(), n, m)).await;
            assert_eq!(found, right, "{kind} of {n} and {m}");
        }
    }
}

#[derive(Row, Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    name: String,
    day: Option<chrono::NaiveDate>,
    open: bool,
}

type Parts = (Part, Option<u16>);

fn parts(n: i64) -> Parts {
    let day = chrono::NaiveDate::from_ymd_opt(2024, 1, 1 + (n % 3) as u32);
    let part =
        Part { name: format!("{}", n % 5), day: day.filter(|_| n % 2 == 0), open: n % 7 == 0 };
    (part, (n % 4 > 0).then_some((n % 4) as u16))
}

#[bigslice::func]
fn by_parts(kind: String) -> Joined<Parts> {
    join(&kind, Slice::const_(2, left(120, parts)), Slice::const_(3, right(90, parts)))
}

fn list(n: i64) -> Vec<i64> {
    (0..n % 4).collect()
}

#[bigslice::func]
fn by_list(kind: String) -> Joined<Vec<i64>> {
    join(&kind, Slice::const_(2, left(30, list)), Slice::const_(2, right(20, list)))
}

async fn check<K: Value + Clone + Ord + Debug>(
    world: &World,
    by: impl Fn(String) -> Invocation<(K, (Option<i64>, Option<String>))>,
    (left, right): (Vec<(K, i64)>, Vec<(K, String)>),
) {
    for kind in KINDS {
        let found = world.sorted(by(kind.to_owned())).await;
        assert_eq!(found, looped(kind, &left, &right), "{kind}");
    }
}

async fn joins_by_keys_of_several_parts(world: &World) {
    check(world, by_parts, (left(120, parts), right(90, parts))).await;
}

async fn joins_by_keys_that_operators_do_not_know(world: &World) {
    check(world, by_list, (left(30, list), right(20, list))).await;
}

/// Pairs with one match, without one on the left, and without one on the right: a third each.
#[bigslice::func]
fn large(kind: String, n: u64) -> Slice<(bool, bool, u64)> {
    let left = Slice::const_(2, 0..2 * n).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15), n));
    let right = Slice::const_(2, 0..3 * n).filter(move |m| m >= n);
    let right = right.map(|m| (m.wrapping_mul(0x9e37_79b9_7f4a_7c15), m));
    let joined = match kind.as_str() {
        "inner" => left.join(right).map_values(|(a, b)| (Some(a), Some(b))),
        _ => left.full_join(right),
    };
    joined
        .map(|(_, (a, b))| {
            assert!(a.is_none() || b.is_none() || a == b, "{a:?} with {b:?}");
            ((a.is_some(), b.is_some()), 1u64)
        })
        .reduce(|a, b| a + b)
        .map(|((a, b), count)| (a, b, count))
}

/// Each side is several times a task's memory limit: both are sorted on disk and merged.
async fn joins_of_sides_that_do_not_fit(world: &World) {
    const N: u64 = 200_000;
    let folder = tempfile::tempdir().unwrap();
    let processes = world.session.machines().len() as u64 + 1;
    let session = Session::builder().system(world.system.clone()).temp_root(folder.path());
    let session = session.memory_limit(processes * (48 << 20)).build().await.unwrap();
    let full = [(false, true, N), (true, false, N), (true, true, N)];
    for (kind, right) in [("inner", &full[2..]), ("full", &full[..])] {
        let run = session.run(large(kind.to_owned(), N)).await.unwrap();
        let mut found = run.collect().await.unwrap();
        found.sort_unstable();
        assert_eq!(found, right, "{kind}");
    }
    session.shutdown().await;
}
