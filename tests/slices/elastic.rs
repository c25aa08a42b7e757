//! Elastic fleets, and the other features of a session's machines: services, and faults for tests.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bigslice::cluster::faults::{Fault, FaultSchedule, Faults, Links, When};
use bigslice::cluster::{BoxError, FleetStats, ServiceContext, Services};
use bigslice::prelude::*;
use bigslice::testing::TestHooks;
use futures::StreamExt;
use serde::{Deserialize, Serialize};

use crate::world::World;

/// A case with its own session.
type Case = (&'static str, fn() -> Pin<Box<dyn Future<Output = ()>>>);

pub(crate) const CASES: &[Case] = &[
    ("machines_come_with_a_run_and_its_result_stays", || {
        Box::pin(machines_come_with_a_run_and_its_result_stays())
    }),
    ("machines_come_with_a_query_that_needs_them", || {
        Box::pin(machines_come_with_a_query_that_needs_them())
    }),
    ("machines_come_with_the_items_of_a_map", || Box::pin(machines_come_with_the_items_of_a_map())),
    ("a_lost_machine_is_replaced_while_it_is_wanted", || {
        Box::pin(a_lost_machine_is_replaced_while_it_is_wanted())
    }),
    ("machines_that_cannot_start_are_an_error_that_says_why", || {
        Box::pin(machines_that_cannot_start_are_an_error_that_says_why())
    }),
    ("faults_befall_a_sessions_machines", || Box::pin(faults_befall_a_sessions_machines())),
    ("services_are_called_on_a_sessions_machines", || {
        Box::pin(services_are_called_on_a_sessions_machines())
    }),
    ("what_machines_cannot_have_is_refused", || Box::pin(what_machines_cannot_have_is_refused())),
];

/// Released as soon as a test can see.
const SHORT: Duration = Duration::from_millis(300);
/// Far above the time that anything takes; reaching it is a failure.
const DEADLINE: Duration = Duration::from_secs(60);

type Lines = Arc<Mutex<Vec<String>>>;

/// A session with an elastic fleet, and its log.
async fn elastic(system: &str, max: usize) -> (Session, Lines, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let lines = Lines::default();
    let sink = Arc::clone(&lines);
    let session = Session::builder()
        .system(system.parse().unwrap())
        .elastic(max)
        .idle(SHORT)
        .partitions(2)
        .temp_root(folder.path())
        .log(Arc::new(move |line| sink.lock().unwrap().push(line.text)))
        .build()
        .await
        .unwrap();
    assert_eq!(stats(&session), FleetStats::default(), "nobody has asked for a machine");
    (session, lines, folder)
}

fn stats(session: &Session) -> FleetStats {
    session.fleet().unwrap().stats()
}

async fn until(session: &Session, what: &str, wanted: impl Fn(&FleetStats) -> bool) {
    let began = Instant::now();
    while !wanted(&stats(session)) {
        assert!(began.elapsed() < DEADLINE, "{what}: {:?}", stats(session));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn end(session: Session, folder: tempfile::TempDir) {
    session.shutdown().await;
    drop(session);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "files are left behind");
}

/// Tasks that wait for a file, so that none is done before the test has looked.
#[bigslice::func]
fn patient(shards: usize, file: String) -> Slice<(u64, u64)> {
    Slice::reader(shards, move |shard| {
        while !std::path::Path::new(&file).exists() {
            std::thread::sleep(Duration::from_millis(5));
        }
        (0..100u64).map(move |n| Ok::<_, String>((n % 10, shard as u64)))
    })
    .reduce(|a, b| a + b)
}

fn right(shards: usize) -> Vec<(u64, u64)> {
    let sum = 10 * (0..shards as u64).sum::<u64>();
    (0..10).map(|key| (key, sum)).collect()
}

async fn machines_come_with_a_run_and_its_result_stays() {
    for system in ["in-process", "local"] {
        let (session, _, folder) = elastic(system, 3).await;
        let go = tempfile::tempdir().unwrap();
        let file = go.path().join("go");
        // More tasks than three machines have slots for, so that all three are wanted.
        let shards = 3 * std::thread::available_parallelism().unwrap().get();
        let run = session.run(patient(shards, file.to_str().unwrap().to_owned()));
        let watch = async {
            until(&session, "all machines", |c| c.running == 3).await;
            std::fs::write(&file, "").unwrap();
        };
        let (run, ()) = tokio::join!(run, watch);
        let run = run.unwrap();
        let tasks = run.tasks_started().await;

        // No work, but the result is stored there: the machine stays longer than its idle time.
        tokio::time::sleep(4 * SHORT).await;
        assert!(stats(&session).running > 0, "{:?}", stats(&session));
        let mut rows = run.collect().await.unwrap();
        rows.sort_unstable();
        assert_eq!(rows, right(shards));
        assert_eq!(run.tasks_started().await, tasks, "something was computed again");
        let held = stats(&session);
        assert_eq!((held.lost_total, held.started_total), (0, 3));

        drop(run);
        until(&session, "no machine", |c| c.running + c.starting == 0).await;
        assert_eq!(stats(&session).released_total, 3);

        // And up again.
        let run = session.run(patient(1, file.to_str().unwrap().to_owned())).await.unwrap();
        assert_eq!(run.rows().await.unwrap(), 10);
        assert!(stats(&session).started_total > 3);
        end(session, folder).await;
    }
}

async fn machines_come_with_a_query_that_needs_them() {
    let (session, _, folder) = elastic("in-process", 3).await;
    session.register_tpch(0.05).unwrap();
    let sql = "select l_shipmode, count(*) as n, sum(l_quantity) as q from lineitem \
               group by l_shipmode order by l_shipmode";
    // Work that this process can do, and mere inspection, start nothing.
    World::sql_in(&session, "select 6 * 7 as answer").await;
    let stages = World::sql_in(&session, &format!("explain stages {sql}")).await;
    assert!(stages.contains("3 to be started"), "{stages}");
    assert_eq!(stats(&session).started_total, 0);

    let alone = Session::builder().build().await.unwrap();
    alone.register_tpch(0.05).unwrap();
    assert_eq!(World::sql_in(&session, sql).await, World::sql_in(&alone, sql).await);
    let after = stats(&session);
    assert!((1..=3).contains(&after.started_total), "{after:?}");
    assert_eq!(after.wanted, 0, "the query is over");
    until(&session, "no machine", |c| c.running + c.starting == 0).await;

    // Frames of the context run in this process, because nothing would request machines for them.
    let frame = session.context().sql(sql).await.unwrap();
    assert_eq!(frame.count().await.unwrap(), 7);
    assert_eq!(stats(&session).started_total, after.started_total);
    end(session, folder).await;
}

#[bigslice::map]
fn where_it_runs(wait_ms: u64) -> u32 {
    std::thread::sleep(Duration::from_millis(wait_ms));
    std::process::id()
}

async fn machines_come_with_the_items_of_a_map() {
    let (session, _, folder) = elastic("local", 2).await;
    // No machine: empty work does not need one.
    assert!(session.map(where_it_runs, []).next().await.is_none());
    assert_eq!(stats(&session).started_total, 0);
    let slots = 2 * std::thread::available_parallelism().unwrap().get();
    let mut results = session.map(where_it_runs, vec![100; 4 * slots]);
    let mut places = std::collections::BTreeSet::new();
    let mut found = 0;
    while let Some((_, pid)) = results.next().await {
        places.insert(pid.unwrap());
        found += 1;
    }
    assert_eq!((found, places.len()), (4 * slots, 2));
    until(&session, "no machine", |c| c.running + c.starting == 0).await;
    end(session, folder).await;
}

async fn a_lost_machine_is_replaced_while_it_is_wanted() {
    let (session, lines, folder) = elastic("in-process", 2).await;
    let go = tempfile::tempdir().unwrap();
    let file = go.path().join("go");
    let shards = 2 * std::thread::available_parallelism().unwrap().get();
    let run = session.run(patient(shards, file.to_str().unwrap().to_owned()));
    let fault = async {
        until(&session, "both machines", |c| c.running == 2).await;
        session.fleet().unwrap().machines()[0].kill();
        until(&session, "the loss", |c| c.lost_total == 1).await;
        until(&session, "both machines again", |c| c.running == 2).await;
        std::fs::write(&file, "").unwrap();
    };
    let (run, ()) = tokio::join!(run, fault);
    let mut rows = run.unwrap().collect().await.unwrap();
    rows.sort_unstable();
    assert_eq!(rows, right(shards));
    let lines = lines.lock().unwrap().join("\n");
    assert!(lines.contains("lost: killed; starting another"), "{lines}");
    end(session, folder).await;
}

async fn machines_that_cannot_start_are_an_error_that_says_why() {
    let lines = Lines::default();
    let sink = Arc::clone(&lines);
    let session = Session::builder()
        .program("/none/such program")
        .elastic(4)
        .log(Arc::new(move |line| sink.lock().unwrap().push(line.text)))
        .build()
        .await
        .unwrap();
    let began = Instant::now();
    let error = session.run(patient(8, "/".to_owned())).await.unwrap_err();
    assert!(began.elapsed() < DEADLINE / 2, "it was given up, not waited for");
    let text = error.to_string();
    assert!(text.contains("there is no machine to run on"), "{text}");
    assert!(text.contains("/none/such program"), "{text}");
    // Reported once at the beginning, and once when it gives up.
    let said = |what: &str| lines.lock().unwrap().iter().filter(|line| line.contains(what)).count();
    while said("going on with 0 of") == 0 {
        assert!(began.elapsed() < DEADLINE, "{:?}", lines.lock().unwrap());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!((said("retrying at most"), said("going on with 0 of")), (1, 1));
    // Work that needs no machine continues.
    World::sql_in(&session, "select 1 as one").await;
    session.shutdown().await;
}

#[bigslice::func]
fn counted(n: u64) -> Slice<(u64, u64)> {
    Slice::const_(6, 0..n).map(|n| (n % 10, 1)).reduce(|a, b| a + b)
}

async fn faults_befall_a_sessions_machines() {
    let faults = Faults::new(7);
    let session = Session::builder()
        .system(SystemSpec::InProcess { machines: 3 })
        .faults(faults.clone())
        .build()
        .await
        .unwrap();
    // Connections break now and then, and a machine is killed: every row is right.
    faults.set(Links::All, FaultSchedule::none().fault(Fault::Reset, When::Every(200_000)));
    let run = session.run(counted(100_000)).await.unwrap();
    let killed = faults.kill_any().expect("one of them");
    let mut rows = run.collect().await.unwrap();
    faults.clear();
    rows.sort_unstable();
    assert_eq!(rows, (0..10).map(|key| (key, 10_000)).collect::<Vec<_>>());
    assert_eq!(faults.fired().kills, 1);
    let lost = session.fleet().unwrap().verify().await;
    assert!(lost.iter().any(|loss| loss.machine == killed));

    // A machine whose connection breaks once is not lost, and its requests are not either.
    let lost = session.fleet().unwrap().lost_total();
    let machine = session.fleet().unwrap().machines().remove(0).name().clone();
    faults.set(Links::Of(machine), FaultSchedule::none().fault(Fault::Flip, When::After(2_000)));
    let mend = async {
        while faults.fired().flips == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        faults.clear();
    };
    let (run, ()) = tokio::join!(session.run(counted(100_000)), mend);
    assert_eq!(run.unwrap().rows().await.unwrap(), 10);
    assert_eq!(session.fleet().unwrap().lost_total(), lost);
    session.shutdown().await;
}

/// Sums on each machine the numbers sent to it.
#[derive(Serialize, Deserialize)]
struct Tally {
    start: u64,
    #[serde(skip)]
    sum: std::sync::atomic::AtomicU64,
}

#[derive(Debug, Serialize, Deserialize, thiserror::Error)]
#[error("nothing to add")]
struct Nothing;

#[bigslice::service]
impl Tally {
    async fn init(&mut self, context: &ServiceContext) -> Result<(), BoxError> {
        assert!(context.scratch().is_dir());
        *self.sum.get_mut() = self.start;
        Ok(())
    }

    async fn add(&self, n: u64) -> Result<u64, Nothing> {
        if n == 0 {
            return Err(Nothing);
        }
        Ok(n + self.sum.fetch_add(n, std::sync::atomic::Ordering::SeqCst))
    }
}

async fn services_are_called_on_a_sessions_machines() {
    for system in ["in-process:2", "local:2"] {
        let services = Services::new().with(&Tally { start: 100, sum: Default::default() });
        let session = Session::builder()
            .system(system.parse().unwrap())
            .services(services.unwrap())
            .build()
            .await
            .unwrap();
        let machines = session.fleet().unwrap().machines();
        assert_eq!(machines.len(), 2);
        for machine in &machines {
            assert_eq!(machine.call(Tally::add, 7).await.unwrap(), 107);
            assert_eq!(machine.call(Tally::add, 1).await.unwrap(), 108);
        }
        let error = machines[0].call(Tally::add, 0).await.unwrap_err();
        assert_eq!(error.failed().map(ToString::to_string).as_deref(), Some("nothing to add"));
        // Beside rows.
        assert_eq!(session.run(counted(100)).await.unwrap().rows().await.unwrap(), 10);
        session.shutdown().await;
    }
}

async fn what_machines_cannot_have_is_refused() {
    let services = Services::new().with(&Tally { start: 0, sum: Default::default() }).unwrap();
    for (builder, said) in [
        (Session::builder().services(services), "this session has none"),
        (Session::builder().workers(1).faults(Faults::new(1)), "tasks of this process"),
        (Session::builder().elastic(0), "at most 0 machines"),
        (Session::builder().elastic(65), "more than the 64"),
    ] {
        let error = builder.build().await.unwrap_err();
        assert!(error.is_user_error() && error.to_string().contains(said), "{error}");
    }
}
