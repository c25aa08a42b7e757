//! A file whose bytes a task reads itself. The driver finds it and sends its description to the
//! task, which reads it as a stream, decompressed if its name says so. A file that has changed
//! since it was found is an error: tasks that read parts of two versions would return rows of
//! neither.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::common::parsers::CompressionTypeVariant;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnv;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{GetOptions, GetResult, GetResultPayload, ObjectMeta, ObjectStore};
use serde::{Deserialize, Serialize};

use crate::error::{SourceError, SourceErrorKind};
use crate::format::compression_of_name;
use crate::listing::{list_or_empty, nothing};
use crate::location::Location;
use crate::members::decompress;

/// Bytes of a file on disk to read at a time: enough to make the switch of threads cheap, and
/// little memory.
const CHUNK_BYTES: usize = 256 * 1024;

/// The description of a file that a task gets.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StoredFile {
    store: String,
    path: String,
    /// The address as a user would write it.
    pub name: String,
    /// The size in bytes, as stored.
    pub size: u64,
    /// The version of the file.
    tag: Option<String>,
}

/// A stream of the bytes of a file.
pub type Content = BoxStream<'static, Result<Bytes>>;

impl StoredFile {
    /// The files at a place except empty ones, and whether the place names one file.
    pub async fn list(location: &Location, runtime: &RuntimeEnv) -> Result<(Vec<Self>, bool)> {
        let store = runtime.object_store(location.store())?;
        let listing = list_or_empty(&store, location).await?;
        if listing.files.is_empty() && listing.empty == 0 {
            return Err(nothing(location));
        }
        let files = listing.files.iter().map(|file| Self::new(location, file));
        Ok((files.collect(), listing.single))
    }

    fn new(location: &Location, file: &ObjectMeta) -> Self {
        Self {
            store: location.store().as_str().to_owned(),
            path: file.location.to_string(),
            name: location.show(&file.location),
            size: file.size,
            tag: file.e_tag.clone(),
        }
    }

    /// Whether a range can be read without the bytes before it.
    pub fn is_compressed(&self) -> bool {
        compression_of_name(&self.name) != CompressionTypeVariant::UNCOMPRESSED
    }

    /// Whether the server supports range requests. Some web servers do not; a request for one byte
    /// finds out.
    pub async fn has_parts(&self, runtime: &RuntimeEnv) -> bool {
        !self.store.starts_with("http") || self.read(0..1, runtime).await.is_ok()
    }

    /// The bytes of a range of the file, as stored.
    pub async fn read(&self, range: Range<u64>, runtime: &RuntimeEnv) -> Result<Content> {
        let store: Arc<dyn ObjectStore> =
            runtime.object_store(ObjectStoreUrl::parse(&self.store)?)?;
        let path = Path::parse(&self.path).map_err(object_store::Error::from)?;
        let whole = range == (0..self.size);
        let options =
            GetOptions { range: (!whole).then(|| range.clone().into()), ..GetOptions::default() };
        let found = store.get_opts(&path, options).await?;
        let other_tag = self.tag.is_some() && found.meta.e_tag.is_some();
        if found.meta.size != self.size || (other_tag && found.meta.e_tag != self.tag) {
            return Err(self.changed());
        }
        Ok(self.exactly(range.end - range.start, chunks(found)))
    }

    /// All bytes of the file, decompressed if its name says so.
    pub async fn read_all(&self, runtime: &RuntimeEnv) -> Result<Content> {
        let stored = self.read(0..self.size, runtime).await?;
        let compression = compression_of_name(&self.name);
        if compression == CompressionTypeVariant::UNCOMPRESSED {
            return Ok(stored);
        }
        let name = self.name.clone();
        let decoded = decompress(stored, compression);
        Ok(decoded.map_err(move |error| unreadable(&name, error)).boxed())
    }

    /// The same chunks, followed by an error if their total size is wrong.
    fn exactly(
        &self,
        bytes: u64,
        chunks: BoxStream<'static, object_store::Result<Bytes>>,
    ) -> Content {
        let this = self.clone();
        let counted = futures::stream::try_unfold((chunks, bytes), move |(mut chunks, left)| {
            let this = this.clone();
            async move {
                let Some(chunk) = chunks.try_next().await? else {
                    return if left == 0 { Ok(None) } else { Err(this.changed()) };
                };
                let left = left.checked_sub(chunk.len() as u64).ok_or_else(|| this.changed())?;
                Ok(Some((chunk, (chunks, left))))
            }
        });
        counted.boxed()
    }

    fn changed(&self) -> DataFusionError {
        SourceError::new(
            SourceErrorKind::Differ,
            format!("\"{}\" changed after it was found and before it was read", self.name),
        )
        .hint("run it again when nothing writes to the file")
        .into_datafusion()
    }
}

/// The answer of a store, in chunks.
fn chunks(found: GetResult) -> BoxStream<'static, object_store::Result<Bytes>> {
    let range = found.range.clone();
    let (file, path) = match found.payload {
        GetResultPayload::File(file, path) => (file, path),
        GetResultPayload::Stream(chunks) => return chunks,
    };
    let failed = move |error: std::io::Error| object_store::Error::Generic {
        store: "LocalFileSystem",
        source: format!("cannot read \"{}\": {error}", path.display()).into(),
    };
    let read = futures::stream::try_unfold((file, range), |(file, left)| async move {
        tokio::task::spawn_blocking(move || chunk(file, left))
            .await
            .map_err(std::io::Error::other)?
    });
    read.map_err(failed).boxed()
}

/// The next chunk of a file on disk, and the rest.
fn chunk(mut file: File, left: Range<u64>) -> std::io::Result<Option<(Bytes, (File, Range<u64>))>> {
    let bytes = usize::try_from(left.end - left.start).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
    let mut chunk = vec![0; bytes];
    file.seek(SeekFrom::Start(left.start))?;
    let read = if bytes == 0 { 0 } else { file.read(&mut chunk)? };
    chunk.truncate(read);
    let left = left.start + read as u64..left.end;
    Ok((read > 0).then(|| (chunk.into(), (file, left))))
}

/// Passes an error of the store on; any other is the decoder's.
fn unreadable(name: &str, error: std::io::Error) -> DataFusionError {
    if error.get_ref().is_some_and(|inner| inner.is::<DataFusionError>()) {
        return DataFusionError::IoError(error);
    }
    SourceError::new(
        SourceErrorKind::Invalid,
        format!("\"{name}\" cannot be decompressed: {error}"),
    )
    .hint("it may be damaged or cut short, or its name may say another compression than it has")
    .into_datafusion()
}
