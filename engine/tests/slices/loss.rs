//! Machines that are lost while a run computes, or after it. Each case asserts that its fault happened.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bigslice::prelude::*;

/// A case of its own session.
type Case = (&'static str, fn() -> Pin<Box<dyn Future<Output = ()>>>);

pub(crate) const CASES: &[Case] = &[
    ("a_killed_worker_costs_only_its_own_tasks", || {
        Box::pin(a_killed_worker_costs_only_its_own_tasks())
    }),
    ("what_was_stored_on_a_killed_worker_is_made_again", || {
        Box::pin(what_was_stored_on_a_killed_worker_is_made_again())
    }),
    ("a_task_that_kills_every_worker_is_an_error", || {
        Box::pin(a_task_that_kills_every_worker_is_an_error())
    }),
    ("a_killed_worker_costs_only_the_items_it_had", || {
        Box::pin(a_killed_worker_costs_only_the_items_it_had())
    }),
    ("an_item_that_kills_every_worker_is_an_error_of_its_own", || {
        Box::pin(an_item_that_kills_every_worker_is_an_error_of_its_own())
    }),
];

const SHARDS: usize = 12;

/// Each task of the first stage leaves a file and takes a moment, so that a kill finds others running.
#[bigslice::func]
fn slow(folder: String) -> Slice<(u64, u64)> {
    Slice::reader(SHARDS, move |shard| {
        let n = std::fs::read_dir(&folder).unwrap().count();
        std::fs::write(format!("{folder}/{shard}-{n}-{}", std::process::id()), "").unwrap();
        std::thread::sleep(Duration::from_millis(100));
        (0..1000u64).map(move |n| Ok::<_, String>((n % 10, n + shard as u64)))
    })
    .reduce(|a, b| a + b)
}

fn right() -> Vec<(u64, u64)> {
    let rows = (0..SHARDS as u64).flat_map(|shard| (0..1000).map(move |n| (n % 10, n + shard)));
    let mut sums = vec![0; 10];
    rows.for_each(|(k, n)| sums[k as usize] += n);
    sums.into_iter().enumerate().map(|(k, sum)| (k as u64, sum)).collect()
}

async fn session(machines: usize) -> (Session, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("seen")).unwrap();
    let temp_root = folder.path().join("temp");
    let builder = Session::builder().system(SystemSpec::Local { machines }).temp_root(temp_root);
    (builder.build().await.unwrap(), folder)
}

fn seen(folder: &tempfile::TempDir) -> String {
    folder.path().join("seen").to_str().unwrap().to_owned()
}

fn tasks_seen(folder: &tempfile::TempDir) -> usize {
    std::fs::read_dir(folder.path().join("seen")).unwrap().count()
}

fn kill_one(session: &Session) -> u32 {
    let pid = session.machines()[0].pid.unwrap();
    let pid_of = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid_of, rustix::process::Signal::KILL).unwrap();
    pid
}

async fn a_killed_worker_costs_only_its_own_tasks() {
    let (session, folder) = session(3).await;
    let run = session.run(slow(seen(&folder)));
    let kill = async {
        while tasks_seen(&folder) < 8 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        kill_one(&session);
        std::future::pending().await
    };
    let run = tokio::select! { run = run => run.unwrap(), () = kill => unreachable!() };
    let mut found = run.collect().await.unwrap();
    found.sort_unstable();
    assert_eq!(found, right());
    let begun = tasks_seen(&folder);
    assert!(begun > SHARDS, "the fault did not fire");
    assert!(begun < 2 * SHARDS, "everything was computed again: {begun} tasks");
    session.shutdown().await;
}

async fn what_was_stored_on_a_killed_worker_is_made_again() {
    let (session, folder) = session(2).await;
    let run = session.run(slow(seen(&folder))).await.unwrap();
    let before = run.tasks_begun().await;
    assert_eq!(before, 2 * SHARDS as u64);
    let killed = kill_one(&session);
    let mut found = run.collect().await.unwrap();
    found.sort_unstable();
    assert_eq!(found, right());
    assert!(run.tasks_begun().await > before, "the fault did not fire");
    assert!(session.machines().iter().all(|machine| machine.pid != Some(killed)));
    session.shutdown().await;
}

#[bigslice::func]
fn deadly() -> Slice<i64> {
    Slice::const_(2, 0..10i64).map(|x| if x == 7 { std::process::exit(9) } else { x })
}

async fn a_task_that_kills_every_worker_is_an_error() {
    let (session, _folder) = session(2).await;
    let error = session.run(deadly()).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("5 times in a row") && text.contains("shard 1 of map at"), "{text}");
    assert!(text.contains("machine \"m"), "{text}");
    session.shutdown().await;
}

/// Leaves a file for each call and takes a moment, as `slow` does.
#[bigslice::map]
fn slow_square(n: u64, folder: String) -> std::io::Result<u64> {
    let calls = std::fs::read_dir(&folder)?.count();
    std::fs::write(format!("{folder}/{n}-{calls}-{}", std::process::id()), "")?;
    std::thread::sleep(Duration::from_millis(100));
    Ok(n * n)
}

async fn a_killed_worker_costs_only_the_items_it_had() {
    const ITEMS: u64 = 24;
    let (session, folder) = session(3).await;
    let seen = seen(&folder);
    let results = session.map(slow_square, (0..ITEMS).map(move |n| (n, seen.clone()))).collect();
    let kill = async {
        while tasks_seen(&folder) < 8 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        kill_one(&session);
        std::future::pending().await
    };
    let found = tokio::select! { found = results => found.unwrap(), () = kill => unreachable!() };
    assert!(found.into_iter().eq((0..ITEMS).map(|n| n * n)));
    let begun = tasks_seen(&folder);
    assert!(begun > ITEMS as usize, "the fault did not fire");
    assert!(begun < 2 * ITEMS as usize, "everything was called again: {begun} calls");
    session.shutdown().await;
}

#[bigslice::map]
fn deadly_at(n: u64) -> u64 {
    if n == 3 { std::process::exit(9) } else { n }
}

async fn an_item_that_kills_every_worker_is_an_error_of_its_own() {
    let (session, _folder) = session(1).await;
    let outcomes = session.map(deadly_at, [3]).outcomes().await;
    let text = outcomes[0].as_ref().unwrap_err().to_string();
    assert!(text.contains("item 0 of slices::loss::deadly_at was lost 5 times in a row"), "{text}");
    assert_eq!(session.map(deadly_at, 4..9).collect().await.unwrap(), [4, 5, 6, 7, 8]);
    session.shutdown().await;
}
