//! The resource usage of one process and its host at one moment.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::observe::usage::host::{disk, load};
use crate::observe::usage::memory::{self, Resident, memory_available, memory_bytes};

/// The unit in which Linux counts the time of processes, whatever its clock does.
const TICKS_PER_SECOND: f64 = 100.0;

/// The resource usage of a machine. Unknown values are 0.
///
/// Machines that are processes of one host share the values of the host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Processor time of the process so far in seconds, in its own code...
    pub cpu_user_seconds: f64,
    /// ...and in the kernel on its behalf.
    pub cpu_system_seconds: f64,
    /// Cores that the process may use.
    pub cores: u32,
    /// Main memory of the process in bytes.
    pub resident_bytes: u64,
    /// Main memory in bytes that the process may use.
    pub memory_bytes: u64,
    /// Memory in bytes that is available without swapping.
    pub memory_available_bytes: u64,
    /// Size in bytes of the file system of the temporary files.
    pub disk_bytes: u64,
    /// Free bytes there.
    pub disk_available_bytes: u64,
    /// Bytes that the host has received so far, without loopback.
    pub network_received_bytes: u64,
    /// Bytes that the host has sent so far, without loopback.
    pub network_sent_bytes: u64,
    /// Processes of the host that ran or waited for a core or a disk, averaged over a minute.
    pub load: f32,
    /// Processes that the kernel has killed so far because memory ran out, if known: in the control
    /// group of this process, otherwise on the host.
    pub oom_kills: Option<u64>,
}

impl Usage {
    /// The usage of this process, with its temporary files in `scratch`.
    pub(crate) fn gather(scratch: &Path) -> Self {
        let (disk_bytes, disk_available_bytes) = disk(scratch);
        let (cpu_user_seconds, cpu_system_seconds) = cpu_seconds();
        let (network_received_bytes, network_sent_bytes) = network();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            cpu_user_seconds,
            cpu_system_seconds,
            cores: u32::try_from(cores).unwrap_or(u32::MAX),
            resident_bytes: Resident::of_this_process().map_or(0, |resident| resident.bytes()),
            memory_bytes: memory_bytes().unwrap_or(0),
            memory_available_bytes: memory_available().unwrap_or(0),
            disk_bytes,
            disk_available_bytes,
            network_received_bytes,
            network_sent_bytes,
            load: load()[0],
            oom_kills: memory::oom_kills(),
        }
    }

    /// The processor time of the process so far in seconds.
    pub fn cpu_seconds(&self) -> f64 {
        self.cpu_user_seconds + self.cpu_system_seconds
    }

    /// Merges two samples into one point of a series: the later value of counters, the tighter
    /// value of the rest.
    pub(crate) fn join(&self, later: &Self) -> Self {
        Self {
            resident_bytes: self.resident_bytes.max(later.resident_bytes),
            memory_available_bytes: self.memory_available_bytes.min(later.memory_available_bytes),
            disk_available_bytes: self.disk_available_bytes.min(later.disk_available_bytes),
            load: self.load.max(later.load),
            ..later.clone()
        }
    }

    /// A message if the host is about to run out of memory.
    pub(crate) fn memory_words(&self) -> Option<String> {
        /// Below this share memory is tight.
        const TIGHT: f64 = 0.05;
        let left = self.memory_available_bytes as f64 / self.memory_bytes.max(1) as f64;
        (self.memory_bytes > 0 && left < TIGHT)
            .then(|| format!("{:.1} % of its memory was left when it last answered", left * 100.0))
    }
}

/// The processor time of this process, user and system.
fn cpu_seconds() -> (f64, f64) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the program, in parentheses, may contain anything.
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    let mut ticks = fields.split(' ').skip(11).map(|n| n.parse().unwrap_or(0.0));
    let mut next = || ticks.next().unwrap_or(0.0) / TICKS_PER_SECOND;
    (next(), next())
}

/// The bytes that the host's interfaces have received and sent, without loopback.
fn network() -> (u64, u64) {
    parse_network(&std::fs::read_to_string("/proc/net/dev").unwrap_or_default())
}

/// The first column of each half has the bytes.
fn parse_network(table: &str) -> (u64, u64) {
    const SENT: usize = 8;
    let mut sums = (0, 0);
    for line in table.lines() {
        let Some((name, counts)) = line.split_once(':') else { continue };
        if name.trim() == "lo" {
            continue;
        }
        let counts: Vec<u64> = counts.split_whitespace().flat_map(str::parse).collect();
        sums.0 += counts.first().unwrap_or(&0);
        sums.1 += counts.get(SENT).unwrap_or(&0);
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::{Usage, parse_network};

    #[test]
    fn loopback_is_no_network() {
        let table = "Inter-|   Receive          |  Transmit\n face |bytes    packets errs\n    \
                     lo: 900 9 0 0 0 0 0 0 900 9 0 0 0 0 0 0\n  eth0: 10 1 0 0 0 0 0 0 20 2 0 0 0 0 0 \
                     0\n  eth1:5 1 0 0 0 0 0 0 7 2 0 0 0 0 0 0\n";
        assert_eq!(parse_network(table), (15, 27));
        assert_eq!(parse_network(""), (0, 0));
    }

    #[test]
    fn a_process_uses_something() {
        let usage = Usage::gather(std::env::temp_dir().as_path());
        assert!(usage.resident_bytes > 0 && usage.resident_bytes < usage.memory_bytes);
        assert!(usage.disk_available_bytes <= usage.disk_bytes && usage.disk_bytes > 0);
        assert!(usage.cores > 0);
    }
}
