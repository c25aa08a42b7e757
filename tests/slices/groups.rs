//! Groups of several slices, and large groups: the values of one key must fit into memory; if they
//! do not, that is an error of the run and of nothing else.

use std::collections::{BTreeMap, BTreeSet};

use arrow::record_batch::RecordBatch;
use bigslice::prelude::*;

use crate::cases;
use crate::world::World;

cases![
    cogroups_of_three_and_four_are_what_loops_give,
    a_group_that_does_not_fit_is_an_error,
    pairs_of_a_large_group_come_in_batches,
];

/// A side of a cogroup: some keys, the first of which is null, each with this number of values.
type Side = (u32, u32, u32);

fn side((first, keys, values): Side) -> Vec<(Option<String>, u32)> {
    let key = |n: u32| (n > 0).then(|| format!("k{n}"));
    let keys = first..first + keys;
    keys.flat_map(|n| (0..values).map(move |value| (key(n), 100 * n + value))).collect()
}

/// The values of each of four sides.
type Four = (Vec<u32>, Vec<u32>, Vec<u32>, Vec<u32>);

#[bigslice::func]
fn three(sides: Vec<Side>) -> Slice<(Option<String>, Four)> {
    let [a, b, c] = [0, 1, 2].map(|n| Slice::const_(n + 1, side(sides[n])));
    let groups = a.cogroup3(b, c);
    groups.map_values(|(a, b, c)| {
        (a.iter().collect(), b.iter().collect(), c.iter().collect(), vec![])
    })
}

#[bigslice::func]
fn four(sides: Vec<Side>) -> Slice<(Option<String>, Four)> {
    let [a, b, c, d] = [0, 1, 2, 3].map(|n| Slice::const_(4 - n, side(sides[n])));
    a.cogroup4(b, c, d)
}

async fn cogroups_of_three_and_four_are_what_loops_give(world: &World) {
    let sets = [
        [(0, 6, 3), (3, 6, 1), (5, 6, 4), (0, 20, 2)],
        // Empty sides, at each position, and all sides empty.
        [(0, 0, 1), (2, 3, 2), (0, 0, 1), (4, 3, 5)],
        [(1, 4, 2), (0, 0, 1), (0, 5, 700), (0, 0, 1)],
        [(0, 0, 1); 4],
    ];
    for sides in sets {
        for count in [3, 4] {
            let sides = sides[..count].to_vec();
            let mut right = BTreeMap::<Option<String>, [Vec<u32>; 4]>::new();
            for (n, of) in sides.iter().enumerate() {
                for (key, value) in side(*of) {
                    right.entry(key).or_default()[n].push(value);
                }
            }
            let shards = match count {
                3 => world.shards(three(sides.clone())).await,
                _ => world.shards(four(sides.clone())).await,
            };
            assert_eq!(shards.len(), count, "as many as the side that has most");
            let keys: BTreeSet<_> = shards.iter().flatten().map(|(key, _)| key).collect();
            assert_eq!(keys.len(), shards.iter().map(Vec::len).sum::<usize>(), "a key twice");
            let found = shards.concat().into_iter().map(|(key, (a, b, c, d))| {
                let values = [a, b, c, d].map(|mut values| {
                    values.sort_unstable();
                    values
                });
                (key, values)
            });
            assert_eq!(found.collect::<BTreeMap<_, _>>(), right, "{sides:?}");
        }
    }
}

/// Bytes of a value.
const VALUE: usize = 1024;

/// The memory limit of a process in these sessions, of which operators get two thirds.
const LIMIT: u64 = 128 << 20;

/// Values that fit, and some that do not.
const FITS: u64 = 4_000;
const TOO_MANY: u64 = 96 * 1024;

/// This number of values of one key.
fn values(n: u64) -> Slice<(u64, String)> {
    Slice::reader(2, move |shard| {
        let rows = (shard as u64..n).step_by(2);
        let text = |row: u64| char::from(b'a' + (row % 26) as u8).to_string().repeat(VALUE);
        rows.map(move |row| Ok::<_, String>((7, text(row))))
    })
}

/// The number of values in the result, and their bytes.
#[bigslice::func]
fn counted(verb: String, n: u64) -> Slice<(u64, u64)> {
    fn of<'a>(texts: impl Iterator<Item = &'a str>) -> (u64, u64) {
        texts.fold((0, 0), |(n, bytes), text| (n + 1, bytes + text.len() as u64))
    }
    let small = || Slice::const_(1, [(7u64, true)]);
    let list = || Slice::const_(1, [(vec![7u64], true)]);
    let by_list = || values(n).map(|(key, text)| (vec![key], text.to_owned()));
    let counts = match verb.as_str() {
        "group" => values(n).group().map(|(_, texts)| of(texts.iter())),
        "cogroup" => small().cogroup(values(n)).map(|(_, (_, texts))| of(texts.iter())),
        "join" => by_list().join(list()).map(|(_, (text, _))| of([text].into_iter())),
        "full_join" => list().full_join(by_list()).map(|(_, (_, text))| of(text.into_iter())),
        _ => values(n)
            .fold((0u64, 0u64), |(n, bytes), text| (n + 1, bytes + text.len() as u64))
            .map(|(_, counts)| counts),
    };
    let counts = counts.map(|counts| (0u8, counts));
    counts.reduce(|(n, a), (m, b)| (n + m, a + b)).map(|(_, counts)| counts)
}

/// The peak memory of a process since [`forget_peak`], in bytes.
fn peak(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Resets the peak memory of a process to its current memory.
fn forget_peak(pid: u32) -> u64 {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
    peak(pid)
}

async fn a_group_that_does_not_fit_is_an_error(world: &World) {
    let folder = tempfile::tempdir().unwrap();
    let processes = world.session.machines().len() as u64 + 1;
    let session = Session::builder().system(world.system.clone()).temp_root(folder.path());
    let session = session.memory_limit(processes * LIMIT).build().await.unwrap();
    let machines = || {
        let machines = session.machines().into_iter();
        machines.map(|machine| (machine.name, machine.pid)).collect::<Vec<_>>()
    };
    let before = machines();
    let pids: Vec<u32> = before.iter().filter_map(|(_, pid)| *pid).collect();
    let right = |n: u64| vec![(n, n * VALUE as u64)];
    for verb in ["group", "cogroup", "join", "full_join"] {
        let run = session.run(counted(verb.to_owned(), FITS)).await.unwrap();
        assert_eq!(run.collect().await.unwrap(), right(FITS), "{verb}");
        let at_first: Vec<u64> = pids.iter().map(|pid| forget_peak(*pid)).collect();
        let error = match session.run(counted(verb.to_owned(), TOO_MANY)).await {
            Ok(run) => panic!("{verb}: no error, but {:?}", run.collect().await),
            Err(error) => error,
        };
        assert!(error.is_user_error() && !error.is_retryable(), "{error:?}");
        let text = error.to_string();
        assert!(text.starts_with(&format!("{verb} at tests/slices/groups.rs:")), "{text}");
        assert!(text.contains(": the values of one key do not fit into memory: "), "{text}");
        assert!(error.hint().unwrap().contains("\"fold\""), "{error:?}");
        for (pid, first) in pids.iter().zip(at_first) {
            let more = peak(*pid).saturating_sub(first);
            assert!(more < LIMIT, "{verb}: {} MiB were taken", more >> 20);
        }
        assert_eq!(machines(), before, "a machine was lost");
    }
    // The advice in the error.
    let run = session.run(counted("fold".to_owned(), TOO_MANY)).await.unwrap();
    assert_eq!(run.collect().await.unwrap(), right(TOO_MANY));
    session.shutdown().await;
}

/// The cross product of two groups of one key.
#[bigslice::func]
fn multiplied(verb: String, n: u64, m: u64) -> Slice<(u64, u64)> {
    let side = |n| Slice::const_(2, 0..n).map(|value: u64| (vec![1u64, 2], value));
    let joined = match verb.as_str() {
        "join" => side(n).join(side(m)).map_values(|(a, b)| (Some(a), Some(b))),
        "left_join" => side(n).left_join(side(m)).map_values(|(a, b)| (Some(a), b)),
        "semi_join" => side(n).semi_join(side(m)).map_values(|a| (Some(a), Some(0))),
        _ => side(n).full_join(side(m)),
    };
    let joined: Slice<(Vec<u64>, (Option<u64>, Option<u64>))> =
        joined.map_batches(|batch: RecordBatch| match batch.num_rows() {
            0..=8192 => Ok(batch),
            rows => Err(format!("a batch of {rows} rows")),
        });
    joined.map(|(_, (a, b))| (a.unwrap_or(1) % 7, b.unwrap_or(1))).reduce(|a, b| a + b)
}

async fn pairs_of_a_large_group_come_in_batches(world: &World) {
    for (verb, n, m) in [
        ("join", 700, 500),
        ("left_join", 400, 300),
        ("left_join", 20_000, 0),
        ("full_join", 300, 400),
        ("full_join", 0, 20_000),
        ("full_join", 20_000, 0),
        ("semi_join", 20_000, 3),
    ] {
        let some = |count: u64, at_least: bool| match (count, at_least) {
            (0, true) => vec![1],
            _ => (0..count).collect::<Vec<_>>(),
        };
        let ones = some(n, verb == "full_join");
        let others = if verb == "semi_join" { vec![0] } else { some(m, verb != "join") };
        let mut right = BTreeMap::<u64, u64>::new();
        for one in ones {
            *right.entry(one % 7).or_default() += others.iter().sum::<u64>();
        }
        let found = world.sorted(multiplied(verb.to_owned(), n, m)).await;
        assert!(found.into_iter().eq(right), "{verb} of {n} and {m}");
    }
}
