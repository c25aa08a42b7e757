//! Pipelines of random verbs over random rows give the rows that plain iterators give.

use bigslice::expr::{col, lit, max};
use bigslice::prelude::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde::{Deserialize, Serialize};

use crate::cases;
use crate::world::World;

cases![random_pipelines_are_like_iterators];

/// How many pipelines.
const PIPELINES: u32 = 32;

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
    })
}

fn greatest(rows: &[Pair]) -> std::collections::BTreeMap<i64, i64> {
    let mut greatest = std::collections::BTreeMap::new();
    for (k, v) in rows {
        let most = greatest.entry(*k).or_insert(*v);
        *most = (*most).max(*v);
    }
    greatest
}

fn sums(rows: &[Pair]) -> std::collections::BTreeMap<i64, i64> {
    let mut sums = std::collections::BTreeMap::new();
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
            Verb::Distinct => {
                rows.into_iter().collect::<std::collections::BTreeSet<_>>().into_iter().collect()
            }
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
        };
    }
    rows.sort_unstable();
    rows
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
                let found = runtime.block_on(world.sorted(work));
                prop_assert_eq!(found, plain(rows, &verbs));
                Ok(())
            })
            .unwrap_or_else(|e| panic!("{e}"));
    });
}
