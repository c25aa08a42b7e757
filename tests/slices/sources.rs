//! Rows from callbacks, and rows of any table provider.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use bigslice::Stopped;
use bigslice::prelude::*;
use datafusion::datasource::MemTable;

use crate::cases;
use crate::world::World;

cases![
    pushed_rows_keep_their_order,
    who_pushes_is_stopped_when_nobody_wants_more,
    what_goes_wrong_while_pushing_is_the_users,
    a_table_of_anybody_is_read_by_its_partitions,
    what_a_table_lacks_is_named,
    a_table_that_differs_between_processes_is_an_error,
];

#[bigslice::func]
fn pushed(shards: usize, rows: u64) -> Slice<(u64, String)> {
    Slice::push_reader(shards, move |shard, sink| {
        let each = |n| sink.push((shard as u64, format!("{n}").as_str()));
        (0..rows).try_for_each(each)
    })
}

async fn pushed_rows_keep_their_order(world: &World) {
    for rows in [0, 1, 8192, 30_000] {
        let shards = world.shards(pushed(3, rows)).await;
        assert_eq!(shards.len(), 3);
        for (shard, found) in shards.iter().enumerate() {
            let right = (0..rows).map(|n| (shard as u64, n.to_string()));
            assert!(found.iter().cloned().eq(right), "shard {shard} of {rows} rows");
        }
    }
}

/// Endless rows: the source writes a file when it is stopped.
#[bigslice::func]
fn endless(head: usize, folder: String) -> Slice<u64> {
    Slice::push_reader(2, move |shard, sink| {
        let mut n = 0;
        while sink.push(n) == Ok(()) {
            n += 1;
        }
        assert_eq!(sink.push(n), Err(Stopped), "it stays stopped");
        std::fs::write(format!("{folder}/stopped-{shard}"), n.to_string())
    })
    .head(head)
}

async fn who_pushes_is_stopped_when_nobody_wants_more(world: &World) {
    let folder = world.path("");
    for head in [1, 20_000] {
        let shards = world.shards(endless(head, folder.clone())).await;
        assert_eq!(shards, vec![(0..head as u64).collect::<Vec<_>>(); 2]);
        for shard in 0..2 {
            let path = std::path::PathBuf::from(world.path(&format!("stopped-{shard}")));
            let stopped = async {
                while std::fs::remove_file(&path).is_err() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(60), stopped).await.unwrap();
        }
    }
}

#[bigslice::func]
fn pushes_badly(panics: bool) -> Slice<u64> {
    Slice::push_reader(2, move |shard, sink| {
        for n in 0..10_000 {
            sink.push(n)?;
        }
        assert!(!panics || shard == 0, "it cannot go on");
        if shard == 1 { Err("no more".to_owned()) } else { Ok(()) }
    })
}

async fn what_goes_wrong_while_pushing_is_the_users(world: &World) {
    for (panics, words) in [(false, "no more"), (true, "panicked: it cannot go on")] {
        let error = world.error(pushes_badly(panics)).await;
        let text = error.to_string();
        assert!(text.starts_with("push_reader at tests/slices/sources.rs:"), "{text}");
        assert!(text.ends_with(&format!("shard 1: {words}")), "{text}");
        assert!(error.is_user_error() && !error.is_retryable(), "{error:?}");
    }
}

/// A table of these partitions, with an additional column.
fn table(partitions: usize) -> Arc<MemTable> {
    let batch = |partition: usize| {
        let first = partition as i32 * 10;
        let names: Vec<String> = (first..first + 10).map(|n| format!("n{n}")).collect();
        let columns: [(&str, ArrayRef); 3] = [
            ("other", Arc::new(Int32Array::from(vec![0; 10]))),
            ("name", Arc::new(StringArray::from(names))),
            ("n", Arc::new(Int32Array::from_iter_values(first..first + 10))),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    };
    let schema = batch(0).schema();
    let partitions = (0..partitions).map(|partition| vec![batch(partition)]).collect();
    Arc::new(MemTable::try_new(schema, partitions).unwrap())
}

#[derive(Row, Debug, PartialEq)]
struct Named {
    n: i64,
    name: String,
}

#[bigslice::func]
fn of_table(partitions: usize) -> Slice<Named> {
    Slice::read_table(table(partitions))
}

async fn a_table_of_anybody_is_read_by_its_partitions(world: &World) {
    for partitions in [1, 3, 7] {
        let run = world.done(of_table(partitions)).await;
        let found = run.collect().await.unwrap();
        let right = (0..partitions as i64 * 10).map(|n| Named { n, name: format!("n{n}") });
        assert!(found.into_iter().eq(right), "{partitions} partitions");
    }
}

#[derive(Row, Debug)]
struct Narrow {
    n: i16,
}

#[derive(Row, Debug)]
struct Misspelt {
    nam: String,
}

#[bigslice::func]
fn narrow() -> Slice<Narrow> {
    Slice::read_table(table(2))
}

#[bigslice::func]
fn misspelt() -> Slice<Misspelt> {
    Slice::read_table(table(2))
}

async fn what_a_table_lacks_is_named(world: &World) {
    let error = world.error(narrow()).await.to_string();
    assert!(error.starts_with("read_table at tests/slices/sources.rs:"), "{error}");
    let words = "the column \"n\" of the table is Int32, but the row has Int16";
    assert!(error.ends_with(words), "{error}");
    let error = world.error(misspelt()).await;
    assert!(error.to_string().ends_with("the table has no column \"nam\""), "{error}");
    assert!(error.hint().unwrap().contains("name"), "{error:?}");
}

/// A table with more partitions each time it is made, and many more in another process.
#[bigslice::func]
fn growing(driver: u32) -> Slice<Named> {
    static MADE: AtomicUsize = AtomicUsize::new(1);
    let elsewhere = if std::process::id() == driver { 0 } else { 100 };
    Slice::read_table(table(MADE.fetch_add(1, Ordering::Relaxed) + elsewhere))
}

async fn a_table_that_differs_between_processes_is_an_error(world: &World) {
    if world.session.machines().is_empty() {
        return; // The driver's own table is read.
    }
    let error = world.error(growing(std::process::id())).await;
    let text = error.to_string();
    assert!(text.starts_with("read_table at tests/slices/sources.rs:"), "{text}");
    assert!(text.ends_with("every process must see the same table"), "{text}");
    assert!(text.contains(" partitions on this machine, and ") && error.is_user_error(), "{text}");
}
