//! SQL over S3: the cases again, with their tables behind an S3 server of this process, read by
//! ranges, listed by folder, glob and hive partition, written in parts; and the errors for failed
//! access.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use bigslice::{Environment, SessionBuilder, SystemSpec};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use object_store::ObjectStoreExt;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path as Key;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s::{S3Result, s3_error};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::harness::{World, run_cases, small_tasks, tables, testdata};

const KEY_ID: &str = "AKIATEST";
const SECRET: &str = "canary-of-a-secret";
const BUCKET: &str = "bigslice-test";

/// Cases whose tables are small enough for repeated reads through a server that hashes every
/// response.
const CASES: &[&str] = &[
    "aggregates",
    "ctes",
    "edges",
    "floats",
    "joins",
    "limits",
    "nested",
    "nulls",
    "sets",
    "subqueries",
    "time",
    "types",
    "unicode",
    "wide",
    "windows",
];

/// The requests that the server received.
#[derive(Debug, Default)]
struct Seen {
    ranges: AtomicUsize,
    parts: AtomicUsize,
    listings: AtomicUsize,
}

/// Accepts all signed requests, and counts them.
struct Door(Arc<Seen>);

#[async_trait::async_trait]
impl S3Access for Door {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        if cx.credentials().is_none() {
            return Err(s3_error!(AccessDenied, "no signature"));
        }
        let query = cx.uri().query().unwrap_or_default();
        let count = |counter: &AtomicUsize, seen: bool| {
            counter.fetch_add(usize::from(seen), Ordering::Relaxed);
        };
        count(&self.0.ranges, cx.method() == "GET" && cx.headers().contains_key("range"));
        count(&self.0.parts, cx.method() == "PUT" && query.contains("partNumber"));
        count(&self.0.listings, query.contains("list-type"));
        Ok(())
    }
}

/// An S3 server over a temporary folder, on its own thread; it ends when it is dropped.
struct Server {
    address: SocketAddr,
    seen: Arc<Seen>,
    folder: TempDir,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        std::fs::create_dir(folder.path().join(BUCKET)).expect("a bucket");
        let seen = Arc::<Seen>::default();
        let mut service =
            S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder.path()).expect("a folder"));
        service.set_auth(SimpleAuth::from_single(KEY_ID, SECRET));
        service.set_access(Door(Arc::clone(&seen)));
        let service = service.build();

        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("a socket of tokio's");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async move {
                let listener = TcpListener::from_std(listener).expect("a listener");
                let mut connections = JoinSet::new();
                let accept = async {
                    loop {
                        let Ok((socket, _)) = listener.accept().await else { continue };
                        let service = service.clone();
                        connections.spawn(async move {
                            let server = Builder::new(TokioExecutor::new());
                            // A client that disconnects is not an error of the server.
                            let _ = server.serve_connection(TokioIo::new(socket), service).await;
                        });
                    }
                };
                tokio::select! {
                    () = accept => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, seen, folder, stop: Some(stop), thread: Some(thread) }
    }

    /// A user's environment.
    fn environment(&self, secret: &str) -> Environment {
        [
            ("AWS_ACCESS_KEY_ID", KEY_ID.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", secret.to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ENDPOINT_URL", format!("http://{}", self.address)),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
    }

    fn client(&self) -> AmazonS3 {
        AmazonS3Builder::new()
            .with_bucket_name(BUCKET)
            .with_access_key_id(KEY_ID)
            .with_secret_access_key(SECRET)
            .with_region("us-east-1")
            .with_endpoint(format!("http://{}", self.address))
            .with_allow_http(true)
            .build()
            .expect("a client")
    }

    /// Uploads a file of the test data.
    async fn upload(&self, client: &AmazonS3, place: &str) {
        let bytes = std::fs::read(testdata().join(place)).expect("a file of the test data");
        client.put(&Key::from(place), bytes.into()).await.expect("an upload");
    }

    /// Uploads the tables of the cases.
    async fn upload_tables(&self) {
        let client = self.client();
        for (_, place) in tables() {
            for file in files_below(&testdata().join(&place)) {
                let name = file.strip_prefix(testdata()).expect("a file of the test data");
                self.upload(&client, name.to_str().expect("a path in UTF-8")).await;
            }
        }
    }

    /// The keys below a prefix, as the server has them.
    fn keys(&self, below: &str) -> Vec<String> {
        let folder = self.folder.path().join(BUCKET).join(below);
        if !folder.exists() {
            return Vec::new();
        }
        files_below(&folder).iter().map(|path| path.display().to_string()).collect()
    }

    async fn world(&self, system: &SystemSpec, secret: &str) -> World {
        World::new(system.clone(), |builder: SessionBuilder| {
            small_tasks(builder, system).partitions(2).environment(self.environment(secret))
        })
        .await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // An error means that the server has already ended.
        let _ = self.stop.take().map(|stop| stop.send(()));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn files_below(path: &Path) -> Vec<std::path::PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = std::fs::read_dir(path).expect("a folder");
    entries.flat_map(|entry| files_below(&entry.expect("an entry").path())).collect()
}

async fn cases_over_s3(system: SystemSpec) {
    let server = Server::start();
    server.upload_tables().await;
    let world = server.world(&system, SECRET).await;
    world.register(&format!("s3://{BUCKET}")).await;
    let (failures, spread) = run_cases(&world.session, CASES).await;
    assert!(failures.is_empty(), "{}\n{}", failures.join("\n\n"), world.log().join("\n"));
    if system.machines() > 0 {
        assert!(spread.shared_out.load(Ordering::Relaxed) > 100, "{spread:?}");
    }
    assert!(server.seen.ranges.load(Ordering::Relaxed) > 100, "not read by ranges");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cases_over_s3_in_this_process() {
    cases_over_s3(SystemSpec::Here).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cases_over_s3_on_two_processes() {
    cases_over_s3(SystemSpec::Local { machines: 2 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_a_glob_and_hive_partitions() {
    let server = Server::start();
    server.upload_tables().await;
    for system in [SystemSpec::Here, SystemSpec::InProcess { machines: 2 }] {
        let world = server.world(&system, SECRET).await;
        let count = |from: String| {
            let world = &world;
            async move { world.run(&format!("SELECT count(*) FROM {from}")).await[0][0].clone() }
        };
        assert_eq!(count(format!("'s3://{BUCKET}/flights/flights/'")).await, "336776");
        assert_eq!(
            count(format!("'s3://{BUCKET}/flights/flights/2013-0[12].parquet'")).await,
            "51955"
        );
        assert_eq!(count(format!("'s3://{BUCKET}/flights/flights/*-1?.parquet'")).await, "84292");
        assert_eq!(count(format!("'s3://{BUCKET}/flights/airlines.parquet'")).await, "16");

        let folder = format!("hive-{}", system.machines());
        let sql = format!(
            "COPY (SELECT origin, month, dest, dep_delay FROM 's3://{BUCKET}/flights/flights/' \
             WHERE month < 4) TO 's3://{BUCKET}/{folder}/' STORED AS PARQUET \
             PARTITIONED BY (origin, month)"
        );
        world.run(&sql).await;
        assert!(server.keys(&folder).iter().any(|key| key.contains("origin=JFK/month=2/")));
        world
            .run(&format!(
                "CREATE EXTERNAL TABLE parts STORED AS PARQUET PARTITIONED BY (origin, month) \
                 LOCATION 's3://{BUCKET}/{folder}/'"
            ))
            .await;
        let sql =
            "SELECT origin, month, count(*) FROM parts WHERE month = '2' GROUP BY 1, 2 ORDER BY 1";
        let rows: Vec<String> = world.run(sql).await.iter().map(|row| row.join(" ")).collect();
        assert_eq!(rows, ["EWR 2 9107", "JFK 2 8421", "LGA 2 7423"]);
        world.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_results_are_written_in_parts_and_read_back() {
    let server = Server::start();
    for system in [SystemSpec::Here, SystemSpec::Local { machines: 2 }] {
        let world = server.world(&system, SECRET).await;
        world.register(testdata().to_str().expect("a path in UTF-8")).await;
        let before = server.seen.parts.load(Ordering::Relaxed);
        let to = format!("s3://{BUCKET}/out-{}/flights.csv", system.machines());
        world
            .run(&format!(
                "COPY flights TO '{to}' STORED AS CSV OPTIONS ('format.has_header' 'true')"
            ))
            .await;
        let parts = server.seen.parts.load(Ordering::Relaxed) - before;
        assert!(parts >= 2, "30 MB were written in {parts} parts");
        let sql = format!("SELECT count(*), sum(distance), count(dep_delay) FROM '{to}'");
        assert_eq!(world.run(&sql).await[0], ["336776", "350217607", "328521"]);
        world.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_write_leaves_nothing_there() {
    let server = Server::start();
    let world = server.world(&SystemSpec::InProcess { machines: 2 }, SECRET).await;
    world.register(testdata().to_str().expect("a path in UTF-8")).await;
    let sql = format!(
        "COPY (SELECT id, 1 / (id - 19999) FROM skew) TO 's3://{BUCKET}/broken/all.parquet'"
    );
    let error = world.try_run(&sql).await.expect_err("a division by zero").to_string();
    assert!(error.to_lowercase().contains("zero"), "{error}");
    assert_eq!(server.keys("broken"), Vec::<String>::new());
    world.close().await;
}

/// Queries `from`, and asserts that the error contains all of these words and not the secret.
async fn check_refusal(world: &World, from: &str, words: &[&str]) {
    let error = world.try_run(&format!("SELECT * FROM '{from}'")).await.expect_err(from);
    let text = format!("{error}\n{}", error.hint().unwrap_or_default());
    for word in words {
        assert!(text.to_lowercase().contains(word), "{from}: no \"{word}\" in: {text}");
    }
    assert!(!format!("{text} {error:?}").contains("canary"), "a secret is shown: {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_what_is_missing() {
    let server = Server::start();
    server.upload_tables().await;
    let good = format!("s3://{BUCKET}/flights/airlines.parquet");
    for system in [SystemSpec::Here, SystemSpec::InProcess { machines: 2 }] {
        let world = server.world(&system, SECRET).await;
        check_refusal(&world, "s3://no-such-bucket/a.parquet", &["bucket", "no-such-bucket"]).await;
        let missing = format!("s3://{BUCKET}/flights/nothing.parquet");
        check_refusal(&world, &missing, &["nothing.parquet"]).await;
        assert_eq!(world.run(&format!("SELECT count(*) FROM '{good}'")).await[0][0], "16");
        world.close().await;

        let world = server.world(&system, "canary-that-is-wrong").await;
        check_refusal(&world, &good, &["secret key", "wrong"]).await;
        world.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_may_be_given_with_the_table_and_are_never_shown() {
    let server = Server::start();
    server.upload_tables().await;
    for system in [SystemSpec::Here, SystemSpec::Local { machines: 2 }] {
        let world = World::new(system.clone(), |builder| small_tasks(builder, &system)).await;
        let create = format!(
            "CREATE EXTERNAL TABLE flown STORED AS PARQUET \
             LOCATION 's3://{BUCKET}/flights/flights/' OPTIONS (\
             'aws.access_key_id' '{KEY_ID}', 'aws.secret_access_key' '{SECRET}', \
             'aws.region' 'us-east-1', 'aws.endpoint' 'http://{}', 'aws.allow_http' 'true')",
            server.address
        );
        world.run(&create).await;
        let rows = world.run("SELECT origin, count(*) FROM flown GROUP BY 1 ORDER BY 1").await;
        assert_eq!(rows[2], ["LGA", "104662"]);
        for sql in [
            "EXPLAIN SELECT count(*) FROM flown",
            "EXPLAIN STAGES SELECT count(*) FROM flown",
            "EXPLAIN ANALYZE SELECT count(*) FROM flown",
            "SHOW CREATE TABLE flown",
            "SHOW ALL",
        ] {
            let shown =
                world.try_run(sql).await.map_or_else(|e| e.to_string(), |rows| format!("{rows:?}"));
            assert!(!shown.contains("canary"), "{sql} shows a secret: {shown}");
        }
        assert!(!world.log().join("\n").contains("canary"), "the log shows a secret");
        world.close().await;
    }
}
