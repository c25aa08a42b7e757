//! NaN in Parquet files, whose minimum and maximum statistics omit it.

use crate::world::World;

/// Two files of three row groups each; `n` numbers the rows. In each group `x` goes from 1 to 4,
/// and two groups have a NaN, one of either sign.
async fn files(world: &World) {
    for (file, nan) in [(0, "'NaN'::double"), (1, "-('NaN'::double)")] {
        let sql = format!(
            "copy (select {file} * 1000 + value as n,
                case when value = 150 then {nan} else (value % 4 + 1)::double end as x,
                case when value = 150 then {nan}::float else (value % 4 + 1)::float end as y
              from generate_series(0, 299) order by value)
             to '@floats/{file}.parquet' stored as parquet
             options ('format.max_row_group_size' '100')"
        );
        world.rows(&sql).await;
    }
}

/// Queries that file statistics must not answer, and their answers. A NaN is a NaN with either
/// sign, and larger than all numbers.
const CASES: &[(&str, &str)] = &[
    ("select n from '@floats' where x = 'NaN'::double order by n", "150\n1150"),
    ("select n from '@floats' where y = 'NaN'::float order by n", "150\n1150"),
    ("select n from '@floats' where x > 5 order by n", "150\n1150"),
    ("select n from '@floats' where y >= 5 order by n", "150\n1150"),
    ("select n from '@floats' where x > 5 and n < 1000", "150"),
    ("select n from '@floats' where x < 1", ""),
    ("select n from '@floats' where not x between 1 and 4 order by n", "150\n1150"),
    ("select n from '@floats' where x not in (1, 2, 3, 4) order by n", "150\n1150"),
    ("select count(*) from '@floats' where x <> 3", "452"),
    ("select count(*) from '@floats' where x > 0 and x < 5", "598"),
    ("select count(*) from '@floats' where x > 5 and x < 9", "0"),
    ("select count(*) from '@floats' where isnan(x)", "2"),
    ("select n from '@floats' order by x desc, n limit 1", "150"),
    ("select isnan(x) from '@floats' order by x limit 1", "false"),
    ("select isnan(max(x)) from '@floats'", "true"),
    // One partition by a column that the filter makes constant.
    (
        "select count(distinct r) = max(r) from (select row_number() over (partition by x order by n) as r, lag(n) over (partition by x order by n) as p from '@floats' where x = 3)",
        "true",
    ),
    ("select count(*) from '@floats' a join '@floats' b on a.x = b.x where a.x > 5", "4"),
];

async fn check(world: &World) {
    files(world).await;
    for pushdown in ["false", "true"] {
        world
            .rows(&format!("set datafusion.execution.parquet.pushdown_filters = {pushdown}"))
            .await;
        for (sql, answer) in CASES {
            assert_eq!(world.text(sql).await, *answer, "{sql}, filters pushed down: {pushdown}");
        }
    }
}

#[tokio::test]
async fn no_nan_is_pruned() {
    check(&World::here().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_nan_is_pruned_on_machines() {
    check(&World::on_machines().await).await;
}

#[tokio::test]
async fn what_no_nan_can_fulfil_is_pruned() {
    let world = World::here().await;
    files(&world).await;
    let plan = world.text("explain analyze select n from '@floats' where x > 5 and x < 9").await;
    assert!(plan.contains("row_groups_pruned_statistics=6 total → 0 matched"), "{plan}");
    let plan = world.text("explain analyze select n from '@floats' where x > 5").await;
    assert!(plan.contains("row_groups_pruned_statistics=6 total → 6 matched"), "{plan}");
}
