//! The journal of a session: its queries and runs.

use std::sync::Arc;

use super::*;
use crate::prelude::*;

static SEEN: Counter = Counter::new("seen");

/// The value of one metric on the session's page.
async fn metric(session: &Session, name: &str) -> Option<f64> {
    let page = session.inspector().metrics().await.unwrap();
    let line = page.lines().find(|line| line.starts_with(name) && !line.starts_with('#'));
    line.and_then(|line| line.rsplit_once(' ')?.1.parse().ok())
}

#[tokio::test]
async fn statements_and_runs_are_counted_by_their_ends() {
    let session = here().await;
    rows(&session, "select 1").await;
    rows(&session, "select 2").await;
    error(&session, "select 1 / (value - 1) from generate_series(1, 3)").await;
    let endless = "select sum(value) from generate_series(1, 9000000000000)";
    let stream = session.sql(endless).await.unwrap().stream().await.unwrap();
    let running = "bigslice_running{machine=\"driver\",kind=\"query\"}";
    assert_eq!(metric(&session, running).await, Some(1.0));
    drop(stream);
    let numbers = Slice::const_(2, 0..7i64).inspect(|_| SEEN.add(1));
    let run = session.run(numbers).await.unwrap();
    assert_eq!(run.metrics().await.counter("seen"), 7);

    let user = "bigslice_user_count_total{machine=\"driver\",counter=\"seen\"}";
    assert_eq!(metric(&session, user).await, Some(7.0));
    let ended = |kind: &str, outcome: &str| {
        format!("bigslice_ended_total{{machine=\"driver\",kind=\"{kind}\",outcome=\"{outcome}\"}}")
    };
    // Its task ends when it next yields.
    while metric(&session, running).await != Some(0.0) {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    for (kind, outcome, n) in [
        ("query", "done", 2.0),
        ("query", "failed", 1.0),
        ("query", "cancelled", 1.0),
        ("run", "done", 1.0),
    ] {
        assert_eq!(metric(&session, &ended(kind, outcome)).await, Some(n), "{kind} {outcome}");
    }
}

#[tokio::test]
async fn the_pages_of_a_session_are_served_while_it_lives() {
    let lines = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let sink = Arc::clone(&lines);
    let session = Session::builder()
        .debug("127.0.0.1:0".parse().unwrap())
        .log(Arc::new(move |line| sink.lock().push(line.text)))
        .build()
        .await
        .unwrap();
    let said = lines.lock().first().cloned().unwrap();
    let address =
        said.strip_prefix("debug pages: http://").unwrap().strip_suffix("/debug").unwrap();
    drop(tokio::net::TcpStream::connect(address).await.unwrap());
    let open = Session::builder().debug("0.0.0.0:0".parse().unwrap()).build().await;
    assert!(open.unwrap_err().to_string().contains("loopback"));
    drop(session);
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}
