//! A local folder that files are written for: they are collected in a hidden folder beside them,
//! and come to the target by renaming.
//!
//! A target that is not there yet comes to exist with all of its files in one step: the hidden
//! folder itself is renamed. The hidden folder is locked by its driver for as long as that lives,
//! so that one without a lock is left of a driver that was killed: the next who writes there
//! removes it.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// The prefix of hidden folders. No reader looks into a folder whose name begins with it.
pub(super) const HIDDEN: &str = ".bigslice-write-";

/// How often a hidden folder is made: a sweeper may come between it and its lock.
const BEGUN_MAX: usize = 3;

/// Where the files of one sink wait.
#[derive(Debug)]
pub(super) struct Folder {
    target: PathBuf,
    staging: PathBuf,
    /// Folders made on the way to the target, outer ones first.
    made: Vec<PathBuf>,
    /// Whether the target is not there yet.
    whole: bool,
    _lock: File,
}

impl Folder {
    /// Makes the hidden folder for a target, and removes those that the dead have left there.
    pub(super) fn begin(target: &Path) -> io::Result<Self> {
        let whole = !target.try_exists()?;
        let (within, made) = match target.parent() {
            Some(parent) if whole => (parent, make_folders(parent)?),
            _ => (target, Vec::new()),
        };
        let mut begun = stage(within);
        for _ in 1..BEGUN_MAX {
            if begun.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::NotFound) {
                begun = stage(within);
            }
        }
        match begun {
            Ok((staging, lock)) => {
                sweep(within);
                Ok(Self { target: target.to_owned(), staging, made, whole, _lock: lock })
            }
            Err(error) => {
                remove_made(&made);
                Err(error)
            }
        }
    }

    /// Whether another process is writing to the same folder right now.
    pub(super) fn is_contended(&self) -> bool {
        !self.whole && hidden(&self.target).any(|other| other != self.staging)
    }

    /// Whether the target is not there yet.
    pub(super) fn is_whole(&self) -> bool {
        self.whole
    }

    /// The path of a waiting file.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.staging.join(name)
    }

    /// Makes the target exist, with these files: names as they wait, and as they are to be.
    pub(super) fn publish(&self, files: &[(PathBuf, String)]) -> io::Result<()> {
        for (from, name) in files {
            fs::rename(from, self.staging.join(name))?;
        }
        // The leftovers of attempts that do not count.
        for file in fs::read_dir(&self.staging)? {
            let file = file?;
            if !files.iter().any(|(_, name)| file.file_name() == name.as_str()) {
                fs::remove_file(file.path())?;
            }
        }
        // It must not be there: a rename would replace an empty folder.
        if self.target.try_exists()? {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        fs::rename(&self.staging, &self.target)
    }

    /// Undoes [`publish`](Self::publish).
    pub(super) fn unpublish(&self) {
        if let Err(error) = fs::rename(&self.target, &self.staging) {
            let folder = self.target.display();
            tracing::warn!(%error, "the folder \"{folder}\" could not be removed again");
        }
    }

    /// Removes the folder. It is renamed first, so that no late writer finds it.
    pub(super) fn discard(&self) {
        let gone = self.staging.with_extension("gone");
        let removed = fs::rename(&self.staging, &gone).and_then(|()| fs::remove_dir_all(&gone));
        if let Err(error) = removed
            && error.kind() != io::ErrorKind::NotFound
        {
            let folder = self.staging.display();
            tracing::warn!(%error, "the folder \"{folder}\" could not be removed");
        }
    }

    /// Removes the folders that were made on the way to a target that is not to be.
    pub(super) fn discard_made(&self) {
        remove_made(&self.made);
    }
}

/// A unique name.
pub(super) fn unique() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// Makes a hidden folder and locks it.
fn stage(within: &Path) -> io::Result<(PathBuf, File)> {
    let staging = within.join(format!("{HIDDEN}{}", unique()));
    fs::create_dir(&staging)?;
    let lock = File::open(&staging)?;
    // A sweeper holds what it removes. Where there are no locks there are no sweepers.
    if let Err(TryLockError::WouldBlock) = lock.try_lock() {
        return Err(io::ErrorKind::NotFound.into());
    }
    staging.metadata()?;
    Ok((staging, lock))
}

/// The hidden folders in a folder.
fn hidden(within: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(within).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(HIDDEN))
        .map(|entry| entry.path())
}

/// Removes the hidden folders without a lock.
fn sweep(within: &Path) {
    for folder in hidden(within) {
        let held = File::open(&folder).map(|file| file.try_lock().map(|()| file));
        if let Ok(Ok(_lock)) = held
            && let Err(error) = fs::remove_dir_all(&folder)
        {
            tracing::warn!(%error, "\"{}\" could not be removed", folder.display());
        }
    }
}

/// Makes a folder and those above it; those that were not there, outer ones first.
fn make_folders(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let missing = folder.ancestors().take_while(|f| !f.as_os_str().is_empty() && !f.exists());
    let mut made: Vec<PathBuf> = missing.map(Path::to_owned).collect();
    made.reverse();
    fs::create_dir_all(folder)?;
    Ok(made)
}

fn remove_made(made: &[PathBuf]) {
    super::stage::remove_folders(made.to_vec());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_dead_have_left_is_removed_and_what_the_living_have_stays() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("out");
        let dead = root.path().join(format!("{HIDDEN}dead"));
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join("0"), "half a file").unwrap();
        let living = Folder::begin(&target).unwrap();
        assert!(!dead.exists());
        fs::write(living.file("0"), "").unwrap();
        let other = Folder::begin(&target).unwrap();
        assert!(living.file("0").exists());
        other.discard();
        living.publish(&[(living.file("0"), "part".to_owned())]).unwrap();
        assert!(target.join("part").exists());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[test]
    fn two_do_not_write_into_one_folder() {
        let root = tempfile::tempdir().unwrap();
        let first = Folder::begin(root.path()).unwrap();
        assert!(!first.is_contended());
        let second = Folder::begin(root.path()).unwrap();
        assert!(first.is_contended() && second.is_contended());
        second.discard();
        assert!(!first.is_contended());
        first.discard();
        // A target that came to exist meanwhile is not replaced.
        let target = root.path().join("new/out");
        let third = Folder::begin(&target).unwrap();
        fs::create_dir(&target).unwrap();
        assert_eq!(third.publish(&[]).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        fs::remove_dir(&target).unwrap();
        third.discard();
        third.discard_made();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
