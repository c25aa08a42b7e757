//! Machines lost during or after a run. Each case asserts that its fault happened.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use bigslice::WrittenFile;
use bigslice::prelude::*;

use crate::world::remove_shards;

/// A case with its own session.
pub(crate) type Case = (&'static str, fn() -> Pin<Box<dyn Future<Output = ()>>>);

pub(crate) const CASES: &[Case] = &[
    ("a_killed_worker_costs_only_its_own_tasks", || {
        Box::pin(a_killed_worker_costs_only_its_own_tasks())
    }),
    ("what_was_stored_on_a_killed_worker_is_made_again", || {
        Box::pin(what_was_stored_on_a_killed_worker_is_made_again())
    }),
    ("a_chain_is_computed_again_from_its_beginning", || {
        Box::pin(a_chain_is_computed_again_from_its_beginning())
    }),
    ("a_result_is_lost_while_another_run_reads_it", || {
        Box::pin(a_result_is_lost_while_another_run_reads_it())
    }),
    ("a_loss_after_a_chain_that_is_too_long_is_an_error", || {
        Box::pin(a_loss_after_a_chain_that_is_too_long_is_an_error())
    }),
    ("a_killed_worker_leaves_exactly_the_right_files", || {
        Box::pin(a_killed_worker_leaves_exactly_the_right_files())
    }),
    ("files_are_written_once_although_the_result_is_lost", || {
        Box::pin(files_are_written_once_although_the_result_is_lost())
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

pub(crate) const SHARDS: usize = 12;

/// Tasks below this end at once, so that a kill finds their stored output; the others wait for a
/// file, so that a kill finds them running.
const WAITING_FROM: usize = 6;

static READS: Counter = Counter::new("reads");
static ROWS: Counter = Counter::new("rows");

/// Each task creates a file.
pub(crate) fn slow_rows(folder: String) -> Slice<(u64, u64)> {
    Slice::reader(SHARDS, move |shard| {
        let n = std::fs::read_dir(&folder).unwrap().count();
        std::fs::write(format!("{folder}/{shard}-{n}-{}", std::process::id()), "").unwrap();
        while shard >= WAITING_FROM && !Path::new(&folder).with_file_name("go").exists() {
            std::thread::sleep(Duration::from_millis(1));
        }
        READS.add(1);
        (0..1000u64).map(move |n| Ok::<_, String>((n % 10, n + shard as u64)))
    })
}

#[bigslice::func]
fn slow(folder: String) -> Slice<(u64, u64)> {
    let rows = slow_rows(folder).map(|row| {
        ROWS.add(1);
        row
    });
    rows.reduce(|a, b| a + b)
}

pub(crate) fn right() -> Vec<(u64, u64)> {
    let rows = (0..SHARDS as u64).flat_map(|shard| (0..1000).map(move |n| (n % 10, n + shard)));
    let mut sums = vec![0; 10];
    rows.for_each(|(k, n)| sums[k as usize] += n);
    sums.into_iter().enumerate().map(|(k, sum)| (k as u64, sum)).collect()
}

pub(crate) async fn session(machines: usize) -> (Session, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("seen")).unwrap();
    let temp_root = folder.path().join("temp");
    let builder = Session::builder().system(SystemSpec::Local { machines }).temp_root(temp_root);
    (builder.build().await.unwrap(), folder)
}

pub(crate) fn seen(folder: &tempfile::TempDir) -> String {
    folder.path().join("seen").to_str().unwrap().to_owned()
}

pub(crate) fn tasks_seen(folder: &tempfile::TempDir) -> usize {
    std::fs::read_dir(folder.path().join("seen")).unwrap().count()
}

/// Whether a task waits on the machine with this process.
pub(crate) fn waits_on(folder: &tempfile::TempDir, pid: u32) -> bool {
    let names = std::fs::read_dir(folder.path().join("seen")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(&format!("-{pid}"))).any(|name| {
        let shard = name.split('-').next().unwrap();
        shard.parse::<usize>().unwrap() >= WAITING_FROM
    })
}

pub(crate) fn go(folder: &tempfile::TempDir) {
    std::fs::write(folder.path().join("go"), "").unwrap();
}

/// Each task of the run counts once, whatever happened to it.
async fn assert_counted_once(run: &Run<(u64, u64)>) {
    let counters = run.counters().await;
    let right = [("reads", SHARDS as u64), ("rows", 1000 * SHARDS as u64)];
    assert!(counters.iter().map(|(name, n)| (name.as_str(), *n)).eq(right), "{counters:?}");
}

pub(crate) fn kill_one(session: &Session) -> u32 {
    let pid = session.machines()[0].pid.unwrap();
    let pid_of = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid_of, rustix::process::Signal::KILL).unwrap();
    pid
}

async fn a_killed_worker_costs_only_its_own_tasks() {
    let (session, folder) = session(3).await;
    let run = session.run(slow(seen(&folder)));
    let kill = async {
        while !waits_on(&folder, session.machines()[0].pid.unwrap()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        kill_one(&session);
        go(&folder);
        std::future::pending().await
    };
    let run = tokio::select! { run = run => run.unwrap(), () = kill => unreachable!() };
    let mut found = run.collect().await.unwrap();
    found.sort_unstable();
    assert_eq!(found, right());
    let begun = tasks_seen(&folder);
    assert!(begun > SHARDS, "the fault did not fire");
    assert!(begun < 2 * SHARDS, "everything was computed again: {begun} tasks");
    assert_counted_once(&run).await;
    session.shutdown().await;
}

async fn what_was_stored_on_a_killed_worker_is_made_again() {
    let (session, folder) = session(2).await;
    go(&folder);
    let run = session.run(slow(seen(&folder))).await.unwrap();
    let before = run.tasks_started().await;
    assert_eq!(before, 2 * SHARDS as u64);
    assert_counted_once(&run).await;
    let killed = kill_one(&session);
    let mut found = run.collect().await.unwrap();
    found.sort_unstable();
    assert_eq!(found, right());
    assert!(run.tasks_started().await > before, "the fault did not fire");
    assert_counted_once(&run).await;
    assert!(session.machines().iter().all(|machine| machine.pid != Some(killed)));
    session.shutdown().await;
}

/// Each attempt at a shard creates a file, and takes a while to write its rows.
#[bigslice::func]
fn written(folder: String, to: String) -> Slice<WrittenFile> {
    let rows = Slice::reader(SHARDS, move |shard| {
        let n = std::fs::read_dir(&folder).unwrap().count();
        std::fs::write(format!("{folder}/{shard}-{n}-{}", std::process::id()), "").unwrap();
        (0..20_000u64).map(move |n| {
            if n % 2000 == 0 {
                std::thread::sleep(Duration::from_millis(10));
            }
            Ok::<_, String>((shard as u64, n))
        })
    });
    rows.write_csv(to)
}

/// Asserts that a folder has exactly the files of [`written`].
fn check_written(folder: &std::path::Path) {
    let mut names: Vec<_> = std::fs::read_dir(folder.join("out"))
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let right: Vec<_> = (0..SHARDS).map(|n| format!("part-{n:05}-of-00012.csv")).collect();
    assert_eq!(names, right);
    for (shard, name) in names.iter().enumerate() {
        let text = std::fs::read_to_string(folder.join("out").join(name)).unwrap();
        let rows = (0..20_000).map(|n| format!("{shard},{n}\n"));
        assert!(text == format!("_0,_1\n{}", rows.collect::<String>()), "{name}");
    }
    let others = std::fs::read_dir(folder).unwrap();
    let others: Vec<_> = others.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(others.len(), 3, "beside seen, temp and out: {others:?}");
}

async fn a_killed_worker_leaves_exactly_the_right_files() {
    let (session, folder) = session(3).await;
    let to = folder.path().join("out").to_str().unwrap().to_owned();
    let run = session.run(written(seen(&folder), to));
    let kill = async {
        while tasks_seen(&folder) < 6 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        kill_one(&session);
        std::future::pending().await
    };
    let run = tokio::select! { run = run => run.unwrap(), () = kill => unreachable!() };
    assert!(tasks_seen(&folder) > SHARDS, "the fault did not fire");
    check_written(folder.path());
    let files = run.collect().await.unwrap();
    assert_eq!(files.iter().map(|file| file.rows).collect::<Vec<_>>(), [20_000; SHARDS]);
    session.shutdown().await;
}

async fn files_are_written_once_although_the_result_is_lost() {
    let (session, folder) = session(2).await;
    let to = folder.path().join("out").to_str().unwrap().to_owned();
    let run = session.run(written(seen(&folder), to)).await.unwrap();
    let (begun, attempts) = (run.tasks_started().await, tasks_seen(&folder));
    std::fs::remove_file(folder.path().join("out/part-00000-of-00012.csv")).unwrap();
    std::fs::copy(
        folder.path().join("out/part-00001-of-00012.csv"),
        folder.path().join("out/part-00000-of-00012.csv"),
    )
    .unwrap();
    kill_one(&session);
    let files = run.collect().await.unwrap();
    assert_eq!(files.len(), SHARDS);
    assert!(run.tasks_started().await > begun, "the fault did not fire");
    // The rows about files were recomputed, but the data rows and files were not.
    assert_eq!(tasks_seen(&folder), attempts);
    let first = std::fs::read_to_string(&files[0].path).unwrap();
    assert!(first.starts_with("_0,_1\n1,0\n"), "it was written again");
    session.shutdown().await;
}

#[bigslice::func]
fn next(before: Run<(u64, u64)>) -> Slice<(u64, u64)> {
    before.slice().map(|(key, n)| (key, n + 1))
}

async fn a_chain_is_computed_again_from_its_beginning() {
    let (session, folder) = session(2).await;
    go(&folder);
    let mut run = session.run(slow(seen(&folder))).await.unwrap();
    for _ in 0..20 {
        run = session.run(next(run)).await.unwrap();
    }
    let tasks = tasks_seen(&folder);
    assert_eq!(tasks, SHARDS);
    kill_one(&session);
    let mut found = run.collect().await.unwrap();
    found.sort_unstable();
    assert!(found.into_iter().eq(right().into_iter().map(|(key, n)| (key, n + 20))));
    assert!(tasks_seen(&folder) > tasks, "the fault did not fire");
    // Intermediate results of the recomputation are gone.
    let again = tasks_seen(&folder);
    assert_eq!(run.rows().await.unwrap(), 10);
    assert_eq!(tasks_seen(&folder), again);
    session.shutdown().await;
}

/// Each task creates a file and takes a while.
#[bigslice::func]
fn slow_next(before: Run<(u64, u64)>, folder: String) -> Slice<(u64, u64)> {
    before.slice().map_partitions(move |shard, rows| {
        let n = std::fs::read_dir(&folder).unwrap().count();
        std::fs::write(format!("{folder}/next-{shard}-{n}-{}", std::process::id()), "").unwrap();
        std::thread::sleep(Duration::from_millis(100));
        rows.map(|(key, n)| (key, n + 1))
    })
}

async fn a_result_is_lost_while_another_run_reads_it() {
    let (session, folder) = session(3).await;
    go(&folder);
    let first = session.run(slow(seen(&folder))).await.unwrap();
    // Nothing holds its inputs.
    let before = session.run(next(first)).await.unwrap();
    let begun = before.tasks_started().await;
    let run = session.run(slow_next(before.clone(), seen(&folder)));
    let kill = async {
        while tasks_seen(&folder) < SHARDS + 4 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        kill_one(&session);
        std::future::pending().await
    };
    let run = tokio::select! { run = run => run.unwrap(), () = kill => unreachable!() };
    let mut found = run.collect().await.unwrap();
    found.sort_unstable();
    assert!(found.into_iter().eq(right().into_iter().map(|(key, n)| (key, n + 2))));
    assert!(before.tasks_started().await > begun, "the fault did not fire");
    session.shutdown().await;
}

async fn a_loss_after_a_chain_that_is_too_long_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let session = Session::builder().temp_root(folder.path()).build().await.unwrap();
    let mut run = session.run(Slice::const_(1, (0..10).map(|n| (n, n)))).await.unwrap();
    for _ in 0..1000 {
        run = session.run(next(run)).await.unwrap();
    }
    remove_shards(folder.path());
    assert!(run.collect().await.unwrap().into_iter().eq((0..10).map(|n| (n, n + 1000))));
    let held = run.clone();
    for _ in 0..500 {
        run = session.run(next(run)).await.unwrap();
    }
    // Every held result can be recomputed, and so can those made from it.
    remove_shards(folder.path());
    assert!(run.collect().await.unwrap().into_iter().eq((0..10).map(|n| (n, n + 1500))));
    drop(held);
    remove_shards(folder.path());
    let error = run.collect().await.unwrap_err();
    assert!(error.to_string().contains(", of which too long a chain"), "{error}");
    assert!(error.hint().unwrap().contains("hold the `Run`"), "{error:?}");
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

/// Creates a file for each call and takes a while, as `slow` does.
#[bigslice::map]
fn slow_square(n: u64, folder: String) -> std::io::Result<u64> {
    let calls = std::fs::read_dir(&folder)?.count();
    std::fs::write(format!("{folder}/{n}-{calls}-{}", std::process::id()), "")?;
    std::thread::sleep(Duration::from_millis(100));
    Ok(n * n)
}

/// The number of calls started in this process.
fn calls_of(folder: &tempfile::TempDir, pid: u32) -> usize {
    let names = std::fs::read_dir(folder.path().join("seen")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(&format!("-{pid}"))).count()
}

async fn a_killed_worker_costs_only_the_items_it_had() {
    const ITEMS: u64 = 24;
    let (session, folder) = session(3).await;
    let seen = seen(&folder);
    let results = session.map(slow_square, (0..ITEMS).map(move |n| (n, seen.clone()))).collect();
    let kill = async {
        // In the middle of a call: one has just started on the machine that is killed.
        let pid = session.machines()[0].pid.unwrap();
        while tasks_seen(&folder) < 8 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let calls = calls_of(&folder, pid);
        while calls_of(&folder, pid) == calls {
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
