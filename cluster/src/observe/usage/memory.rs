//! The memory of this process, of its host or control group, and the kills by the kernel's
//! out-of-memory killer. The number of kills is read before and after: neither a process nor its
//! parent learns why it was killed.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::observe::usage::group::{self, counter};

/// The memory in bytes that this process may use: that of the computer, or the limit of its control
/// group if that is less. `None` if unknown.
pub fn memory_bytes() -> Option<u64> {
    let installed = of_host("MemTotal:");
    let allowed = group::allowance().map(|allowance| allowance.limit);
    installed.into_iter().chain(allowed).min()
}

/// The part of it that is available without swapping: the kernel's own estimate, which includes
/// caches that it can reclaim.
pub(crate) fn memory_available() -> Option<u64> {
    let available = of_host("MemAvailable:");
    let allowed = group::allowance().map(|allowance| allowance.left);
    available.into_iter().chain(allowed).min()
}

/// A value of the whole host.
fn of_host(name: &str) -> Option<u64> {
    kibibytes(&fs::read_to_string("/proc/meminfo").ok()?, name)
}

/// The size in the line of `text` that begins with `name`, in bytes.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}

/// Reads the resident memory of this process, fast enough for thousands of reads a second.
#[derive(Debug)]
pub struct Resident {
    counts: File,
    page_bytes: u64,
}

impl Resident {
    /// `None` if the system does not report it.
    pub fn of_this_process() -> Option<Self> {
        let counts = File::open("/proc/self/statm").ok()?;
        Some(Self { counts, page_bytes: page_bytes()? })
    }

    /// The current bytes; 0 if reading fails.
    pub fn bytes(&self) -> u64 {
        self.pages().unwrap_or(0) * self.page_bytes
    }

    /// The second number of "size resident shared text lib data dt".
    fn pages(&self) -> Option<u64> {
        let mut text = [0; 128];
        let n_bytes = self.counts.read_at(&mut text, 0).ok()?;
        let text = std::str::from_utf8(text.get(..n_bytes)?).ok()?;
        text.split(' ').nth(1)?.parse().ok()
    }
}

/// The size of a page, from the auxiliary vector that the kernel passes to each process: pairs of a
/// key and a value.
fn page_bytes() -> Option<u64> {
    const WORD: usize = size_of::<usize>();
    const KEY_OF_PAGE_SIZE: usize = 6;
    let vector = fs::read("/proc/self/auxv").ok()?;
    let word = |bytes: &[u8]| bytes.try_into().map(usize::from_ne_bytes).ok();
    vector.chunks_exact(2 * WORD).find_map(|pair| {
        let (key, value) = pair.split_at(WORD);
        (word(key)? == KEY_OF_PAGE_SIZE).then(|| word(value))?.map(|bytes| bytes as u64)
    })
}

/// The number of processes killed so far because memory ran out: in the control group of this
/// process if it counts them, otherwise on the host.
pub(crate) fn oom_kills() -> Option<u64> {
    let kills = |path: &Path| counter(path, "oom_kill");
    let of_group = group::own().and_then(|group| kills(&group.join("memory.events")));
    of_group.or_else(|| kills(Path::new("/proc/vmstat")))
}

/// Tells whether a killed child may have been killed because memory ran out. Created before the
/// child.
#[derive(Clone, Debug)]
pub(crate) struct OomWatch {
    before: Option<u64>,
}

impl OomWatch {
    /// Starts to watch.
    pub(crate) fn begin() -> Self {
        Self { before: oom_kills() }
    }

    /// The text to add to "killed by signal 9".
    pub(crate) fn words(&self) -> String {
        judge(self.before, oom_kills())
    }
}

/// The count covers several processes, perhaps not this one: the cause is only likely.
fn judge(before: Option<u64>, after: Option<u64>) -> String {
    match (before, after) {
        (Some(before), Some(after)) if after > before => format!(
            ", most likely because memory ran out: since it was started the kernel has killed {} \
             for that (a lower memory limit, or fewer workers, may help)",
            match after - before {
                1 => "one process".to_owned(),
                n => format!("{n} processes"),
            }
        ),
        (Some(_), Some(_)) => String::new(),
        _ => " (possibly because memory ran out: this system does not tell)".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Resident, judge, memory_available, memory_bytes};
    use crate::observe::usage::group::{counter, second};

    #[test]
    fn kills_are_counted_by_the_group() {
        let root = tempfile::tempdir().expect("a folder");
        let group = second("4:memory:/old\n0::/user.slice/me\n", root.path()).expect("a group");
        assert_eq!(group, root.path().join("user.slice/me"));
        let path = group.join("memory.events");
        fs::create_dir_all(&group).expect("the group");
        assert_eq!(counter(&path, "oom_kill"), None);
        fs::write(&path, "low 0\noom 4\noom_kill 3\noom_group_kill 1\n").expect("the file");
        assert_eq!(counter(&path, "oom_kill"), Some(3));
        assert_eq!(second("4:memory:/old\n", root.path()), None);
    }

    #[test]
    fn only_a_count_that_grew_blames_memory() {
        assert_eq!(judge(Some(3), Some(3)), "");
        assert!(judge(Some(3), Some(4)).contains("has killed one process"));
        assert!(judge(None, None).contains("possibly"));
    }

    #[test]
    fn a_process_grows_with_what_it_touches() {
        const BYTES: usize = 64 << 20;
        let resident = Resident::of_this_process().expect("a system that tells");
        // Other tests of this process free memory meanwhile: the best of several attempts counts.
        let grows = || {
            let before = resident.bytes();
            let touched = std::hint::black_box(vec![1u8; BYTES]);
            let after = resident.bytes();
            drop(touched);
            after > before + (BYTES / 2) as u64
        };
        assert!((0..100).any(|_| grows()), "a process that touches 64 MiB does not grow");
        let now = resident.bytes();
        assert!(now > 1 << 20 && now < memory_bytes().expect("a computer with memory"));
        assert!(memory_available() <= memory_bytes());
    }
}
