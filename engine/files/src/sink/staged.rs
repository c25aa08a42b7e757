//! A store that takes files without letting them exist: uploads are started, filled and kept
//! unfinished for the [`Transaction`](super::Transaction).

use std::fmt;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::Path as FsPath;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::object_store::ObjectStoreRegistry;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};
use url::Url;

use super::stage::{Content, Stage, Staged, ended};
use crate::error::{SourceError, SourceErrorKind};
use crate::table::folders::real;

/// The stores of a session, as stages.
#[derive(Debug)]
pub(super) struct StagedStores {
    inner: Arc<dyn ObjectStoreRegistry>,
    stage: Arc<Stage>,
}

impl StagedStores {
    /// Stages writes to the stores of `inner`.
    pub(super) fn new(inner: Arc<dyn ObjectStoreRegistry>, stage: Arc<Stage>) -> Self {
        Self { inner, stage }
    }
}

impl ObjectStoreRegistry for StagedStores {
    fn register_store(
        &self,
        url: &Url,
        store: Arc<dyn ObjectStore>,
    ) -> Option<Arc<dyn ObjectStore>> {
        self.inner.register_store(url, store)
    }

    fn deregister_store(&self, url: &Url) -> DataFusionResult<Arc<dyn ObjectStore>> {
        self.inner.deregister_store(url)
    }

    fn get_store(&self, url: &Url) -> DataFusionResult<Arc<dyn ObjectStore>> {
        let inner = self.inner.get_store(url)?;
        let local = (url.scheme() == "file").then(LocalFileSystem::new);
        Ok(Arc::new(StagedStore { inner, local, stage: Arc::clone(&self.stage) }))
    }
}

/// A store that stages writes; reads see the state before them.
#[derive(Debug)]
struct StagedStore {
    inner: Arc<dyn ObjectStore>,
    /// Set when the store is of local files.
    local: Option<LocalFileSystem>,
    stage: Arc<Stage>,
}

impl fmt::Display for StagedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl StagedStore {
    /// Stages a small file.
    async fn put_whole(&self, location: &Path, payload: PutPayload) -> Result<()> {
        if self.local.is_none() && self.stage.may_hold(payload.content_length()) {
            let store = Arc::clone(&self.inner);
            let content = Content::Held(payload);
            return self.stage.take(Staged { store, path: location.clone(), content });
        }
        let mut upload = self.begin(location, PutMultipartOptions::default()).await?;
        upload.put_part(payload).await?;
        upload.complete().await.map(drop)
    }

    async fn begin(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        if let Some(local) = &self.local {
            let file = local.path_to_filesystem(path)?;
            self.stage.note_folders(&file);
            probe(&file)?;
        }
        let upload = self.inner.put_multipart_opts(path, options).await?;
        Ok(Box::new(StagedUpload {
            upload: Some(upload),
            store: Arc::clone(&self.inner),
            path: path.clone(),
            stage: Arc::clone(&self.stage),
        }))
    }
}

#[async_trait]
impl ObjectStore for StagedStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        _options: PutOptions,
    ) -> Result<PutResult> {
        self.stage.still_good()?;
        let location = &real(location)?;
        if let Err(error) = self.put_whole(location, payload).await {
            self.stage.fail(error);
        }
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.begin(&real(location)?, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        _locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        Box::pin(futures::stream::once(async { Err(unsupported("deleting")) }))
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, _from: &Path, _to: &Path, _options: CopyOptions) -> Result<()> {
        Err(unsupported("copying"))
    }
}

/// Makes a file beside the one that will be there, and removes it. object_store 0.13 tries for ever
/// where no file can be made although its folder is there (`/proc`), and names its own file where
/// it may not make one.
fn probe(file: &FsPath) -> Result<()> {
    let shown = file.display().to_string();
    let cannot = |error: std::io::Error| {
        let (kind, why) = match error.kind() {
            ErrorKind::PermissionDenied => {
                (SourceErrorKind::Denied, "permission denied".to_owned())
            }
            ErrorKind::NotFound => {
                (SourceErrorKind::Invalid, "its folder does not take files".to_owned())
            }
            ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
                (SourceErrorKind::Occupied, "a folder in its path is a file".to_owned())
            }
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                (SourceErrorKind::Full, "no space is left".to_owned())
            }
            _ => (SourceErrorKind::Invalid, error.to_string()),
        };
        SourceError::new(kind, format!("cannot write \"{shown}\": {why}")).into_store(&shown)
    };
    let folder = file.parent().unwrap_or(FsPath::new("/"));
    std::fs::create_dir_all(folder).map_err(cannot)?;
    let made = tempfile::Builder::new().prefix(".").suffix(".probe").tempfile_in(folder);
    made.map(drop).map_err(cannot)
}

fn unsupported(what: &str) -> Error {
    Error::NotSupported { source: format!("{what} in a statement that writes").into() }
}

/// An upload that is complete when the transaction says so.
struct StagedUpload {
    upload: Option<Box<dyn MultipartUpload>>,
    store: Arc<dyn ObjectStore>,
    path: Path,
    stage: Arc<Stage>,
}

impl fmt::Debug for StagedUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StagedUpload").field("path", &self.path).finish_non_exhaustive()
    }
}

#[async_trait]
impl MultipartUpload for StagedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let Some(upload) = &mut self.upload else {
            return Box::pin(async { Err(ended()) });
        };
        if let Err(failure) = self.stage.still_good() {
            return Box::pin(async { Err(failure) });
        }
        let part = upload.put_part(data);
        let stage = Arc::clone(&self.stage);
        Box::pin(async move {
            if let Err(error) = part.await {
                stage.fail(error);
            }
            Ok(())
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let upload = self.upload.take().ok_or_else(ended)?;
        let (store, path) = (Arc::clone(&self.store), self.path.clone());
        self.stage.take(Staged { store, path, content: Content::Upload(upload) })?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn abort(&mut self) -> Result<()> {
        match self.upload.take() {
            Some(mut upload) => upload.abort().await,
            None => Ok(()),
        }
    }
}

impl Drop for StagedUpload {
    fn drop(&mut self) {
        if let Some(upload) = self.upload.take() {
            self.stage.abandon(upload);
        }
    }
}
