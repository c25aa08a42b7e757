//! The object stores of one process: local files, buckets, web servers. Opened when first needed.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use datafusion::error::Result;
use datafusion::execution::object_store::ObjectStoreRegistry;
use object_store::ObjectStore;
use object_store::http::HttpBuilder;
use object_store::local::LocalFileSystem;
use object_store::multipart::MultipartStore;
use parking_lot::RwLock;
use url::Url;

use crate::environment::Environment;
use crate::error::{SourceError, SourceErrorKind};
use crate::location::Location;
use crate::pipe::Pipes;
use crate::stores::bucket::Bucket;
use crate::stores::client::{client_options, retries};
use crate::stores::lenient::LenientConnector;
use crate::stores::settings::{StoreOptions, WorkerStores};

/// Stores kept open at once: past this number all are closed, and opened again when needed.
const STORES_MAX: usize = 256;

/// The object stores of one process.
pub struct Stores {
    environment: Arc<Environment>,
    local: Arc<dyn ObjectStore>,
    opened: RwLock<Opened>,
    pipes: Pipes,
}

#[derive(Default)]
struct Opened {
    /// The `OPTIONS` of each bucket.
    options: HashMap<String, StoreOptions>,
    buckets: HashMap<String, Arc<Bucket>>,
    /// Web servers, and the stores that an embedding program registered.
    others: HashMap<String, Arc<dyn ObjectStore>>,
}

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let opened = self.opened.read();
        f.debug_struct("Stores")
            .field("buckets", &opened.buckets.keys())
            .field("others", &opened.others.keys())
            .finish()
    }
}

impl Stores {
    /// The stores of a driver, which finds credentials by `environment`.
    pub fn new(environment: &Environment) -> Arc<Self> {
        Arc::new(Self {
            environment: Arc::new(environment.clone()),
            local: Arc::new(LocalFileSystem::new()),
            opened: RwLock::default(),
            pipes: Pipes::default(),
        })
    }

    /// The stores of a worker, which has credentials from its driver alone.
    pub fn on_worker() -> Arc<Self> {
        Self::new(&Environment::default())
    }

    /// The home folder of the user.
    pub fn home(&self) -> Option<&str> {
        self.environment.get("HOME")
    }

    /// The location of a place as a user wrote it. Standard input and pipes are copied to a file
    /// first.
    pub(crate) async fn location(&self, text: &str) -> Result<Location> {
        let file = self.pipes.file(text).await?;
        Location::parse(file.as_deref().unwrap_or(text), self.home())
    }

    /// Options for a bucket, instead of those it had.
    pub(crate) fn set_options(&self, bucket: &str, options: StoreOptions) {
        let mut opened = self.opened.write();
        if opened.options.get(bucket) == Some(&options) {
            return;
        }
        opened.options.insert(bucket.to_owned(), options);
        opened.buckets.remove(bucket);
    }

    /// What workers need to open the buckets that this driver has opened: settings as they were
    /// resolved, and credentials that are good for now.
    pub async fn for_workers(&self) -> Result<WorkerStores> {
        let buckets: Vec<Arc<Bucket>> = self.opened.read().buckets.values().cloned().collect();
        let mut resolved = WorkerStores::default();
        for bucket in buckets {
            resolved.buckets.extend(bucket.resolved().await?);
        }
        resolved.buckets.sort_by(|a, b| a.bucket.cmp(&b.bucket));
        Ok(resolved)
    }

    /// Applies the settings that the driver resolved.
    pub fn apply(&self, stores: WorkerStores) {
        let mut opened = self.opened.write();
        for resolved in stores.buckets {
            match opened.buckets.get(&resolved.bucket) {
                Some(bucket) if bucket.takes(&resolved) => {}
                _ => {
                    let name = resolved.bucket.clone();
                    opened.buckets.insert(name, Arc::new(Bucket::resolved_elsewhere(resolved)));
                }
            }
        }
    }

    /// The uploads of a bucket, one step at a time.
    pub fn uploads(&self, bucket: &str) -> Arc<dyn MultipartStore> {
        self.bucket(bucket)
    }

    fn bucket(&self, name: &str) -> Arc<Bucket> {
        let mut opened = self.opened.write();
        if let Some(bucket) = opened.buckets.get(name) {
            return Arc::clone(bucket);
        }
        if opened.buckets.len() >= STORES_MAX {
            opened.buckets.clear();
        }
        let options = opened.options.get(name).cloned().unwrap_or_default();
        let bucket = Arc::new(Bucket::new(name, options, Arc::clone(&self.environment)));
        opened.buckets.insert(name.to_owned(), Arc::clone(&bucket));
        bucket
    }

    fn web(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        let key = key_of(url);
        // An address that was typed with http:// means it.
        let options = client_options().with_allow_http(true);
        let store = HttpBuilder::new()
            .with_url(&key)
            .with_http_connector(LenientConnector::default())
            .with_client_options(options)
            .with_retry(retries())
            .build()?;
        let store: Arc<dyn ObjectStore> =
            Arc::new(crate::stores::web::Web::new(key.clone(), store));
        let mut opened = self.opened.write();
        if opened.others.len() >= STORES_MAX {
            opened.others.retain(|key, _| !key.starts_with("http"));
        }
        opened.others.insert(key, Arc::clone(&store));
        Ok(store)
    }
}

impl ObjectStoreRegistry for Stores {
    fn register_store(
        &self,
        url: &Url,
        store: Arc<dyn ObjectStore>,
    ) -> Option<Arc<dyn ObjectStore>> {
        self.opened.write().others.insert(key_of(url), store)
    }

    fn deregister_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        self.opened.write().others.remove(&key_of(url)).ok_or_else(|| {
            let message = format!("no store was registered for \"{}\"", key_of(url));
            SourceError::new(SourceErrorKind::Missing, message).into_datafusion()
        })
    }

    fn get_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        if let Some(store) = self.opened.read().others.get(&key_of(url)) {
            return Ok(Arc::clone(store));
        }
        match (url.scheme(), url.host_str()) {
            ("file", _) => Ok(Arc::clone(&self.local)),
            ("s3" | "s3a", Some(bucket)) => Ok(self.bucket(bucket)),
            ("http" | "https", Some(_)) => self.web(url),
            (scheme, _) => Err(SourceError::new(
                SourceErrorKind::Invalid,
                format!("cannot read \"{scheme}://\" addresses"),
            )
            .hint("use a local path, file://, s3://, http:// or https://")
            .into_datafusion()),
        }
    }
}

/// Scheme, host and port; never a user's name or password.
fn key_of(url: &Url) -> String {
    format!("{}://{}", url.scheme(), &url[url::Position::BeforeHost..url::Position::AfterPort])
}
