//! A statement lists a folder once, and sees the files that are there when it starts.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use crate::world::World;

/// The local files, with a count of the listings.
#[derive(Debug, Default)]
struct Counting {
    files: LocalFileSystem,
    listings: AtomicUsize,
}

impl fmt::Display for Counting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("counting")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Counting {
    async fn put_opts(&self, to: &Path, load: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.files.put_opts(to, load, opts).await
    }

    async fn put_multipart_opts(
        &self,
        to: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.files.put_multipart_opts(to, opts).await
    }

    async fn get_opts(&self, from: &Path, options: GetOptions) -> Result<GetResult> {
        self.files.get_opts(from, options).await
    }

    async fn get_ranges(&self, from: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.files.get_ranges(from, ranges).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.files.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listings.fetch_add(1, Ordering::Relaxed);
        self.files.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.listings.fetch_add(1, Ordering::Relaxed);
        self.files.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.files.copy_opts(from, to, options).await
    }
}

/// A world whose local files are read through a counting store.
async fn counted() -> (World, Arc<Counting>) {
    let world = World::here().await;
    let store = Arc::new(Counting::default());
    let runtime = world.session.context().runtime_env();
    let url = "file:///".parse().unwrap();
    runtime.register_object_store(&url, Arc::<Counting>::clone(&store));
    world.write("t/1.csv", "a\n1\n");
    world.write("t/2.csv", "a\n2\n");
    (world, store)
}

impl Counting {
    fn taken(&self) -> usize {
        self.listings.swap(0, Ordering::Relaxed)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_lists_a_place_once() {
    let (world, store) = counted().await;
    for (n, sql, sum) in [
        (1, "select sum(a) from '@t'", "3"),
        (1, "select sum(a) from '@t/'", "3"),
        (1, "select sum(a) from '@t/*.csv'", "3"),
        (1, "select sum(x.a) from '@t/' x join '@t/' y on x.a = y.a", "3"),
        (1, "select sum(a) from '@t/' where a > (select min(a) from '@t/')", "2"),
        (1, "with x as (select a from '@t/') select sum(a) from x", "3"),
        (2, "select sum(a) from (select a from '@t/' union all select a from '@t/*.csv')", "6"),
    ] {
        assert_eq!(world.text(sql).await, sum, "{sql}");
        assert_eq!(store.taken(), n, "{sql}");
    }
    world.write("t/3.csv", "a\n3\n");
    assert_eq!(world.text("select sum(a) from '@t/'").await, "6");
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_views_and_prepared_statements_see_new_files() {
    let (world, store) = counted().await;
    world.rows("create external table t stored as csv location '@t/'").await;
    assert_eq!(store.taken(), 1);
    world.rows("create view v as select sum(a) as s from '@t/'").await;
    world.rows("prepare p as select sum(a) from '@t/'").await;
    world.write("t/3.csv", "a\n3\n");
    for sql in ["select sum(a) from t", "select s from v", "execute p"] {
        store.taken();
        assert_eq!(world.text(sql).await, "6", "{sql}");
        assert_eq!(store.taken(), 1, "{sql}");
    }
    world.write("t/4.csv", "a\n4\n");
    for sql in ["select sum(a) from t", "select s from v", "execute p"] {
        assert_eq!(world.text(sql).await, "10", "{sql}");
    }
}
