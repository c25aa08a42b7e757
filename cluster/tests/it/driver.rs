//! The end of the driver, in every way: its workers must not outlive it, nor any folder.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use bigslice_cluster::{Fleet, FleetConfig};
use rustix::process::Signal;

use super::harness::{Place, alive, eventually, local, run as run_test, signal};

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("driver::killed", killed),
    ("driver::interrupted", interrupted),
    ("driver::panics", panics),
    ("driver::exits_without_a_word", exits_without_a_word),
    ("driver::returns_from_main", returns_from_main),
    ("driver::stopped_for_longer_than_a_lease", stopped_for_longer_than_a_lease),
    ("driver::killed_with_all_workers", killed_with_all_workers),
    ("driver::killed_while_its_workers_start", killed_while_its_workers_start),
];

const MARKER: &str = "--test-driver";

/// True if this process is the driver that a test starts.
pub(crate) fn is_driver() -> bool {
    std::env::args().nth(1).is_some_and(|a| a == MARKER)
}

/// Starts a fleet, prints its processes, reads on standard input how to end.
pub(crate) fn run() -> ExitCode {
    let temp_root = std::env::args().nth(2).expect("a folder").into();
    let lease = std::env::args().nth(3).expect("a lease").parse().expect("seconds");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let settings = std::env::args().nth(4).expect("settings");
    let config = FleetConfig {
        machines: 3,
        settings: settings.into(),
        lease: Duration::from_secs(lease),
        temp_root,
        ..FleetConfig::default()
    };
    let fleet = runtime.block_on(Fleet::start(local(), config)).expect("the fleet starts");
    std::fs::write(fleet.scratch().join("rows"), "of the driver").expect("its folder is there");
    for machine in fleet.machines() {
        println!("{}", machine.pid().expect("a process"));
    }
    println!("ready");
    let mut how = String::new();
    std::io::stdin().read_line(&mut how).expect("a line");
    match how.trim() {
        "panic" => panic!("as the test wants it"),
        "exit" => std::process::exit(0),
        _ => ExitCode::SUCCESS,
    }
}

struct Driver {
    child: Child,
    workers: Vec<u32>,
    place: Place,
}

impl Driver {
    #[expect(clippy::disallowed_methods, reason = "the test starts the driver that it kills")]
    fn spawn(place: &Place, lease_s: u64, settings: &str) -> Child {
        Command::new(std::env::current_exe().expect("this program"))
            .arg(MARKER)
            .arg(place.root())
            .arg(lease_s.to_string())
            .arg(settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the driver starts")
    }

    fn start(lease_s: u64) -> Self {
        let place = Place::new();
        let mut child = Self::spawn(&place, lease_s, "spill");
        let mut workers = Vec::new();
        for line in BufReader::new(child.stdout.take().expect("a pipe")).lines() {
            match line.expect("a line").as_str() {
                "ready" => break,
                pid => workers.push(pid.parse().expect("a process id")),
            }
        }
        assert_eq!(workers.len(), 3);
        assert!(workers.iter().all(|pid| alive(*pid)));
        assert_eq!(place.sessions().len(), 1);
        Self { child, workers, place }
    }

    fn tell(&mut self, how: &str) {
        writeln!(self.child.stdin.as_mut().expect("a pipe"), "{how}").expect("it is told");
    }

    fn signal(&self, what: Signal) {
        signal(self.child.id(), what);
    }

    async fn nothing_is_left(mut self) {
        let status = self.child.wait().expect("the driver ends");
        let workers = &self.workers;
        eventually("the workers to end", || (!workers.iter().any(|pid| alive(*pid))).then_some(()))
            .await;
        let left = self.place.sessions();
        assert!(left.is_empty(), "left by a driver that ended with {status}: {left:?}");
    }
}

fn killed() {
    run_test(async {
        let driver = Driver::start(600);
        driver.signal(Signal::KILL);
        driver.nothing_is_left().await;
    });
}

fn interrupted() {
    run_test(async {
        let driver = Driver::start(600);
        driver.signal(Signal::INT);
        driver.nothing_is_left().await;
    });
}

fn panics() {
    run_test(async {
        let mut driver = Driver::start(600);
        driver.tell("panic");
        driver.nothing_is_left().await;
    });
}

fn exits_without_a_word() {
    run_test(async {
        let mut driver = Driver::start(600);
        driver.tell("exit");
        driver.nothing_is_left().await;
    });
}

fn returns_from_main() {
    run_test(async {
        let mut driver = Driver::start(600);
        driver.tell("return");
        driver.nothing_is_left().await;
    });
}

fn stopped_for_longer_than_a_lease() {
    run_test(async {
        let driver = Driver::start(2);
        driver.signal(Signal::STOP);
        let workers = driver.workers.clone();
        eventually("the leases to lapse", || {
            (!workers.iter().any(|pid| alive(*pid))).then_some(())
        })
        .await;
        driver.signal(Signal::KILL);
        // There was no process to remove the session's folder: the next driver does.
        let place = Driver::start_again(driver);
        assert!(place.sessions().is_empty());
    });
}

fn killed_with_all_workers() {
    run_test(async {
        let driver = Driver::start(600);
        for pid in &driver.workers {
            signal(*pid, Signal::STOP);
        }
        driver.signal(Signal::KILL);
        for pid in &driver.workers {
            signal(*pid, Signal::KILL);
        }
        let workers = driver.workers.clone();
        eventually("the workers to end", || (!workers.iter().any(|pid| alive(*pid))).then_some(()))
            .await;
        let place = Driver::start_again(driver);
        assert!(place.sessions().is_empty());
    });
}

/// The worker processes whose folders are in this place.
fn workers_in(place: &Place) -> Vec<u32> {
    let root = place.root().to_str().expect("a plain path").to_owned();
    let processes = std::fs::read_dir("/proc").expect("the processes");
    processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid: &u32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            line.contains("--bigslice-worker") && line.contains(&root) && alive(*pid)
        })
        .collect()
}

fn killed_while_its_workers_start() {
    run_test(async {
        let place = Place::new();
        // Their services are never ready, so the driver is killed before they are.
        let child = Driver::spawn(&place, 600, "hang");
        let workers = eventually("the workers to be there", || {
            let workers = workers_in(&place);
            (workers.len() == 3).then_some(workers)
        })
        .await;
        let driver = Driver { child, workers, place };
        driver.signal(Signal::KILL);
        driver.nothing_is_left().await;
    });
}

impl Driver {
    /// Another session in the same place, from its beginning to its end.
    fn start_again(mut self) -> Place {
        self.child.wait().expect("the driver ends");
        let place = self.place;
        let config = place.config(1, "");
        let other = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            runtime.block_on(async {
                let fleet = Fleet::start(local(), config).await.expect("the fleet starts");
                fleet.shutdown().await;
            });
        });
        other.join().expect("the other session ends");
        place
    }
}
