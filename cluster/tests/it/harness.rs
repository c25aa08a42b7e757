//! Shared by the tests: a session in a temporary folder of its own, services that do what a test's
//! settings say, and waiting for conditions.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bigslice_cluster::{
    Fleet, FleetConfig, InProcess, LocalProcesses, LogLine, LogSource, MachineName, ServiceFactory,
    System, WorkerContext,
};
use bytes::Bytes;
use parking_lot::Mutex;
use tempfile::TempDir;
use tonic::service::Routes;

/// Far longer than any test takes; reaching it is a failure.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Runs a test's future.
pub(crate) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        tokio::time::timeout(DEADLINE * 2, test).await.expect("the test does not hang");
    });
}

/// Waits until `condition` gives something.
pub(crate) async fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(began.elapsed() < DEADLINE, "still waiting for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The services of the workers in these tests: none, but the settings are executed.
pub(crate) fn worker_services() -> ServiceFactory {
    Arc::new(|context: WorkerContext| {
        Box::pin(async move {
            let settings = String::from_utf8(context.settings.to_vec())?;
            match settings.split_once(' ').unwrap_or((&settings, "")) {
                ("refuse", reason) => return Err(reason.into()),
                ("exit", status) => {
                    eprintln!("first word of {}", context.machine);
                    eprintln!("last word of {}", context.machine);
                    std::process::exit(status.parse()?);
                }
                ("panic", text) => panic!("{text}"),
                ("hang", _) => loop {
                    std::thread::park();
                },
                ("print", _) => super::output::print(),
                ("spill", _) => {
                    std::fs::create_dir_all(context.scratch.join("deep"))?;
                    std::fs::write(context.scratch.join("deep/rows"), vec![7; 1 << 16])?;
                }
                ("burn", _) => {
                    for _ in 0..16 {
                        std::thread::spawn(|| {
                            loop {
                                std::hint::spin_loop();
                            }
                        });
                    }
                }
                _ => {}
            }
            Ok(Routes::default())
        })
    })
}

/// The two systems, for tests that must hold on both.
pub(crate) fn systems() -> Vec<Arc<dyn System>> {
    vec![in_process(), local()]
}

pub(crate) fn in_process() -> Arc<dyn System> {
    Arc::new(InProcess::new(worker_services()))
}

pub(crate) fn local() -> Arc<dyn System> {
    Arc::new(LocalProcesses::new(None))
}

/// A temporary folder for sessions, and the lines they log.
pub(crate) struct Place {
    root: TempDir,
    lines: Arc<Mutex<Vec<LogLine>>>,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { root: tempfile::tempdir().expect("a folder"), lines: Arc::default() }
    }

    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn config(&self, machines: usize, settings: &str) -> FleetConfig {
        let lines = Arc::clone(&self.lines);
        FleetConfig {
            machines,
            settings: Bytes::from(settings.to_owned()),
            temp_root: self.root.path().to_owned(),
            log: Arc::new(move |line| lines.lock().push(line)),
            ..FleetConfig::default()
        }
    }

    pub(crate) async fn start(&self, system: Arc<dyn System>, machines: usize) -> Fleet {
        Fleet::start(system, self.config(machines, "")).await.expect("the fleet starts")
    }

    /// The logged lines of one kind, per machine if one is given.
    pub(crate) fn logged(&self, source: LogSource, machine: Option<&MachineName>) -> Vec<String> {
        let lines = self.lines.lock();
        let wanted = |l: &&LogLine| {
            l.source == source && (machine.is_none() || l.machine.as_ref() == machine)
        };
        lines.iter().filter(wanted).map(|l| l.text.clone()).collect()
    }

    /// The session folders in it.
    pub(crate) fn sessions(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.root()).expect("the folder is there");
        entries.map(|e| e.expect("an entry").path()).collect()
    }
}

/// Whether a process is there and not a zombie.
pub(crate) fn alive(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    let state = stat.rsplit_once(") ").map(|(_, rest)| &rest[..1]);
    !matches!(state, None | Some("Z" | "X"))
}

pub(crate) fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).expect("a pid")).expect("a pid");
    rustix::process::kill_process(pid, signal).expect("the signal is sent");
}

/// Stops a process. Returns when all of it has stopped: the signal reaches its threads one by one,
/// and until then any of them may still answer.
pub(crate) async fn stop(pid: u32) {
    signal(pid, rustix::process::Signal::STOP);
    eventually("the process to stand still", || {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("its threads");
        let mut stats = threads.map(|thread| {
            let stat = thread.expect("a thread").path().join("stat");
            std::fs::read_to_string(stat).unwrap_or_default()
        });
        stats
            .all(|stat| stat.rsplit_once(") ").is_some_and(|(_, s)| s.starts_with('T')))
            .then_some(())
    })
    .await;
}
