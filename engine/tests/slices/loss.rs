//! Machines that are lost while a run computes, or after it. Each case asserts that its fault happened.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bigslice::WrittenFile;
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
    ("a_killed_worker_leaves_exactly_the_right_files", || {
        Box::pin(a_killed_worker_leaves_exactly_the_right_files())
    }),
    ("files_are_written_once_although_the_result_is_lost", || {
        Box::pin(files_are_written_once_although_the_result_is_lost())
    }),
    ("a_task_that_kills_every_worker_is_an_error", || {
        Box::pin(a_task_that_kills_every_worker_is_an_error())
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

/// Each attempt at a shard leaves a file that says so, and takes a moment while its rows are written.
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

/// That the files in a folder are those of [`written`], and nothing else.
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
    let (begun, attempts) = (run.tasks_begun().await, tasks_seen(&folder));
    std::fs::remove_file(folder.path().join("out/part-00000-of-00012.csv")).unwrap();
    std::fs::copy(
        folder.path().join("out/part-00001-of-00012.csv"),
        folder.path().join("out/part-00000-of-00012.csv"),
    )
    .unwrap();
    kill_one(&session);
    let files = run.collect().await.unwrap();
    assert_eq!(files.len(), SHARDS);
    assert!(run.tasks_begun().await > begun, "the fault did not fire");
    // The rows about files were made again; neither rows nor files were.
    assert_eq!(tasks_seen(&folder), attempts);
    let first = std::fs::read_to_string(&files[0].path).unwrap();
    assert!(first.starts_with("_0,_1\n1,0\n"), "it was written again");
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
