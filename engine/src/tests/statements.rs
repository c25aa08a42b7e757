//! Statements of all kinds in this process, and what is said of wrong ones.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result as DataFusionResult;
use datafusion::logical_expr::{ColumnarValue, Volatility, create_udf};
use futures::StreamExt;
use parking_lot::Mutex;

use super::*;

#[tokio::test]
async fn a_query_gives_rows() {
    let session = here().await;
    let query = session.sql("select 1 as a, 'x' as b").await.unwrap();
    assert!(query.returns_rows());
    assert_eq!(query.schema().field(1).name(), "b");
    let batches = query.collect().await.unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 1);
}

#[tokio::test]
async fn commands_change_the_session_and_give_no_rows() {
    let session = here().await;
    for sql in [
        "create table t as select * from (values (1, 'a'), (2, 'b')) as v(id, name)",
        "create table if not exists t as select 1 as other",
        "create view v as select id from t where id > 1",
        "set datafusion.execution.batch_size = 1234",
        "prepare p(bigint) as select $1 + 1 as x",
        "prepare q as select 1 + 1, unnest([3])",
        "set bigslice.statement_depth_max = 1234",
    ] {
        let query = session.sql(sql).await.unwrap();
        assert!(!query.returns_rows(), "{sql}");
        assert_eq!(query.collect().await.unwrap().len(), 0, "{sql}");
    }
    assert!(table(&session, "select * from t order by id").await.contains("| 2  | b    |"));
    assert!(table(&session, "select * from v").await.contains("| 2  |"));
    assert!(table(&session, "execute p(41)").await.contains("| 42 |"));
    let unnamed = table(&session, "execute q").await;
    assert!(unnamed.contains("| 1 + 1 | unnest([3]) |"), "{unnamed}");
    for setting in ["datafusion.execution.batch_size", "bigslice.statement_depth_max"] {
        let shown = table(&session, &format!("show {setting}")).await;
        assert!(shown.contains(setting) && shown.contains("1234"), "{shown}");
    }
    let names: Vec<_> = session.tables().into_iter().map(|t| (t.name, t.kind)).collect();
    assert_eq!(names, [("t".to_owned(), "table"), ("v".to_owned(), "view")]);
    assert_eq!(session.table_schema("t").await.unwrap().field(0).name(), "id");
    let taken = error(&session, "create table t as select 1 as a").await;
    assert!(taken.to_string().contains("already exists"), "{taken}");
}

#[tokio::test]
async fn inserted_rows_are_counted() {
    let session = here().await;
    rows(&session, "create table t(id bigint)").await;
    let query = session.sql("insert into t values (1), (2), (3)").await.unwrap();
    assert!(query.returns_count() && !query.returns_rows());
    let counted = query.collect().await.unwrap();
    assert_eq!(
        pretty_format_batches(&counted).unwrap().to_string().lines().nth(3),
        Some("| 3     |")
    );
    assert!(table(&session, "select count(*) as n from t").await.contains("| 3 |"));
}

#[tokio::test]
async fn explain_shows_both_plans_and_what_was_done() {
    let session = here().await;
    let shown = table(&session, "explain select 1 + 1").await;
    assert!(shown.contains("logical_plan") && shown.contains("physical_plan"), "{shown}");
    let done = table(&session, "explain analyze select count(*) from range(1000)").await;
    assert!(done.contains("output_rows=1000") || done.contains("output_rows=1.0"), "{done}");
    let stages = table(&session, "explain stages select count(*) from range(1000)").await;
    assert!(stages.contains("driver"), "{stages}");
}

#[tokio::test]
async fn wrong_statements_say_where_and_what_may_be_meant() {
    let session = here().await;
    rows(&session, "create table flights as select 1 as carrier, 2 as delay").await;
    // A statement, the position of the mistake, words of the message, words of the hint.
    type At = Option<(u64, u64)>;
    let cases: &[(&str, At, &str, &str)] = &[
        ("selec 1", Some((1, 1)), "expected", ""),
        ("select 1 +", Some((1, 11)), "end of the statement", ""),
        (
            "select\n  carier\nfrom flights",
            Some((2, 3)),
            "\"carier\"",
            "did you mean \"flights.carrier\"?",
        ),
        ("select * from flight", Some((1, 15)), "no table \"flight\"", "did you mean \"flights\"?"),
        ("select lenth('a')", Some((1, 8)), "lenth", "did you mean"),
        ("select 'a", Some((1, 8)), "nterminated", ""),
        ("select carrier from flights group by delay", None, "carrier", ""),
        ("select 1; select 2", Some((1, 11)), "one statement", ""),
        ("", None, "no statement", ""),
    ];
    for (sql, place, message, hint) in cases {
        let error = error(&session, sql).await;
        assert!(error.is_user_error(), "{sql}: {error:?}");
        assert!(error.to_string().contains(message), "{sql}: {error:?}");
        assert!(!error.to_string().contains("Error"), "{sql}: {error:?}");
        if let Some(place) = place {
            let found = error.position().map(|place| (place.line, place.column));
            assert_eq!(found, Some(*place), "{sql}: {error:?}");
        }
        assert!(error.hint().unwrap_or_default().contains(hint), "{sql}: {error:?}");
    }
}

#[tokio::test]
async fn values_that_cannot_be_computed_are_the_users() {
    let session = here().await;
    let cases = [
        ("select 1 / x from (values (0)) as t(x)", "zero"),
        ("select cast(x as int) from (values ('a')) as t(x)", "cannot read 'a' as int"),
        ("set datafusion.execution.batch_sise = 1", "batch_sise"),
    ];
    for (sql, words) in cases {
        let error = error(&session, sql).await;
        assert!(error.is_user_error() && !error.is_retryable(), "{sql}: {error:?}");
        assert!(error.to_string().to_lowercase().contains(words), "{sql}: {error:?}");
    }
}

#[tokio::test]
async fn a_statement_that_would_kill_the_process_is_refused() {
    let session = here().await;
    let chains = [
        format!("select {}", vec!["1"; 20_000].join("+")),
        format!("select 1 where {}", vec!["1=0"; 20_000].join(" or ")),
        vec!["select 1"; 5_000].join(" union all "),
        format!("select {}1{}", "(".repeat(3_000), ")".repeat(3_000)),
    ];
    for sql in chains {
        let refused = error(&session, &sql).await;
        assert!(refused.is_user_error(), "{refused:?}");
    }
    // What is just within the limits must not overflow a stack either.
    for n in [100, 400, 900] {
        for sql in [
            format!("select {}", vec!["x"; n].join("+")) + " from (values (1)) as t(x)",
            format!("select 1 where {}", vec!["random() < 0.5"; n].join(" or ")),
            vec!["select 1"; n].join(" union all "),
        ] {
            if let Ok(query) = session.sql(&sql).await {
                drop(query.collect().await);
            }
        }
    }
    assert!(table(&session, "select 1 as a").await.contains("| 1 |"));
}

#[tokio::test]
async fn a_panic_in_a_function_is_an_error_of_its_query() {
    let session = here().await;
    let panics = |_: &[ColumnarValue]| -> DataFusionResult<ColumnarValue> { panic!("boom at 7") };
    let function = create_udf(
        "boom",
        vec![DataType::Int64],
        DataType::Int64,
        Volatility::Volatile,
        Arc::new(panics),
    );
    session.context().register_udf(function);
    let failed = error(&session, "select boom(value) from range(10)").await;
    assert!(failed.to_string().contains("boom at 7"), "{failed:?}");
    assert!(table(&session, "select 1 as a").await.contains("| 1 |"));
}

#[tokio::test]
async fn several_sessions_and_many_queries_at_once() {
    let sessions = [here().await, here().await];
    let queries = (0..40).map(|i| {
        let session = sessions[i % 2].clone();
        async move {
            table(&session, &format!("select {i} as a, sum(value) as s from range(1000)")).await
        }
    });
    let tables = futures::future::join_all(queries).await;
    for (i, table) in tables.iter().enumerate() {
        assert!(table.contains(&i.to_string()) && table.contains("499500"), "{table}");
    }
}

#[tokio::test]
async fn a_dropped_stream_stops_its_query() {
    let session = here().await;
    // The first side of a product is held in memory.
    let sql = "select * from range(1000) as a, range(1000000000) as b";
    let mut stream = session.sql(sql).await.unwrap().stream().await.unwrap();
    assert!(stream.next().await.unwrap().is_ok());
    drop(stream);
    let free = session.inner.queries.acquire_many(crate::base::driver::QUERIES_RUNNING_MAX as u32);
    let free = tokio::time::timeout(std::time::Duration::from_secs(20), free).await;
    assert!(free.is_ok(), "the query is still running");
}

#[tokio::test]
async fn a_session_that_is_shut_down_says_so() {
    let session = here().await;
    session.shutdown().await;
    let refused = error(&session, "select 1").await;
    assert!(matches!(refused, Error::Closed), "{refused:?}");
}

#[tokio::test]
async fn memory_that_does_not_suffice_for_a_hash_table_is_spilled_instead() {
    // The build side of this join is some 60 MB; the pool is 30 MiB.
    let session = Session::builder().memory_limit(46 << 20).partitions(2).build().await.unwrap();
    let sql = "select count(*) as n, sum(length(a.t)) as s from \
        (select value as k, repeat('x', 40) || value as t from range(800000)) as a \
        join (select value as k, repeat('y', 40) || value as t from range(800000)) as b \
        on a.k = b.k and a.t <> b.t";
    let counted = table(&session, sql).await;
    assert!(counted.contains("| 800000 |"), "{counted}");
}

#[tokio::test]
async fn sorts_larger_than_the_memory_spill_in_every_partition() {
    for partitions in [1, 2, 4] {
        let session =
            Session::builder().memory_limit(64 << 20).partitions(partitions).build().await.unwrap();
        // Some 170 MB, in an order that is not that of the input, through a window that checks it.
        let sql = "select count(*) as n, bool_and(h >= before) as sorted from (\
            select h, lag(h, 1, '') over (order by h) as before from (\
            select md5(cast(value as varchar)) || repeat('x', 20) as h from range(2500000)))";
        let counted = table(&session, sql).await;
        assert!(counted.contains("| 2500000 | true   |"), "{partitions}: {counted}");
    }
}

// DataFusion's join reads its input a second time then, which an exchange does not allow: with one
// partition there is none.
#[tokio::test]
async fn a_join_without_keys_spills_an_input_that_does_not_fit() {
    let log = Arc::<Mutex<Vec<String>>>::default();
    let lines = Arc::clone(&log);
    let session = Session::builder()
        .memory_limit(46 << 20)
        .partitions(2)
        .log(Arc::new(move |line| lines.lock().push(line.text)))
        .build()
        .await
        .unwrap();
    let sql = "select count(*) as n from \
        (select distinct value as k, repeat('x', 40) || value as t from range(800000)) as a \
        join range(3) as b on a.k < b.value - 5 or a.t = cast(b.value as varchar)";
    let counted = table(&session, sql).await;
    assert!(counted.contains("| 0 |"), "{counted}");
    // The first attempt failed, and for that reason.
    let said = log.lock().join("\n");
    assert!(said.contains("a join without keys cannot hold one of its inputs"), "{said}");
}

#[tokio::test]
async fn memory_that_suffices_for_nothing_names_the_operator() {
    let session = Session::builder().memory_limit(32 << 20).partitions(1).build().await.unwrap();
    let sql = "select a.value, count(distinct b.value) over () from range(3000000) as a \
               cross join (select array_agg(value) as value from range(9000000)) as b";
    let failed = error(&session, sql).await;
    assert!(matches!(failed, Error::Memory { .. }), "{failed:?}");
    assert!(failed.to_string().contains("not enough memory"), "{failed}");
    assert!(failed.hint().unwrap().contains("memory limit"));
}
