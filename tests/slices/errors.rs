//! What goes wrong in a user's code: it ends the run with an error that says where, and nothing else.

use bigslice::prelude::*;

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
        "reader" => Slice::reader(2, |shard| {
            (0..20i64).map(move |n| if n == 17 { Err("seventeen") } else { Ok((shard as i64, n)) })
        }),
        verb => panic!("no verb {verb}"),
    }
}

async fn every_verb_catches(world: &World) {
    let verbs = [
        "filter",
        "try_filter",
        "flat_map",
        "inspect",
        "key_by",
        "reduce",
        "reduce of what map made",
        "map for reduce",
        "try_map for reduce",
        "fold",
        "repartition",
        "reader",
    ];
    for verb in verbs {
        let error = world.error(fails_in(verb.to_owned())).await;
        let text = error.to_string();
        let verb = verb.split(' ').next().unwrap_or(verb);
        assert!(text.starts_with(&format!("{verb} at tests/slices/errors.rs:")), "{text}");
        assert!(text.contains("seventeen") && error.is_user_error(), "{text}");
    }
    let error = world.error(fails_in("none".to_owned())).await;
    assert!(error.to_string().contains("no verb none"), "{error}");
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
    assert!(error.contains("there is no shard 2 among 2"), "{error}");
    let run = world.done(panics_at(-1)).await;
    let error = run.shard(4).await.unwrap_err().to_string();
    assert_eq!(error, "there is no shard 4 among 4");
}

#[bigslice::func]
fn mistyped() -> Slice<i64> {
    use arrow::array::{ArrayRef, RecordBatch, StringArray};
    Slice::batches(1, |_| {
        let rows = StringArray::from_iter_values(["a"]);
        let batch = RecordBatch::try_from_iter([("value", std::sync::Arc::new(rows) as ArrayRef)]);
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
    // Another slice whenever it is called in one process.
    let calls = CALLS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    if calls.is_multiple_of(2) { rows.map(|x| x + 1) } else { rows.filter(|x| x > 0) }
}

async fn a_func_that_builds_something_else_each_time(world: &World) {
    // In one process the driver's own slice is run. Machines within it share the count, so that the
    // second call differs; processes have counts of their own, and agree.
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
