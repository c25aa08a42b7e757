//! Whether the kernel kills processes because memory runs out. What it counts is read before and
//! after: nobody tells a process, or its parent, why it was killed.

use std::fs;
use std::path::{Path, PathBuf};

/// Where control groups of the second version are, by convention of all distributions.
const GROUPS: &str = "/sys/fs/cgroup";

/// Processes that were killed so far because memory ran out: of the control group of this process, if
/// it has one that counts, otherwise of the host.
pub(crate) fn oom_kills() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let of_group = events(&groups, Path::new(GROUPS)).and_then(|path| counter(&path));
    of_group.or_else(|| counter(Path::new("/proc/vmstat")))
}

/// The file in which the group of a process counts what happened to its memory; `groups` is what the
/// kernel says of the groups that it is in.
fn events(groups: &str, root: &Path) -> Option<PathBuf> {
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(root.join(group).join("memory.events"))
}

/// The counter in a file of counters by name.
fn counter(path: &Path) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

/// Tells of a child that was killed whether it may have been for want of memory. Made before the child
/// is.
#[derive(Clone, Debug)]
pub(crate) struct OomWatch {
    before: Option<u64>,
}

impl OomWatch {
    /// Begins now.
    pub(crate) fn begin() -> Self {
        Self { before: oom_kills() }
    }

    /// What is to be added to "killed by signal 9".
    pub(crate) fn words(&self) -> String {
        judge(self.before, oom_kills())
    }
}

/// The count is of several processes, of which this may not be one: it is no more than likely.
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

    use super::{counter, events, judge};

    #[test]
    fn kills_are_counted_by_the_group() {
        let root = tempfile::tempdir().expect("a folder");
        let path = events("4:memory:/old\n0::/user.slice/me\n", root.path()).expect("a group");
        assert_eq!(path, root.path().join("user.slice/me/memory.events"));
        fs::create_dir_all(path.parent().expect("a parent")).expect("the group");
        assert_eq!(counter(&path), None);
        fs::write(&path, "low 0\noom 4\noom_kill 3\noom_group_kill 1\n").expect("the file");
        assert_eq!(counter(&path), Some(3));
        assert_eq!(events("4:memory:/old\n", root.path()), None);
    }

    #[test]
    fn only_a_count_that_grew_blames_memory() {
        assert_eq!(judge(Some(3), Some(3)), "");
        assert!(judge(Some(3), Some(4)).contains("has killed one process"));
        assert!(judge(None, None).contains("possibly"));
    }
}
