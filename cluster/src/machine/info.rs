//! Facts about a machine: its resources, and how much of them is in use.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::observe::usage::{disk, load, memory_available, memory_bytes};

/// Facts about a machine at one moment. Unknown ones are 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MachineInfo {
    /// Process id.
    pub pid: u32,
    /// Cores that the worker may use.
    pub cores: usize,
    /// Main memory in bytes that the worker may use.
    pub memory_bytes: u64,
    /// Memory in bytes that is available without swapping.
    pub memory_available_bytes: u64,
    /// Size in bytes of the file system with the worker's temporary files.
    pub disk_bytes: u64,
    /// Free bytes of that file system.
    pub disk_available_bytes: u64,
    /// Processes that ran or waited for a core or a disk, averaged over 1, 5 and 15 minutes.
    pub load: [f32; 3],
    /// Operating system, as in Rust's `target_os`.
    pub os: String,
    /// Architecture, as in Rust's `target_arch`.
    pub arch: String,
}

impl MachineInfo {
    /// Of this machine, with a worker that writes to `scratch`.
    pub(crate) fn gather(scratch: &Path) -> Self {
        let (disk_bytes, disk_available_bytes) = disk(scratch);
        Self {
            pid: std::process::id(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: memory_bytes().unwrap_or(0),
            memory_available_bytes: memory_available().unwrap_or(0),
            disk_bytes,
            disk_available_bytes,
            load: load(),
            os: std::env::consts::OS.to_owned(),
            arch: std::env::consts::ARCH.to_owned(),
        }
    }
}
