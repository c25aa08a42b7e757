//! Machines that are lost while a query runs.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use parking_lot::Mutex;

use super::*;

const HEAVY: &str = "select count(*) as n, sum(a.l_extendedprice * b.l_quantity) as s \
    from lineitem a join lineitem b on a.l_partkey = b.l_partkey";

type Lines = Arc<Mutex<Vec<String>>>;

async fn logged(machines: usize, head_bytes: usize) -> (Session, Lines) {
    let lines = Lines::default();
    let sink = Arc::clone(&lines);
    let session = Session::builder()
        .system(SystemSpec::InProcess { machines })
        .partitions(2)
        .head_bytes(head_bytes)
        .log(Arc::new(move |line| sink.lock().push(line.text)))
        .build()
        .await
        .unwrap();
    session.register_tpch(0.2).unwrap();
    (session, lines)
}

fn kill_one(session: &Session) -> String {
    let machine = session.inner.fleet.as_ref().unwrap().machines().remove(0);
    machine.kill();
    machine.name().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_survives_the_loss_of_a_machine() {
    let alone = here().await;
    alone.register_tpch(0.2).unwrap();
    let right = table(&alone, HEAVY).await;
    let (session, lines) = logged(3, crate::session::builder::HEAD_BYTES).await;
    let query = session.sql(HEAVY).await.unwrap();
    let running = tokio::task::JoinSet::from_iter([async move { query.collect().await }]);
    tokio::time::sleep(Duration::from_millis(150)).await;
    let name = kill_one(&session);
    let found = running.join_all().await.remove(0).unwrap();
    assert_eq!(pretty_format_batches(&found).unwrap().to_string(), right);
    let lost = session.inner.fleet.as_ref().unwrap().lost();
    assert_eq!(lost.len(), 1, "the fault did not fire");
    let lines = lines.lock().join("\n");
    assert!(lines.contains("running the query again") && lines.contains(&name), "{lines}");
    session.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_were_given_out_are_not_contradicted() {
    let (session, _) = logged(2, 1).await;
    let sql = "select a.l_orderkey, b.l_comment from lineitem a join lineitem b \
               on a.l_partkey = b.l_partkey";
    let mut stream = session.sql(sql).await.unwrap().stream().await.unwrap();
    assert!(stream.next().await.unwrap().unwrap().num_rows() > 0);
    let name = kill_one(&session);
    let error = loop {
        match stream.next().await.expect("the result is cut short without an error") {
            Ok(_) => {}
            Err(e) => break Error::from(e),
        }
    };
    assert!(error.is_retryable() && !error.is_user_error(), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("had been returned") && text.contains(&name), "{text}");
    session.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_that_ends_within_the_head_is_released_at_once() {
    let (session, _) = logged(2, crate::session::builder::HEAD_BYTES).await;
    let counted = table(&session, "select count(*) as n from orders").await;
    assert!(counted.contains("300000"), "{counted}");
    session.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn machines_that_keep_dying_are_an_error_that_names_them() {
    let (session, log) = logged(2, crate::session::builder::HEAD_BYTES).await;
    let query = session.sql(HEAVY).await.unwrap();
    let fleet = session.inner.fleet.clone().unwrap();
    // Both at once, when both are there: on what one leaves the query could end well. And first
    // when the query has started, with both.
    let queries = &session.inner.queries;
    let killer = async {
        while queries.available_permits() == crate::base::driver::QUERIES_RUNNING_MAX {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        loop {
            let machines = fleet.machines();
            if machines.len() == fleet.size() {
                machines.iter().for_each(bigslice_cluster::Machine::kill);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let outcome = tokio::select! {
        outcome = query.collect() => outcome,
        () = killer => unreachable!("the killer does not end"),
    };
    let Err(error) = outcome else { panic!("it ended well: {:?}", log.lock().last_chunk::<4>()) };
    assert!(!error.is_user_error(), "{error:?}");
    assert!(error.to_string().contains("machine \"m"), "{error}");
    session.shutdown().await;
}
