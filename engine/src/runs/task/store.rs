//! The shards that one process has stored. Their files are in the temporary folder of the process,
//! which is removed with it.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use bigslice_cluster::{SessionFolder, SessionId};
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use crate::base::task_error::TaskError;
use crate::base::wire::{RunId, StoredAt};
use crate::error::{Error, Result};
use crate::runs::task::request::ShardTicket;
use crate::shard::{self, Index};

/// Most forgotten runs that are remembered. Their tasks were aborted before, and end within
/// moments.
const FORGOTTEN_MAX: usize = 256;

/// The output of one attempt of one task, by run, stage, task and attempt.
type Key = (RunId, u32, u32, u32);

/// The shards of one process.
#[derive(Debug)]
pub(crate) struct Store {
    folder: Folder,
    shards: RwLock<Shards>,
}

#[derive(Debug, Default)]
struct Shards {
    stored: HashMap<Key, Arc<Stored>>,
    /// The runs that were forgotten last: a task that ends after that must not leave a file behind.
    forgotten: VecDeque<RunId>,
}

/// One file. It is removed with its last reader.
#[derive(Debug)]
pub(crate) struct Stored {
    path: PathBuf,
    index: Index,
}

impl Drop for Stored {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(%error, path = %self.path.display(), "could not remove a shard");
        }
    }
}

/// The folder of the files.
#[derive(Debug)]
enum Folder {
    /// A folder that the caller removes.
    Given(PathBuf),
    /// A folder of this session.
    Own { temp_root: PathBuf, made: Mutex<Made> },
}

/// A folder that is made when it is first needed. Aborted tasks may ask for it after the session is
/// closed: then it is not made.
#[derive(Debug)]
enum Made {
    NotYet,
    There(SessionFolder),
    Closed,
}

impl Store {
    /// Stores files in `folder`, which the caller removes.
    pub(crate) fn within(folder: PathBuf) -> Self {
        Self { folder: Folder::Given(folder), shards: RwLock::default() }
    }

    /// Stores files in a new folder below `temp_root`.
    pub(crate) fn below(temp_root: PathBuf) -> Self {
        let folder = Folder::Own { temp_root, made: Mutex::new(Made::NotYet) };
        Self { folder, shards: RwLock::default() }
    }

    /// The path of the file of an attempt; its name has numbers only.
    pub(crate) fn path(&self, at: &StoredAt) -> Result<PathBuf> {
        let StoredAt { run, stage, task, attempt, .. } = at;
        Ok(self.folder.path()?.join(format!("run-{}-{stage}-{task}-{attempt}.arrows", run.0)))
    }

    /// Adds the file that an attempt has written to `path`; removes it if its run was forgotten.
    pub(crate) fn put(&self, at: &StoredAt, path: PathBuf, index: Index) {
        let stored = Arc::new(Stored { path, index });
        let mut shards = self.shards.write();
        if !shards.forgotten.contains(&at.run) {
            shards.stored.insert(key(at), stored);
        }
    }

    /// The file of an attempt.
    pub(crate) fn get(&self, at: &StoredAt) -> Result<Arc<Stored>, TaskError> {
        let found = self.shards.read().stored.get(&key(at)).cloned();
        found.ok_or_else(|| missing(at, "it is not stored here"))
    }

    /// Removes the folder of this session with all files. Not left to `drop`: aborted tasks may
    /// hold the store for a moment longer than the session.
    pub(crate) fn close(&self) {
        if let Folder::Own { made, .. } = &self.folder {
            // Waits while another thread makes it. It is removed when it is dropped.
            drop(std::mem::replace(&mut *made.lock(), Made::Closed));
        }
    }

    /// Forgets a run, and removes its files. Its number is not used again.
    pub(crate) fn discard(&self, run: RunId) {
        let mut shards = self.shards.write();
        shards.stored.retain(|(of, ..), _| *of != run);
        if shards.forgotten.len() == FORGOTTEN_MAX {
            shards.forgotten.pop_front();
        }
        shards.forgotten.push_back(run);
    }
}

impl Folder {
    fn path(&self) -> Result<PathBuf> {
        match self {
            Self::Given(path) => Ok(path.clone()),
            Self::Own { temp_root, made } => {
                let mut made = made.lock();
                match &*made {
                    Made::There(folder) => Ok(folder.driver()),
                    Made::Closed => Err(Error::Closed),
                    Made::NotYet => {
                        let folder = SessionFolder::create(temp_root, &SessionId::random())?;
                        let path = folder.driver();
                        *made = Made::There(folder);
                        Ok(path)
                    }
                }
            }
        }
    }
}

impl Stored {
    /// The blocks for a ticket, as they are in the file, each with its checksum.
    pub(crate) fn blocks(
        self: Arc<Self>,
        ticket: &ShardTicket,
    ) -> Result<impl Iterator<Item = Result<(Bytes, u32), TaskError>> + Send + use<>, TaskError>
    {
        let at = ticket.at.clone();
        let file = File::open(&self.path).map_err(|e| missing(&at, &e.to_string()))?;
        let blocks = self.index.blocks(ticket.partition as usize);
        let blocks = match &ticket.blocks {
            None => Some(blocks),
            Some(range) => blocks.get(range.start as usize..range.end as usize),
        };
        let blocks = blocks.ok_or_else(|| missing(&at, "it has fewer blocks"))?.to_vec();
        Ok(blocks.into_iter().map(move |block| {
            // Held until the last block is read.
            let _stored = &self;
            let bytes = shard::read_block(&file, &block);
            Ok((bytes.map_err(|e| missing(&at, &e.to_string()))?, block.crc))
        }))
    }
}

fn key(at: &StoredAt) -> Key {
    (at.run, at.stage, at.task, at.attempt)
}

/// The error of a shard that cannot be read, which has its task run again.
pub(super) fn missing(at: &StoredAt, why: &str) -> TaskError {
    TaskError::ShardLost { at: at.clone(), reason: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_forgotten_run_stores_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::within(folder.path().to_owned());
        let put = |run, task| {
            let at = StoredAt { run: RunId(run), stage: 0, task, attempt: 1, machine: None };
            let path = store.path(&at).unwrap();
            std::fs::write(&path, "").unwrap();
            store.put(&at, path.clone(), Index::default());
            (at, path)
        };
        let (first, first_path) = put(1, 0);
        let (other, other_path) = put(2, 0);
        assert!(store.get(&first).is_ok());
        store.discard(RunId(1));
        assert!(store.get(&first).is_err() && !first_path.exists());
        // A task that ends afterwards.
        let (late, late_path) = put(1, 1);
        assert!(store.get(&late).is_err() && !late_path.exists());
        assert!(store.get(&other).is_ok() && other_path.exists());
        for run in 3..1000 {
            store.discard(RunId(run));
        }
        assert_eq!(store.shards.read().forgotten.len(), FORGOTTEN_MAX);
    }
}
