//! SQL of all kinds: every plan that `check` accepts returns the rows of plain DataFusion, for any
//! number of workers and partitions.
//!
//! The queries are in `sql/`, one per line: with rows in any order, in one order, or with only
//! their number given.

use datafusion::error::DataFusionError;

use crate::cluster::{Cluster, Guards, Shape, is_cut, plan, rows, single_process};
use crate::data::Tables;

const UNORDERED: &str = include_str!("sql/unordered.sql");
const ORDERED: &str = include_str!("sql/ordered.sql");
const COUNTED: &str = include_str!("sql/counted.sql");

/// The minimum number of queries that are distributed over several workers; the others have no
/// table, or a recursion.
const CUT_MIN: usize = 35;

/// How the rows of a query are compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compare {
    Set,
    List,
    Count,
}

/// All queries with the way to compare their rows.
pub(crate) fn queries() -> impl Iterator<Item = (&'static str, Compare)> {
    [(UNORDERED, Compare::Set), (ORDERED, Compare::List), (COUNTED, Compare::Count)]
        .into_iter()
        .flat_map(|(file, compare)| {
            file.lines()
                .filter(|line| !line.starts_with("--"))
                .map(move |line| (line.trim_end_matches(';'), compare))
        })
}

async fn compare_all(workers: usize, partitions: usize) {
    let tables = Tables::write().await;
    let truth = single_process();
    tables.register(&truth).await;
    let cluster = Cluster::start();
    let context = cluster.session(Shape::guarded(workers, partitions));
    tables.register(&context).await;
    let (mut wrong, mut cut) = (Vec::new(), 0);
    for (sql, compare) in queries() {
        let expected = rows(&truth, sql).await.unwrap_or_else(|err| panic!("{sql}: {err}"));
        cut += usize::from(plan(&context, sql).await.is_ok_and(|plan| is_cut(&plan)));
        wrong.extend(difference(sql, compare, expected, rows(&context, sql).await));
    }
    assert!(wrong.is_empty(), "{workers} workers, {partitions} partitions\n{}", wrong.join("\n"));
    let expect_cuts = if workers == 1 { 0 } else { CUT_MIN };
    assert!(cut >= expect_cuts, "only {cut} plans were cut");
}

/// The difference between expected and actual rows, if any.
pub(crate) fn difference(
    sql: &str,
    compare: Compare,
    mut expected: Vec<String>,
    actual: Result<Vec<String>, DataFusionError>,
) -> Option<String> {
    let mut actual = match actual {
        Ok(actual) => actual,
        Err(err) => return Some(format!("{sql}\n    {}", err.strip_backtrace())),
    };
    if compare == Compare::Set {
        expected.sort();
        actual.sort();
    }
    let same = match compare {
        Compare::Count => expected.len() == actual.len(),
        Compare::Set | Compare::List => expected == actual,
    };
    (!same).then(|| {
        let first = expected.iter().zip(&actual).find(|(a, b)| a != b);
        format!("{sql}\n    {} rows, {} expected; first {first:?}", actual.len(), expected.len())
    })
}

macro_rules! compared {
    ($($name:ident: $workers:literal workers, $partitions:literal partitions;)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                compare_all($workers, $partitions).await;
            }
        )*
    };
}

compared! {
    one_worker_one_partition: 1 workers, 1 partitions;
    one_worker_two_partitions: 1 workers, 2 partitions;
    one_worker_eight_partitions: 1 workers, 8 partitions;
    two_workers_one_partition: 2 workers, 1 partitions;
    two_workers_two_partitions: 2 workers, 2 partitions;
    two_workers_eight_partitions: 2 workers, 8 partitions;
    three_workers_one_partition: 3 workers, 1 partitions;
    three_workers_two_partitions: 3 workers, 2 partitions;
    three_workers_eight_partitions: 3 workers, 8 partitions;
}

/// Without the guards some of these queries are wrong or fail, so the comparison detects what it
/// should.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn comparison_sees_missing_guards() {
    let tables = Tables::write().await;
    let truth = single_process();
    tables.register(&truth).await;
    let cluster = Cluster::start();
    let context = cluster.session(Shape::guarded(3, 1).with(Guards::NONE));
    tables.register(&context).await;
    let mut wrong = 0;
    for (sql, compare) in queries() {
        let expected = rows(&truth, sql).await.expect("it runs in one process");
        let actual = rows(&context, sql).await;
        wrong += usize::from(difference(sql, compare, expected, actual).is_some());
    }
    assert!(wrong > 3, "only {wrong} queries notice");
}
