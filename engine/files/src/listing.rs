//! The files of a [`Location`] at this moment. Listings are not cached: a statement sees the files
//! that were added, removed or changed since the one before it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::temporal_conversions::timestamp_ns_to_datetime;
use datafusion::error::{DataFusionError, Result};
use futures::TryStreamExt;
use glob::Pattern;
use object_store::path::Path;
use object_store::{ListResult, ObjectMeta, ObjectStore, ObjectStoreExt};

use crate::error::{SourceError, SourceErrorKind, kind_of};
use crate::location::{Location, MATCHING, Place};

/// Files of one table, at most: a million names are some hundred megabytes.
const FILES_MAX: usize = 1_000_000;

/// The parts of a second.
const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// The files of a location.
#[derive(Debug, Clone)]
pub(crate) struct Listing {
    /// Files that are not empty, by name.
    pub(crate) files: Vec<ObjectMeta>,
    /// The number of empty files.
    pub(crate) empty: usize,
    /// The folder below which `key=value` folders are columns.
    pub(crate) root: Path,
    /// The folder above those `key=value` folders that the location itself ends in.
    pub(crate) keyed: Path,
    /// The user named one file.
    pub(crate) single: bool,
}

/// Lists a location. An empty listing is an error.
pub(crate) async fn list(store: &Arc<dyn ObjectStore>, location: &Location) -> Result<Listing> {
    not_empty(list_or_empty(store, location).await?, location)
}

/// The listing, unless it is empty.
pub(crate) fn not_empty(listing: Listing, location: &Location) -> Result<Listing> {
    match (listing.files.is_empty(), listing.single) {
        (false, _) => Ok(listing),
        (true, false) => Err(nothing(location)),
        (true, true) => Err(SourceError::new(
            SourceErrorKind::Missing,
            format!("\"{}\" is an empty file", location.text()),
        )
        .into_datafusion()),
    }
}

/// Lists a location that may be empty, such as the folder of a table without rows yet.
pub(crate) async fn list_or_empty(
    store: &Arc<dyn ObjectStore>,
    location: &Location,
) -> Result<Listing> {
    let place = literal(store, location).await?.unwrap_or_else(|| location.place());
    let (mut files, root, single) = match place {
        Place::Path(path) => match store.head(path).await {
            Ok(file) => (vec![file], parent(path), true),
            Err(object_store::Error::NotFound { .. }) if can_list(location) => {
                (folder(store, location, path).await?, path.clone(), false)
            }
            Err(error) => return Err(refused(store, location, path, error).await),
        },
        Place::Folder(path) => (folder(store, location, path).await?, path.clone(), false),
        Place::Glob(path, pattern) => {
            let mut files = matching(store, location, path, pattern).await?;
            if files.is_empty()
                && let Some(pattern) = without_classes(location, pattern)?
            {
                files = matching(store, location, path, &pattern).await?;
            }
            (files, path.clone(), false)
        }
    };
    let all = files.len();
    files.retain(|file| file.size > 0);
    let empty = all - files.len();
    files.sort_unstable_by(|a, b| a.location.cmp(&b.location));
    files.iter_mut().for_each(refine);
    let keyed = if single { root.clone() } else { above_keys(&root) };
    Ok(Listing { files, empty, root, keyed, single })
}

/// The folder above the `key=value` folders that a path ends in.
fn above_keys(folder: &Path) -> Path {
    let mut folder = folder.clone();
    while name(&folder).split_once('=').is_some_and(|(key, _)| !key.is_empty()) {
        folder = parent(&folder);
    }
    folder
}

/// The place of a pattern taken literally, if it exists: names may have brackets and question
/// marks.
async fn literal<'a>(
    store: &Arc<dyn ObjectStore>,
    location: &'a Location,
) -> Result<Option<&'a Place>> {
    let there = match location.literal() {
        Some(Place::Path(path)) => match store.head(path).await {
            Ok(_) => true,
            Err(object_store::Error::NotFound { .. }) => false,
            // A pattern may be allowed where this is not.
            Err(error) if kind_of(&error) == Some(SourceErrorKind::Denied) => false,
            Err(error) => return Err(error.into()),
        },
        Some(Place::Folder(path)) => {
            let level = level(store, path).await?;
            !level.objects.is_empty() || !level.common_prefixes.is_empty()
        }
        _ => false,
    };
    Ok(location.literal().filter(|_| there))
}

/// The pattern with its brackets taken literally, if it has some.
fn without_classes(location: &Location, pattern: &Pattern) -> Result<Option<Pattern>> {
    let text = pattern.as_str();
    text.contains('[').then(|| compile(location, &text.replace('[', "[[]"))).transpose()
}

/// The path of a file from a folder that it is in.
pub(crate) fn relative<'a>(folder: &Path, file: &'a Path) -> Option<&'a str> {
    let rest = file.as_ref().strip_prefix(folder.as_ref())?;
    if folder.as_ref().is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}

/// Files right in a folder or in its `key=value` folders; not what a name hides.
async fn folder(
    store: &Arc<dyn ObjectStore>,
    location: &Location,
    path: &Path,
) -> Result<Vec<ObjectMeta>> {
    let mut files = Files::new(location);
    let mut pending = vec![path.clone()];
    let mut others: Option<Path> = None;
    while let Some(folder) = pending.pop() {
        let level = level(store, &folder).await?;
        files.extend(level.objects.into_iter().filter(|file| !is_hidden(&file.location)))?;
        let (keyed, rest): (Vec<_>, Vec<_>) =
            level.common_prefixes.into_iter().partition(|f| name(f).contains('='));
        others = others.or_else(|| rest.into_iter().find(|folder| !is_hidden(folder)));
        if !keyed.is_empty() && !location.is_local() {
            // One question for a thousand files, instead of one for each folder.
            return keyed_folders(store, location, path).await;
        }
        pending.extend(keyed);
    }
    if let Some(other) = others.as_ref().filter(|_| files.found.iter().any(|file| file.size > 0)) {
        return Err(beside(location, other));
    }
    if files.found.is_empty() && others.is_some() {
        let text = location.text().trim_end_matches('/');
        return Err(SourceError::new(
            SourceErrorKind::Missing,
            format!("\"{}\" has folders, but no files of its own", location.text()),
        )
        .hint(format!("name the files by a pattern such as '{text}/**/*.parquet'"))
        .into_datafusion());
    }
    Ok(files.found)
}

/// The error for a folder that would be left out beside files.
fn beside(location: &Location, other: &Path) -> DataFusionError {
    let text = location.text().trim_end_matches('/');
    SourceError::new(
        SourceErrorKind::Differ,
        format!(
            "\"{}\" has files and also the folder \"{}\", whose files would be left out",
            location.text(),
            location.show(other)
        ),
    )
    .hint(format!(
        "name the files by a pattern: '{text}/*' for those of the folder alone, '{text}/**/*.parquet' for all; \
         names that begin with a dot or an underscore are skipped"
    ))
    .into_datafusion()
}

/// All files below a folder of a bucket that are in `key=value` folders alone.
async fn keyed_folders(
    store: &Arc<dyn ObjectStore>,
    location: &Location,
    path: &Path,
) -> Result<Vec<ObjectMeta>> {
    below(store, location, path, |file| {
        let folders = relative(path, &file.location).and_then(|rest| rest.rsplit_once('/'));
        let keyed = folders.is_none_or(|(folders, _)| folders.split('/').all(|f| f.contains('=')));
        keyed && !is_hidden(&file.location)
    })
    .await
}

/// The files below a folder that match a pattern.
async fn matching(
    store: &Arc<dyn ObjectStore>,
    location: &Location,
    path: &Path,
    pattern: &Pattern,
) -> Result<Vec<ObjectMeta>> {
    let segments: Vec<&str> = pattern.as_str().split('/').collect();
    let deep = segments.len() > 1 && !location.is_local();
    let mut files = Files::new(location);
    let mut pending = vec![(path.clone(), 0)];
    while let Some((folder, depth)) = pending.pop() {
        // Any folders, or enough that one listing of all is cheaper than one for each.
        if deep || segments[depth] == "**" {
            let rest = compile(location, &segments[depth..].join("/"))?;
            let found = below(store, location, &folder, |file| {
                relative(&folder, &file.location).is_some_and(|r| rest.matches_with(r, MATCHING))
            });
            files.extend(found.await?)?;
            continue;
        }
        let segment = compile(location, segments[depth])?;
        let level = level(store, &folder).await?;
        let fits = |path: &Path| segment.matches_with(name(path), MATCHING);
        if depth + 1 == segments.len() {
            files.extend(level.objects.into_iter().filter(|file| fits(&file.location)))?;
        } else {
            let folders = level.common_prefixes.into_iter().filter(|folder| fits(folder));
            pending.extend(folders.map(|folder| (folder, depth + 1)));
        }
    }
    Ok(files.found)
}

fn compile(location: &Location, pattern: &str) -> Result<Pattern> {
    Pattern::new(pattern).map_err(|error| {
        SourceError::new(
            SourceErrorKind::Invalid,
            format!("\"{}\" is not a valid pattern: {}", location.text(), error.msg),
        )
        .into_datafusion()
    })
}

/// Files and folders right in a folder; none when it is not there.
async fn level(store: &Arc<dyn ObjectStore>, folder: &Path) -> Result<ListResult> {
    let prefix = (!folder.as_ref().is_empty()).then_some(folder);
    match store.list_with_delimiter(prefix).await {
        Err(object_store::Error::NotFound { source, .. }) if !source.is::<SourceError>() => {
            Ok(ListResult { common_prefixes: Vec::new(), objects: Vec::new() })
        }
        listed => Ok(listed?),
    }
}

/// All files below a folder that are wanted.
async fn below(
    store: &Arc<dyn ObjectStore>,
    location: &Location,
    path: &Path,
    mut wanted: impl FnMut(&ObjectMeta) -> bool,
) -> Result<Vec<ObjectMeta>> {
    let prefix = (!path.as_ref().is_empty()).then_some(path);
    let mut listed = store.list(prefix);
    let mut files = Files::new(location);
    while let Some(file) = listed.try_next().await? {
        if wanted(&file) {
            files.extend([file])?;
        }
    }
    Ok(files.found)
}

/// Files, up to the limit.
struct Files<'a> {
    location: &'a Location,
    found: Vec<ObjectMeta>,
}

impl<'a> Files<'a> {
    fn new(location: &'a Location) -> Self {
        Self { location, found: Vec::new() }
    }

    fn extend(&mut self, files: impl IntoIterator<Item = ObjectMeta>) -> Result<()> {
        self.found.extend(files);
        if self.found.len() <= FILES_MAX {
            return Ok(());
        }
        Err(SourceError::new(
            SourceErrorKind::Invalid,
            format!("\"{}\" matches more than {FILES_MAX} files", self.location.text()),
        )
        .into_datafusion())
    }
}

fn name(path: &Path) -> &str {
    path.as_ref().rsplit('/').next().unwrap_or_default()
}

fn is_hidden(path: &Path) -> bool {
    name(path).starts_with(['.', '_'])
}

/// The answer to a question about one object has no text that says why; a listing has.
async fn refused(
    store: &Arc<dyn ObjectStore>,
    location: &Location,
    path: &Path,
    error: object_store::Error,
) -> DataFusionError {
    if location.bucket_name().is_some()
        && kind_of(&error) == Some(SourceErrorKind::Denied)
        && let Err(better) = store.list(Some(path)).try_next().await
    {
        return better.into();
    }
    if matches!(error, object_store::Error::NotFound { .. }) && kind_of(&error).is_none() {
        return nothing(location);
    }
    error.into()
}

/// The error for a location without a file.
pub(crate) fn nothing(location: &Location) -> DataFusionError {
    let text = location.text();
    let error = match (location.place(), location.bucket_name()) {
        (Place::Glob(..), _) => {
            SourceError::new(SourceErrorKind::Missing, format!("no file matches \"{text}\""))
                .hint("* matches any part of a name, ** any folders")
        }
        (Place::Path(path) | Place::Folder(path), Some(bucket)) => SourceError::new(
            SourceErrorKind::Missing,
            format!(
                "bucket \"{bucket}\" has no object \"{path}\" and none in a folder of that name"
            ),
        ),
        _ if text.starts_with("http") => {
            SourceError::new(SourceErrorKind::Missing, format!("there is no file at \"{text}\""))
        }
        (Place::Folder(path), _) if std::path::Path::new(&format!("/{path}")).is_dir() => {
            SourceError::new(
                SourceErrorKind::Missing,
                format!("the folder \"{text}\" has no files"),
            )
        }
        _ => missing_here(text),
    };
    error.into_datafusion()
}

fn missing_here(text: &str) -> SourceError {
    let error = SourceError::new(SourceErrorKind::Missing, format!("no file or folder \"{text}\""));
    match std::env::current_dir() {
        Ok(here) if !text.starts_with(['/', '~']) && !text.starts_with("file:") => {
            error.hint(format!("relative paths start at the current folder \"{}\"", here.display()))
        }
        _ => error,
    }
}

fn can_list(location: &Location) -> bool {
    location.is_local() || location.bucket_name().is_some()
}

fn parent(path: &Path) -> Path {
    let mut parts: Vec<_> = path.parts().collect();
    parts.pop();
    Path::from_iter(parts)
}

/// Puts the entity tag of a file into the parts of the second of its time of change, so that
/// another tag is another time: caches of footers compare size and time, and stores tell the time
/// in seconds, in which a file can be written twice.
fn refine(file: &mut ObjectMeta) {
    let Some(tag) = &file.e_tag else { return };
    let mut hasher = DefaultHasher::new();
    tag.hash(&mut hasher);
    let nanos = (hasher.finish() % NANOS_PER_SECOND).cast_signed();
    let seconds = file.last_modified.timestamp();
    let time = seconds
        .checked_mul(NANOS_PER_SECOND.cast_signed())
        .and_then(|whole| whole.checked_add(nanos))
        .and_then(timestamp_ns_to_datetime);
    if let Some(time) = time {
        file.last_modified = time.and_utc();
    }
}
