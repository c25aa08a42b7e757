//! However the driver ends, it leaves no process and no temporary file.

use std::process::Child;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::command::bigsql;
use bigslice_tests::process::{Process, started_by, until, until_gone};

/// A query that is still running when the driver is told to end.
const ENDLESS: &str = "select sum(a.v * b.v) from generate_series(1, 3000000) a (v) \
     join generate_series(1, 3000000) b (v) on a.v % 10 = b.v % 10";

/// Time for workers to start and get work.
const START_DEADLINE: Duration = Duration::from_secs(30);
/// Time for a driver that can still act to clean up.
const END_DEADLINE: Duration = Duration::from_secs(15);
/// The lease of local machines, plus time for them to act on it.
const LEASE_DEADLINE: Duration = Duration::from_secs(10 + 10);

/// Two machines as processes, and two within the driver; each with the minimum number of processes
/// that the driver then starts: in the second case the one that waits for its end.
const WORKERS: (&str, usize) = ("local:2", 2);
const IN_PROCESS: (&str, usize) = ("in-process:2", 1);

/// A driver with two machines, in the middle of a query.
struct Running {
    driver: Child,
    all: Vec<Process>,
    folder: TempDir,
}

impl Running {
    async fn start((system, processes): (&str, usize)) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let driver = bigsql(folder.path(), &["--system", system, "-c", ENDLESS]).spawn();
        let driver = driver.expect("the program");
        let id = driver.id();
        until(START_DEADLINE, "machines", || async { started_by(id).len() >= processes }).await;
        let mut all = started_by(id);
        all.extend(Process::of(id));
        // A quarter of a second of CPU time is more than starting takes, so the query is running.
        until(START_DEADLINE, "a query that runs", || async {
            all.iter().map(Process::cpu_ticks).sum::<u64>() > 100
        })
        .await;
        assert!(!Self::left(&folder).is_empty(), "no temporary folder: this test shows nothing");
        Self { driver, all, folder }
    }

    fn left(folder: &TempDir) -> Vec<String> {
        let entries = std::fs::read_dir(folder.path()).expect("a folder");
        entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .filter(|name| name != ".local")
            .collect()
    }

    /// Waits until everything is gone, at most until `deadline`; returns the driver's exit code.
    async fn check(mut self, deadline: Duration) -> Option<i32> {
        let mut code = None;
        until(deadline, "the end of the driver", || {
            let ended = self.driver.try_wait().expect("a child");
            code = ended.and_then(|status| status.code());
            async move { ended.is_some() }
        })
        .await;
        until_gone(&self.all, deadline).await;
        until(deadline, "an empty temporary folder", || async {
            Self::left(&self.folder).is_empty()
        })
        .await;
        code
    }

    fn tell(&self, signal: Signal) {
        Process::of(self.driver.id()).expect("a driver that runs").signal(signal);
    }
}

impl Drop for Running {
    /// Nothing may remain when a test fails, either.
    fn drop(&mut self) {
        for process in &self.all {
            process.signal(Signal::KILL);
        }
        // It has ended, or was just killed.
        let _ = self.driver.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_ctrl_c_nothing_is_left() {
    let running = Running::start(WORKERS).await;
    running.tell(Signal::INT);
    assert_eq!(running.check(END_DEADLINE).await, Some(130));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_sigterm_nothing_is_left() {
    let running = Running::start(WORKERS).await;
    running.tell(Signal::TERM);
    assert_eq!(running.check(END_DEADLINE).await, Some(143));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_closed_terminal_nothing_is_left() {
    let running = Running::start(WORKERS).await;
    running.tell(Signal::HUP);
    assert_eq!(running.check(END_DEADLINE).await, Some(129));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_kill_9_of_the_driver_nothing_is_left() {
    let running = Running::start(WORKERS).await;
    running.tell(Signal::KILL);
    assert_eq!(running.check(LEASE_DEADLINE).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_kill_9_of_a_driver_without_workers_nothing_is_left() {
    let running = Running::start(IN_PROCESS).await;
    running.tell(Signal::KILL);
    assert_eq!(running.check(END_DEADLINE).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_stopped_driver_no_worker_is_left() {
    let running = Running::start(WORKERS).await;
    running.tell(Signal::STOP);
    // The third process waits for the driver's end, and it has not ended.
    let of = running.driver.id();
    let started = || started_by(of).iter().filter(|process| process.is_alive()).count();
    assert!(started() >= 3);
    until(LEASE_DEADLINE, "the end of the workers", || async { started() == 1 }).await;
    assert!(!Running::left(&running.folder).is_empty(), "the driver holds its folder");
    running.tell(Signal::KILL);
    running.check(END_DEADLINE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_clean_end_nothing_is_left() {
    let folder = TempDir::new().expect("a temporary folder");
    let sql = "select count(*) from generate_series(1, 100000)";
    let mut driver = bigsql(folder.path(), &["--workers", "3", "-c", sql]).spawn().expect("it");
    let mut seen: Vec<Process> = Vec::new();
    until(START_DEADLINE, "the end", || {
        for process in started_by(driver.id()) {
            if !seen.contains(&process) {
                seen.push(process);
            }
        }
        let ended = driver.try_wait().expect("a child").is_some();
        async move { ended }
    })
    .await;
    assert!(seen.len() >= 3, "only {seen:?} were seen");
    until_gone(&seen, END_DEADLINE).await;
    assert_eq!(Running::left(&folder), Vec::<String>::new());
}
