//! Pipelines of random verbs over random rows agree with plain iterators.

use std::collections::{BTreeMap, BTreeSet};

use arrow::record_batch::RecordBatch;
use bigslice::expr::{col, lit, max};
use bigslice::prelude::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde::{Deserialize, Serialize};

use crate::cases;
use crate::world::World;

cases![random_pipelines_are_like_iterators];

/// Number of pipelines.
const PIPELINES: u32 = 64;

#[derive(Debug, Clone, Serialize, Deserialize)]
enum Verb {
    Map(i64),
    Filter(i64),
    Repeat(i64),
    Reduce,
    Fold,
    Reshuffle,
    Reshard(usize),
    Distinct,
    UnionSelf,
    SumOfGroups,
    Materialize,
    SelfJoinOfSums,
    FilterExpr(i64),
    SelectExpr(i64),
    AggregateExpr,
    SortExpr,
    JoinSql,
    UnionSql,
    LeftJoin(i64),
    FullJoin,
    SemiJoin(i64),
    AntiJoin(i64),
    Cogroup(i64),
    Repartition,
    SortBy,
    SortUnstable,
    TopK(usize),
    Limit(usize),
    ZipWithIndex,
    Emit(i64),
    TryMap(i64),
    MapBatches,
    MapPartitions(i64),
    KeyBy(i64),
    Prefixed(i64),
    CountByKey,
}

type Pair = (i64, i64);

#[bigslice::func]
fn pipeline(shards: usize, rows: Vec<Pair>, verbs: Vec<Verb>) -> Result<Slice<Pair>> {
    verbs.iter().try_fold(Slice::const_(shards, rows), one)
}

fn one(slice: Slice<Pair>, verb: &Verb) -> Result<Slice<Pair>> {
    Ok(match *verb {
        Verb::Map(by) => slice.map(move |(k, v)| (k.wrapping_mul(by) % 17, v.wrapping_add(by))),
        Verb::Filter(by) => slice.filter(move |(k, v)| (k.wrapping_add(v)) % by != 0),
        Verb::Repeat(most) => slice
            .flat_map(move |(k, v)| (0..v.rem_euclid(most)).map(move |n| (k, v.wrapping_add(n)))),
        Verb::Reduce => slice.reduce(i64::wrapping_add),
        Verb::Fold => slice.fold(1, |a, v| a.wrapping_add(v.wrapping_mul(3))),
        Verb::Reshuffle => slice.reshuffle_sorted(),
        Verb::Reshard(n) => slice.reshard(n),
        Verb::Distinct => slice.distinct(),
        Verb::UnionSelf => slice.clone().union(slice),
        Verb::SumOfGroups => {
            slice.group().map(|(k, vs)| (k, vs.iter().fold(0i64, i64::wrapping_add)))
        }
        Verb::Materialize => slice.materialize(),
        Verb::SelfJoinOfSums => {
            let sums = slice.clone().reduce(i64::wrapping_add);
            slice.join(sums).map(|(k, (a, b))| (k, a.wrapping_sub(b)))
        }
        Verb::FilterExpr(by) => slice.filter_expr((col("_1") % lit(by)).not_eq(lit(0i64)))?,
        Verb::SelectExpr(by) => slice.select([col("_0") % lit(by), col("_1") % lit(1000i64)])?,
        Verb::AggregateExpr => slice.aggregate([col("_0")], [max(col("_1"))])?,
        Verb::SortExpr => slice.sort_by_expr([col("_1").sort(false, true)])?,
        Verb::JoinSql => slice.sql(
            "select a._0, a._1 from self a join (select _0, max(_1) m from self group by _0) b \
             on a._0 = b._0 and a._1 < b.m",
        )?,
        Verb::UnionSql => slice.sql("select _1 % 5, _0 from self union all select * from self")?,
        Verb::LeftJoin(by) => {
            let some = slice.clone().filter(move |(k, _)| k % by == 0).reduce(i64::max);
            slice.left_join(some).map_values(|(a, b)| a.wrapping_sub(b.unwrap_or(1)))
        }
        Verb::FullJoin => {
            let other = slice.clone().map(|(k, v)| (k.wrapping_add(1), v)).reduce(i64::max);
            slice.full_join(other).map(|(k, (a, b))| (k, a.unwrap_or(5) ^ b.unwrap_or(7)))
        }
        // The other side may have several rows with the key.
        Verb::SemiJoin(by) => slice.clone().semi_join(slice.filter(move |(_, v)| v % by == 0)),
        Verb::AntiJoin(by) => slice.clone().anti_join(slice.filter(move |(_, v)| v % by == 0)),
        Verb::Cogroup(by) => {
            let other = slice.clone().map(move |(k, v)| (k.wrapping_add(by), v)).reshard(2);
            slice.cogroup(other).map(|(k, (ones, others))| {
                let sum = ones.iter().fold(0, i64::wrapping_add);
                (k, sum.wrapping_mul(others.len() as i64 + 2))
            })
        }
        Verb::Repartition => {
            slice.repartition(|shards, (k, _)| k.rem_euclid(shards as i64) as usize)
        }
        Verb::SortBy => slice.sort_by(|(_, v)| v),
        Verb::SortUnstable => slice.sort_unstable(),
        Verb::TopK(n) => slice.top_k(n, |(k, v)| (v, k)),
        Verb::Limit(n) => slice.sort_unstable().limit(n),
        Verb::ZipWithIndex => {
            slice.sort_unstable().zip_with_index().map(|(n, (k, v))| (k, v ^ n as i64))
        }
        Verb::Emit(most) => {
            slice.emit(move |(k, v), out| (0..k.rem_euclid(most)).for_each(|n| out.push((n, v))))
        }
        Verb::TryMap(by) => {
            slice.try_map(move |(k, v)| Ok::<_, String>((k.wrapping_sub(by), v.rotate_left(3))))
        }
        Verb::MapBatches => slice.map_batches(|batch: RecordBatch| batch.project(&[1, 0])),
        Verb::MapPartitions(by) => slice.map_partitions(move |_, rows| {
            rows.filter(move |(_, v)| v % by != 1).map(move |(k, v)| (k % by, v))
        }),
        Verb::KeyBy(by) => slice.key_by(move |(_, v)| v % by).map_values(|(k, v)| k ^ v),
        Verb::Prefixed(by) => {
            let triples = slice.map(move |(k, v)| (k, v % by, v));
            let sums = triples.prefixed::<2>().reduce(i64::wrapping_add);
            sums.map(|((k, rest), sum)| (k ^ rest, sum))
        }
        Verb::CountByKey => slice.count_by_key().map_values(|n| n as i64),
    })
}

fn greatest(rows: &[Pair]) -> BTreeMap<i64, i64> {
    let mut greatest = BTreeMap::new();
    for (k, v) in rows {
        let most = greatest.entry(*k).or_insert(*v);
        *most = (*most).max(*v);
    }
    greatest
}

fn sums(rows: &[Pair]) -> BTreeMap<i64, i64> {
    let mut sums = BTreeMap::new();
    for (k, v) in rows {
        let sum: &mut i64 = sums.entry(*k).or_default();
        *sum = sum.wrapping_add(*v);
    }
    sums
}

fn plain(rows: Vec<Pair>, verbs: &[Verb]) -> Vec<Pair> {
    let mut rows = rows;
    for verb in verbs {
        rows = match verb {
            Verb::Map(by) => {
                rows.iter().map(|(k, v)| (k.wrapping_mul(*by) % 17, v.wrapping_add(*by))).collect()
            }
            Verb::Filter(by) => {
                rows.into_iter().filter(|(k, v)| (k.wrapping_add(*v)) % by != 0).collect()
            }
            Verb::Repeat(most) => rows
                .iter()
                .flat_map(|(k, v)| (0..v.rem_euclid(*most)).map(move |n| (*k, v.wrapping_add(n))))
                .collect(),
            Verb::Reduce | Verb::SumOfGroups => sums(&rows).into_iter().collect(),
            Verb::Fold => {
                let tripled: Vec<Pair> =
                    rows.iter().map(|(k, v)| (*k, v.wrapping_mul(3))).collect();
                sums(&tripled).into_iter().map(|(k, v)| (k, v.wrapping_add(1))).collect()
            }
            Verb::Reshuffle | Verb::Reshard(_) | Verb::Materialize => rows,
            Verb::Distinct => rows.into_iter().collect::<BTreeSet<_>>().into_iter().collect(),
            Verb::UnionSelf => [rows.clone(), rows].concat(),
            Verb::SelfJoinOfSums => {
                let sums = sums(&rows);
                rows.iter().map(|(k, v)| (*k, v.wrapping_sub(sums[k]))).collect()
            }
            Verb::FilterExpr(by) => rows.into_iter().filter(|(_, v)| v % by != 0).collect(),
            Verb::SelectExpr(by) => rows.iter().map(|(k, v)| (k % by, v % 1000)).collect(),
            Verb::AggregateExpr => greatest(&rows).into_iter().collect(),
            Verb::SortExpr => rows,
            Verb::JoinSql => {
                let greatest = greatest(&rows);
                rows.into_iter().filter(|(k, v)| *v < greatest[k]).collect()
            }
            Verb::UnionSql => {
                let changed: Vec<Pair> = rows.iter().map(|(k, v)| (v % 5, *k)).collect();
                [changed, rows].concat()
            }
            Verb::Repartition => rows,
            Verb::SortBy => {
                rows.sort_by_key(|(_, v)| *v);
                rows
            }
            Verb::SortUnstable => {
                rows.sort_unstable();
                rows
            }
            Verb::TopK(n) => {
                rows.sort_unstable_by_key(|(k, v)| std::cmp::Reverse((*v, *k)));
                rows.into_iter().take(*n).collect()
            }
            Verb::Limit(n) => {
                rows.sort_unstable();
                rows.into_iter().take(*n).collect()
            }
            Verb::ZipWithIndex => {
                rows.sort_unstable();
                rows.into_iter().zip(0..).map(|((k, v), n)| (k, v ^ n)).collect()
            }
            Verb::Emit(most) => rows
                .iter()
                .flat_map(|(k, v)| (0..k.rem_euclid(*most)).map(move |n| (n, *v)))
                .collect(),
            Verb::TryMap(by) => {
                rows.iter().map(|(k, v)| (k.wrapping_sub(*by), v.rotate_left(3))).collect()
            }
            Verb::MapBatches => rows.into_iter().map(|(k, v)| (v, k)).collect(),
            Verb::MapPartitions(by) => {
                let some = rows.iter().filter(|(_, v)| v % by != 1);
                some.map(|(k, v)| (k % by, *v)).collect()
            }
            Verb::KeyBy(by) => rows.iter().map(|(k, v)| (v % by, k ^ v)).collect(),
            Verb::Prefixed(by) => {
                let mut sums = BTreeMap::<Pair, i64>::new();
                for (k, v) in rows {
                    let sum = sums.entry((k, v % by)).or_default();
                    *sum = sum.wrapping_add(v);
                }
                sums.into_iter().map(|((k, rest), sum)| (k ^ rest, sum)).collect()
            }
            Verb::CountByKey => {
                let ones: Vec<Pair> = rows.iter().map(|(k, _)| (*k, 1)).collect();
                sums(&ones).into_iter().collect()
            }
            join => joined(rows, join),
        };
    }
    rows
}

fn joined(rows: Vec<Pair>, verb: &Verb) -> Vec<Pair> {
    match verb {
        Verb::LeftJoin(by) => {
            let greatest = greatest(&rows);
            let other = |k: &i64| if k % by == 0 { greatest[k] } else { 1 };
            rows.iter().map(|(k, v)| (*k, v.wrapping_sub(other(k)))).collect()
        }
        Verb::FullJoin => {
            let others: BTreeMap<_, _> =
                greatest(&rows).into_iter().map(|(k, v)| (k.wrapping_add(1), v)).collect();
            let keys: BTreeSet<i64> = rows.iter().map(|(k, _)| *k).collect();
            let alone = others.iter().filter(|(k, _)| !keys.contains(k));
            let both = rows.iter().map(|(k, v)| (*k, v ^ others.get(k).unwrap_or(&7)));
            both.chain(alone.map(|(k, v)| (*k, 5 ^ v))).collect()
        }
        Verb::SemiJoin(by) | Verb::AntiJoin(by) => {
            let some = rows.iter().filter(|(_, v)| v % by == 0);
            let keys: BTreeSet<i64> = some.map(|(k, _)| *k).collect();
            let semi = matches!(verb, Verb::SemiJoin(_));
            rows.into_iter().filter(|(k, _)| keys.contains(k) == semi).collect()
        }
        Verb::Cogroup(by) => {
            let mut groups = BTreeMap::<i64, Pair>::new();
            for (k, v) in rows {
                let sum = &mut groups.entry(k).or_insert((0, 2)).0;
                *sum = sum.wrapping_add(v);
                groups.entry(k.wrapping_add(*by)).or_insert((0, 2)).1 += 1;
            }
            groups.into_iter().map(|(k, (sum, n))| (k, sum.wrapping_mul(n))).collect()
        }
        other => unreachable!("{other:?}"),
    }
}

/// Asserts that rows are the expected ones, in the order that the last verb promises.
fn check(found: &[Pair], right: &[Pair], last: Option<&Verb>) -> Result<(), TestCaseError> {
    match last {
        Some(Verb::SortUnstable | Verb::TopK(_) | Verb::Limit(_) | Verb::ZipWithIndex) => {
            prop_assert_eq!(found, right);
        }
        Some(Verb::SortBy) => prop_assert!(found.is_sorted_by_key(|(_, v)| *v)),
        Some(Verb::SortExpr) => prop_assert!(found.is_sorted_by(|a, b| a.1 >= b.1)),
        _ => {}
    }
    let sorted = |rows: &[Pair]| {
        let mut rows = rows.to_vec();
        rows.sort_unstable();
        rows
    };
    prop_assert_eq!(sorted(found), sorted(right));
    Ok(())
}

fn verb() -> impl Strategy<Value = Verb> {
    prop_oneof![
        any::<i64>().prop_map(Verb::Map),
        (2i64..9).prop_map(Verb::Filter),
        (1i64..4).prop_map(Verb::Repeat),
        Just(Verb::Reduce),
        Just(Verb::Fold),
        Just(Verb::Reshuffle),
        (1usize..6).prop_map(Verb::Reshard),
        Just(Verb::Distinct),
        Just(Verb::UnionSelf),
        Just(Verb::SumOfGroups),
        Just(Verb::Materialize),
        Just(Verb::SelfJoinOfSums),
        (2i64..9).prop_map(Verb::FilterExpr),
        (2i64..9).prop_map(Verb::SelectExpr),
        Just(Verb::AggregateExpr),
        Just(Verb::SortExpr),
        Just(Verb::JoinSql),
        Just(Verb::UnionSql),
        (2i64..5).prop_map(Verb::LeftJoin),
        Just(Verb::FullJoin),
        (2i64..9).prop_map(Verb::SemiJoin),
        (2i64..9).prop_map(Verb::AntiJoin),
        (0i64..3).prop_map(Verb::Cogroup),
        Just(Verb::Repartition),
        Just(Verb::SortBy),
        Just(Verb::SortUnstable),
        (0usize..300).prop_map(Verb::TopK),
        (0usize..300).prop_map(Verb::Limit),
        Just(Verb::ZipWithIndex),
        (1i64..4).prop_map(Verb::Emit),
        (-9i64..9).prop_map(Verb::TryMap),
        Just(Verb::MapBatches),
        (2i64..9).prop_map(Verb::MapPartitions),
        (2i64..9).prop_map(Verb::KeyBy),
        (2i64..9).prop_map(Verb::Prefixed),
        Just(Verb::CountByKey),
    ]
}

async fn random_pipelines_are_like_iterators(world: &World) {
    let rows = prop::collection::vec((-50i64..50, any::<i64>()), 0..400);
    let pipelines = (1usize..5, rows, prop::collection::vec(verb(), 0..6));
    let config = Config { cases: PIPELINES, failure_persistence: None, ..Config::default() };
    let runtime = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| {
        TestRunner::new(config)
            .run(&pipelines, |(shards, rows, verbs)| {
                let work = pipeline(shards, rows.clone(), verbs.clone());
                let found = runtime.block_on(world.rows(work));
                check(&found, &plain(rows, &verbs), verbs.last())
            })
            .unwrap_or_else(|e| panic!("{e}"));
    });
}
