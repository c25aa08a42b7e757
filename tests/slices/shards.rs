//! Stored shard files that are damaged, truncated or missing: detected by their checksums, never
//! decoded, and recomputed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bigslice::prelude::*;

use crate::cases;
use crate::world::World;

cases![
    a_spoilt_result_is_computed_again,
    what_it_was_made_of_may_be_spoilt_too,
    all_that_a_task_reads_may_be_spoilt,
    a_spoilt_result_is_the_input_of_the_next_run,
];

/// The damage to a file.
const HARMS: [(&str, fn(&Path)); 3] = [("damaged", damage), ("cut short", cut), ("gone", remove)];

fn damage(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    // A bit here and there, so that each block has one.
    assert!(bytes.len() > 64, "{} bytes", bytes.len());
    bytes.iter_mut().skip(32).step_by(64).for_each(|byte| *byte ^= 0x10);
    std::fs::write(file, bytes).unwrap();
}

fn cut(file: &Path) {
    let bytes = std::fs::read(file).unwrap();
    // Not in place: readers with the old file open read it to its end.
    remove(file);
    std::fs::write(file, &bytes[..bytes.len() / 4]).unwrap();
}

fn remove(file: &Path) {
    std::fs::remove_file(file).unwrap();
}

/// The file of each task of a stage: that of its last attempt.
fn files<T>(world: &World, run: &Run<T>, stage: usize) -> Vec<PathBuf> {
    let task = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.rsplit_once('-').unwrap().0.to_owned()
    };
    let tasks = world.files_of(run, &format!("{stage}-")).into_iter();
    tasks.map(|path| (task(&path), path)).collect::<BTreeMap<_, _>>().into_values().collect()
}

#[bigslice::func]
fn sums() -> Slice<(u64, u64)> {
    Slice::const_(3, (0..3000u64).map(|n| (n % 300, n))).reduce(|a, b| a + b)
}

#[bigslice::func]
fn more(before: Run<(u64, u64)>) -> Slice<(u64, u64)> {
    before.slice().map_values(|n| n + 1)
}

fn right(more: u64) -> Vec<(u64, u64)> {
    (0..300).map(|key| (key, (0..10).map(|n| key + 300 * n).sum::<u64>() + more)).collect()
}

async fn sorted(run: &Run<(u64, u64)>) -> Vec<(u64, u64)> {
    let mut rows = run.collect().await.unwrap();
    rows.sort_unstable();
    rows
}

async fn a_spoilt_result_is_computed_again(world: &World) {
    let run = world.done(sums()).await;
    let mut begun = run.tasks_started().await;
    assert_eq!(begun, 6);
    for (harm, spoil) in HARMS {
        spoil(&files(world, &run, 1)[1]);
        assert_eq!(sorted(&run).await, right(0), "{harm}");
        begun += 1;
        assert_eq!(run.tasks_started().await, begun, "{harm}: one task makes it again");
    }
}

async fn what_it_was_made_of_may_be_spoilt_too(world: &World) {
    let run = world.done(sums()).await;
    for (harm, spoil) in HARMS {
        let before = run.tasks_started().await;
        spoil(&files(world, &run, 0)[0]);
        spoil(&files(world, &run, 1)[0]);
        assert_eq!(sorted(&run).await, right(0), "{harm}");
        // The task that detects the damage, the one that it needs, and itself again.
        assert_eq!(run.tasks_started().await, before + 3, "{harm}");
    }
}

/// More tasks than the limit of consecutive losses of one task.
#[bigslice::func]
fn sums_of_many() -> Slice<(u64, u64)> {
    Slice::const_(8, (0..3000u64).map(|n| (n % 300, n))).reduce(|a, b| a + b)
}

async fn all_that_a_task_reads_may_be_spoilt(world: &World) {
    let run = world.done(sums_of_many()).await;
    let before = run.tasks_started().await;
    remove(&files(world, &run, 1)[3]);
    files(world, &run, 0).iter().for_each(|file| damage(file));
    assert_eq!(sorted(&run).await, right(0));
    // The last shard, once for each damaged input that it found, and then to its end.
    assert_eq!(run.tasks_started().await, before + 8 + 9);
}

async fn a_spoilt_result_is_the_input_of_the_next_run(world: &World) {
    let run = world.done(sums()).await;
    for (harm, spoil) in HARMS {
        let before = run.tasks_started().await;
        spoil(&files(world, &run, 1)[2]);
        let next = world.done(more(run.clone())).await;
        assert_eq!(sorted(&next).await, right(1), "{harm}");
        assert_eq!(run.tasks_started().await, before + 1, "{harm}");
    }
}
