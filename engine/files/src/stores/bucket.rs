//! One bucket: opened at its first request, in the region that it is in, with errors that say what
//! is wrong.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::error::Result as DataFusionResult;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::aws::{AwsCredential, AwsCredentialProvider, resolve_bucket_region};
use object_store::client::CredentialProvider;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartId, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use parking_lot::Mutex;
use tokio::sync::RwLock;

use crate::environment::Environment;
use crate::error::{SourceErrorKind, kind_of};
use crate::stores::answer::DescribedUpload;
use crate::stores::client::client_options;
use crate::stores::opening::{Opened, build, find};
use crate::stores::settings::{Credentials, ResolvedBucket, Secret, StoreOptions};

/// One bucket.
pub(crate) struct Bucket {
    name: String,
    origin: Origin,
    opened: Arc<RwLock<Option<Arc<Opened>>>>,
}

/// Where settings and credentials come from.
enum Origin {
    /// From options, environment and the chain behind them.
    Here { options: StoreOptions, environment: Arc<Environment> },
    /// From the driver.
    Driver { config: BTreeMap<String, Secret>, credentials: Option<Arc<Given>> },
}

/// Credentials that the driver sends, and sends again.
#[derive(Debug)]
struct Given(Mutex<Arc<AwsCredential>>);

#[async_trait]
impl CredentialProvider for Given {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> Result<Arc<AwsCredential>> {
        Ok(Arc::clone(&self.0.lock()))
    }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bucket \"{}\"", self.name)
    }
}

impl Bucket {
    /// A bucket of a driver.
    pub(crate) fn new(name: &str, options: StoreOptions, environment: Arc<Environment>) -> Self {
        let origin = Origin::Here { options, environment };
        Self { name: name.to_owned(), origin, opened: Arc::default() }
    }

    /// A bucket of a worker.
    pub(crate) fn resolved_elsewhere(resolved: ResolvedBucket) -> Self {
        let credentials =
            resolved.credentials.map(|c| Arc::new(Given(Mutex::new(Arc::new(plain(&c))))));
        let origin = Origin::Driver { config: resolved.config, credentials };
        Self { name: resolved.bucket, origin, opened: Arc::default() }
    }

    /// Replaces the credentials with those from the driver; false if other settings changed too.
    pub(crate) fn takes(&self, resolved: &ResolvedBucket) -> bool {
        let Origin::Driver { config, credentials } = &self.origin else { return false };
        if *config != resolved.config {
            return false;
        }
        match (credentials, &resolved.credentials) {
            (None, None) => true,
            (Some(given), Some(new)) => {
                *given.0.lock() = Arc::new(plain(new));
                true
            }
            _ => false,
        }
    }

    /// The settings for workers, if the bucket was opened.
    pub(crate) async fn resolved(&self) -> DataFusionResult<Option<ResolvedBucket>> {
        let Some(opened) = self.opened.read().await.clone() else { return Ok(None) };
        let credentials = match &opened.credentials {
            Some(provider) => {
                let now = provider.get_credential().await?;
                Some(Credentials {
                    key_id: Secret::new(&now.key_id),
                    secret: Secret::new(&now.secret_key),
                    token: now.token.as_ref().map(Secret::new),
                })
            }
            None => None,
        };
        let config = opened.config.clone();
        Ok(Some(ResolvedBucket { bucket: self.name.clone(), config, credentials }))
    }

    async fn open(&self) -> Result<Arc<Opened>> {
        if let Some(opened) = self.opened.read().await.as_ref() {
            return Ok(Arc::clone(opened));
        }
        let mut slot = self.opened.write().await;
        if let Some(opened) = slot.as_ref() {
            return Ok(Arc::clone(opened));
        }
        let opened = match &self.origin {
            Origin::Here { options, environment } => {
                find(&self.name, options, environment, None).await?
            }
            Origin::Driver { config, credentials } => {
                let credentials = credentials
                    .as_ref()
                    .map(|given| Arc::<Given>::clone(given) as AwsCredentialProvider);
                build(&self.name, config.clone(), credentials)?
            }
        };
        let opened = Arc::new(opened);
        *slot = Some(Arc::clone(&opened));
        Ok(opened)
    }

    /// Reopens the bucket in the region that the server's refusal names. Only at Amazon: regions
    /// mean nothing to other servers.
    async fn reopen(&self, error: &Error) -> Option<Arc<Opened>> {
        let Origin::Here { options, environment } = &self.origin else { return None };
        if kind_of(error) != Some(SourceErrorKind::Region) {
            return None;
        }
        let mut slot = self.opened.write().await;
        let before = slot.as_ref()?;
        if before.asked.endpoint.is_some() {
            return None;
        }
        let region = resolve_bucket_region(&self.name, &client_options()).await.ok()?;
        if region == before.asked.region {
            return None;
        }
        let opened = Arc::new(find(&self.name, options, environment, Some(region)).await.ok()?);
        *slot = Some(Arc::clone(&opened));
        Some(opened)
    }
}

fn plain(credentials: &Credentials) -> AwsCredential {
    AwsCredential {
        key_id: credentials.key_id.expose().to_owned(),
        secret_key: credentials.secret.expose().to_owned(),
        token: credentials.token.as_ref().map(|token| token.expose().to_owned()),
    }
}

#[async_trait]
impl ObjectStore for Bucket {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let opened = self.open().await?;
        let done = opened.client.put_opts(location, payload, opts).await;
        done.map_err(|error| opened.asked.describe(Some(location), error))
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let opened = self.open().await?;
        let upload = opened
            .client
            .put_multipart_opts(location, opts)
            .await
            .map_err(|error| opened.asked.describe(Some(location), error))?;
        Ok(Box::new(DescribedUpload::new(upload, Arc::clone(&opened.asked), location.clone())))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let opened = self.open().await?;
        let done = opened.client.get_opts(location, options.clone()).await;
        let error = match done {
            Ok(result) => return Ok(result),
            Err(error) => opened.asked.describe(Some(location), error),
        };
        let Some(opened) = self.reopen(&error).await else { return Err(error) };
        let done = opened.client.get_opts(location, options).await;
        done.map_err(|error| opened.asked.describe(Some(location), error))
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let opened = self.open().await?;
        let done = opened.client.get_ranges(location, ranges).await;
        done.map_err(|error| opened.asked.describe(Some(location), error))
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let this = self.handle();
        futures::stream::once(async move {
            let opened = this.open().await?;
            let asked = Arc::clone(&opened.asked);
            let deleted = opened.client.delete_stream(locations);
            Ok::<_, Error>(deleted.map_err(move |error| asked.describe(None, error)))
        })
        .try_flatten()
        .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let this = self.handle();
        let prefix = prefix.cloned();
        futures::stream::once(async move {
            let opened = this.open().await?;
            let (first, rest) = start(&opened, prefix.as_ref()).await;
            let (first, rest) = match first {
                Some(Err(error)) => match this.reopen(&error).await {
                    Some(opened) => start(&opened, prefix.as_ref()).await,
                    None => (Some(Err(error)), rest),
                },
                first => (first, rest),
            };
            Ok::<_, Error>(futures::stream::iter(first).chain(rest))
        })
        .try_flatten()
        .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let opened = self.open().await?;
        let done = opened.client.list_with_delimiter(prefix).await;
        done.map_err(|error| opened.asked.describe(prefix, error))
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let opened = self.open().await?;
        let done = opened.client.copy_opts(from, to, options).await;
        done.map_err(|error| opened.asked.describe(Some(from), error))
    }
}

/// Uploads that one process starts, others fill, and the first completes.
#[async_trait]
impl MultipartStore for Bucket {
    async fn create_multipart(&self, path: &Path) -> Result<MultipartId> {
        let opened = self.open().await?;
        let done = opened.client.create_multipart(path).await;
        done.map_err(|error| opened.asked.describe(Some(path), error))
    }

    async fn put_part(
        &self,
        path: &Path,
        id: &MultipartId,
        part_idx: usize,
        data: PutPayload,
    ) -> Result<PartId> {
        let opened = self.open().await?;
        let done = opened.client.put_part(path, id, part_idx, data).await;
        done.map_err(|error| opened.asked.describe(Some(path), error))
    }

    async fn complete_multipart(
        &self,
        path: &Path,
        id: &MultipartId,
        parts: Vec<PartId>,
    ) -> Result<PutResult> {
        let opened = self.open().await?;
        let done = opened.client.complete_multipart(path, id, parts).await;
        done.map_err(|error| opened.asked.describe(Some(path), error))
    }

    async fn abort_multipart(&self, path: &Path, id: &MultipartId) -> Result<()> {
        let opened = self.open().await?;
        let done = opened.client.abort_multipart(path, id).await;
        done.map_err(|error| opened.asked.describe(Some(path), error))
    }
}

impl Bucket {
    /// The same bucket for a stream that outlives the call.
    fn handle(&self) -> Self {
        let origin = match &self.origin {
            Origin::Here { options, environment } => {
                Origin::Here { options: options.clone(), environment: Arc::clone(environment) }
            }
            Origin::Driver { config, credentials } => {
                Origin::Driver { config: config.clone(), credentials: credentials.clone() }
            }
        };
        Self { name: self.name.clone(), origin, opened: Arc::clone(&self.opened) }
    }
}

/// The first answer of a listing, which tells whether it is allowed at all, and the rest of it.
async fn start(
    opened: &Opened,
    prefix: Option<&Path>,
) -> (Option<Result<ObjectMeta>>, BoxStream<'static, Result<ObjectMeta>>) {
    let (asked, path) = (Arc::clone(&opened.asked), prefix.cloned());
    let listed = opened.client.list(prefix);
    // It may be over with its first answer, and is asked once more after that.
    let mut listed = listed.map_err(move |e| asked.describe(path.as_ref(), e)).fuse().boxed();
    let first = listed.next().await;
    (first, listed)
}
