//! One sink of a run: its target, and the state of each of its files.

use std::path::PathBuf;
use std::sync::Arc;

use datafusion::error::Result;
use datafusion::execution::object_store::ObjectStoreRegistry;
use object_store::ObjectStore;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;

use super::folder::{Folder, HIDDEN, unique};
use super::options::{Existing, SinkSpec};
use super::part::{Opening, Written, cannot_write};
use super::stage::{Content, Staged};
use crate::error::{SourceError, SourceErrorKind};
use crate::location::{Location, Place};
use crate::stores::Stores;

/// One sink.
#[derive(Debug)]
pub(super) struct Sink {
    pub(super) location: Location,
    /// The folder, in its store.
    pub(super) path: Path,
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) to: To,
    /// The files' names.
    pub(super) names: Vec<String>,
    /// What to remove when the new files are there.
    pub(super) before: Vec<Path>,
    /// The first that was written of each.
    pub(super) written: Vec<Option<Written>>,
    /// Whatever was opened, in order.
    pub(super) opened: Vec<(usize, Opening)>,
}

/// Where files wait.
pub(super) enum To {
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

impl Sink {
    /// Looks at the target, and makes what is needed to write there.
    pub(super) async fn begin(
        spec: &Arc<SinkSpec>,
        shards: usize,
        stores: &Arc<Stores>,
    ) -> Result<Self> {
        spec.check()?;
        let location = Location::parse(&spec.to, stores.home())?.into_literal();
        let invalid =
            |message: String| SourceError::new(SourceErrorKind::Invalid, message).into_datafusion();
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
                let folder =
                    Folder::begin(&target).map_err(|e| cannot_write(&spec.to, e.into()))?;
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
                let id = unique();
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
                return Err(occupied(message).into_datafusion());
            }
        }
        let root = self.path.as_ref().is_empty();
        let list = self.store.list_with_delimiter((!root).then_some(&self.path)).await;
        let list = list?;
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
                    return Err(occupied(message).into_datafusion());
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
                    return Err(occupied(message).hint(hint).into_datafusion());
                }
            }
        }
        Ok(())
    }

    /// The local files that were written: as they wait, and as they are to be called.
    pub(super) fn local_files(&self) -> Vec<(PathBuf, String)> {
        let files = self.written.iter().zip(&self.names);
        files
            .filter_map(|(written, name)| match &written.as_ref()?.opening {
                Opening::File(from) => Some((from.clone(), name.clone())),
                Opening::Upload { .. } | Opening::Written { .. } => None,
            })
            .collect()
    }

    /// What only has to be completed, file by file.
    pub(super) fn staged(&self) -> Vec<Staged> {
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
    pub(super) fn abandoned(&self, all: bool) -> Vec<Staged> {
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

    /// Removes the local folder where files wait.
    pub(super) fn discard_folder(&self) {
        if let To::Folder(folder) = &self.to {
            folder.discard();
            folder.discard_made();
        }
    }
}

fn part_ids(parts: &[String]) -> Vec<PartId> {
    parts.iter().map(|id| PartId { content_id: id.clone() }).collect()
}
