//! Task options of slices: `procs`, `exclusive`, `materialize`, `deterministic`.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bigslice::prelude::*;
use futures::StreamExt;

use crate::cases;
use crate::world::World;

cases![
    an_exclusive_task_is_alone,
    more_slots_than_there_are_is_all_of_them,
    what_differs_is_not_mixed,
    a_result_that_became_another_is_not_read_on,
    what_was_computed_from_another_result_is_computed_again,
    what_goes_by_an_order_that_is_not_fixed_is_not_mixed,
];

static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// The maximum number of concurrent tasks of this process, as seen by each of six.
fn crowded() -> Slice<u64> {
    Slice::reader(6, |_| {
        let mut most = RUNNING.fetch_add(1, Ordering::SeqCst) + 1;
        for _ in 0..20_000 {
            std::thread::yield_now();
            most = most.max(RUNNING.load(Ordering::SeqCst));
        }
        RUNNING.fetch_sub(1, Ordering::SeqCst);
        [Ok::<_, String>(most as u64)]
    })
}

#[bigslice::func]
fn alone() -> Slice<u64> {
    crowded().filter(|_| true).exclusive().map(|n| n)
}

#[bigslice::func]
fn large() -> Slice<u64> {
    crowded().procs(2).procs(1_000_000)
}

/// Machines within this process, which all count as one.
fn machines_here(world: &World) -> u64 {
    world.session.machines().iter().filter(|m| m.pid.is_none()).count().max(1) as u64
}

/// Cases of one process run concurrently and share their counters: these two must not.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

async fn an_exclusive_task_is_alone(world: &World) {
    let _alone = ONE_AT_A_TIME.lock().await;
    let seen = world.rows(alone()).await;
    assert!(seen.len() == 6 && seen.iter().all(|n| *n <= machines_here(world)), "{seen:?}");
}

async fn more_slots_than_there_are_is_all_of_them(world: &World) {
    let _alone = ONE_AT_A_TIME.lock().await;
    let seen = world.rows(large()).await;
    assert!(seen.len() == 6 && seen.iter().all(|n| *n <= machines_here(world)), "{seen:?}");
}

/// A number that no other attempt of any task gets.
fn draw() -> u64 {
    static DRAWN: AtomicU64 = AtomicU64::new(0);
    (u64::from(std::process::id()) << 32) + DRAWN.fetch_add(1, Ordering::Relaxed)
}

/// Rows of three tasks, each with a number unique to its attempt, spread over three shards.
#[bigslice::func]
fn drawn() -> Slice<(u64, (u64, u64))> {
    let rows = Slice::reader(3, |shard| {
        let draw = draw();
        (0..60u64).map(move |n| Ok::<_, String>((n, (shard as u64, draw))))
    });
    rows.deterministic(false).reshuffle()
}

#[bigslice::func]
fn copied(before: Run<(u64, (u64, u64))>) -> Slice<(u64, (u64, u64))> {
    before.slice().map(|row| row)
}

/// The number of each task, unless a task has two.
fn draws(rows: &[(u64, (u64, u64))]) -> HashMap<u64, u64> {
    assert_eq!(rows.len(), 180);
    let mut draws = HashMap::new();
    for (_, (task, draw)) in rows {
        assert_eq!(draws.entry(*task).or_insert(*draw), draw, "two attempts of task {task}");
    }
    draws
}

fn lose<T>(world: &World, run: &Run<T>, tasks: &[&str]) {
    for task in tasks {
        let files = world.files_of(run, task);
        assert_eq!(files.len(), 1, "{task}");
        std::fs::remove_file(&files[0]).unwrap();
    }
}

async fn what_differs_is_not_mixed(world: &World) {
    let run = world.done(drawn()).await;
    let before = draws(&run.collect().await.unwrap());
    // A lost shard of the result alone is recomputed from stored inputs.
    lose(world, &run, &["1-1-"]);
    assert_eq!(draws(&run.collect().await.unwrap()), before);
    lose(world, &run, &["1-2-", "0-0-"]);
    let after = draws(&run.collect().await.unwrap());
    assert_ne!(after[&0], before[&0], "the fault did not fire");
    assert_eq!((after[&1], after[&2]), (before[&1], before[&2]));
}

async fn a_result_that_became_another_is_not_read_on(world: &World) {
    let run = world.done(drawn()).await;
    world.session.register("drawn", &run).unwrap();
    assert!(world.sql("select count(*) as n from drawn").await.contains("| 180 |"));
    let mut stream = run.stream();
    assert!(stream.next().await.unwrap().unwrap().num_rows() < 180);
    lose(world, &run, &["1-1-", "1-2-", "0-1-"]);
    let error = loop {
        match stream.next().await.unwrap() {
            Ok(batch) => assert!(batch.num_rows() < 180),
            Err(error) => break error.to_string(),
        }
    };
    assert!(error.contains("no longer matches what was already read"), "{error}");
    let rows = world.session.sql("select * from drawn").await.unwrap().collect().await;
    let error = rows.unwrap_err();
    assert!(error.hint().unwrap().contains("register its table again"), "{error:?}");
    world.session.register("drawn", &run).unwrap();
    assert!(world.sql("select count(*) as n from drawn").await.contains("| 180 |"));
}

async fn what_was_computed_from_another_result_is_computed_again(world: &World) {
    let run = world.done(drawn()).await;
    let copy = world.done(copied(run.clone())).await;
    let before = draws(&copy.collect().await.unwrap());
    lose(world, &copy, &["0-1-"]);
    lose(world, &run, &["1-1-", "0-2-"]);
    let after = draws(&copy.collect().await.unwrap());
    assert_ne!(after[&2], before[&2], "the fault did not fire");
    assert_eq!(after, draws(&run.collect().await.unwrap()));
}

/// Rows in an order that is not fixed, some of them or all of them with their indexes, by an
/// order-sensitive verb. Each row has the number of the attempt that made it, so that attempts can
/// be distinguished.
#[bigslice::func]
fn picked(verb: String) -> Result<Slice<(u64, u64)>> {
    let rows = Slice::reader(3, |shard| {
        let draw = draw();
        (0..60u64).map(move |n| Ok::<_, String>((3 * n + shard as u64, draw)))
    });
    let rows = rows.reduce(|draw: u64, _| draw);
    let picked = match verb.as_str() {
        "head" => rows.head(20),
        "limit" => rows.limit(90),
        "sample" => rows.sample(0.5, 7),
        "top_k" => rows.top_k(90, |_| 0u64),
        "sort_by" => rows.sort_by(|(n, _)| n),
        "zip_with_index" => rows.zip_with_index().map(|(at, (_, draw))| (at, draw)),
        "map_partitions" => rows.map_partitions(|_, rows| rows.take(20)),
        "sql" => rows.sql("select * from self limit 90")?,
        other => panic!("no verb {other}"),
    };
    Ok(picked.reshard(3))
}

async fn what_goes_by_an_order_that_is_not_fixed_is_not_mixed(world: &World) {
    let verbs =
        ["head", "limit", "sample", "top_k", "sort_by", "zip_with_index", "map_partitions", "sql"];
    for verb in verbs {
        let run = world.done(picked(verb.to_owned())).await;
        let drawn = |rows: Vec<(u64, u64)>| -> HashSet<u64> {
            rows.into_iter().map(|(_, draw)| draw).collect()
        };
        let before = run.collect().await.unwrap();
        assert!(!run.shard(1).await.unwrap().is_empty(), "{verb}: nothing to be mixed with");
        // All but one shard of the result, which would not need recomputation on their own.
        let files = world.files_of(&run, "");
        let last = files.iter().filter_map(|file| stage_of(file)).max().unwrap();
        let kept = world.files_of(&run, &format!("{last}-1-"));
        assert_eq!(kept.len(), 1, "{verb}");
        let lost = files.iter().filter(|file| !kept.contains(file));
        lost.for_each(|file| std::fs::remove_file(file).unwrap());
        let after = run.collect().await.unwrap();
        assert_eq!(after.len(), before.len(), "{verb}");
        assert!(drawn(before).is_disjoint(&drawn(after)), "{verb}: attempts are mixed");
    }
}

/// The stage of a stored shard: `run-RUN-STAGE-TASK-`.
fn stage_of(file: &Path) -> Option<usize> {
    file.file_name()?.to_str()?.rsplit('-').nth(2)?.parse().ok()
}
