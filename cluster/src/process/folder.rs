//! Temporary folders that never outlive their session.
//!
//! ```text
//!   <temp root>/bigslice-<session>/          locked by the driver
//!                                  driver/
//!                                  m0/       locked by m0, if that is a process of its own
//! ```
//!
//! Each live process holds a lock (`flock`) on its folder. The system drops the lock with the
//! process, so a folder without a lock has no owner. A driver that ends removes everything. If it
//! was killed, its [`Janitor`] removes the session's folder, and each of its workers removes its
//! own folder and those without an owner. If all were killed at once, the next driver finds and
//! removes the rest.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::identity::{MachineName, SessionId};
use crate::process::janitor::Janitor;

/// The prefix of every session's folder.
const PREFIX: &str = "bigslice-";
/// Spilled rows are the user's data: other users must not read them.
const MODE: u32 = 0o700;
/// A folder that dying threads still write to is removed by the second or third attempt.
const REMOVALS_MAX: usize = 20;
/// How long a worker tries to lock a session whose driver seems to be gone. Long enough for other
/// workers to finish the same, short enough if the driver is alive after all.
const ORPHAN_PATIENCE: Duration = Duration::from_secs(1);
/// The pause between two attempts of either kind.
const PAUSE: Duration = Duration::from_millis(10);

/// The folder of a session, held by its driver. Removed when dropped, if not before. A session
/// without machines can have one too.
#[derive(Debug)]
pub struct SessionFolder {
    path: PathBuf,
    _lock: File,
    /// Dropped after the folder was removed, so that it finds nothing to do.
    _janitor: Option<Janitor>,
}

impl SessionFolder {
    /// Removes the folders of dead sessions in `temp_root`, then makes the folder of a new one.
    pub fn create(temp_root: &Path, session: &SessionId) -> Result<Self> {
        let make = || format!("make a temporary folder in \"{}\"", temp_root.display());
        let temp_root = &std::path::absolute(temp_root).map_err(Error::io(make()))?;
        fs::create_dir_all(temp_root).map_err(Error::io(make()))?;
        sweep(temp_root);
        let path = temp_root.join(format!("{PREFIX}{session}"));
        loop {
            DirBuilder::new().mode(MODE).create(&path).map_err(Error::io(make()))?;
            // Between these lines another driver's sweep may take the folder for that of a dead
            // session.
            match claim(&path) {
                Ok(Some(lock)) => {
                    let janitor = Janitor::for_folder(&path);
                    let folder = Self { path, _lock: lock, _janitor: janitor };
                    folder.machine(&MachineName::driver())?;
                    return Ok(folder);
                }
                Ok(None) => {}
                Err(err) => return Err(Error::io(make())(err)),
            }
        }
    }

    /// The driver's own part of the folder.
    pub fn driver(&self) -> PathBuf {
        self.path_of(&MachineName::driver())
    }

    /// The path of the folder of `machine`.
    pub(crate) fn path_of(&self, machine: &MachineName) -> PathBuf {
        self.path.join(machine.as_str())
    }

    /// Makes the folder of `machine`.
    pub(crate) fn machine(&self, machine: &MachineName) -> Result<PathBuf> {
        let path = self.path_of(machine);
        DirBuilder::new()
            .mode(MODE)
            .create(&path)
            .map_err(Error::io(format!("make the temporary folder \"{}\"", path.display())))?;
        Ok(path)
    }

    /// Removes the whole folder. No process of the session may run any more.
    pub fn remove(&self) -> io::Result<()> {
        remove(&self.path)
    }
}

impl Drop for SessionFolder {
    fn drop(&mut self) {
        if let Err(err) = self.remove() {
            tracing::warn!(error = %err, folder = %self.path.display(), "could not remove a folder");
        }
    }
}

/// The folder of a worker that is a process of its own, locked by it.
#[derive(Debug)]
pub(crate) struct WorkerFolder {
    path: PathBuf,
    _lock: File,
}

impl WorkerFolder {
    /// Locks the folder that the driver made.
    pub(crate) fn hold(path: PathBuf) -> Result<Self> {
        let failed = Error::io(format!("lock the temporary folder \"{}\"", path.display()));
        let lock = File::open(&path).and_then(|file| file.lock().map(|()| file)).map_err(failed)?;
        Ok(Self { path, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it. The driver removes the rest.
    pub(crate) fn remove(self) -> io::Result<()> {
        remove(&self.path)
    }

    /// Removes it, and all unowned parts of the session's folder, because the driver seems to be
    /// gone.
    pub(crate) fn remove_orphaned(self) {
        let Self { path, _lock } = self;
        let removed = remove(&path);
        drop(_lock);
        if let Err(err) = removed {
            tracing::warn!(error = %err, folder = %path.display(), "could not remove a folder");
        }
        let Some(session) = path.parent().filter(|p| is_session(p)) else { return };
        let deadline = Instant::now() + ORPHAN_PATIENCE;
        loop {
            match File::open(session).and_then(|lock| Ok((lock.try_lock()?, lock))) {
                Ok(((), _lock)) => return clean(session),
                Err(err) if err.kind() == io::ErrorKind::NotFound => return,
                Err(_) if Instant::now() > deadline => return,
                Err(_) => thread::sleep(PAUSE),
            }
        }
    }
}

/// Removes a folder tree, which need not exist.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let mut last = Ok(());
    for _ in 0..REMOVALS_MAX {
        last = match fs::remove_dir_all(path) {
            Ok(()) => return Ok(()),
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(err) => Err(err),
        };
        thread::sleep(PAUSE);
    }
    last
}

/// Locks a folder; `None` if it is no longer the one with this name.
fn claim(path: &Path) -> io::Result<Option<File>> {
    let lock = match File::open(path) {
        Ok(lock) => lock,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(err) => return Err(err),
    };
    lock.lock()?;
    let held = lock.metadata()?;
    match fs::metadata(path) {
        Ok(named) if (named.dev(), named.ino()) == (held.dev(), held.ino()) => Ok(Some(lock)),
        Ok(_) => Ok(None),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(err) => Err(err),
    }
}

fn is_session(path: &Path) -> bool {
    path.file_name()
        .and_then(|name| name.to_str())
        .and_then(|name| name.strip_prefix(PREFIX))
        .is_some_and(|id| id.parse::<SessionId>().is_ok())
}

/// Removes the folders of sessions without a live process.
fn sweep(temp_root: &Path) {
    let Ok(entries) = fs::read_dir(temp_root) else { return };
    let me = rustix::process::geteuid().as_raw();
    for entry in entries.flatten() {
        let path = entry.path();
        // Links are not followed, and folders of other users are left alone.
        let ours = entry.metadata().is_ok_and(|m| m.is_dir() && m.uid() == me);
        if !ours || !is_session(&path) {
            continue;
        }
        let Ok(lock) = File::open(&path) else { continue };
        if lock.try_lock().is_ok() {
            clean(&path);
        }
    }
}

/// Removes all unowned parts from a session's folder, whose lock the caller holds, and then the
/// folder itself if it is empty.
fn clean(session: &Path) {
    let Ok(entries) = fs::read_dir(session) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let Ok(lock) = File::open(&path) else { continue };
        if lock.try_lock().is_ok()
            && let Err(err) = remove(&path)
        {
            tracing::warn!(error = %err, folder = %path.display(), "could not remove a folder");
        }
    }
    match fs::remove_dir(session) {
        Ok(()) => {}
        // A worker that is still ending removes the rest.
        Err(err) => tracing::debug!(error = %err, folder = %session.display(), "left for later"),
    }
}
