//! Errors in user code: they end the run with an error that gives the location, and nothing else.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use bigslice::prelude::*;
use futures::StreamExt;

use crate::cases;
use crate::world::World;

cases![
    a_panic_names_verb_place_and_shard,
    an_error_is_the_users_and_is_not_tried_again,
    every_verb_catches,
    a_func_that_panics_or_fails_leaves_the_session,
    a_shard_that_is_not_there,
    rows_that_are_not_what_they_seem,
    a_func_that_builds_something_else_each_time,
    a_func_that_builds_something_else_elsewhere,
    nobody_takes_a_part_of_a_shard_for_all_of_it,
];

#[bigslice::func]
fn panics_at(bad: i64) -> Slice<i64> {
    Slice::const_(4, 0..100i64).map(move |x| {
        assert!(x != bad, "{x} is bad");
        x
    })
}

async fn a_panic_names_verb_place_and_shard(world: &World) {
    let error = world.error(panics_at(77)).await;
    assert!(error.is_user_error() && !error.is_retryable(), "{error:?}");
    let text = error.to_string();
    let (place, rest) = text.split_once(", shard 3: ").expect(&text);
    assert!(place.starts_with("map at tests/slices/errors.rs:"), "{text}");
    assert_eq!(rest, "panicked: 77 is bad");
    assert_eq!(world.rows(panics_at(-1)).await.len(), 100);
}

#[bigslice::func]
fn parsed(texts: Vec<String>, seen: String) -> Slice<i64> {
    Slice::const_(1, texts).try_map(move |text| {
        std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&seen)
            .and_then(|mut file| std::io::Write::write_all(&mut file, b"x"))
            .map_err(|e| e.to_string())?;
        text.parse::<i64>().map_err(|e| format!("\"{text}\": {e}"))
    })
}

async fn an_error_is_the_users_and_is_not_tried_again(world: &World) {
    let seen = world.path("seen");
    let texts = ["1", "2", "three"].map(str::to_owned).to_vec();
    let error = world.error(parsed(texts, seen.clone())).await;
    let text = error.to_string();
    assert!(text.starts_with("try_map at ") && text.contains("\"three\": invalid digit"), "{text}");
    assert_eq!(std::fs::read(seen).unwrap().len(), 3, "it was tried again");
}

#[bigslice::func]
fn fails_in(verb: String) -> Slice<(i64, i64)> {
    let rows = Slice::const_(3, (0..30i64).map(|n| (n % 3, n)));
    let bad = |n: i64| assert!(n != 17, "seventeen");
    match verb.as_str() {
        "filter" => rows.filter(move |(_, n)| {
            bad(n);
            true
        }),
        "try_filter" => rows.try_filter(|(_, n)| if n == 17 { Err("seventeen") } else { Ok(true) }),
        "flat_map" => rows.flat_map(move |(k, n)| {
            bad(n);
            Some((k, n))
        }),
        "inspect" => rows.inspect(move |(_, n)| bad(n)),
        "key_by" => rows.map(|(_, n)| n).key_by(move |n| {
            bad(n);
            n
        }),
        "reduce" => rows.reduce(move |a, b| {
            bad(b);
            a.max(b)
        }),
        // Pairs are combined within the closure that makes them.
        "reduce of what map made" => rows.map(|pair| pair).reduce(move |a, b| {
            bad(b);
            a.max(b)
        }),
        "map for reduce" => rows
            .map(move |(k, n)| {
                bad(n);
                (k, n)
            })
            .reduce(i64::max),
        "try_map for reduce" => rows
            .try_map(|(k, n)| if n == 17 { Err("seventeen") } else { Ok((k, n)) })
            .reduce(i64::max),
        "fold" => rows.fold(0, move |a, b| {
            bad(b);
            a + b
        }),
        "repartition" => rows.repartition(move |_, (_, n)| {
            bad(n);
            0
        }),
        "map_values" => rows.map_values(move |n| {
            bad(n);
            n
        }),
        "emit" => rows.emit(move |(k, n), out| {
            bad(n);
            out.push((k, n));
        }),
        "try_flat_map" => {
            rows.try_flat_map(|(k, n)| if n == 17 { Err("seventeen") } else { Ok(vec![(k, n)]) })
        }
        "try_flat_map that panics" => rows.try_flat_map(move |(k, n)| {
            bad(n);
            Ok::<_, String>([(k, n)])
        }),
        "map_batches" => rows.map_batches(|batch: RecordBatch| match has_seventeen(&batch) {
            true => Err("seventeen"),
            false => Ok(batch),
        }),
        "map_batches that panics" => rows.map_batches(|batch: RecordBatch| {
            assert!(!has_seventeen(&batch), "seventeen");
            Ok::<_, String>(batch)
        }),
        "map_partitions" => rows.map_partitions(move |_, mut rows| {
            assert!(!rows.any(|(_, n)| n == 17), "seventeen");
            []
        }),
        // It fails while its rows are read.
        "map_partitions whose rows panic" => {
            rows.map_partitions(move |_, rows| rows.inspect(move |(_, n)| bad(*n)))
        }
        "for_each_shard" => rows.for_each_shard(|_, mut rows| {
            if rows.any(|(_, n)| n == 17) { Err("seventeen") } else { Ok((0, 0)) }
        }),
        "for_each_shard that panics" => rows.for_each_shard(move |_, rows| {
            rows.for_each(|(_, n)| bad(n));
            Ok::<_, String>((0, 0))
        }),
        "top_k" => rows.top_k(3, move |(_, n)| {
            bad(n);
            n
        }),
        "sort_by" => rows.sort_by(move |(_, n)| {
            bad(n);
            n
        }),
        source => fails_in_source(source),
    }
}

fn fails_in_source(source: &str) -> Slice<(i64, i64)> {
    let bad = |n: i64| assert!(n != 17, "seventeen");
    match source {
        "reader" => Slice::reader(2, |shard| {
            (0..20i64).map(move |n| if n == 17 { Err("seventeen") } else { Ok((shard as i64, n)) })
        }),
        "reader that panics" => Slice::reader(2, move |shard| {
            bad(17 * shard as i64);
            [Ok::<_, String>((0, 0))]
        }),
        "batches" => Slice::batches(2, |shard| {
            let end = if shard == 1 { Err("seventeen") } else { Ok(one_row()) };
            futures::stream::iter([Ok(one_row()), end])
        }),
        "batches that panics" => Slice::batches(2, move |shard| {
            bad(17 * shard as i64);
            futures::stream::iter([Ok::<_, String>(one_row())])
        }),
        "batches whose stream panics" => Slice::batches(2, move |shard| {
            futures::stream::iter(0..2).map(move |_| {
                bad(17 * shard as i64);
                Ok::<_, String>(one_row())
            })
        }),
        verb => panic!("no verb {verb}"),
    }
}

fn has_seventeen(batch: &RecordBatch) -> bool {
    batch.column(1).as_primitive::<Int64Type>().values().contains(&17)
}

fn one_row() -> RecordBatch {
    let column = || Arc::new(Int64Array::from(vec![0])) as ArrayRef;
    RecordBatch::try_from_iter([("_0", column()), ("_1", column())]).unwrap()
}

async fn every_verb_catches(world: &World) {
    // Whether the shard is that of the row, or one that rows have moved to.
    let verbs = [
        ("filter", true),
        ("try_filter", true),
        ("flat_map", true),
        ("inspect", true),
        ("key_by", true),
        ("reduce", false),
        ("reduce of what map made", false),
        ("map for reduce", true),
        ("try_map for reduce", true),
        ("fold", false),
        ("repartition", true),
        ("map_values", true),
        ("emit", true),
        ("try_flat_map", true),
        ("try_flat_map that panics", true),
        ("map_batches", true),
        ("map_batches that panics", true),
        ("map_partitions", true),
        ("map_partitions whose rows panic", true),
        ("for_each_shard", true),
        ("for_each_shard that panics", true),
        ("top_k", true),
        ("sort_by", true),
        ("reader", false),
        ("reader that panics", true),
        ("batches", true),
        ("batches that panics", true),
        ("batches whose stream panics", true),
    ];
    let source: Vec<&str> = include_str!("errors.rs").lines().collect();
    for (name, stays) in verbs {
        let error = world.error(fails_in(name.to_owned())).await;
        let text = error.to_string();
        assert!(error.is_user_error() && !error.is_retryable(), "{name}: {error:?}");
        let verb = name.split(' ').next().unwrap_or(name);
        let rest = text.strip_prefix(&format!("{verb} at tests/slices/errors.rs:")).expect(&text);
        let (place, rest) = rest.split_once(", shard ").expect(&text);
        let (shard, message) = rest.split_once(": ").expect(&text);
        let line: usize = place.split(':').next().unwrap().parse().expect(&text);
        let called = [format!(".{verb}("), format!("::{verb}(")];
        assert!(called.iter().any(|call| source[line - 1].contains(call)), "{name}: {text}");
        let shard: usize = shard.parse().expect(&text);
        assert!(if stays { shard == 1 } else { shard < 3 }, "{name}: {text}");
        assert!(["seventeen", "panicked: seventeen"].contains(&message), "{name}: {text}");
    }
    let error = world.error(fails_in("none".to_owned())).await;
    assert!(error.to_string().contains("no verb none"), "{error}");
    assert_eq!(world.rows(panics_at(-1)).await.len(), 100);
}

#[bigslice::func]
fn cannot(panics: bool) -> Result<Slice<i64>> {
    assert!(!panics, "it cannot be");
    Slice::read_parquet(Vec::<String>::new())
}

async fn a_func_that_panics_or_fails_leaves_the_session(world: &World) {
    let error = world.error(cannot(true)).await;
    assert!(error.to_string().contains("it cannot be"), "{error}");
    let error = world.error(cannot(false)).await.to_string();
    assert!(error.contains("errors::cannot") && error.contains("no path to read"), "{error}");
    assert_eq!(world.rows(panics_at(-1)).await.len(), 100);
}

#[bigslice::func]
fn beyond() -> Slice<i64> {
    Slice::const_(2, 0..10i64).repartition(|shards, _| shards)
}

async fn a_shard_that_is_not_there(world: &World) {
    let error = world.error(beyond()).await.to_string();
    assert!(error.contains("shard 2 is out of range: there are 2 shards"), "{error}");
    let run = world.done(panics_at(-1)).await;
    let error = run.shard(4).await.unwrap_err().to_string();
    assert_eq!(error, "there is no shard 4: the run has 4");
}

#[bigslice::func]
fn mistyped() -> Slice<i64> {
    Slice::batches(1, |_| {
        let rows = StringArray::from_iter_values(["a"]);
        let batch = RecordBatch::try_from_iter([("value", Arc::new(rows) as ArrayRef)]);
        futures::stream::iter([batch])
    })
}

async fn rows_that_are_not_what_they_seem(world: &World) {
    let error = world.error(mistyped()).await.to_string();
    assert!(error.contains("batches at ") && error.contains("\"value\""), "{error}");
    assert!(error.contains("Utf8") && error.contains("Int64"), "{error}");
}

#[bigslice::func]
fn moody() -> Slice<i64> {
    let rows = Slice::const_(1, 0..3i64);
    static CALLS: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    // A different slice at each call in one process.
    let calls = CALLS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    if calls.is_multiple_of(2) { rows.map(|x| x + 1) } else { rows.filter(|x| x > 0) }
}

async fn a_func_that_builds_something_else_each_time(world: &World) {
    // In one process, the driver's own slice is run. Machines within it share the count, so that
    // the second call differs; processes have their own counts, and agree.
    if world.session.machines().iter().any(|machine| machine.pid.is_none()) {
        let error = world.error(moody()).await.to_string();
        assert!(error.contains("built another slice on this machine"), "{error}");
        assert!(error.contains("\"map\"") && error.contains("\"filter\""), "{error}");
        assert!(error.contains("errors.rs:"), "{error}");
    }
}

#[bigslice::func]
fn only_in(process: u32) -> Slice<i64> {
    let rows = Slice::const_(1, 0..3i64).map(|x| x + 1);
    if std::process::id() == process { rows } else { rows.filter(|x| x > 0).map(|x| -x) }
}

async fn a_func_that_builds_something_else_elsewhere(world: &World) {
    let call = only_in(std::process::id());
    if world.session.machines().iter().all(|machine| machine.pid.is_none()) {
        assert_eq!(world.rows(call).await, [1, 2, 3]);
        return;
    }
    let error = world.error(call).await;
    assert!(error.is_user_error() && !error.is_retryable(), "{error:?}");
    let text = error.to_string();
    let (begin, rest) = text.split_once(": step 3: ").expect(&text);
    assert!(begin.starts_with("the func \"") && begin.contains("errors::only_in"), "{text}");
    let right = "the driver built nothing more, the machine built \"filter\" at tests/slices/";
    assert!(rest.starts_with(right), "{text}");
}

#[bigslice::func]
fn cut_short(path: String) -> Slice<u64> {
    Slice::const_(1, 0..20_000u64)
        .try_map(|n| if n == 15_000 { Err("cut short") } else { Ok(n) })
        .for_each_shard(move |_, rows| {
            let n = rows.count() as u64;
            std::fs::write(&path, "all of it").map(|()| n)
        })
}

async fn nobody_takes_a_part_of_a_shard_for_all_of_it(world: &World) {
    let path = world.path("whole");
    let error = world.error(cut_short(path.clone())).await.to_string();
    assert!(error.starts_with("try_map at ") && error.ends_with("cut short"), "{error}");
    assert!(!std::path::Path::new(&path).exists(), "a part was taken for the whole");
}
