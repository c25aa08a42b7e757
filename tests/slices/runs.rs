//! Results: read, reused, named in SQL, discarded.

use bigslice::prelude::*;
use futures::TryStreamExt;

use crate::cases;
use crate::world::{World, remove_shards};

cases![
    results_are_read_in_parts_and_as_a_whole,
    a_result_is_the_input_of_the_next_run,
    a_shuffle_directly_on_a_result,
    a_result_is_a_table,
    runs_at_once,
    sessions_at_once,
    a_slice_without_a_func,
    a_table_is_replaced_in_one_step,
    a_run_is_no_data,
    within_a_func_a_run_is_a_source_and_nothing_else,
    results_go_with_their_runs,
    a_chain_of_runs_stores_only_its_last_result,
    what_a_result_was_made_from_is_computed_again_when_it_is_lost,
    a_run_is_cancelled_by_dropping_it,
    a_discarded_result_is_computed_again_when_it_is_wanted,
    discards_at_any_moment_change_no_result,
];

#[bigslice::func]
fn numbers(shards: usize, n: i64) -> Slice<(i64, i64)> {
    Slice::const_(shards, (0..n).map(|n| (n % 10, n)))
}

async fn results_are_read_in_parts_and_as_a_whole(world: &World) {
    let run = world.done(numbers(4, 50_000)).await;
    assert_eq!((run.shards(), run.rows().await.unwrap()), (4, 50_000));
    let all = run.collect().await.unwrap();
    let streamed: Vec<_> = run.stream().try_collect().await.unwrap();
    let batches = run.batches().await.unwrap();
    assert_eq!(streamed.iter().map(|b| b.num_rows()).sum::<usize>(), 50_000);
    assert_eq!(
        arrow::compute::concat_batches(&run.schema(), &streamed).unwrap(),
        arrow::compute::concat_batches(&run.schema(), &batches).unwrap()
    );
    let mut parts = Vec::new();
    for shard in 0..4 {
        parts.extend(run.shard(shard).await.unwrap());
    }
    assert_eq!(parts, all);
    assert!(all.into_iter().eq((0..50_000).map(|n| (n % 10, n))));
    assert_eq!(run.tasks_started().await, 4);
}

#[bigslice::func]
fn next(before: Run<(i64, i64)>) -> Slice<(i64, i64)> {
    before.slice().map(|(key, n)| (key, n + 1))
}

async fn a_result_is_the_input_of_the_next_run(world: &World) {
    let mut run = world.done(numbers(3, 1000)).await;
    let first = run.clone();
    for _ in 0..5 {
        run = world.done(next(run)).await;
    }
    assert_eq!(run.shards(), 3);
    assert!(run.collect().await.unwrap().into_iter().eq((0..1000).map(|n| (n % 10, n + 5))));
    assert_eq!(first.tasks_started().await, 3, "the first result was computed again");
}

#[bigslice::func]
fn summed(before: Run<(i64, i64)>) -> Slice<(i64, i64)> {
    before.slice().reduce(|a, b| a + b)
}

async fn a_shuffle_directly_on_a_result(world: &World) {
    let run = world.done(numbers(3, 1000)).await;
    let found = world.sorted(summed(run)).await;
    assert!(
        found.into_iter().eq((0..10).map(|k| (k, (0..1000).filter(|n| n % 10 == k).sum::<i64>())))
    );
}

async fn a_result_is_a_table(world: &World) {
    let run = world.done(numbers(3, 1000)).await;
    world.session.register("pairs", &run).unwrap();
    let sql = "select _0 as k, sum(_1) as s from pairs where _0 < 2 group by 1 order by 1";
    let right =
        "+---+-------+\n| k | s     |\n+---+-------+\n| 0 | 49500 |\n| 1 | 49600 |\n+---+-------+";
    assert_eq!(world.sql(sql).await, right);
    drop(run);
    assert_eq!(world.sql(sql).await, right, "the table does not hold its run");
    let other = world.done(numbers(1, 10)).await;
    world.session.register("pairs", &other).unwrap();
    assert!(world.sql("select count(*) as n from pairs").await.contains("| 10 |"));
}

async fn a_table_is_replaced_in_one_step(world: &World) {
    let (one, other) = (world.done(numbers(2, 10)).await, world.done(numbers(2, 20)).await);
    world.session.register("replaced", &one).unwrap();
    let replacing = async {
        for _ in 0..20 {
            for run in [&other, &one] {
                world.session.register("replaced", run).unwrap();
                tokio::task::yield_now().await;
            }
        }
    };
    let reading = async {
        for _ in 0..10 {
            let query = world.session.sql("select count(*) from replaced").await.unwrap();
            let rows = query.collect().await.unwrap();
            assert!(matches!(count(&rows), 10 | 20));
        }
    };
    tokio::join!(replacing, reading);
}

fn count(rows: &[arrow::array::RecordBatch]) -> i64 {
    use arrow::array::AsArray;
    rows[0].column(0).as_primitive::<arrow::datatypes::Int64Type>().value(0)
}

/// Encoding a run holds its result only for the func that it is an argument of, so any other
/// encoding is an error.
async fn a_run_is_no_data(world: &World) {
    let run = world.done(numbers(2, 10)).await;
    let error = serde_json::to_string(&run).unwrap_err();
    assert!(error.to_string().contains("only as an argument of a func"), "{error}");
    let error = serde_json::from_str::<Run<(i64, i64)>>("[7, 2]").unwrap_err();
    assert!(error.to_string().contains("only as an argument of a func"), "{error}");
    // A failed encoding holds nothing: the result ends with the run.
    drop(run);
    until_files(world, 0).await;
}

#[bigslice::func]
fn looks_into(run: Run<(i64, i64)>) -> Result<Slice<(i64, i64)>> {
    let shards = run.shards() as i64;
    let error = run.to_dataframe().map(drop).unwrap_err();
    assert!(error.to_string().contains("cannot be read within the func"), "{error}");
    Ok(run.slice().map(move |(key, n)| (key, n * shards)))
}

async fn within_a_func_a_run_is_a_source_and_nothing_else(world: &World) {
    let run = world.done(numbers(3, 10)).await;
    let looked = world.done(looks_into(run)).await;
    assert_eq!(looked.collect().await.unwrap()[9], (9, 27));
}

async fn runs_at_once(world: &World) {
    let base = world.done(numbers(3, 3000)).await;
    let runs = (0..6).map(|_| world.session.run(summed(base.clone())));
    for run in futures::future::join_all(runs).await {
        assert_eq!(run.unwrap().rows().await.unwrap(), 10);
    }
    assert_eq!(base.tasks_started().await, 3);
}

/// Sessions in one process are independent: both have a table `pairs`, and the end of one does not
/// end the other.
async fn sessions_at_once(world: &World) {
    let other_folder = tempfile::tempdir().unwrap();
    let other = Session::builder().system(world.system.clone()).temp_root(other_folder.path());
    let other = other.build().await.unwrap();
    let ours = world.session.run(numbers(3, 3000));
    let theirs = other.run(numbers(2, 20));
    let (ours, theirs) = futures::future::try_join(ours, theirs).await.unwrap();
    world.session.register("pairs", &ours).unwrap();
    other.register("pairs", &theirs).unwrap();

    let sql = "select count(*) as n from pairs";
    let (ours_counted, theirs_counted) =
        futures::future::join(world.sql(sql), World::sql_in(&other, sql)).await;
    assert!(ours_counted.contains("| 3000 |") && theirs_counted.contains("| 20 |"));
    let names = |session: &Session| session.machines().len();
    assert_eq!(names(&world.session), names(&other));
    let error = other.run(summed(ours.clone())).await.map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("session"), "{error}");

    other.shutdown().await;
    drop((theirs, other));
    assert!(std::fs::read_dir(other_folder.path()).unwrap().next().is_none());
    assert_eq!(world.done(summed(ours)).await.rows().await.unwrap(), 10);
}

async fn a_slice_without_a_func(world: &World) {
    let slice = Slice::const_(2, 0..10i64).map(|x| x + 1);
    if world.session.machines().is_empty() {
        assert!(world.rows(slice).await.into_iter().eq(1..11));
    } else {
        let error = world.error(slice).await;
        assert!(error.hint().unwrap().contains("#[bigslice::func]"), "{error:?}");
    }
}

async fn results_go_with_their_runs(world: &World) {
    let run = world.done(summed(world.done(numbers(3, 1000)).await)).await;
    assert!(!world.files("").is_empty());
    let clone = run.clone();
    drop(run);
    assert_eq!(clone.rows().await.unwrap(), 10);
    drop(clone);
    until_files(world, 0).await;
}

/// Machines remove files asynchronously.
async fn until_files(world: &World, most: usize) {
    for _ in 0..500 {
        if world.files("").len() <= most {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{} files of shards are left, not {most}", world.files("").len());
}

async fn a_chain_of_runs_stores_only_its_last_result(world: &World) {
    let mut run = world.done(numbers(3, 1000)).await;
    for _ in 0..20 {
        run = world.done(next(run)).await;
    }
    until_files(world, 3).await;
    assert_eq!(world.files("").len(), 3, "a file for each shard of the last result");
    assert!(run.collect().await.unwrap().into_iter().eq((0..1000).map(|n| (n % 10, n + 20))));
    drop(run);
    until_files(world, 0).await;
}

async fn what_a_result_was_made_from_is_computed_again_when_it_is_lost(world: &World) {
    let mut run = world.done(numbers(1, 1000)).await;
    for _ in 0..4 {
        run = world.done(next(run)).await;
    }
    // A chain that forks and joins again, of which only the last result is held.
    let run = world.done(joined(next_of(world, &run).await, run)).await;
    until_files(world, 3).await;
    let begun = run.tasks_started().await;
    let right: Vec<_> = (0..1000).map(|n| (n % 10, (n + 5) * (n + 4))).collect();
    let sum = |rows: &[(i64, i64)]| rows.iter().map(|(_, n)| n).sum::<i64>();
    for _ in 0..2 {
        remove_shards(world.folder.path());
        let found = run.collect().await.unwrap();
        assert_eq!((found.len(), sum(&found)), (1000, sum(&right)));
    }
    assert!(run.tasks_started().await > begun, "the files were not lost");
}

async fn next_of(world: &World, run: &Run<(i64, i64)>) -> Run<(i64, i64)> {
    world.done(next(run.clone())).await
}

/// The products of numbers at the same index in both.
#[bigslice::func]
fn joined(one: Run<(i64, i64)>, other: Run<(i64, i64)>) -> Slice<(i64, i64)> {
    let one = one.slice().map(|(_, n)| (n - 1, n));
    let other = other.slice().map(|(_, n)| (n, n));
    one.join(other).map(|(n, (a, b))| ((n - 4) % 10, a * b))
}

#[bigslice::func]
fn endless(begun: String) -> Slice<u64> {
    Slice::reader(1, move |_| {
        std::fs::write(&begun, "").unwrap();
        (0u64..).map(Ok::<_, String>)
    })
    .filter(|_| false)
}

async fn a_run_is_cancelled_by_dropping_it(world: &World) {
    let begun = world.path("begun");
    let run = world.session.run(endless(begun.clone()));
    let wait = async {
        while !std::path::Path::new(&begun).exists() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        outcome = run => panic!("an endless run ended: {outcome:?}"),
        () = wait => {}
    }
    // Dropped results have left their space to others, and no file.
    assert_eq!(world.rows(numbers(2, 10)).await.len(), 10);
}

async fn a_discarded_result_is_computed_again_when_it_is_wanted(world: &World) {
    let before = world.done(numbers(3, 1000)).await;
    let run = world.done(summed(before.clone())).await;
    world.session.register("discarded", &run).unwrap();
    let right = sorted(run.collect().await.unwrap());
    let begun = run.tasks_started().await;
    run.discard().await.unwrap();
    assert_eq!(world.files("").len(), 3, "what is left are the files of the run that it reads");
    before.discard().await.unwrap();
    assert_eq!(world.files(""), [] as [std::path::PathBuf; 0]);
    let clone = run.clone();
    assert_eq!(sorted(clone.collect().await.unwrap()), right);
    assert_eq!(run.tasks_started().await, 2 * begun);
    clone.discard().await.unwrap();
    assert!(world.sql("select count(*) as n from discarded").await.contains("| 10 |"));
    assert_eq!(before.rows().await.unwrap(), 1000);
}

async fn discards_at_any_moment_change_no_result(world: &World) {
    let run = world.done(summed(world.done(numbers(3, 1000)).await)).await;
    let right = sorted(run.collect().await.unwrap());
    let begun = run.tasks_started().await;
    let discards = async {
        for _ in 0..20 {
            run.discard().await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let reads = async {
        for _ in 0..20 {
            match run.collect().await {
                Ok(rows) => assert_eq!(sorted(rows), right),
                // It may lose the file every time that it has it.
                Err(error) => assert!(matches!(error, Error::Lost { .. }), "{error:?}"),
            }
        }
    };
    futures::join!(discards, reads);
    assert_eq!(sorted(run.collect().await.unwrap()), right);
    assert!(run.tasks_started().await > begun, "nothing was discarded");
}

fn sorted(mut rows: Vec<(i64, i64)>) -> Vec<(i64, i64)> {
    rows.sort_unstable();
    rows
}
