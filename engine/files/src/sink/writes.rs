//! The sinks of one run, as its driver sees them: started before the first task, committed after
//! the last, taken back in every other case.

use std::sync::Arc;

use datafusion::error::{DataFusionError, Result};
use futures::StreamExt;
use object_store::ObjectStoreExt;
use parking_lot::Mutex;

use super::begun::{Sink, To};
use super::folder::Folder;
use super::options::SinkSpec;
use super::part::{Opened, Opening, Written, cannot_write};
use super::stage::Staged;
use super::transaction::{complete, discard_file};
use crate::cleanup::Cleanup;
use bigslice_diagnostics::chain;

use crate::error::{Failed, SourceError, SourceErrorKind, with_hint};
use crate::stores::Stores;

/// Old files removed, or uploads taken back, at a time.
const REMOVED_AT_ONCE: usize = 8;

/// The sinks of one run.
#[derive(Debug)]
pub struct Writes {
    /// How each was described, and how many shards it has.
    specs: Vec<(Arc<SinkSpec>, usize)>,
    /// Set once they are started.
    sinks: Mutex<Vec<Sink>>,
    phase: Mutex<Phase>,
    /// Held by a commit until it is over, even if its caller is dropped.
    committing: Arc<tokio::sync::Mutex<()>>,
    cleanup: Cleanup,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting,
    Begun,
    /// The files are there: nothing is written any more.
    Committed,
    /// They were taken back, or it is not known yet that they are there.
    Gone,
}

impl Writes {
    /// Sinks that were described; nothing is there yet.
    pub fn new(specs: Vec<(Arc<SinkSpec>, usize)>, cleanup: Cleanup) -> Arc<Self> {
        let (sinks, phase) = (Mutex::default(), Mutex::new(Phase::Waiting));
        Arc::new(Self { specs, sinks, phase, committing: Arc::default(), cleanup })
    }

    /// Looks at the targets, and makes what is needed to write there, once. After the files were
    /// taken back it is an error, for rows about them may be there.
    pub async fn begin(&self, stores: &Arc<Stores>) -> Result<()> {
        if self.specs.is_empty() {
            return Ok(());
        }
        drop(self.committing.lock().await);
        {
            let mut phase = self.phase.lock();
            match *phase {
                Phase::Waiting | Phase::Begun => *phase = Phase::Begun,
                Phase::Committed => return Ok(()),
                Phase::Gone => {
                    let message = "the files of this run were taken back when it failed";
                    let hint = "run it again from its beginning";
                    return Err(DataFusionError::Execution(with_hint(message, hint)));
                }
            }
        }
        let begun = self.begin_all(stores).await;
        if begun.is_err() {
            // Nothing was written yet: the next call starts over.
            self.rollback().await;
            *self.phase.lock() = Phase::Waiting;
        }
        begun
    }

    /// Starts the sinks that are not started: all, unless an earlier call was dropped.
    async fn begin_all(&self, stores: &Arc<Stores>) -> Result<()> {
        let begun = self.sinks.lock().len();
        for (spec, shards) in self.specs.iter().skip(begun) {
            let sink = Sink::begin(spec, *shards, stores).await;
            let sink = sink.map_err(|error| Failed::at(spec.to_string(), error))?;
            let mut sinks = self.sinks.lock();
            let same = sinks.iter().any(|other| {
                sink.path == other.path && sink.location.store() == other.location.store()
            });
            sinks.push(sink);
            if same {
                return Err(
                    spec.error(format!("another sink of this run writes to \"{}\"", spec.to))
                );
            }
        }
        Ok(())
    }

    /// Opens files for an attempt at a task, whose shard goes through these sinks.
    pub async fn open(&self, sinks: &[(u32, u32)]) -> Result<Vec<Opened>> {
        let mut all = Vec::with_capacity(sinks.len());
        for (sink, shard) in sinks.iter().copied() {
            let (path, opening) = self.open_one(sink as usize, shard as usize).await?;
            all.push(Opened { sink, shard, path, opening });
        }
        Ok(all)
    }

    async fn open_one(&self, sink: usize, shard: usize) -> Result<(String, Opening)> {
        let gone = || DataFusionError::Internal("a file of a sink that is not there".to_owned());
        let (shown, bucket, key, uploads) = {
            let mut sinks = self.sinks.lock();
            let sink = sinks.get_mut(sink).ok_or_else(gone)?;
            let name = sink.names.get(shard).ok_or_else(gone)?;
            let key = sink.path.clone().join(name.as_str());
            let shown = sink.location.show(&key);
            if let Some(Some(Written { rows, bytes, .. })) = sink.written.get(shard) {
                return Ok((shown, Opening::Written { rows: *rows, bytes: *bytes }));
            }
            match &sink.to {
                To::Folder(folder) => {
                    let file = folder.file(&format!("{shard}-{}", sink.opened.len()));
                    let opening = Opening::File(file);
                    sink.opened.push((shard, opening.clone()));
                    return Ok((shown, opening));
                }
                To::Bucket(bucket, uploads) => (shown, bucket.clone(), key, Arc::clone(uploads)),
            }
        };
        let id = uploads.create_multipart(&key).await;
        let id = id.map_err(|error| cannot_write(&shown, error.into()))?;
        let opening = Opening::Upload { bucket, key: key.to_string(), id };
        let kept = self.sinks.lock().get_mut(sink).map(|sink| {
            sink.opened.push((shard, opening.clone()));
        });
        if kept.is_none()
            && let Opening::Upload { id, .. } = &opening
        {
            // The run was given up meanwhile.
            uploads.abort_multipart(&key, id).await?;
            return Err(gone());
        }
        Ok((shown, opening))
    }

    /// Takes the files that a task has written, except those that another attempt wrote before.
    pub fn take(&self, all: Vec<Written>) {
        let mut sinks = self.sinks.lock();
        for written in all {
            let sink = sinks.get_mut(written.sink as usize);
            if let Some(place) = sink.and_then(|s| s.written.get_mut(written.shard as usize)) {
                place.get_or_insert(written);
            }
        }
    }

    /// Makes all files exist. It continues after its caller is gone: a commit is not left
    /// half done by a user who gives up.
    pub async fn commit(self: &Arc<Self>) -> Result<()> {
        {
            let mut phase = self.phase.lock();
            if *phase != Phase::Begun {
                return Ok(());
            }
            *phase = if self.specs.is_empty() { Phase::Committed } else { Phase::Gone };
            if self.specs.is_empty() {
                return Ok(());
            }
        }
        let this = Arc::clone(self);
        let committing = Arc::clone(&self.committing).lock_owned().await;
        let committed = self.cleanup.carry(async move {
            let _until_it_is_over = committing;
            let sinks = std::mem::take(&mut *this.sinks.lock());
            let (sinks, outcome) = commit(sinks).await;
            if !sinks.is_empty() {
                *this.phase.lock() = Phase::Committed;
            }
            // A part of the result that is computed again knows what was written.
            *this.sinks.lock() = sinks;
            outcome
        });
        let committed = committed.await;
        committed.map_err(|e| DataFusionError::Internal(format!("the commit of files: {e}")))?
    }

    /// Takes everything back, unless it was committed.
    pub async fn rollback(&self) {
        if let Some(sinks) = self.ending() {
            discard(sinks).await;
        }
    }

    /// The sinks that are to be taken back.
    fn ending(&self) -> Option<Vec<Sink>> {
        let mut phase = self.phase.lock();
        if *phase != Phase::Begun {
            return None;
        }
        *phase = Phase::Gone;
        Some(std::mem::take(&mut *self.sinks.lock()))
    }
}

impl Drop for Writes {
    fn drop(&mut self) {
        self.give_up();
    }
}

impl Writes {
    /// [`rollback`](Self::rollback) that does not wait: uploads are aborted later.
    pub fn give_up(&self) {
        let Some(sinks) = self.ending().filter(|sinks| !sinks.is_empty()) else { return };
        sinks.iter().for_each(Sink::discard_folder);
        self.cleanup.later("taking back unfinished uploads", discard(sinks));
    }
}

/// Takes back whatever the sinks have.
async fn discard(sinks: Vec<Sink>) {
    for sink in &sinks {
        sink.discard_folder();
        discard_all(sink.abandoned(true)).await;
    }
}

async fn discard_all(files: Vec<Staged>) {
    futures::stream::iter(files).for_each_concurrent(REMOVED_AT_ONCE, discard_file).await;
}

/// Makes the files of all sinks exist, or none.
async fn commit(sinks: Vec<Sink>) -> (Vec<Sink>, Result<()>) {
    let mut published: Vec<&Folder> = Vec::new();
    let mut files = Vec::new();
    let mut failure = None;
    for sink in &sinks {
        match &sink.to {
            To::Folder(folder) if folder.is_whole() => {
                if let Err(error) = folder.publish(&sink.local_files()) {
                    let text = sink.location.text();
                    failure = Some(cannot_write(text, error.into()));
                    break;
                }
                published.push(folder);
            }
            To::Folder(_) | To::Bucket(..) => files.extend(sink.staged()),
        }
    }
    if failure.is_none() {
        failure = complete(files).await.map(DataFusionError::from);
    }
    if let Some(error) = failure {
        published.iter().for_each(|folder| folder.unpublish());
        discard(sinks).await;
        return (Vec::new(), Err(error));
    }
    let mut outcome = Ok(());
    for sink in &sinks {
        discard_all(sink.abandoned(false)).await;
        if let To::Folder(folder) = &sink.to {
            folder.discard();
        }
        if let Err(error) = remove(sink).await {
            outcome = Err(error);
        }
    }
    (sinks, outcome)
}

/// Removes what was there before.
async fn remove(sink: &Sink) -> Result<()> {
    let mut removed = futures::stream::iter(sink.before.clone())
        .map(|file| {
            let store = Arc::clone(&sink.store);
            async move {
                let removed = store.delete(&file).await;
                (file, removed)
            }
        })
        .buffer_unordered(REMOVED_AT_ONCE);
    let mut outcome = Ok(());
    while let Some((file, removed)) = removed.next().await {
        if let Err(error) = removed {
            let file = sink.location.show(&file);
            let message = format!(
                "the new files are there, but \"{file}\" could not be removed: {}",
                chain(&error)
            );
            outcome = Err(SourceError::new(SourceErrorKind::Occupied, message).into_datafusion());
        }
    }
    outcome
}
