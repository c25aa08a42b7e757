//! Files of a web server, with errors that say what is wrong.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::http::HttpStore;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use crate::stores::answer::Asked;

/// One web server.
#[derive(Debug)]
pub(crate) struct Web {
    inner: HttpStore,
    asked: Arc<Asked>,
}

impl Web {
    /// The server at an address without a path.
    pub(crate) fn new(address: String, inner: HttpStore) -> Self {
        let asked =
            Asked { bucket: None, endpoint: Some(address), region: String::new(), signed: false };
        Self { inner, asked: Arc::new(asked) }
    }
}

impl fmt::Display for Web {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Web {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let done = self.inner.put_opts(location, payload, opts).await;
        done.map_err(|error| self.asked.describe(Some(location), error))
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let done = self.inner.get_opts(location, options).await;
        done.map_err(|error| self.asked.describe(Some(location), error))
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let done = self.inner.get_ranges(location, ranges).await;
        done.map_err(|error| self.asked.describe(Some(location), error))
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (asked, path) = (Arc::clone(&self.asked), prefix.cloned());
        let listed = self.inner.list(prefix);
        listed.map(move |one| one.map_err(|e| asked.describe(path.as_ref(), e))).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let done = self.inner.list_with_delimiter(prefix).await;
        done.map_err(|error| self.asked.describe(prefix, error))
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let done = self.inner.copy_opts(from, to, options).await;
        done.map_err(|error| self.asked.describe(Some(from), error))
    }
}
