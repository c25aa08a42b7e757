//! Panics below a query: a malformed file, a user's function. The query fails with the panic's
//! message, and its process survives.

use std::sync::Arc;

use arrow::datatypes::DataType;
use bigslice::{Error, SystemSpec};
use datafusion::logical_expr::{Volatility, create_udf};
use tempfile::TempDir;

use crate::harness::{World, small_tasks, testdata};
use bigslice_tests::process::Process;

/// A folder of valid files and one that makes the Parquet reader panic: two changed bytes in a page
/// of `words`, which no check of the reader detects.
fn words_with_a_panic() -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    let words = testdata().join("sql/data/words");
    for entry in std::fs::read_dir(&words).expect("the table").map(|entry| entry.expect("a file")) {
        std::fs::copy(entry.path(), folder.path().join(entry.file_name())).expect("a copy");
    }
    let mut bytes = std::fs::read(words.join("part-0.parquet")).expect("a file");
    bytes[489] = 248;
    bytes[526] = 9;
    std::fs::write(folder.path().join("part-9.parquet"), bytes).expect("a malformed file");
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_makes_its_reader_panic_fails_the_query_and_no_worker() {
    let folder = words_with_a_panic();
    for system in
        [SystemSpec::Here, SystemSpec::InProcess { machines: 2 }, SystemSpec::Local { machines: 2 }]
    {
        let world =
            World::with_tables(system.clone(), |builder| small_tasks(builder, &system)).await;
        let workers = world.processes();
        for sql in [
            "SELECT s, count(*), sum(n) FROM bad GROUP BY s",
            "SELECT count(*) FROM l JOIN bad ON l.s = bad.s",
            "SELECT s FROM bad ORDER BY s LIMIT 5",
        ] {
            let from = format!("'{}/'", folder.path().display());
            let sql = sql.replacen("bad", &format!("{from} AS bad"), 1);
            let error = world.try_run(&sql).await.expect_err("a panic below");
            assert!(!matches!(error, Error::Lost { .. }), "{sql} on {system}: {error:?}");
            let said = error.to_string();
            assert!(said.contains("part-9.parquet\" cannot be read"), "{sql} on {system}: {said}");
            assert_eq!(world.run("SELECT count(*) FROM words").await[0][0], "84");
        }
        assert_eq!(world.processes(), workers, "a panic has cost a machine");
        assert!(workers.iter().all(|(_, worker): &(String, Process)| worker.is_alive()));
        let log = world.log().join("\n");
        assert!(!log.contains("running the query again"), "{log}");
        world.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_panics_fails_the_query_alone() {
    let world = World::with_tables(SystemSpec::Here, |builder| builder).await;
    let boom = create_udf(
        "boom",
        vec![DataType::Int64],
        DataType::Int64,
        Volatility::Volatile,
        Arc::new(|_| panic!("the function has given up")),
    );
    world.session.context().register_udf(boom);
    for sql in [
        "SELECT boom(id) FROM l",
        "SELECT k, sum(boom(id)) FROM l GROUP BY k",
        "SELECT count(*) FROM l JOIN r ON l.k = boom(r.k)",
        "SELECT id FROM l ORDER BY boom(id)",
    ] {
        let error = world.try_run(sql).await.expect_err("a panic").to_string();
        assert!(error.contains("the function has given up"), "{sql}: {error}");
        assert_eq!(world.run("SELECT count(*) FROM l").await[0][0], "600");
    }
    world.close().await;
}
