//! Verbs about the order of all rows, and about their columns.

use bigslice::prelude::*;

use crate::cases;
use crate::world::World;

cases![
    sorting_orders_rows_over_all_shards,
    sorting_copes_with_few_rows_and_with_one_key,
    sort_unstable_orders_by_all_columns,
    rows_are_numbered_over_all_shards,
    the_first_elements_become_the_key,
];

/// A permutation of the numbers below `n`, unless `n` is a multiple of 7919.
fn shuffled(n: u64) -> impl Iterator<Item = u64> {
    (0..n).map(move |i| i * 7919 % n)
}

#[bigslice::func]
fn by_text(shards: usize, n: u64) -> Slice<(u64, String)> {
    Slice::const_(shards, shuffled(n).map(|i| (i, format!("{i:07}"))))
        .sort_by(|(_, s)| s.to_owned())
}

async fn sorting_orders_rows_over_all_shards(world: &World) {
    let n = 40_000;
    let shards = world.shards(by_text(8, n)).await;
    assert_eq!(shards.len(), 8);
    let sizes: Vec<_> = shards.iter().map(Vec::len).collect();
    assert!(sizes.iter().all(|rows| (2_500..10_000).contains(rows)), "{sizes:?}");
    let rows: Vec<_> = shards.concat();
    assert!(rows.iter().map(|(i, _)| *i).eq(0..n), "not in order, or not all");
}

#[bigslice::func]
fn few(rows: Vec<Option<f64>>) -> Slice<Option<f64>> {
    Slice::const_(5, rows).sort_by(|x| x)
}

async fn sorting_copes_with_few_rows_and_with_one_key(world: &World) {
    assert_eq!(world.rows(few(vec![])).await, []);
    assert_eq!(world.rows(few(vec![Some(1.0)])).await, [Some(1.0)]);
    let same = world.shards(few(vec![Some(2.0); 1000])).await;
    assert_eq!(same.iter().filter(|shard| !shard.is_empty()).count(), 1, "one key in two shards");
    let rows = [Some(f64::NAN), Some(-1.0), None, Some(f64::INFINITY), Some(0.5), None];
    let found = world.rows(few(rows.to_vec())).await;
    assert_eq!(found[..5], [None, None, Some(-1.0), Some(0.5), Some(f64::INFINITY)]);
    assert!(found[5].is_some_and(f64::is_nan));
}

type Mixed = (Option<String>, i32, f32, Vec<u8>);

fn mixed(n: u64) -> Mixed {
    let text = (!n.is_multiple_of(5)).then(|| format!("{}", n % 3));
    let float = [f32::NAN, -0.0, 0.0, 1.0, f32::NEG_INFINITY][n as usize % 5];
    (text, (n as i32 * 31) % 4 - 2, float, vec![n as u8 % 4; n as usize % 3])
}

#[bigslice::func]
fn all_columns() -> Slice<Mixed> {
    Slice::const_(4, (0..2_000).map(mixed)).sort_unstable()
}

async fn sort_unstable_orders_by_all_columns(world: &World) {
    let found = world.rows(all_columns()).await;
    let mut right: Vec<_> = (0..2_000).map(mixed).collect();
    right.sort_by(|a, b| {
        a.0.cmp(&b.0).then(a.1.cmp(&b.1)).then(a.2.total_cmp(&b.2)).then_with(|| a.3.cmp(&b.3))
    });
    // Compared as text, because no NaN equals another.
    assert_eq!(format!("{found:?}"), format!("{right:?}"));
}

#[bigslice::func]
fn numbered(shards: usize) -> Slice<(u64, (String, u64))> {
    Slice::reader(shards, |shard| {
        let rows = if shard % 3 == 1 { 0 } else { 10_000 * shard as u64 + 1 };
        (0..rows).map(move |row| Ok::<_, String>((format!("s{shard}"), row)))
    })
    .zip_with_index()
}

async fn rows_are_numbered_over_all_shards(world: &World) {
    let found = world.shards(numbered(5)).await;
    assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [1, 0, 20_001, 30_001, 0]);
    let all: Vec<_> = found.concat();
    assert!(all.iter().map(|(index, _)| *index).eq(0..50_003));
    assert!(all.iter().all(|(_, (text, _))| text.starts_with('s')));
    assert_eq!(all[20_001].1, ("s2".to_owned(), 20_000));
}

#[bigslice::func]
fn cut(at: u8) -> Slice<String> {
    let rows = (0..60u32).map(|n| (n % 2, format!("{}", n % 3), n % 5 == 0, n));
    let rows = Slice::const_(3, rows);
    match at {
        1 => rows
            .prefixed::<1>()
            .map_values(|(_, _, n)| n)
            .reduce(|a, b| a + b)
            .map(|row| format!("{row:?}")),
        2 => rows
            .prefixed::<2>()
            .map_values(|(_, n)| n)
            .reduce(|a, b| a + b)
            .map(|row| format!("{row:?}")),
        _ => rows.prefixed::<3>().reduce(|a, b| a + b).map(|row| format!("{row:?}")),
    }
}

async fn the_first_elements_become_the_key(world: &World) {
    assert_eq!(world.sorted(cut(1)).await, ["(0, 870)", "(1, 900)"]);
    let two = world.sorted(cut(2)).await;
    assert_eq!((two.len(), two[0].as_str()), (6, "((0, \"0\"), 270)"));
    let three = world.sorted(cut(3)).await;
    assert_eq!((three.len(), three[1].as_str()), (12, "((0, \"0\", true), 30)"));
}
