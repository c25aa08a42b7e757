//! Observes processes through `/proc`: child processes, whether they run, and their resource usage.
//! A process is identified by its id and start time, because ids are reused.

use std::collections::HashMap;
use std::fs;
use std::future::Future;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Interval between checks of a condition.
const PAUSE: Duration = Duration::from_millis(20);

/// One process.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    start: u64,
}

/// The content of `/proc/<pid>/stat`.
struct Stat {
    state: char,
    parent: u32,
    cpu_ticks: u64,
    start: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may contain spaces and parentheses; what follows the last parenthesis does not.
    let fields: Vec<&str> = text[text.rfind(')')? + 1..].split_whitespace().collect();
    let number = |n: usize| fields.get(n)?.parse::<u64>().ok();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        parent: number(1)? as u32,
        cpu_ticks: number(11)? + number(12)?,
        start: number(19)?,
    })
}

impl Process {
    /// The process with this id now.
    pub fn of(pid: u32) -> Option<Self> {
        Some(Self { pid, start: stat(pid)?.start })
    }

    /// Whether it is running. A zombie is not.
    pub fn is_alive(&self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.start == self.start && stat.state != 'Z')
    }

    /// CPU time, in ticks of 10 ms.
    pub fn cpu_ticks(&self) -> u64 {
        stat(self.pid).map_or(0, |stat| stat.cpu_ticks)
    }

    /// Peak resident memory, in KiB.
    pub fn resident_max_kib(&self) -> Option<u64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().trim_end_matches("kB").trim().parse().ok()
    }

    /// Sends a signal; does nothing if the process is gone.
    pub fn signal(&self, signal: Signal) {
        if self.is_alive()
            && let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw)
        {
            // It may have ended meanwhile, which is the purpose of most signals.
            let _ = kill_process(pid, signal);
        }
    }
}

/// All descendants of a process.
pub fn started_by(pid: u32) -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in entries.flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        if let Some(stat) = stat(pid) {
            children.entry(stat.parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut open = vec![pid];
    while let Some(pid) = open.pop() {
        for child in children.remove(&pid).unwrap_or_default() {
            found.extend(Process::of(child));
            open.push(child);
        }
    }
    found
}

/// Waits until `holds` returns true, and panics with a description after `deadline`.
pub async fn until<F>(deadline: Duration, what: &str, mut holds: impl FnMut() -> F)
where
    F: Future<Output = bool>,
{
    let end = Instant::now() + deadline;
    while !holds().await {
        assert!(Instant::now() < end, "not within {deadline:?}: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Waits until none of these is running.
pub async fn until_gone(processes: &[Process], deadline: Duration) {
    let what = format!("the end of {processes:?}");
    until(deadline, &what, || async { !processes.iter().any(Process::is_alive) }).await;
}

/// Waits until these are idle: less than a tenth of a core for half a second.
pub async fn until_idle(processes: &[Process], deadline: Duration) {
    let ticks = || processes.iter().map(Process::cpu_ticks).sum::<u64>();
    until(deadline, "machines without work", || async {
        let before = ticks();
        tokio::time::sleep(Duration::from_millis(500)).await;
        ticks() - before <= 5
    })
    .await;
}
