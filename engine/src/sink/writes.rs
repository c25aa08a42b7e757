//! The sinks of one run, as its driver sees them: begun before the first task, committed after the
//! last, taken back in every other case.

use std::path::PathBuf;
use std::sync::Arc;

use bigslice_cluster::SessionId;
use datafusion::error::DataFusionError;
use datafusion::execution::object_store::ObjectStoreRegistry;
use futures::StreamExt;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::folder::{Folder, HIDDEN};
use super::options::{Existing, SinkSpec};
use super::part::{Opened, Opening, Written, cannot_write};
use super::stage::{Content, Staged, TAKE_BACK_TIMEOUT};
use super::transaction::{complete, discard_file};
use crate::error::{Error, Result};
use crate::source::{Location, Place, SourceError, SourceErrorKind, Stores};

/// Old files removed, or uploads taken back, at a time.
const REMOVED_AT_ONCE: usize = 8;

/// The sinks of one run.
#[derive(Debug)]
pub(crate) struct Writes {
    /// How each was described, and how many shards it has.
    specs: Vec<(Arc<SinkSpec>, usize)>,
    /// What is set once they are begun.
    sinks: Mutex<Vec<Sink>>,
    phase: Mutex<Phase>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting,
    Begun,
    /// The files are there: nothing is written any more.
    Committed,
    Gone,
}

/// One sink.
#[derive(Debug)]
struct Sink {
    location: Location,
    /// The folder, in its store.
    path: Path,
    store: Arc<dyn ObjectStore>,
    to: To,
    /// The files' names.
    names: Vec<String>,
    /// What to remove when the new files are there.
    before: Vec<Path>,
    /// The first that was written of each.
    written: Vec<Option<Written>>,
    /// Whatever was opened, in order.
    opened: Vec<(usize, Opening)>,
}

/// Where files wait.
enum To {
    Folder(Folder),
    Bucket(String, Arc<dyn MultipartStore>),
}

impl std::fmt::Debug for To {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(folder) => folder.fmt(f),
            Self::Bucket(name, _) => write!(f, "bucket {name}"),
        }
    }
}

impl Writes {
    /// Sinks that were described; nothing is there yet.
    pub(crate) fn new(specs: Vec<(Arc<SinkSpec>, usize)>) -> Arc<Self> {
        let (sinks, phase) = (Mutex::default(), Mutex::new(Phase::Waiting));
        Arc::new(Self { specs, sinks, phase })
    }

    /// Looks at the targets, and makes what is needed to write there. Only the first call does.
    pub(crate) async fn begin(&self, stores: &Arc<Stores>) -> Result<()> {
        if *self.phase.lock() != Phase::Waiting {
            return Ok(());
        }
        *self.phase.lock() = Phase::Begun;
        for (spec, shards) in &self.specs {
            let sink = Sink::begin(spec, *shards, stores).await;
            let sink = sink.map_err(|e| e.within(&format!("{} at {}", spec.verb, spec.place)))?;
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
    pub(crate) async fn open(&self, sinks: &[(u32, u32)]) -> Result<Vec<Opened>> {
        let mut all = Vec::with_capacity(sinks.len());
        for (sink, shard) in sinks.iter().copied() {
            let (path, opening) = self.open_one(sink as usize, shard as usize).await?;
            all.push(Opened { sink, shard, path, opening });
        }
        Ok(all)
    }

    async fn open_one(&self, sink: usize, shard: usize) -> Result<(String, Opening)> {
        let gone = || Error::internal("a file of a sink that is not there");
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
        let id = uploads.create_multipart(&key).await.map_err(|e| {
            Error::from(cannot_write(&shown, &DataFusionError::ObjectStore(Box::new(e))))
        })?;
        let opening = Opening::Upload { bucket, key: key.to_string(), id };
        let kept = self.sinks.lock().get_mut(sink).map(|sink| {
            sink.opened.push((shard, opening.clone()));
        });
        if kept.is_none()
            && let Opening::Upload { id, .. } = &opening
        {
            // The run was given up meanwhile.
            let aborted = uploads.abort_multipart(&key, id).await;
            aborted.map_err(|e| Error::from(DataFusionError::ObjectStore(Box::new(e))))?;
            return Err(gone());
        }
        Ok((shown, opening))
    }

    /// A task has written files: those count that nobody wrote before.
    pub(crate) fn take(&self, all: Vec<Written>) {
        let mut sinks = self.sinks.lock();
        for written in all {
            let sink = sinks.get_mut(written.sink as usize);
            if let Some(place) = sink.and_then(|s| s.written.get_mut(written.shard as usize)) {
                place.get_or_insert(written);
            }
        }
    }

    /// Makes all files exist. It goes on when nobody waits for it any more: a commit is not left half
    /// done by a user who gives up.
    pub(crate) async fn commit(self: &Arc<Self>) -> Result<()> {
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
        let committed = tokio::spawn(async move {
            let sinks = std::mem::take(&mut *this.sinks.lock());
            let (sinks, outcome) = commit(sinks).await;
            // What was written is known to whoever computes a part of the result again.
            *this.sinks.lock() = sinks;
            if outcome.is_ok() {
                *this.phase.lock() = Phase::Committed;
            }
            outcome
        });
        committed.await.map_err(|e| Error::internal(format!("the commit of files: {e}")))?
    }

    /// Takes everything back, unless it was committed.
    pub(crate) async fn rollback(&self) {
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
    /// [`rollback`](Self::rollback) for whoever cannot wait: uploads are taken back later.
    pub(crate) fn give_up(&self) {
        let Some(sinks) = self.ending().filter(|sinks| !sinks.is_empty()) else { return };
        sinks.iter().for_each(Sink::discard_folder);
        let Ok(runtime) = Handle::try_current() else { return };
        runtime.spawn(async move {
            if tokio::time::timeout(TAKE_BACK_TIMEOUT, discard(sinks)).await.is_err() {
                tracing::warn!("unfinished uploads could not be taken back in time");
            }
        });
    }
}

impl Sink {
    async fn begin(spec: &Arc<SinkSpec>, shards: usize, stores: &Arc<Stores>) -> Result<Self> {
        spec.check()?;
        let location = Location::parse(&spec.to, stores.home())?;
        let invalid = |message: String| Error::Source { message, hint: None };
        let path = match location.place() {
            Place::Path(path) | Place::Folder(path) => path.clone(),
            Place::Glob(..) => {
                let text = &spec.to;
                return Err(invalid(format!("\"{text}\" is a pattern, not a folder to write to")));
            }
        };
        let to = match location.bucket_name() {
            Some(bucket) => To::Bucket(bucket.to_owned(), stores.uploads(bucket)),
            None if location.is_local() => {
                let target = PathBuf::from(format!("/{path}"));
                let folder = Folder::begin(&target).map_err(|e| {
                    Error::from(cannot_write(&spec.to, &DataFusionError::IoError(e)))
                })?;
                To::Folder(folder)
            }
            None => {
                let text = &spec.to;
                return Err(invalid(format!(
                    "\"{text}\" is on a web server, which cannot be written to"
                )));
            }
        };
        let store = stores.get_store(AsRef::<url::Url>::as_ref(location.store()))?;
        let mut sink = Self {
            location,
            path,
            store,
            to,
            names: Vec::new(),
            before: Vec::new(),
            written: vec![None; shards],
            opened: Vec::new(),
        };
        if let Err(error) = sink.look(spec.options.existing).await {
            sink.discard_folder();
            return Err(error);
        }
        // Others may have names that are like these.
        let unique = match spec.options.existing {
            Existing::Refuse => String::new(),
            Existing::Append | Existing::Overwrite => {
                let id = SessionId::random().to_string();
                format!("-{}", id.get(..8).unwrap_or(&id))
            }
        };
        let ending = spec.ending();
        let name = |shard| format!("part-{shard:05}-of-{shards:05}{unique}{ending}");
        sink.names = (0..shards).map(name).collect();
        Ok(sink)
    }

    /// What is in the target before anything is written.
    async fn look(&mut self, existing: Existing) -> Result<()> {
        let text = self.location.text();
        let occupied = |message: String| SourceError::new(SourceErrorKind::Occupied, message);
        if let To::Folder(folder) = &self.to {
            if folder.is_whole() {
                return Ok(());
            }
            if folder.is_contended() && existing == Existing::Refuse {
                let message = format!("another run is writing to the folder \"{text}\"");
                return Err(occupied(message).into_datafusion().into());
            }
        }
        let root = self.path.as_ref().is_empty();
        let list = self.store.list_with_delimiter((!root).then_some(&self.path)).await;
        let list = list.map_err(|e| Error::from(DataFusionError::ObjectStore(Box::new(e))))?;
        let hidden = |path: &Path| path.filename().is_some_and(|name| name.starts_with(HIDDEN));
        let folder = list.common_prefixes.into_iter().find(|path| !hidden(path));
        match existing {
            Existing::Append => {}
            Existing::Overwrite => {
                if let Some(folder) = folder {
                    let folder = self.location.show(&folder);
                    let message = format!(
                        "\"{text}\" has the folder \"{folder}\": only files are overwritten"
                    );
                    return Err(occupied(message).into_datafusion().into());
                }
                self.before = list.objects.into_iter().map(|file| file.location).collect();
            }
            Existing::Refuse => {
                let first = list.objects.into_iter().map(|file| file.location).next();
                if let Some(first) = first.or(folder) {
                    let first = self.location.show(&first);
                    let message = format!("the folder \"{text}\" is not empty: it has \"{first}\"");
                    let hint = "remove its files, write to a new folder, or say \
                                WriteOptions::existing(Existing::Append), or Existing::Overwrite";
                    return Err(occupied(message).hint(hint).into_datafusion().into());
                }
            }
        }
        Ok(())
    }

    /// The local files that were written: as they wait, and as they are to be called.
    fn local_files(&self) -> Vec<(PathBuf, String)> {
        let files = self.written.iter().zip(&self.names);
        files
            .filter_map(|(written, name)| match &written.as_ref()?.opening {
                Opening::File(from) => Some((from.clone(), name.clone())),
                Opening::Upload { .. } | Opening::Written { .. } => None,
            })
            .collect()
    }

    /// What only has to be completed, file by file.
    fn staged(&self) -> Vec<Staged> {
        let files = self.written.iter().zip(&self.names);
        let file = |(written, name): (&Option<Written>, &String)| {
            let written = written.as_ref()?;
            let path = self.path.clone().join(name.as_str());
            let content = match (&written.opening, &self.to) {
                (Opening::File(from), _) => Content::Renamed {
                    from: from.clone(),
                    to: PathBuf::from(format!("/{}", self.path)).join(name),
                },
                (Opening::Upload { id, .. }, To::Bucket(_, uploads)) => Content::Parts {
                    uploads: Arc::clone(uploads),
                    id: id.clone(),
                    parts: part_ids(&written.parts),
                },
                _ => return None,
            };
            Some(Staged { store: Arc::clone(&self.store), path, content })
        };
        files.filter_map(file).collect()
    }

    /// The uploads that are not to be completed.
    fn abandoned(&self, all: bool) -> Vec<Staged> {
        let To::Bucket(_, uploads) = &self.to else { return Vec::new() };
        let counts = |shard: usize, opening: &Opening| {
            let written = self.written.get(shard).and_then(Option::as_ref);
            !all && written.is_some_and(|written| written.opening == *opening)
        };
        let of = self.opened.iter().filter(|(shard, opening)| !counts(*shard, opening));
        of.filter_map(|(shard, opening)| {
            let Opening::Upload { id, .. } = opening else { return None };
            let path = self.path.clone().join(self.names.get(*shard)?.as_str());
            let (uploads, id, parts) = (Arc::clone(uploads), id.clone(), Vec::new());
            let content = Content::Parts { uploads, id, parts };
            Some(Staged { store: Arc::clone(&self.store), path, content })
        })
        .collect()
    }

    fn discard_folder(&self) {
        if let To::Folder(folder) = &self.to {
            folder.discard();
            folder.discard_made();
        }
    }
}

fn part_ids(parts: &[String]) -> Vec<PartId> {
    parts.iter().map(|id| PartId { content_id: id.clone() }).collect()
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
                    failure = Some(cannot_write(text, &DataFusionError::IoError(error)).into());
                    break;
                }
                published.push(folder);
            }
            To::Folder(_) | To::Bucket(..) => files.extend(sink.staged()),
        }
    }
    if failure.is_none() {
        failure = complete(files).await.map(|e| DataFusionError::from(e).into());
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
                crate::words::chain(&error)
            );
            outcome = Err(Error::Source { message, hint: None });
        }
    }
    outcome
}
