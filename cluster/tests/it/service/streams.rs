//! Streams of arguments and of replies: complete, in order, with an end or an error, and never far
//! ahead of their reader.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bigslice_cluster::{Blob, CallError, Machine};
use futures::{StreamExt, TryStreamExt, stream};

use super::super::harness::{DEADLINE, Place, in_process, run, systems};
use super::probe::{Counted, Probe, ProbeError};
use super::start;

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("service::streams::of_replies", of_replies),
    ("service::streams::of_arguments", of_arguments),
    ("service::streams::both_ways_at_once", both_ways_at_once),
    ("service::streams::errors_come_where_they_happen", errors_come_where_they_happen),
    ("service::streams::replies_wait_for_their_reader", replies_wait_for_their_reader),
    ("service::streams::arguments_wait_for_the_method", arguments_wait_for_the_method),
    ("service::streams::an_input_that_panics_is_the_callers", an_input_that_panics_is_the_callers),
];

/// The size of a block.
const BLOCK: usize = 64 << 10;
/// The bytes on the way in one direction: HTTP/2's window of a stream (4 MiB), and half as much
/// again for the buffers at both ends.
const AHEAD_MAX: u64 = (6 << 20) / BLOCK as u64;

pub(super) async fn counted(machine: &Machine) -> Counted {
    machine.call(Probe::counted, ()).await.expect("it answers")
}

/// Waits until `count` has not grown for a while, and returns it.
async fn settled(mut count: impl AsyncFnMut() -> u64) -> u64 {
    const STILL: Duration = Duration::from_millis(300);
    let mut last = count().await;
    loop {
        tokio::time::sleep(STILL).await;
        let now = count().await;
        if now == last && now > 0 {
            return now;
        }
        last = now;
    }
}

fn of_replies() {
    run(async {
        for system in systems() {
            let place = Place::new();
            let fleet = start(&place, system, 1).await;
            let machine = fleet.machines().remove(0);
            let n = 20_000;
            let replies = machine.call(Probe::count_to, n).await.expect("it begins");
            let items: Vec<u64> = replies.try_collect().await.expect("it ends");
            assert_eq!(items, (0..n).collect::<Vec<_>>());
            let none = machine.call(Probe::count_to, 0).await.expect("it begins");
            assert_eq!(none.count().await, 0);
            fleet.shutdown().await;
        }
    });
}

fn of_arguments() {
    run(async {
        for system in systems() {
            let place = Place::new();
            let fleet = start(&place, system, 1).await;
            let machine = fleet.machines().remove(0);
            let n = 20_000;
            let sum = machine.call_with_input(Probe::sum, 5, stream::iter(0..n)).await;
            assert_eq!(sum.expect("they are numbers"), 5 + n * (n - 1) / 2);
            let sum = machine.call_with_input(Probe::sum, 5, stream::empty()).await;
            assert_eq!(sum.expect("none"), 5);
            fleet.shutdown().await;
        }
    });
}

fn both_ways_at_once() {
    run(async {
        for system in systems() {
            let place = Place::new();
            let fleet = start(&place, system, 1).await;
            let machine = fleet.machines().remove(0);
            // Each item is sent only when the answer to the one before has come.
            let (sender, items) = tokio::sync::mpsc::channel(1);
            let items = tokio_stream::wrappers::ReceiverStream::new(items);
            let mut replies =
                machine.call_with_input(Probe::double, (), items).await.expect("it begins");
            for n in 0..500_u64 {
                sender.send(n).await.expect("it is read");
                assert_eq!(replies.next().await.expect("an answer").expect("a number"), 2 * n);
            }
            drop(sender);
            assert!(replies.next().await.is_none());
            fleet.shutdown().await;
        }
    });
}

fn errors_come_where_they_happen() {
    run(async {
        for system in systems() {
            let place = Place::new();
            let fleet = start(&place, system, 1).await;
            let machine = fleet.machines().remove(0);

            let at_once = machine.call(Probe::count_until, (0, false)).await.expect_err("no");
            assert_eq!(at_once.failed(), Some(&ProbeError::Odd(0)));

            for (panics, n) in [(false, 100), (true, 100)] {
                let call = machine.call(Probe::count_until, (n, panics));
                let mut replies = call.await.expect("it begins");
                for expected in 0..n {
                    assert_eq!(replies.next().await.expect("an item"), Ok(expected));
                }
                match replies.next().await.expect("the error").expect_err("the error") {
                    CallError::Failed(failed) => {
                        assert_eq!((failed.error, panics), (ProbeError::Odd(n), false));
                    }
                    CallError::Panicked(panicked) => {
                        assert_eq!((panicked.text.as_str(), panics), ("at 100", true));
                    }
                    other => panic!("{other:?}"),
                }
                assert!(replies.next().await.is_none());
            }
            fleet.shutdown().await;
        }
    });
}

fn replies_wait_for_their_reader() {
    run(async {
        for system in systems() {
            let place = Place::new();
            let fleet = start(&place, system, 1).await;
            let machine = fleet.machines().remove(0);
            let mut replies = machine.call(Probe::blocks, BLOCK).await.expect("it begins");
            // Without a reader it stops by itself.
            let made = settled(async || counted(&machine).await.made).await;
            assert!(made <= AHEAD_MAX, "{made} blocks are made before one is read");
            // Other calls are not delayed by it.
            assert_eq!(machine.call(Probe::add, (1, 2)).await, Ok(3));
            let read = 3 * AHEAD_MAX;
            for _ in 0..read {
                assert_eq!(
                    replies.next().await.expect("it goes on").expect("it does").len(),
                    BLOCK
                );
            }
            let made = settled(async || counted(&machine).await.made).await;
            assert!(made > read && made <= read + AHEAD_MAX, "{made} made, {read} read");
            drop(replies);
            let gone = async || counted(&machine).await.dropped;
            assert_eq!(settled(gone).await, 1);
            fleet.shutdown().await;
        }
    });
}

fn arguments_wait_for_the_method() {
    run(async {
        for system in systems() {
            let place = Place::new();
            let fleet = start(&place, system, 1).await;
            let machine = fleet.machines().remove(0);
            let made = Arc::new(AtomicU64::new(0));
            let making = Arc::clone(&made);
            let input = stream::repeat_with(move || {
                making.fetch_add(1, Ordering::SeqCst);
                Blob::from(vec![7; BLOCK])
            });
            let taken = 2 * AHEAD_MAX;
            let mut call = machine.call_with_input(Probe::take, taken, input);
            let settled = settled(async || made.load(Ordering::SeqCst));
            let settled = tokio::select! {
                end = &mut call => panic!("it never ends: {end:?}"),
                made = tokio::time::timeout(DEADLINE, settled) => made.expect("it stops by itself"),
            };
            assert!(settled >= taken && settled <= taken + AHEAD_MAX, "{settled} of {taken}");
            assert_eq!(counted(&machine).await.taken, taken);
            drop(call);
            fleet.shutdown().await;
        }
    });
}

fn an_input_that_panics_is_the_callers() {
    run(async {
        let place = Place::new();
        let fleet = start(&place, in_process(), 1).await;
        let machine = fleet.machines().remove(0);
        let input = stream::iter(0..).map(|n: u64| if n < 10 { n } else { panic!("mine") });
        let call = machine.call_with_input(Probe::sum, 0, input);
        let joined = tokio::runtime::Handle::current().spawn(call).await;
        let payload = joined.expect_err("it panics").into_panic();
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"mine"));
        assert_eq!(machine.call(Probe::add, (1, 2)).await, Ok(3));
        fleet.shutdown().await;
    });
}
