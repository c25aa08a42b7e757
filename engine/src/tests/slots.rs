//! Slices that ask for slots of a machine. A machine has several cores here, whatever this computer
//! has.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::SessionBuilder;
use crate::prelude::*;

/// The slots of a machine.
const SLOTS: usize = 4;
/// Tasks of a run.
const TASKS: usize = 12;
/// Far longer than any test takes: reaching it is a failure.
const DEADLINE: Duration = Duration::from_secs(60);
/// Without a change for this long, nothing more will change.
const A_WHILE: Duration = Duration::from_millis(300);

fn with_slots(mut builder: SessionBuilder) -> SessionBuilder {
    builder.config.machine_cores = Some(SLOTS);
    builder
}

/// What the tasks of one test count: at once, and at most.
struct Crowd {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Crowd {
    const fn new() -> Self {
        Self { now: AtomicUsize::new(0), most: AtomicUsize::new(0) }
    }

    /// One task, which continues once this number was there at once, and a while later.
    fn enter(&self, expected: usize) {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        let began = Instant::now();
        while self.most.load(Ordering::SeqCst) < expected && began.elapsed() < DEADLINE {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(20));
        self.now.fetch_sub(1, Ordering::SeqCst);
    }
}

static CROWD: Crowd = Crowd::new();

#[bigslice::func]
fn crowded(procs: usize, expected: usize) -> Slice<u64> {
    let rows = Slice::reader(TASKS, move |shard| {
        CROWD.enter(expected);
        [Ok::<_, String>(shard as u64)]
    });
    rows.procs(procs).filter(|_| true)
}

#[tokio::test]
async fn tasks_that_take_some_slots_share_a_machine_with_as_many_as_fit() {
    let systems = [(SystemSpec::Here, 1), (SystemSpec::InProcess { machines: 2 }, 2)];
    for (system, machines) in systems {
        let session = with_slots(Session::builder().system(system)).build().await.unwrap();
        for (procs, at_once) in [(1, 4), (2, 2), (3, 1), (4, 1), (9, 1)] {
            CROWD.most.store(0, Ordering::SeqCst);
            let run = session.run(crowded(procs, at_once * machines)).await.unwrap();
            assert_eq!(run.rows().await.unwrap(), TASKS as u64);
            let most = CROWD.most.load(Ordering::SeqCst);
            assert_eq!(most, at_once * machines, "procs({procs}) on {machines}");
        }
        session.shutdown().await;
    }
}

#[bigslice::func]
fn patient(asks: Option<usize>, file: String) -> Slice<u64> {
    let rows = Slice::reader(SLOTS, move |shard| {
        let began = Instant::now();
        while !std::path::Path::new(&file).exists() && began.elapsed() < DEADLINE {
            std::thread::sleep(Duration::from_millis(2));
        }
        [Ok::<_, String>(shard as u64)]
    });
    match asks {
        Some(n) => rows.procs(n),
        None => rows.exclusive(),
    }
}

#[tokio::test]
async fn as_many_machines_come_as_the_slots_of_tasks_ask_for() {
    // Four tasks, and machines of four slots.
    for (asks, machines) in [(Some(1), 1), (Some(2), 2), (Some(9), 4), (None, 4)] {
        let folder = tempfile::tempdir().unwrap();
        let builder = Session::builder().system("in-process".parse().unwrap()).elastic(6);
        let session = with_slots(builder).temp_root(folder.path()).build().await.unwrap();
        let file = folder.path().join("go");
        let run = session.run(patient(asks, file.to_str().unwrap().to_owned()));
        let stats = || session.fleet().unwrap().stats();
        let watch = async {
            let began = Instant::now();
            while stats().running < machines {
                assert!(began.elapsed() < DEADLINE, "{asks:?}: {:?}", stats());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            tokio::time::sleep(A_WHILE).await;
            let now = stats();
            assert_eq!((now.running, now.starting), (machines, 0), "{asks:?}: {now:?}");
            std::fs::write(&file, "").unwrap();
        };
        let (run, ()) = tokio::join!(run, watch);
        assert_eq!(run.unwrap().rows().await.unwrap(), SLOTS as u64);
        assert_eq!(stats().started_total, machines as u64, "{asks:?}");
        session.shutdown().await;
    }
}
