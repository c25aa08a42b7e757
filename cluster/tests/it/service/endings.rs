//! Calls that end before their method does: dropped, timed out, or with their machine.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bigslice_cluster::{
    Address, CallError, Fleet, FleetConfig, Machine, Remote, Services, State, service,
};
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use super::super::harness::{DEADLINE, Place, eventually, in_process, local, run, stop, systems};
use super::probe::{Counted, Probe};
use super::streams::counted;
use super::{probes, start};

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("service::endings::a_dropped_call_is_dropped_there", a_dropped_call_is_dropped_there),
    (
        "service::endings::a_dropped_call_is_dropped_behind_it_too",
        a_dropped_call_is_dropped_behind_it_too,
    ),
    ("service::endings::a_late_call_is_dropped_there", a_late_call_is_dropped_there),
    ("service::endings::a_killed_machine_is_named", a_killed_machine_is_named),
    ("service::endings::a_killed_machine_works_no_more", a_killed_machine_works_no_more),
    ("service::endings::a_frozen_machine_is_named", a_frozen_machine_is_named),
    ("service::endings::a_stopped_fleet_answers_nobody", a_stopped_fleet_answers_nobody),
    ("service::endings::tried_again_until_it_answers", tried_again_until_it_answers),
    ("service::endings::not_tried_again_for_nothing", not_tried_again_for_nothing),
];

/// Waits until the counts of a machine have the wanted values.
async fn until(machine: &Machine, what: &str, wanted: impl Fn(&Counted) -> bool) {
    let began = Instant::now();
    loop {
        let counts = counted(machine).await;
        if wanted(&counts) {
            return;
        }
        assert!(began.elapsed() < DEADLINE, "still waiting for {what}: {counts:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn a_dropped_call_is_dropped_there() {
    run(async {
        for system in systems() {
            let place = Place::new();
            let fleet = start(&place, system, 1).await;
            let machine = fleet.machines().remove(0);
            let mut calls: Vec<_> = (0..10).map(|_| machine.call(Probe::hang, ())).collect();
            let at_work = until(&machine, "the calls", |counts| counts.at_work == 10);
            tokio::select! {
                end = futures::future::select_all(&mut calls) => panic!("they hang: {:?}", end.0),
                () = at_work => {}
            }
            calls.truncate(3);
            until(&machine, "seven ends", |counts| (counts.at_work, counts.dropped) == (3, 7))
                .await;
            drop(calls);
            until(&machine, "all ends", |counts| (counts.at_work, counts.dropped) == (0, 10)).await;
            // A call that was never polled was never made.
            drop(machine.call(Probe::add, (1, 2)));
            assert_eq!(counted(&machine).await.calls, 0);
            fleet.shutdown().await;
        }
    });
}

fn a_dropped_call_is_dropped_behind_it_too() {
    run(async {
        for system in systems() {
            let place = Place::new();
            let fleet = start(&place, system, 2).await;
            let machines = fleet.machines();
            let behind = machines[1].address().expect("it runs");
            let call = machines[0].call(Probe::hang_at, behind);
            let call = tokio::runtime::Handle::current().spawn(call);
            until(&machines[1], "the call behind", |counts| counts.at_work == 1).await;
            call.abort();
            for machine in &machines {
                until(machine, "its end", |counts| (counts.at_work, counts.dropped) == (0, 1))
                    .await;
            }
            fleet.shutdown().await;
        }
    });
}

fn a_late_call_is_dropped_there() {
    run(async {
        for system in systems() {
            let place = Place::new();
            let fleet = start(&place, system, 1).await;
            let machine = fleet.machines().remove(0);
            let late = machine.call(Probe::hang, ()).timeout(Duration::from_millis(300)).await;
            assert!(matches!(late, Err(CallError::TimedOut(_))), "{late:?}");
            until(&machine, "its end", |counts| (counts.at_work, counts.dropped) == (0, 1)).await;
            fleet.shutdown().await;
        }
    });
}

fn a_killed_machine_is_named() {
    run(async {
        for system in systems() {
            let place = Place::new();
            let reason = if system.name() == "local" { "killed by signal 9" } else { "killed" };
            let fleet = start(&place, system, 2).await;
            let machine = fleet.machines().remove(1);
            let mut replies = machine.call(Probe::blocks, 1000).await.expect("it begins");
            assert!(replies.next().await.is_some_and(|item| item.is_ok()));
            let call = tokio::runtime::Handle::current().spawn(machine.call(Probe::hang, ()));
            until(&machine, "the calls", |counts| counts.at_work == 2).await;

            machine.kill();
            let err = call.await.expect("no panic").expect_err("it is lost");
            let CallError::Transport(lost) = &err else { panic!("{err:?}") };
            assert_eq!((&lost.machine, lost.reason.as_str()), (machine.name(), reason));
            assert!(err.is_retryable());
            let mut ends = std::pin::pin!(replies.filter_map(async |item| item.err()));
            let last = ends.next().await;
            let Some(CallError::Transport(lost)) = last else { panic!("{last:?}") };
            assert_eq!(lost.machine, *machine.name());

            // Its replies end at once.
            let err = machine.call(Probe::add, (1, 2)).await.expect_err("it is lost");
            assert!(err.to_string().ends_with(reason), "{err}");
            assert_eq!(machine.err().as_deref(), Some(reason));
            fleet.wait_for(2, DEADLINE).await.expect("another takes its place");
            assert_eq!(fleet.machines()[1].call(Probe::add, (1, 2)).await, Ok(3));
            fleet.shutdown().await;
        }
    });
}

fn a_killed_machine_works_no_more() {
    /// Of this process's machines.
    static AT_WORK: AtomicU64 = AtomicU64::new(0);

    struct Working;

    impl Drop for Working {
        fn drop(&mut self) {
            AT_WORK.fetch_sub(1, Ordering::SeqCst);
        }
    }

    #[derive(Serialize, Deserialize)]
    struct Busy;

    #[service]
    impl Busy {
        async fn work(&self) {
            AT_WORK.fetch_add(1, Ordering::SeqCst);
            let _working = Working;
            loop {
                tokio::task::yield_now().await;
            }
        }
    }

    run(async {
        let place = Place::new();
        let services = Services::new().with(&Busy).expect("it can be encoded");
        let config = FleetConfig { services, ..place.config(2, "") };
        let fleet = Fleet::start(in_process(), config).await.expect("it starts");
        let machines = fleet.machines();
        let calls: Vec<_> = machines
            .iter()
            .map(|m| tokio::runtime::Handle::current().spawn(m.call(Busy::work, ())))
            .collect();
        eventually("both to work", || (AT_WORK.load(Ordering::SeqCst) == 2).then_some(())).await;
        machines[0].kill();
        eventually("one to end", || (AT_WORK.load(Ordering::SeqCst) == 1).then_some(())).await;
        drop(fleet);
        eventually("all to end", || (AT_WORK.load(Ordering::SeqCst) == 0).then_some(())).await;
        for call in calls {
            let ended = call.await.expect("no panic");
            assert!(matches!(ended, Err(CallError::Transport(_))), "{ended:?}");
        }
    });
}

fn a_frozen_machine_is_named() {
    run(async {
        let place = Place::new();
        let config = FleetConfig {
            services: probes(),
            lease: Duration::from_secs(1),
            ..place.config(1, "")
        };
        let fleet = Fleet::start(local(), config).await.expect("it starts");
        let machine = fleet.machines().remove(0);
        assert_eq!(machine.call(Probe::add, (1, 2)).await, Ok(3));
        stop(machine.pid().expect("a process")).await;
        let err = machine.call(Probe::add, (1, 2)).await.expect_err("it is frozen");
        assert_eq!(machine.state(), State::Stopped);
        let text = err.to_string();
        assert!(text.starts_with("lost machine \"m0\" while calling"), "{text}");
        assert!(text.contains("its lease of 1 s lapsed"), "{text}");
        fleet.shutdown().await;
    });
}

fn a_stopped_fleet_answers_nobody() {
    run(async {
        for system in systems() {
            let place = Place::new();
            let fleet = start(&place, system, 1).await;
            let machine = fleet.machines().remove(0);
            let call = tokio::runtime::Handle::current().spawn(machine.call(Probe::hang, ()));
            until(&machine, "the call", |counts| counts.at_work == 1).await;
            fleet.shutdown().await;
            let ended = call.await.expect("no panic").expect_err("it is over");
            assert!(matches!(ended, CallError::Transport(_)), "{ended:?}");
            let late = machine.call(Probe::add, (1, 2)).await.expect_err("it is over");
            assert!(late.to_string().ends_with("it was stopped"), "{late}");
        }
    });
}

/// A proxy to a machine that cuts connections: the first ones at once, open ones on request.
struct Flaky {
    address: Address,
    cut: Arc<AtomicU64>,
    now: Arc<Notify>,
    _way: AbortOnDropHandle<()>,
}

impl Flaky {
    async fn new(machine: &Machine, first: u64) -> Self {
        let port = machine.url().and_then(Url::port).expect("it runs");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let way = listener.local_addr().expect("a port");
        let address = format!("https://{way}/{}", machine.name()).parse().expect("an address");
        let (cut, now) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
        let (counted, told) = (Arc::clone(&cut), Arc::clone(&now));
        let way = tokio::runtime::Handle::current().spawn(async move {
            let mut ways = JoinSet::new();
            loop {
                let (mut near, _) = listener.accept().await.expect("a connection");
                if counted.load(Ordering::SeqCst) < first {
                    counted.fetch_add(1, Ordering::SeqCst);
                    continue;
                }
                let (counted, told) = (Arc::clone(&counted), Arc::clone(&told));
                ways.spawn(async move {
                    let far = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await;
                    let mut far = far.expect("the machine is there");
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        () = told.notified() => {
                            counted.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                });
            }
        });
        Self { address, cut, now, _way: AbortOnDropHandle::new(way) }
    }

    fn cut(&self) -> u64 {
        self.cut.load(Ordering::SeqCst)
    }
}

fn tried_again_until_it_answers() {
    run(async {
        for system in systems() {
            let place = Place::new();
            let fleet = start(&place, system, 1).await;
            let machine = fleet.machines().remove(0);
            let flaky = Flaky::new(&machine, 4).await;
            let remote = Remote::new(flaky.address.clone(), fleet.connector());
            let once = remote.call(Probe::add, (1, 2)).await.expect_err("it is cut");
            assert!(once.is_retryable(), "{once:?}");
            assert_eq!(flaky.cut(), 1);
            assert_eq!(remote.retry_call(Probe::add, (1, 2)).await, Ok(3));
            assert_eq!(flaky.cut(), 4);

            // Cut while it runs, it runs again.
            let call = remote.retry_call(Probe::hang, ());
            let call = tokio::runtime::Handle::current().spawn(call);
            until(&machine, "the call", |counts| counts.at_work == 1).await;
            flaky.now.notify_waiters();
            until(&machine, "the next", |counts| (counts.at_work, counts.dropped) == (1, 1)).await;
            assert_eq!(flaky.cut(), 5);
            call.abort();
            until(&machine, "its end", |counts| (counts.at_work, counts.dropped) == (0, 2)).await;
            fleet.shutdown().await;
        }
    });
}

fn not_tried_again_for_nothing() {
    run(async {
        let place = Place::new();
        let fleet = start(&place, in_process(), 1).await;
        let machine = fleet.machines().remove(0);
        // A method's own error is its answer.
        let odd = machine.retry_call(Probe::halve, 7).await.expect_err("seven is odd");
        assert!(odd.failed().is_some());
        let panicked = machine.retry_call(Probe::panic, "no".to_owned()).await;
        assert!(matches!(panicked, Err(CallError::Panicked(_))), "{panicked:?}");
        // The timeout covers all attempts together.
        let late = machine.retry_call(Probe::hang, ()).timeout(Duration::from_millis(50)).await;
        assert!(matches!(late, Err(CallError::TimedOut(_))), "{late:?}");
        until(&machine, "one end", |counts| counts.dropped == 1).await;
        // And a machine that is gone stays gone.
        machine.kill();
        machine.wait(State::Stopped).await;
        let began = Instant::now();
        let gone = machine.retry_call(Probe::add, (1, 2)).await;
        assert!(matches!(gone, Err(CallError::Transport(_))), "{gone:?}");
        assert!(began.elapsed() < Duration::from_secs(2));
        fleet.shutdown().await;
    });
}
