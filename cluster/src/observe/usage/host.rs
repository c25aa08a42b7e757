//! Load and disks of this host.

use std::path::Path;

/// Processes that ran or waited, averaged over 1, 5 and 15 minutes.
#[cfg(target_os = "linux")]
pub(crate) fn load() -> [f32; 3] {
    /// The unit of the kernel's load averages.
    const LOAD_UNIT: f32 = 65_536.0;
    rustix::system::sysinfo().loads.map(|load| load as f32 / LOAD_UNIT)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn load() -> [f32; 3] {
    [0.0; 3]
}

/// Size and free space of the file system of `path`.
pub(crate) fn disk(path: &Path) -> (u64, u64) {
    match rustix::fs::statvfs(path) {
        Ok(stat) => (stat.f_frsize * stat.f_blocks, stat.f_frsize * stat.f_bavail),
        Err(err) => {
            tracing::debug!(error = %err, path = %path.display(), "could not read the size of a disk");
            (0, 0)
        }
    }
}
