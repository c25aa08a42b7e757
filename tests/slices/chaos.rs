//! Machines killed at random, several in one run, and while a result is read. A seed decides what
//! is killed and when; each case asserts that all of it happened.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use arrow::compute::concat_batches;
use bigslice::cluster::faults::Faults;
use bigslice::prelude::*;
use bigslice::testing::TestHooks;
use futures::StreamExt;

use crate::loss::Case;

pub(crate) const CASES: &[Case] = &[
    ("machines_are_killed_in_every_stage_and_no_row_is_wrong", || {
        Box::pin(machines_are_killed_in_every_stage_and_no_row_is_wrong())
    }),
    ("machines_are_killed_while_a_result_is_read", || {
        Box::pin(machines_are_killed_while_a_result_is_read())
    }),
];

/// Far above the time that anything takes; reaching it is a failure.
const DEADLINE: Duration = Duration::from_secs(120);

const MACHINES: usize = 3;
const SHARDS: usize = 9;
const ROWS: u64 = 12_000;

/// Stages whose tasks wait for a kill.
const GATES: usize = 4;

/// State shared by the tasks of one seed's run, which are in this process, and the code that kills
/// their machines.
#[derive(Default)]
struct Gates {
    /// Tasks that have reached each gate.
    came: [usize; GATES],
    /// Gates at which a machine was killed: they are open.
    killed: usize,
}

static RUNS: Mutex<BTreeMap<u64, Gates>> = Mutex::new(BTreeMap::new());

fn gates<R>(seed: u64, look: impl FnOnce(&mut Gates) -> R) -> R {
    look(RUNS.lock().unwrap().entry(seed).or_default())
}

/// Passes rows on once a machine was killed while tasks were at this gate.
fn gate<T: Row>(slice: Slice<T>, seed: u64, gate: usize) -> Slice<T> {
    slice.map_partitions(move |_, rows| {
        gates(seed, |gates| gates.came[gate] += 1);
        let began = Instant::now();
        while gates(seed, |gates| gates.killed <= gate) {
            assert!(began.elapsed() < DEADLINE, "nobody was killed at gate {gate}");
            std::thread::sleep(Duration::from_millis(2));
        }
        rows
    })
}

/// Sums by key, their totals for fewer keys, and all of that in order, with indexes.
#[bigslice::func]
fn several_stages(seed: u64) -> Slice<(u64, (u64, (u64, u64)))> {
    let rows = Slice::reader(SHARDS, |shard| {
        (0..ROWS).map(move |n| Ok::<_, String>((n * 7919 % 1000, n + shard as u64)))
    });
    let sums = gate(rows, seed, 0).reduce(|a, b| a + b);
    let fewer = gate(sums.clone(), seed, 1).map(|(key, sum)| (key % 100, sum));
    let groups = fewer.cogroup(sums.map(|(key, _)| (key / 10, 1u64)));
    let totals = groups.map(|(key, (sums, ones))| {
        (sums.iter().sum::<u64>(), (key, sums.len() as u64 * 100 + ones.len() as u64))
    });
    let sorted = gate(totals, seed, 2).sort_by(|(sum, (key, _))| (sum, key));
    gate(sorted.zip_with_index(), seed, 3)
}

/// The same, computed by loops.
fn right() -> Vec<(u64, (u64, (u64, u64)))> {
    let mut sums = vec![0; 100];
    for n in 0..ROWS {
        let shards = (0..SHARDS as u64).map(|shard| n + shard);
        sums[(n * 7919 % 1000 % 100) as usize] += shards.sum::<u64>();
    }
    // Of 1000 keys, 10 have each remainder, and 10 have each quotient.
    let mut totals: Vec<_> = (0..100).zip(sums).map(|(key, sum)| (sum, (key, 1010))).collect();
    totals.sort_unstable();
    (0..).zip(totals).collect()
}

async fn session(faults: &Faults) -> (Session, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let session = Session::builder()
        .system(SystemSpec::InProcess { machines: MACHINES })
        .faults(faults.clone())
        .temp_root(folder.path())
        .build()
        .await
        .unwrap();
    (session, folder)
}

/// A few numbers of a seed.
fn drawn(seed: u64, n: u64) -> u64 {
    let x = (seed * 1000 + n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (x ^ (x >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 32
}

async fn machines_are_killed_in_every_stage_and_no_row_is_wrong() {
    let right = right();
    for seed in 0..4 {
        let faults = Faults::new(seed);
        let (session, _folder) = session(&faults).await;
        let run = session.run(several_stages(seed));
        let kill = async {
            for gate in 0..GATES {
                // At most as many tasks wait there as machines run at a time.
                let tasks = 1 + drawn(seed, gate as u64) as usize % MACHINES;
                let began = Instant::now();
                while gates(seed, |gates| gates.came[gate] < tasks) {
                    assert!(began.elapsed() < DEADLINE, "seed {seed}: nobody came to gate {gate}");
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                faults.kill_any().expect("a machine that lives");
                gates(seed, |gates| gates.killed += 1);
            }
        };
        let (run, ()) = tokio::join!(run, kill);
        let run = run.unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
        assert_eq!(faults.fired().kills, GATES as u64, "seed {seed}");
        let found = run.collect().await.unwrap();
        assert!(found == right, "seed {seed}: {found:?}");
        session.fleet().unwrap().verify().await;
        assert!(session.fleet().unwrap().lost_total() >= GATES as u64, "seed {seed}");
        session.shutdown().await;
    }
}

/// Rows that stay large: several blocks per shard.
#[bigslice::func]
fn long() -> Slice<(u64, [u64; 32])> {
    let rows = Slice::reader(SHARDS, |shard| {
        (0..ROWS).map(move |n| {
            let values = std::array::from_fn(|i| drawn(n, i as u64).wrapping_mul(n));
            Ok::<_, String>((shard as u64, values))
        })
    });
    rows.repartition(|shards, (shard, values)| (shard as usize + values[1] as usize) % shards)
}

async fn machines_are_killed_while_a_result_is_read() {
    for seed in 0..6 {
        let faults = Faults::new(seed);
        let (session, _folder) = session(&faults).await;
        let run = session.run(long()).await.unwrap();
        let all = concat_batches(&run.schema(), &run.batches().await.unwrap()).unwrap();
        assert_eq!(all.num_rows() as u64, SHARDS as u64 * ROWS);

        // One after the other: the second kill some rows after the first.
        let kills = [0, 1].map(|n| drawn(seed, n) as usize % (all.num_rows() / 2));
        let kills = [kills[0], kills[0] + kills[1]];
        let (mut given, mut rows, mut killed) = (Vec::new(), 0, 0);
        let mut stream = run.stream();
        let error = loop {
            if kills.get(killed).is_some_and(|at| rows >= *at) {
                faults.kill_any().expect("a machine that lives");
                killed += 1;
            }
            match stream.next().await {
                None => break None,
                Some(Ok(batch)) => {
                    rows += batch.num_rows();
                    given.push(batch);
                }
                Some(Err(error)) => break Some(error.to_string()),
            }
        };
        // No row is repeated, missing or wrong.
        let given = concat_batches(&run.schema(), &given).unwrap();
        assert!(rows <= all.num_rows() && given == all.slice(0, rows), "seed {seed}: {rows} rows");
        match error {
            None => assert_eq!((rows, killed), (all.num_rows(), 2), "seed {seed}"),
            Some(error) => {
                assert!(error.contains("after rows of the shard had been read"), "{error}");
                assert!(killed > 0, "seed {seed}: nobody was killed, but {error}");
            }
        }
        for _ in killed..2 {
            faults.kill_any().expect("a machine that lives");
        }
        assert_eq!(faults.fired().kills, 2, "seed {seed}");
        // The lost part was recomputed, and what was made of it.
        let again = concat_batches(&run.schema(), &run.batches().await.unwrap()).unwrap();
        assert!(again == all, "seed {seed}: another result when it is read again");
        session.fleet().unwrap().verify().await;
        assert_eq!(session.fleet().unwrap().lost_total(), 2, "seed {seed}");
        session.shutdown().await;
    }
}
