//! The files that a statement has written so far: those to complete, and those to take back.

use std::fmt;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{Error, MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload, Result};
use parking_lot::Mutex;

use crate::cleanup::Cleanup;

/// Small files that wait in memory, in all: larger ones are uploads from the start.
const HELD_BYTES_MAX: usize = 64 << 20;

/// A file that is there but does not exist yet.
pub(super) struct Staged {
    /// The store that it will be in.
    pub(super) store: Arc<dyn ObjectStore>,
    /// Its path there.
    pub(super) path: Path,
    /// Its bytes.
    pub(super) content: Content,
}

/// Where the bytes of a staged file are.
pub(super) enum Content {
    /// In an upload that only has to be completed.
    Upload(Box<dyn MultipartUpload>),
    /// In memory.
    Held(PutPayload),
    /// An upload that another process has filled with these parts.
    Parts { uploads: Arc<dyn MultipartStore>, id: String, parts: Vec<PartId> },
    /// In a local file of another name, which gets this name.
    Renamed { from: PathBuf, to: PathBuf },
}

/// The files that the stores of one transaction have staged.
pub(super) struct Stage {
    state: Mutex<State>,
    /// Aborts unfinished uploads in the background.
    cleanup: Cleanup,
}

#[derive(Default)]
struct State {
    closed: bool,
    files: Vec<Staged>,
    abandoned: Vec<Box<dyn MultipartUpload>>,
    folders: Vec<PathBuf>,
    held: usize,
    failure: Option<Failure>,
}

/// The first thing that went wrong with a store. DataFusion's sinks do not pass on what goes wrong
/// at the end of a file, so it is kept here for the transaction.
#[derive(Debug, Clone)]
pub(super) struct Failure(Arc<Error>);

impl Failure {
    /// As an error of a store.
    pub(super) fn into_error(self) -> Error {
        Error::Generic { store: "store", source: Box::new(self) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(self.0.as_ref())
    }
}

/// Everything that a stage has when it is closed.
pub(super) struct Closed {
    /// Files to be completed or taken back.
    pub(super) files: Vec<Staged>,
    /// Uploads of writers that did not come to their end.
    pub(super) abandoned: Vec<Box<dyn MultipartUpload>>,
    /// Folders made for the files, outer ones first.
    pub(super) folders: Vec<PathBuf>,
    /// The error.
    pub(super) failure: Option<Failure>,
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        f.debug_struct("Stage")
            .field("files", &state.files.len())
            .field("closed", &state.closed)
            .finish_non_exhaustive()
    }
}

impl Stage {
    /// An empty stage.
    pub(super) fn new(cleanup: Cleanup) -> Self {
        Self { state: Mutex::default(), cleanup }
    }

    /// Nothing more is taken after this.
    pub(super) fn close(&self) -> Closed {
        let mut state = self.state.lock();
        state.closed = true;
        Closed {
            files: std::mem::take(&mut state.files),
            abandoned: std::mem::take(&mut state.abandoned),
            folders: state.folders.clone(),
            failure: state.failure.take(),
        }
    }

    /// The folders have their files: they stay.
    pub(super) fn keep_folders(&self) {
        self.state.lock().folders.clear();
    }

    /// Runs bounded cleanup in the background, because the owner has been dropped.
    pub(super) fn afterwards(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.cleanup.later("taking back unfinished uploads", work);
    }

    /// Takes a file that was written to its end.
    pub(super) fn take(&self, file: Staged) -> Result<()> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(ended());
        }
        state.files.push(file);
        Ok(())
    }

    /// Notes the first error; what is written after it fails at once.
    pub(super) fn fail(&self, error: Error) {
        let mut state = self.state.lock();
        state.failure.get_or_insert_with(|| Failure(Arc::new(error)));
    }

    /// An error when something went wrong before.
    pub(super) fn still_good(&self) -> Result<()> {
        match &self.state.lock().failure {
            Some(failure) => Err(failure.clone().into_error()),
            None => Ok(()),
        }
    }

    /// Keeps an upload that has lost its writer. A writer may end after the transaction has: then
    /// the upload is taken back on its own, and the folders that it was in the way of.
    pub(super) fn abandon(&self, mut upload: Box<dyn MultipartUpload>) {
        let mut state = self.state.lock();
        if !state.closed {
            state.abandoned.push(upload);
            return;
        }
        let folders = state.folders.clone();
        drop(state);
        self.afterwards(async move {
            if let Err(error) = upload.abort().await {
                tracing::debug!("an upload could not be taken back: {error}");
            }
            remove_folders(folders);
        });
    }

    /// May this many bytes more wait in memory? Then they are counted.
    pub(super) fn may_hold(&self, bytes: usize) -> bool {
        let mut state = self.state.lock();
        let fits = state.held.saturating_add(bytes) <= HELD_BYTES_MAX;
        if fits {
            state.held += bytes;
        }
        fits
    }

    /// Notes the folders that will be made for a file, so that they can be removed again.
    pub(super) fn note_folders(&self, file: &FsPath) {
        let missing: Vec<PathBuf> = file
            .ancestors()
            .skip(1)
            .take_while(|folder| !folder.exists())
            .map(FsPath::to_owned)
            .collect();
        let mut state = self.state.lock();
        for folder in missing.into_iter().rev() {
            if !state.folders.contains(&folder) {
                state.folders.push(folder);
            }
        }
    }
}

/// Removes folders that were made for files, inner ones first; one that has something stays.
pub(super) fn remove_folders(folders: Vec<PathBuf>) {
    for folder in folders.into_iter().rev() {
        if let Err(error) = std::fs::remove_dir(&folder) {
            tracing::debug!("the folder \"{}\" stays: {error}", folder.display());
        }
    }
}

/// The answer to a writer that is late.
pub(super) fn ended() -> Error {
    Error::Generic { store: "store", source: "the statement that writes has ended".into() }
}

impl Staged {
    /// Does a file of this name exist now?
    pub(super) fn is_there(&self) -> impl Future<Output = bool> + Send + use<> {
        let (store, path) = (Arc::clone(&self.store), self.path.clone());
        async move { store.head(&path).await.is_ok() }
    }

    /// Makes the file exist.
    pub(super) async fn complete(&mut self) -> Result<()> {
        match &mut self.content {
            Content::Upload(upload) => upload.complete().await.map(drop),
            Content::Held(payload) => self.store.put(&self.path, payload.clone()).await.map(drop),
            Content::Parts { uploads, id, parts } => {
                let parts = std::mem::take(parts);
                uploads.complete_multipart(&self.path, id, parts).await.map(drop)
            }
            Content::Renamed { from, to } => std::fs::rename(from, to)
                .map_err(|e| Error::Generic { store: "file", source: Box::new(e) }),
        }
    }

    /// Takes it back before it exists.
    pub(super) async fn discard(mut self) -> Result<()> {
        match &mut self.content {
            Content::Upload(upload) => upload.abort().await,
            Content::Held(_) => Ok(()),
            Content::Parts { uploads, id, .. } => uploads.abort_multipart(&self.path, id).await,
            Content::Renamed { from, .. } => std::fs::remove_file(from)
                .map_err(|e| Error::Generic { store: "file", source: Box::new(e) }),
        }
    }
}
