//! Failed queries, failed machines, and that the two are told apart.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bigslice_cluster::State;
use bigslice_flight::{Error, exchange_error, is_transport_error, lost_machine};
use datafusion::arrow::datatypes::DataType;
use datafusion::logical_expr::{ColumnarValue, Volatility, create_udf};
use futures::StreamExt;

use crate::harness::{Cluster, DEADLINE, Data, failure, options, rows, start, text, wait_for};

const SLOW: &str = "select k, sum(slow(id)) from t group by k order by k";

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_an_error_with_its_text_and_the_workers_live() {
    let cluster = Cluster::start(3, Data::small()).await;
    let session = cluster.session(4, options()).await;
    let queries = [
        "select sum(explode(id)) from t",
        "select k, sum(explode(id)) from t group by k order by k",
        "select explode(id) e from t order by e",
        "select explode(id) e, count(*) from t group by 1",
        // In the side of a join that is sent whole to each machine.
        "select count(*) from t join (select explode(id) id from t where id > 7000 and id < 8000) b \
         on t.id = b.id",
        "select count(*) from t a join t b on explode(a.id) = b.id",
        "select count(*) from t where explode(id) > 0 and k in (select k from u)",
    ];
    for sql in queries {
        let err = failure(&session, sql).await;
        assert!(err.to_string().contains("a user's function met 7777"), "{sql}: {err}");
        assert!(matches!(exchange_error(&err), Some(Error::Panic { .. })), "{sql}: {err:?}");
        assert!(!is_transport_error(&err), "{sql}: {err}");
        assert!(text(&session, "select count(*) from t").await.contains("16000"));
    }
    assert!(cluster.fleet.verify().await.is_empty());
    cluster.fleet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_query_is_not_the_loss_of_a_machine() {
    let cluster = Cluster::start(3, Data::small()).await;
    let session = cluster.session(4, options()).await;
    let queries = [
        ("select sum(refuse(id)) from t", "the user's own error at 7777"),
        ("select refuse(id), count(*) from t group by 1", "the user's own error at 7777"),
        ("select count(*) from t a join t b on refuse(a.id) = b.id", "the user's own error"),
        ("select k, sum(1 / (id - 7777)) from t group by k", "Divide by zero"),
        ("select sum(cast(s as bigint)) from t", "Cast error"),
    ];
    for (sql, expected) in queries {
        let err = failure(&session, sql).await;
        assert!(err.to_string().contains(expected), "{sql}: {err}");
        assert!(!is_transport_error(&err), "{sql}: {err}");
        assert_eq!(lost_machine(&err), None, "{sql}: {err}");
    }
    assert!(cluster.fleet.verify().await.is_empty());
    cluster.fleet.shutdown().await;
}

/// Its readers wait for such a plan, 10 s unless the driver reports it.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_workers_cannot_decode_says_why_and_at_once() {
    let cluster = Cluster::start(2, Data::small()).await;
    let session = cluster.session(4, options()).await;
    let here_only = create_udf(
        "here_only",
        vec![DataType::Int64],
        DataType::Int64,
        Volatility::Volatile,
        Arc::new(|args: &[ColumnarValue]| Ok(args[0].clone())),
    );
    session.register_udf(here_only);
    let start = Instant::now();
    for _ in 0..5 {
        let err = failure(&session, "select here_only(id), count(*) from t group by 1").await;
        assert!(err.to_string().contains("here_only"), "{err}");
        assert!(!is_transport_error(&err), "{err:?}");
    }
    assert!(start.elapsed() < Duration::from_secs(10), "somebody waited for a plan in vain");
    cluster.fleet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_killed_in_mid_query_is_a_loss_with_its_name() {
    let cluster = Cluster::start(3, Data::new(8, 100_000, 8)).await;
    let session = cluster.session(4, options()).await;
    for round in 0..4 {
        cluster.fleet.wait_for(3, DEADLINE).await.expect("a replacement starts");
        let before = cluster.probe.slow_batches.load(Ordering::SeqCst);
        let mut stream = start(&session, SLOW).await.expect("it starts");
        let machines = cluster.fleet.machines();
        let victim = machines[round % machines.len()].clone();
        let killed = async {
            let probe = &cluster.probe.slow_batches;
            wait_for("the query runs", || probe.load(Ordering::SeqCst) > before + round * 3).await;
            victim.kill();
            Instant::now()
        };
        let read = async {
            loop {
                match stream.next().await {
                    Some(Ok(_)) => {}
                    Some(Err(err)) => break err,
                    None => panic!("the query ended well without {}", victim.name()),
                }
            }
        };
        let (at, err) = tokio::join!(killed, tokio::time::timeout(DEADLINE, read));
        let err = err.expect("a loss is told in time");
        assert!(at.elapsed() < DEADLINE);
        assert!(is_transport_error(&err), "{err:?}");
        assert_eq!(lost_machine(&err), Some(victim.name().as_str()), "{err:?}");
        victim.wait(State::Stopped).await;
    }
    cluster.fleet.wait_for(3, DEADLINE).await.expect("a replacement starts");
    assert!(text(&session, "select count(*) from t").await.contains("800000"));
    cluster.fleet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_machines_a_query_is_a_loss_too() {
    let cluster = Cluster::start(1, Data::small()).await;
    let session = cluster.session(4, options()).await;
    cluster.fleet.shutdown().await;
    let err = failure(&session, "select k, count(*) from t group by k").await;
    assert!(is_transport_error(&err), "{err:?}");
}

/// All threads for operators are busy here; leases and keep-alives have their own.
#[tokio::test(flavor = "multi_thread")]
async fn dropping_the_result_stops_the_workers_and_busy_workers_answer() {
    let cluster = Cluster::start(3, Data::new(8, 200_000, 8)).await;
    let session = cluster.session(4, options()).await;
    let probe = &cluster.probe.slow_batches;
    // Before the first row, and after some: the second reads without a blocking operator.
    for (sql, n_rows) in [(SLOW, 0), ("select slow(id) from t", 1)] {
        let before = probe.load(Ordering::SeqCst);
        let mut stream = start(&session, sql).await.expect("it starts");
        for _ in 0..n_rows {
            stream.next().await.expect("a batch").expect("rows");
        }
        let run = async {
            let _first = stream.next().await;
        };
        tokio::select! {
            () = run => {}
            () = wait_for("it runs", || probe.load(Ordering::SeqCst) > before + 4) => {}
        }
        assert!(cluster.fleet.verify().await.is_empty(), "a busy worker still answers");
        drop(stream);
        let dropped = Instant::now();
        let mut seen = probe.load(Ordering::SeqCst);
        loop {
            tokio::time::sleep(Duration::from_millis(400)).await;
            let now = probe.load(Ordering::SeqCst);
            if now == seen {
                break;
            }
            assert!(dropped.elapsed() < DEADLINE, "the workers go on with a query nobody reads");
            seen = now;
        }
    }
    assert!(rows(&session, "select count(*) from t").await.is_ok());
    cluster.fleet.shutdown().await;
}
