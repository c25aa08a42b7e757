//! Known cases in which datafusion-distributed 4.0.0 silently returns wrong rows. Each test runs a
//! query with and without its guard: without, the rows are wrong and `check` refuses the plan; with
//! it, the rows are right and `check` accepts the plan.

use std::time::Duration;

use bigslice_planner::check;

use crate::cluster::{Cluster, Guards, Shape, is_cut, plan, rows, single_process};
use crate::data::Tables;
use crate::shapes::{Compare, difference};

const WITHOUT_PREPARE: Guards = Guards { prepare: false, check: false, ..Guards::ALL };
const WITHOUT_GUARD: Guards = Guards { guard: false, check: false, ..Guards::ALL };
const WITHOUT_FILES: Guards = Guards { files: false, check: false, ..Guards::ALL };

/// Rows that depend on the timing of tasks are wrong in some runs only.
const RUNS_MAX: usize = 200;

/// A query, and the conditions under which it goes wrong.
struct Trap {
    sql: &'static str,
    compare: Compare,
    shape: Shape,
    without: Guards,
    settings: &'static [&'static str],
    /// A part of the message of `check`.
    refusal: &'static str,
}

impl Trap {
    async fn springs(self) {
        let tables = Tables::write().await;
        let truth = single_process();
        tables.register(&truth).await;
        let expected = rows(&truth, self.sql).await.expect("it runs in one process");
        let cluster = Cluster::start();

        let unguarded = cluster.session(self.shape.with(self.without));
        let guarded = cluster.session(self.shape);
        for context in [&unguarded, &guarded] {
            tables.register(context).await;
            for setting in self.settings {
                context.sql(&format!("SET {setting}")).await.expect("it is a setting");
            }
        }
        let bad = plan(&unguarded, self.sql).await.expect("it can be planned");
        let refused = check(&bad).expect_err("the unguarded plan must be refused").to_string();
        assert!(refused.contains(self.refusal), "{refused}");
        let mut differs = false;
        for _ in 0..RUNS_MAX {
            let actual = rows(&unguarded, self.sql).await;
            differs |= difference(self.sql, self.compare, expected.clone(), actual).is_some();
            if differs {
                break;
            }
        }
        assert!(differs, "{RUNS_MAX} runs without the guard were all right: {}", self.sql);

        let good = plan(&guarded, self.sql).await.expect("the guarded plan is let through");
        assert!(is_cut(&good), "the guarded plan runs on workers");
        for _ in 0..3 {
            let actual = rows(&guarded, self.sql).await;
            let wrong = difference(self.sql, self.compare, expected.clone(), actual);
            assert_eq!(wrong, None);
        }
    }
}

/// Trap 0: a plan with one partition has no exchange below a global aggregate, so each task
/// aggregates its own share.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trap_0_aggregate_of_one_partition() {
    Trap {
        sql: "SELECT id FROM facts WHERE x > (SELECT avg(x) FROM facts)",
        compare: Compare::Set,
        shape: Shape::guarded(2, 1),
        without: WITHOUT_PREPARE,
        settings: &[],
        refusal: "needs all rows in one place",
    }
    .springs()
    .await;
}

/// Trap 0 in TPC-H Q11: groups compared with an aggregate of all rows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trap_0_groups_against_total() {
    Trap {
        sql: "SELECT k, sum(x) FROM facts GROUP BY k \
              HAVING sum(x) > (SELECT sum(x) * 0.01 FROM facts)",
        compare: Compare::Set,
        shape: Shape::guarded(3, 1),
        without: WITHOUT_PREPARE,
        settings: &[],
        refusal: "needs all rows in one place",
    }
    .springs()
    .await;
}

/// Trap 0 with a sort: each task keeps the last three rows of its own share.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trap_0_top_k_of_one_partition() {
    Trap {
        sql: "SELECT id FROM facts WHERE id IN (SELECT id FROM others ORDER BY id DESC LIMIT 3)",
        compare: Compare::Set,
        shape: Shape::guarded(2, 1),
        without: WITHOUT_PREPARE,
        settings: &[],
        refusal: "needs all rows in one place",
    }
    .springs()
    .await;
}

/// Trap 1: a shuffle declares the order of its input but does not keep it, and the sort for ORDER
/// BY is left out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trap_1_order_across_a_shuffle() {
    Trap {
        sql: "SELECT k, count(*) FROM sorted2 GROUP BY k ORDER BY k",
        compare: Compare::List,
        shape: Shape::guarded(3, 2),
        without: WITHOUT_GUARD,
        settings: &[],
        refusal: "declares an order of its rows",
    }
    .springs()
    .await;
}

/// Trap 1 with one file, which several tasks read in parts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trap_1_order_of_one_file() {
    Trap {
        sql: "SELECT k, count(*) FROM sorted GROUP BY k ORDER BY k",
        compare: Compare::List,
        shape: Shape::guarded(2, 8),
        without: WITHOUT_GUARD,
        settings: &[],
        refusal: "declares an order of its rows",
    }
    .springs()
    .await;
}

/// Trap 1 with a limit: the join stops after the first rows, which are other rows without the
/// order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trap_1_limit_of_ordered_rows() {
    Trap {
        sql: "SELECT f.id, d.name FROM sorted6 f LEFT JOIN dims d ON f.k = d.k \
              ORDER BY f.id LIMIT 40",
        compare: Compare::List,
        shape: Shape::guarded(3, 2),
        without: WITHOUT_GUARD,
        settings: &[
            "datafusion.optimizer.prefer_existing_sort = true",
            "datafusion.optimizer.hash_join_single_partition_threshold = 0",
            "datafusion.optimizer.hash_join_single_partition_threshold_rows = 0",
        ],
        refusal: "declares an order of its rows",
    }
    .springs()
    .await;
}

/// Trap 2: a build side with a limit is broadcast without its limit, and each task keeps other
/// rows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trap_2_limit_under_a_broadcast() {
    Trap {
        sql: "SELECT f.id FROM facts f JOIN (SELECT id FROM facts_csv LIMIT 5) o ON f.id = o.id",
        compare: Compare::Count,
        shape: Shape::guarded(2, 8),
        without: WITHOUT_PREPARE,
        settings: &[],
        refusal: "would broadcast 5 rows of each part",
    }
    .springs()
    .await;
}

/// Trap 2 with one partition: each task reads up to the limit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trap_2_limit_of_one_partition() {
    Trap {
        sql: "SELECT f.id FROM facts f JOIN (SELECT id FROM one_file LIMIT 5) o ON f.id = o.id",
        compare: Compare::Count,
        shape: Shape::guarded(2, 1),
        without: WITHOUT_PREPARE,
        settings: &[],
        refusal: "5 rows of each part where the query asks for 5 in all",
    }
    .springs()
    .await;
}

/// A limit inside a union whose children do not run in separate tasks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limit_inside_a_union() {
    Trap {
        sql: "SELECT sum(n) FROM ((SELECT 1 AS n FROM facts LIMIT 7) \
              UNION ALL (SELECT 1 FROM dims LIMIT 3))",
        compare: Compare::Set,
        shape: Shape::guarded(2, 1),
        without: WITHOUT_PREPARE,
        settings: &["distributed.children_isolator_unions = false"],
        refusal: "in all",
    }
    .springs()
    .await;
}

/// datafusion-distributed splits files by bytes even if they cannot be read from the middle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_cannot_be_cut() {
    Trap {
        sql: "SELECT count(*), sum(x) FROM quoted",
        compare: Compare::Set,
        shape: Shape::guarded(2, 2),
        without: WITHOUT_FILES,
        settings: &[],
        refusal: "can only be read from the start",
    }
    .springs()
    .await;
}

/// The compression of a file is not serialized with the plan: such a scan is refused, with or
/// without guards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compression_is_lost_on_the_way() {
    let tables = Tables::write().await;
    let cluster = Cluster::start();
    let context = cluster.session(Shape::guarded(2, 2));
    tables.register(&context).await;
    let refused = plan(&context, "SELECT sum(x) FROM facts_gz").await.expect_err("it is refused");
    assert!(refused.to_string().contains("how its files are compressed"), "{refused}");
}

/// datafusion-distributed's second partial aggregation multiplies the rows of grouping sets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partial_reduce_of_grouping_sets() {
    let tables = Tables::write().await;
    let sql = "SELECT g, k, sum(x) FROM facts GROUP BY ROLLUP (g, k)";
    let truth = single_process();
    tables.register(&truth).await;
    let expected = rows(&truth, sql).await.expect("it runs in one process");
    let cluster = Cluster::start();
    let unchecked = Guards { check: false, ..Guards::ALL };
    for (guards, refused) in [(unchecked, false), (Guards::ALL, true)] {
        let context = cluster.session(Shape::guarded(3, 2).with(guards));
        tables.register(&context).await;
        context.sql("SET distributed.partial_reduce = true").await.expect("it is a setting");
        let actual = rows(&context, sql).await;
        assert_eq!(actual.is_err(), refused, "{actual:?}");
        if let Ok(actual) = actual {
            assert!(actual.len() > expected.len(), "datafusion-distributed is right now");
        }
    }
}

/// A plan that datafusion-distributed splits only at run time cannot be checked before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plans_that_are_cut_while_they_run() {
    let tables = Tables::write().await;
    let cluster = Cluster::start();
    let context = cluster.session(Shape::guarded(2, 2));
    tables.register(&context).await;
    context.sql("SET distributed.dynamic_task_count = true").await.expect("it is a setting");
    let refused = plan(&context, "SELECT sum(x) FROM facts").await.expect_err("it is refused");
    assert!(refused.to_string().contains("is cut while it runs"), "{refused}");
}

/// A recursion over tables on workers would read an exchange in every round.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recursion_over_an_exchange() {
    let tables = Tables::write().await;
    let cluster = Cluster::start();
    let context = cluster.session(Shape::guarded(2, 2));
    tables.register(&context).await;
    let sql = "WITH RECURSIVE r AS (SELECT 0 AS n UNION ALL \
               SELECT r.n + 1 FROM r JOIN (SELECT k, count(*) AS c FROM facts GROUP BY k) f \
               ON f.k = r.n WHERE r.n < 5) SELECT * FROM r";
    let refused = plan(&context, sql).await.expect_err("it is refused");
    assert!(refused.to_string().contains("runs its recursive part many times"), "{refused}");
}

/// The value of a subquery stays in the stage that computes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subquery_values_across_an_exchange() {
    let tables = Tables::write().await;
    let cluster = Cluster::start();
    let context = cluster.session(Shape::guarded(2, 2));
    tables.register(&context).await;
    let setting = "datafusion.optimizer.enable_physical_uncorrelated_scalar_subquery";
    context.sql(&format!("SET {setting} = true")).await.expect("it is a setting");
    let sql = "SELECT k, sum(x) FROM facts GROUP BY k \
               HAVING sum(x) > (SELECT sum(x) * 0.01 FROM facts)";
    let refused = plan(&context, sql).await.expect_err("it is refused");
    assert!(refused.to_string().contains("hands the value of a subquery"), "{refused}");
}

/// The scan of a series loses its order, and that it has no columns, on the way to a worker.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn series() {
    let tables = Tables::write().await;
    let cluster = Cluster::start();
    let counted = "SELECT 'a' AS w, count(*) AS n FROM facts \
                   UNION ALL SELECT 'b', count(*) FROM generate_series(1, 5)";
    let ordered = "SELECT id, 1 AS n FROM facts UNION ALL \
                   SELECT value, row_number() OVER (PARTITION BY value) FROM generate_series(1, 5)";
    for sql in [counted, ordered] {
        for (guards, runs) in [(WITHOUT_PREPARE, false), (Guards::ALL, true)] {
            let context = cluster.session(Shape::guarded(2, 2).with(guards));
            tables.register(&context).await;
            let rows = rows(&context, sql).await;
            assert_eq!(rows.is_ok(), runs, "{sql}: {rows:?}");
        }
    }
}

/// The client of datafusion-distributed reads all partitions of a task in one stream and stops when
/// its buffer is full, while a merge waits for one of them. `bigslice-flight` reads partitions with
/// an order one by one; once this query ends, it need not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_with_an_order_in_one_stream() {
    let tables = Tables::write().await;
    let cluster = Cluster::start();
    let sql = "SELECT id, x FROM sorted6 ORDER BY id";
    for (buffer_bytes, ends) in [(64 << 20, true), (1000, false)] {
        let context = cluster.session(Shape::guarded(2, 3));
        tables.register(&context).await;
        let setting = "distributed.worker_connection_buffer_budget_bytes";
        context.sql(&format!("SET {setting} = {buffer_bytes}")).await.expect("it is a setting");
        let limit = Duration::from_secs(if ends { 60 } else { 3 });
        let rows = tokio::time::timeout(limit, rows(&context, sql)).await;
        assert_eq!(rows.is_ok(), ends);
    }
}

/// A worker that decodes an exchange does not know that a column is constant.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn constants_across_an_exchange() {
    let tables = Tables::write().await;
    let cluster = Cluster::start();
    let sql = "SELECT sum(n) FROM (SELECT row_number() OVER (PARTITION BY g, k ORDER BY id) AS n \
               FROM facts WHERE g = 'g1')";
    for (guards, right) in [(WITHOUT_GUARD, false), (Guards::ALL, true)] {
        let context = cluster.session(Shape::guarded(2, 2).with(guards));
        tables.register(&context).await;
        let rows = rows(&context, sql).await;
        let is_right = rows.as_ref().is_ok_and(|rows| *rows == ["47655"]);
        assert_eq!(is_right, right, "{rows:?}");
    }
}
