//! The control group of this process and its memory: the limit, and how much is used. A container,
//! a unit of systemd or a job of a scheduler is a control group. The limit may be its own or that
//! of a group around it.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// The root of control groups, by convention of all distributions.
const ROOT: &str = "/sys/fs/cgroup";

/// The memory limit of a group, and how much of it is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Allowance {
    /// The limit in bytes.
    pub(super) limit: u64,
    /// The part that is not used, or only by caches that the kernel can reclaim.
    pub(super) left: u64,
}

/// The file names of one version of control groups.
struct Names {
    /// Files with limits; the lowest counts.
    limits: &'static [&'static str],
    /// The file with the memory in use.
    used: &'static str,
    /// The line of `memory.stat` with the caches that the kernel reclaims first.
    caches: &'static str,
}

const SECOND: Names = Names {
    // A process over `high` is throttled until it hardly runs.
    limits: &["memory.max", "memory.high"],
    used: "memory.current",
    caches: "inactive_file",
};

const FIRST: Names = Names {
    limits: &["memory.limit_in_bytes"],
    used: "memory.usage_in_bytes",
    caches: "total_inactive_file",
};

/// The folder of this process's group, in version 2 of control groups.
pub(super) fn own() -> Option<PathBuf> {
    second(&membership(), Path::new(ROOT))
}

/// The tightest limit of the groups of this process, if any group has one.
pub(super) fn allowance() -> Option<Allowance> {
    allowance_of(&membership(), Path::new(ROOT))
}

/// The kernel's list of the groups of this process.
fn membership() -> String {
    fs::read_to_string("/proc/self/cgroup").unwrap_or_default()
}

/// The folder below `root` of the group of a process with this `membership`.
pub(super) fn second(membership: &str, root: &Path) -> Option<PathBuf> {
    let group = membership.lines().find_map(|line| line.strip_prefix("0::"))?;
    Some(below(root, group))
}

/// The same for version 1: the group that limits memory.
fn first(membership: &str, root: &Path) -> Option<PathBuf> {
    let group = membership.lines().find_map(|line| {
        let (controllers, group) = line.split_once(':')?.1.split_once(':')?;
        controllers.split(',').any(|name| name == "memory").then_some(group)
    })?;
    Some(below(&root.join("memory"), group))
}

/// A group outside of this process's view has a path with `..`, or one that does not exist: then
/// the group is mounted at the root.
fn below(root: &Path, group: &str) -> PathBuf {
    let parts = Path::new(group).components();
    let outside = parts.clone().any(|part| part == Component::ParentDir);
    let parts = parts.filter(|part| matches!(part, Component::Normal(_)) && !outside);
    root.join(parts.collect::<PathBuf>())
}

fn allowance_of(membership: &str, root: &Path) -> Option<Allowance> {
    let second = second(membership, root).map(|group| tightest(&group, root, &SECOND));
    let first = first(membership, root).map(|group| tightest(&group, root, &FIRST));
    second.into_iter().chain(first).flatten().min_by_key(|allowance| allowance.limit)
}

/// The tightest limit of `group` and those around it, up to `root`.
fn tightest(group: &Path, root: &Path, names: &Names) -> Option<Allowance> {
    let groups = group.ancestors().take_while(|folder| folder.starts_with(root));
    let found = groups.filter_map(|folder| {
        // A group without a limit says "max", or in version 1 nearly 2^63.
        let limit = names.limits.iter().filter_map(|name| number(&folder.join(name))).min()?;
        let used = number(&folder.join(names.used)).unwrap_or(0);
        let caches = counter(&folder.join("memory.stat"), names.caches).unwrap_or(0);
        Some(Allowance { limit, left: limit.saturating_sub(used.saturating_sub(caches)) })
    });
    found.reduce(|a, b| Allowance { limit: a.limit.min(b.limit), left: a.left.min(b.left) })
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The counter of this name in a file of counters.
pub(super) fn counter(path: &Path, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of control groups with these files.
    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("the group");
            fs::write(path, text).expect("a file");
        }
        root
    }

    #[test]
    fn the_limit_of_a_unit_or_of_its_slice_counts() {
        let root = root(&[
            ("system.slice/memory.max", "4000\n"),
            ("system.slice/memory.current", "3500\n"),
            ("system.slice/memory.stat", "anon 1\ninactive_file 700\n"),
            ("system.slice/a.service/memory.max", "max\n"),
            ("system.slice/b.service/memory.max", "3000\n"),
            ("system.slice/b.service/memory.high", "2000\n"),
            ("system.slice/b.service/memory.current", "500\n"),
        ]);
        let of = |group| allowance_of(&format!("0::/system.slice/{group}\n"), root.path());
        assert_eq!(of("a.service"), Some(Allowance { limit: 4000, left: 1200 }));
        assert_eq!(of("b.service"), Some(Allowance { limit: 2000, left: 1200 }));
        assert_eq!(of("b.service/deeper"), Some(Allowance { limit: 2000, left: 1200 }));
        assert_eq!(allowance_of("0::/user.slice\n", root.path()), None);
    }

    #[test]
    fn in_a_container_the_group_is_the_root() {
        let root = root(&[("memory.max", "5000\n"), ("memory.current", "1000\n")]);
        let whole = Some(Allowance { limit: 5000, left: 4000 });
        for group in ["/", "/docker/0123", "/../../elsewhere"] {
            assert_eq!(allowance_of(&format!("0::{group}\n"), root.path()), whole, "{group}");
        }
    }

    #[test]
    fn the_first_version_has_a_folder_for_each_kind() {
        let root = root(&[
            ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory/job/7/memory.limit_in_bytes", "6000\n"),
            ("memory/job/7/memory.usage_in_bytes", "1000\n"),
            ("memory/job/7/memory.stat", "inactive_file 5\ntotal_inactive_file 400\n"),
        ]);
        let groups = "5:cpu,cpuacct:/job\n4:hugetlb,memory:/job/7\n1:name=systemd:/x\n";
        let allowance = allowance_of(groups, root.path());
        assert_eq!(allowance, Some(Allowance { limit: 6000, left: 5400 }));
    }
}
