//! Machines lost in the middle of a query: killed, stopped, all of them, too late. The answer is
//! right or an error; never repeated rows, never a hang. Every test asserts that its fault happened
//! while the query ran.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bigslice::SystemSpec;
use futures::StreamExt;
use rustix::process::Signal;

use crate::harness::World;
use bigslice_tests::process::{Process, until, until_gone, until_idle};

/// Pairs of flights that left one airport on one day: 52 million, by a join of two shuffles.
const PAIRS: &str = "SELECT a.carrier, count(*), sum(a.distance - b.distance), \
     max(b.dep_delay - a.arr_delay) \
     FROM flights a JOIN flights b ON a.origin = b.origin AND a.month = b.month \
     AND a.day = b.day AND a.flight < b.flight GROUP BY a.carrier ORDER BY a.carrier";

/// The answer, from an independent engine.
const PAIRS_ANSWER: &str = "\
9E 840849 84284260 1178
AA 6658943 3551357048 1333
AS 234350 317964490 1145
B6 11159545 1018884193 1325
DL 7727575 3260225147 1337
EV 2863083 -25576216 1134
F9 156967 139515738 909
FL 805511 -78570888 928
HA 95560 359326937 1113
MQ 1395463 62427824 1166
OO 438 69706 191
UA 13387273 8583520492 1165
US 3248875 -191108776 1325
VX 1371455 1909667068 1312
WN 2491726 478501024 1148
YV 42847 -6756287 500";

/// The same pairs, one row each.
const PAIRS_LISTED: &str = "SELECT a.flight, b.flight, a.distance FROM flights a JOIN flights b \
     ON a.origin = b.origin AND a.month = b.month AND a.day = b.day AND a.flight < b.flight";

/// Number of killed workers, one per query.
const KILLS: usize = 20;
/// Number of attempts at a query, because a kill after its end does not count.
const QUERIES_MAX: usize = 3 * KILLS;
/// Time limit for a query with three attempts on a busy machine.
const QUERY_DEADLINE: Duration = Duration::from_secs(90);
/// The error promised for a query that cannot be saved.
const ERROR_DEADLINE: Duration = Duration::from_secs(30);
/// Time limit for a machine to end or stop.
const SOON: Duration = Duration::from_secs(15);

/// Numbers from a seed that is printed.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let seed = RandomState::new().hash_one(Instant::now()) | 1;
        println!("seed {seed}");
        Self(seed)
    }

    /// From 0 to 1.
    fn part(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    fn pick<T: Clone>(&mut self, among: &[T]) -> T {
        among[(self.part() * among.len() as f64) as usize].clone()
    }
}

async fn three_processes() -> World {
    let world = World::with_tables(SystemSpec::Local { machines: 3 }, |builder| {
        builder
            .partitions(2)
            .set("datafusion.optimizer.hash_join_single_partition_threshold", "0")
            .set("datafusion.optimizer.hash_join_single_partition_threshold_rows", "0")
    })
    .await;
    world.wait_for_machines(3).await;
    world
}

fn text(rows: &[Vec<String>]) -> String {
    rows.iter().map(|row| row.join(" ")).collect::<Vec<_>>().join("\n")
}

/// Runs the query while `disturb` injects the fault. Returns the result, and whether the fault
/// happened before it.
async fn ask<H: Future<Output = T>, T>(
    world: &World,
    deadline: Duration,
    disturb: H,
) -> (Result<String, bigslice::Error>, T, bool) {
    let done = AtomicBool::new(false);
    let query = async {
        let rows = tokio::time::timeout(deadline, world.try_run(PAIRS)).await;
        done.store(true, Ordering::SeqCst);
        rows.unwrap_or_else(|_| panic!("no end within {deadline:?}\n{}", world.log().join("\n")))
    };
    let disturb = async {
        let harm = disturb.await;
        (harm, !done.load(Ordering::SeqCst))
    };
    let (rows, (harm, in_time)) = tokio::join!(query, disturb);
    (rows.map(|rows| text(&rows)), harm, in_time)
}

/// The duration of the query without faults.
async fn calm(world: &World) -> Duration {
    let start = Instant::now();
    assert_eq!(text(&world.run(PAIRS).await), PAIRS_ANSWER);
    start.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_costs_time_but_no_answer() {
    let mut random = Random::new();
    let world = three_processes().await;
    let calm = calm(&world).await;
    let (mut kills, mut runs_again) = (0, 0);
    for _ in 0..QUERIES_MAX {
        if kills == KILLS {
            break;
        }
        world.wait_for_machines(3).await;
        let said = world.log().len();
        let moment = calm.mul_f64(random.part());
        let (name, victim) = random.pick(&world.processes());
        let kill = async {
            tokio::time::sleep(moment).await;
            victim.signal(Signal::KILL);
        };
        let (rows, (), in_time) = ask(&world, QUERY_DEADLINE, kill).await;
        let log = || world.log()[said..].join("\n");
        let rows = rows.unwrap_or_else(|err| panic!("{name} killed: {err}\n{}", log()));
        assert_eq!(rows, PAIRS_ANSWER, "{name} killed after {moment:?}\n{}", log());
        let what = format!("a line that says that {name} was lost");
        until(SOON, &what, || async { log().contains(&name) && log().contains("signal 9") }).await;
        kills += usize::from(in_time);
        runs_again += usize::from(log().contains("running the query again"));
    }
    assert_eq!(kills, KILLS, "too few kills came while a query ran");
    assert!(runs_again * 2 >= KILLS, "only {runs_again} of {kills} kills mattered");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_every_machine_lost_there_is_an_error_and_then_life_again() {
    let world = three_processes().await;
    let calm = calm(&world).await;
    let over = AtomicBool::new(false);
    let started = Instant::now();
    // Kills whatever the fleet starts as a replacement, too.
    let killing = async {
        tokio::time::sleep(calm / 4).await;
        let mut killed = 0;
        while !over.load(Ordering::SeqCst) {
            for (_, process) in world.processes() {
                process.signal(Signal::KILL);
                killed += 1;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        killed
    };
    let query = async {
        let rows = tokio::time::timeout(calm + ERROR_DEADLINE, world.try_run(PAIRS)).await;
        over.store(true, Ordering::SeqCst);
        rows.unwrap_or_else(|_| panic!("no error in time\n{}", world.log().join("\n")))
    };
    let (rows, killed) = tokio::join!(query, killing);
    assert!(killed >= 3, "only {killed} machines were killed");
    let error = rows.expect_err("no machine was left to answer").to_string();
    let names = |word: &str| {
        let word = word.trim_matches(|c: char| !c.is_alphanumeric());
        word.strip_prefix('m').is_some_and(|n| n.parse::<u64>().is_ok())
    };
    assert!(error.split_whitespace().any(names), "names no machine: {error}");
    assert!(started.elapsed() < calm + ERROR_DEADLINE);

    until(QUERY_DEADLINE, "machines in place of those lost", || async {
        world.session.machines().len() == 3
    })
    .await;
    assert_eq!(text(&world.run(PAIRS).await), PAIRS_ANSWER);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_worker_is_given_up_and_leaves_nothing() {
    let mut random = Random::new();
    let world = three_processes().await;
    let calm = calm(&world).await;
    let (name, victim) = random.pick(&world.processes());
    let stop = async {
        tokio::time::sleep(calm / 3).await;
        victim.signal(Signal::STOP);
    };
    let (rows, (), in_time) = ask(&world, QUERY_DEADLINE, stop).await;
    assert!(in_time, "{name} was stopped too late");
    let log = || world.log().join("\n");
    assert_eq!(rows.unwrap_or_else(|err| panic!("{err}\n{}", log())), PAIRS_ANSWER);
    until(SOON, "a line about the stopped machine", || async { log().contains(&name) }).await;
    until_gone(&[victim], SOON).await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_were_given_out_are_never_contradicted() {
    let world = World::with_tables(SystemSpec::Local { machines: 3 }, |builder| {
        builder
            .partitions(2)
            .head_bytes(1024 * 1024)
            .set("datafusion.optimizer.hash_join_single_partition_threshold", "0")
            .set("datafusion.optimizer.hash_join_single_partition_threshold_rows", "0")
    })
    .await;
    let mut stream = world.session.sql(PAIRS_LISTED).await.unwrap().stream().await.unwrap();
    let first = stream.next().await.expect("rows").expect("no error yet");
    assert!(first.num_rows() > 0);
    let (name, victim) = world.processes().swap_remove(1);
    victim.signal(Signal::KILL);
    let rest = async {
        while let Some(batch) = stream.next().await {
            if let Err(error) = batch {
                return bigslice::Error::from(error);
            }
        }
        panic!("an end without an error, though {name} was killed among 52 million rows")
    };
    let error = tokio::time::timeout(QUERY_DEADLINE, rest).await.expect("no hang");
    assert!(matches!(error, bigslice::Error::Lost { .. }), "{error:?}");
    let message = error.to_string();
    assert!(message.contains(&name) && message.contains("had been returned"), "{message}");
    drop(stream);
    world.wait_for_machines(3).await;
    assert_eq!(text(&world.run(PAIRS).await), PAIRS_ANSWER);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_stream_stops_the_work_everywhere() {
    let world = three_processes().await;
    let mut stream = world.session.sql(PAIRS_LISTED).await.unwrap().stream().await.unwrap();
    let first = stream.next().await.expect("rows").expect("no error");
    assert!(first.num_rows() > 0);
    let workers: Vec<Process> = world.processes().into_iter().map(|(_, p)| p).collect();
    let before: u64 = workers.iter().map(Process::cpu_ticks).sum();
    assert!(before > 0, "the workers have done nothing");
    drop(stream);
    until_idle(&workers, SOON).await;
    assert_eq!(text(&world.run(PAIRS).await), PAIRS_ANSWER);
    assert!(workers.iter().all(Process::is_alive), "a cancelled query has cost a machine");
    world.close().await;
}
