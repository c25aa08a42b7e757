//! Maps: results as they finish, each with its own error.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bigslice::prelude::*;
use futures::StreamExt;
use serde::{Deserialize, Serialize};

use crate::cases;
use crate::world::World;

cases![
    any_serde_values_are_mapped,
    each_item_has_its_own_error,
    results_come_as_they_finish,
    items_are_taken_as_there_is_room,
    async_functions_are_mapped,
    what_is_too_large_is_an_error_of_its_item,
    a_map_is_ended_by_dropping_it,
    an_iterator_that_panics_ends_the_map,
    a_map_of_nothing_and_of_a_closed_session,
];

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
enum Shape {
    Circle { radius: f64 },
    Polygon(Vec<(f64, f64)>),
}

/// The area, and the shape that it belongs to.
#[bigslice::map]
fn measured(shape: Shape, scale: f64) -> (f64, Option<Shape>) {
    let area = match &shape {
        Shape::Circle { radius } => 3.0 * radius * radius,
        Shape::Polygon(corners) => corners.len() as f64,
    };
    (area * scale * scale, Some(shape))
}

#[bigslice::map]
fn checked(n: i64) -> Result<i64, String> {
    assert!(n != 13, "thirteen of all");
    if n % 10 == 7 { Err(format!("{n} ends in seven")) } else { Ok(n * n) }
}

async fn any_serde_values_are_mapped(world: &World) {
    let circle = Shape::Circle { radius: 2.0 };
    let polygon = Shape::Polygon(vec![(0.0, 0.0), (1.0, 0.5)]);
    let items = vec![(circle.clone(), 1.0), (polygon.clone(), 3.0)];
    let found = world.session.map(measured, items).collect().await.unwrap();
    assert_eq!(found, [(12.0, Some(circle)), (18.0, Some(polygon.clone()))]);
    assert_eq!(measured(polygon, 1.0).0, 2.0);
    let many = (0..3000i64).map(|n| n * 10);
    let found = world.session.map(checked, many).collect().await.unwrap();
    assert!(found.into_iter().eq((0..3000).map(|n| n * n * 100)));
}

async fn each_item_has_its_own_error(world: &World) {
    let outcomes = world.session.map(checked, 10..20i64).outcomes().await;
    assert_eq!(outcomes.len(), 10);
    for (n, outcome) in (10..20).zip(outcomes) {
        let Err(error) = outcome else {
            assert_eq!(outcome.unwrap(), n * n);
            continue;
        };
        let text = error.to_string();
        let (place, said) = text.rsplit_once(": ").unwrap();
        assert!(place.contains("mapping::checked at tests/slices/mapping.rs:"), "{text}");
        match n {
            13 => assert!(text.ends_with(": panicked: thirteen of all"), "{text}"),
            n => assert_eq!(said, format!("{n} ends in seven")),
        }
        assert!(error.is_user_error() && !error.is_retryable(), "{error:?}");
    }
    let error = world.session.map(checked, [1, 27, 2]).collect().await.unwrap_err();
    assert!(error.to_string().ends_with("27 ends in seven"), "{error}");
}

/// Waits until a file is there.
#[bigslice::map]
fn after(file: Option<String>) -> Result<bool, String> {
    let Some(file) = file else { return Ok(false) };
    for _ in 0..2000 {
        if Path::new(&file).exists() {
            return Ok(true);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err("nobody came".to_owned())
}

async fn results_come_as_they_finish(world: &World) {
    // The first waits for an effect of the second's result.
    let flag = world.path("flag");
    let mut results = world.session.map(after, [Some(flag.clone()), None]);
    let (index, waited) = results.next().await.unwrap();
    assert_eq!((index, waited.unwrap()), (1, false));
    std::fs::write(&flag, "").unwrap();
    let (index, waited) = results.next().await.unwrap();
    assert_eq!((index, waited.unwrap()), (0, true));
    assert!(results.next().await.is_none());
}

async fn items_are_taken_as_there_is_room(world: &World) {
    let taken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&taken);
    // An endless iterator.
    let items = (0i64..).map(move |n| {
        count.fetch_add(1, Ordering::Relaxed);
        n * 10
    });
    let mut results = world.session.map(checked, items);
    for _ in 0..20 {
        results.next().await.unwrap().1.unwrap();
    }
    // Without a reader, the map stops taking items at some point.
    let mut before = 0;
    loop {
        let now = taken.load(Ordering::Relaxed);
        if now == before {
            break;
        }
        before = now;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let slots =
        std::thread::available_parallelism().unwrap().get() * world.session.machines().len().max(1);
    assert!(before <= 20 + slots + 4, "{before} items for {slots} slots");
    results.next().await.unwrap().1.unwrap();
}

#[bigslice::map]
async fn slept(ms: u64) -> Result<u64, String> {
    tokio::time::sleep(Duration::from_millis(ms)).await;
    assert!(ms != 3, "three of all");
    if ms == 4 { Err("four".to_owned()) } else { Ok(ms) }
}

async fn async_functions_are_mapped(world: &World) {
    let outcomes = world.session.map(slept, 1..=5).outcomes().await;
    let said = outcomes.into_iter().map(|outcome| match outcome {
        Ok(ms) => ms.to_string(),
        Err(error) => error.to_string().rsplit(": ").next().unwrap().to_owned(),
    });
    assert_eq!(said.collect::<Vec<_>>(), ["1", "2", "three of all", "four", "5"]);
    assert_eq!(slept(1).await, Ok(1));
}

#[bigslice::map]
fn sized(bytes: String, out: usize) -> String {
    format!("{}{}", bytes.len(), " ".repeat(out))
}

async fn what_is_too_large_is_an_error_of_its_item(world: &World) {
    const MIB: usize = 1 << 20;
    let items = [(70 * MIB, 0), (0, 70 * MIB), (MIB, 9)];
    let items = items.map(|(item, out)| ("x".repeat(item), out));
    let outcomes = world.session.map(sized, items).outcomes().await;
    let error = |n: usize| outcomes[n].as_ref().unwrap_err().to_string();
    assert!(error(0).contains("the item takes 71 MiB, but at most 63 MiB"), "{}", error(0));
    assert!(error(1).contains("the result takes 71 MiB, but at most 63 MiB"), "{}", error(1));
    assert_eq!(outcomes[2].as_ref().unwrap(), "1048576         ");
}

/// Creates a file when it begins, and removes it when it is dropped.
#[bigslice::map]
async fn lingering(file: String) {
    struct Present(String);
    impl Drop for Present {
        fn drop(&mut self) {
            std::fs::remove_file(&self.0).unwrap();
        }
    }
    std::fs::write(&file, "").unwrap();
    let _present = Present(file);
    std::future::pending().await
}

async fn a_map_is_ended_by_dropping_it(world: &World) {
    let (file, other) = (world.path("present"), world.path("other"));
    let mut results = world.session.map(lingering, [file.clone(), other.clone()]);
    tokio::select! {
        _ = results.next() => panic!("an endless call ended"),
        () = async {
            while !Path::new(&file).exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        } => {}
    }
    drop(results);
    while Path::new(&file).exists() || Path::new(&other).exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(world.session.map(checked, [3]).collect().await.unwrap(), [9]);
}

async fn an_iterator_that_panics_ends_the_map(world: &World) {
    let items = (0..100i64).map(|n| if n == 5 { panic!("no fifth item") } else { n });
    let outcomes = world.session.map(checked, items).outcomes().await;
    assert_eq!(outcomes.len(), 6);
    let error = outcomes[5].as_ref().unwrap_err().to_string();
    assert_eq!(error, "the iterator of items panicked: no fifth item");
    assert_eq!(*outcomes[4].as_ref().unwrap(), 16);
}

async fn a_map_of_nothing_and_of_a_closed_session(world: &World) {
    assert_eq!(world.session.map(checked, []).collect().await.unwrap(), [0i64; 0]);
    let flag = world.path("flag");
    let begun = world.session.map(after, [Some(flag.clone())]);
    let here = world.session.machines().is_empty();
    world.session.shutdown().await;
    std::fs::write(&flag, "").unwrap();
    match begun.collect().await {
        Ok(found) => assert!(here && found == [true], "{found:?}"),
        Err(error) => assert!(matches!(error, Error::Closed), "{error}"),
    }
    let error = world.session.map(checked, 0..10).collect().await.unwrap_err();
    assert!(matches!(error, Error::Closed), "{error}");
}
