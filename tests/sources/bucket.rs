//! Buckets and web servers: sources of credentials, the errors for wrong credentials or locations,
//! and no upload left behind by a failed result.

use std::net::SocketAddr;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::avro;
use crate::world::World;

pub(crate) const KEY: &str = "AKIATEST";
pub(crate) const SECRET: &str = "canary-of-a-secret";

/// A server on a port of this machine, until it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    pub(crate) folder: TempDir,
    _tasks: JoinSet<()>,
}

impl Server {
    /// An S3 server over a folder, with the buckets `first` and `second`.
    pub(crate) async fn of_buckets() -> Self {
        let folder = TempDir::new().unwrap();
        std::fs::create_dir(folder.path().join("first")).unwrap();
        std::fs::create_dir(folder.path().join("second")).unwrap();
        let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder.path()).unwrap());
        builder.set_auth(SimpleAuth::from_single(KEY, SECRET));
        let service: S3Service = builder.build();
        Self::start(folder, move |socket| {
            let service = service.clone();
            async move {
                let server = Builder::new(TokioExecutor::new());
                // A client that disconnects is not an error of the server.
                let _gone = server.serve_connection(TokioIo::new(socket), service).await;
            }
        })
        .await
    }

    /// A web server that answers every request with a function of its head.
    pub(crate) async fn of(answer: fn(&str) -> String) -> Self {
        Self::start(TempDir::new().unwrap(), move |mut socket| async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match socket.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => return,
                }
            }
            let answer = answer(std::str::from_utf8(&head).unwrap());
            // A client that disconnects is not an error of the server.
            let _gone = socket.write_all(answer.as_bytes()).await;
        })
        .await
    }

    async fn start<F>(folder: TempDir, serve: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                connections.spawn(serve(socket));
            }
        });
        Self { address, folder, _tasks: tasks }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    fn options(&self) -> String {
        format!(
            "options ('aws.access_key_id' '{KEY}', 'aws.secret_access_key' '{SECRET}', \
             'aws.endpoint' '{}', 'aws.region' 'us-east-1')",
            self.endpoint()
        )
    }

    /// The content of the server's folder, without the server's own files.
    fn files(&self) -> Vec<String> {
        let mut names = Vec::new();
        for bucket in ["first", "second", ""] {
            for entry in std::fs::read_dir(self.folder.path().join(bucket)).unwrap() {
                let name = entry.unwrap().file_name().to_string_lossy().into_owned();
                if name != "first" && name != "second" {
                    names.push(name);
                }
            }
        }
        names
    }
}

async fn world(server: &Server) -> World {
    world_of(server, bigslice::SystemSpec::Here).await
}

async fn world_of(server: &Server, system: bigslice::SystemSpec) -> World {
    let variables = [
        ("AWS_ACCESS_KEY_ID", KEY),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
        ("AWS_ENDPOINT_URL", &server.endpoint()),
        ("AWS_REGION", "us-east-1"),
    ];
    World::on_system(system, &variables).await
}

#[tokio::test(flavor = "multi_thread")]
async fn options_of_a_statement_open_a_bucket_and_are_not_shown() {
    let server = Server::of_buckets().await;
    let world = World::in_environment(&[("AWS_EC2_METADATA_DISABLED", "true")]).await;
    let copy = format!(
        "copy (select value as a from range(0, 10)) to 's3://first/t/x.parquet' {}",
        server.options()
    );
    let shown = world.text(&format!("explain {copy}")).await;
    assert!(!shown.contains(SECRET) && !shown.contains(KEY), "{shown}");
    assert_eq!(world.text(&copy).await, "10");
    let create = format!(
        "create external table t stored as parquet location 's3://first/t/' {}",
        server.options()
    );
    world.rows(&create).await;
    assert_eq!(world.text("select sum(a) from t").await, "45");
    assert_eq!(world.text("select count(*) from 's3://first/t/*.parquet'").await, "10");
    for sql in [
        "select * from information_schema.views",
        "select * from information_schema.tables",
        "select * from information_schema.df_settings",
        "explain select * from t",
        "show create table t",
        "show all",
    ] {
        let shown = world.text(sql).await;
        assert!(!shown.contains(SECRET) && !shown.contains(KEY), "{sql}: {shown}");
    }
    assert!(!format!("{:?}", world.session.context().runtime_env()).contains(SECRET));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_opens_a_bucket() {
    let server = Server::of_buckets().await;
    let home = TempDir::new().unwrap();
    std::fs::create_dir(home.path().join(".aws")).unwrap();
    let credentials = format!(
        "[default]\naws_access_key_id = wrong\naws_secret_access_key = wrong\n\
         [lab]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n"
    );
    std::fs::write(home.path().join(".aws/credentials"), credentials).unwrap();
    std::fs::write(home.path().join(".aws/config"), "[profile lab]\nregion = eu-north-1\n")
        .unwrap();
    let home = home.path().to_str().unwrap();
    let endpoint = server.endpoint();
    let world = World::in_environment(&[
        ("HOME", home),
        ("AWS_PROFILE", "lab"),
        ("AWS_ENDPOINT_URL", &endpoint),
    ])
    .await;
    assert_eq!(world.text("copy (select 1 as a) to 's3://first/x.csv'").await, "1");
    assert_eq!(world.text("select a from 's3://first/x.csv'").await, "1");

    let world = World::in_environment(&[("HOME", home), ("AWS_ENDPOINT_URL", &endpoint)]).await;
    let error = world.error("select a from 's3://first/x.csv'").await;
    assert!(
        error.contains("access key for bucket \"first\"") || error.contains("denied"),
        "{error}"
    );

    let world = World::in_environment(&[
        ("HOME", home),
        ("AWS_PROFILE", "nobody"),
        ("AWS_ENDPOINT_URL", &endpoint),
    ])
    .await;
    let error = world.error("select a from 's3://first/x.csv'").await;
    assert!(error.contains("profile"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said() {
    let server = Server::of_buckets().await;
    let world = world(&server).await;
    world.text("copy (select 1 as a) to 's3://first/t/x.csv'").await;
    for (place, words) in [
        ("s3://first/t/no.csv", "bucket \"first\" has no object \"t/no.csv\""),
        ("s3://first/no/", "bucket \"first\" has no object \"no\""),
        ("s3://first/t/*.parquet", "no file matches"),
        ("s3://no-such-bucket/x.csv", "there is no bucket \"no-such-bucket\""),
        ("s3://no-such-bucket/", "there is no bucket \"no-such-bucket\""),
    ] {
        let error = world.error(&format!("select * from '{place}'")).await;
        assert!(error.contains(words), "{place}: {error}");
        assert!(!error.contains(SECRET), "{error}");
    }
    let endpoint = server.endpoint();
    let none = [("AWS_EC2_METADATA_DISABLED", "true"), ("AWS_ENDPOINT_URL", &*endpoint)];
    let world = World::in_environment(&none).await;
    let error = world.error("select * from 's3://first/t/x.csv'").await;
    assert!(error.contains("no AWS credentials were found for bucket \"first\""), "{error}");
    assert!(error.contains("AWS_ACCESS_KEY_ID"), "{error}");

    let half = [("AWS_ACCESS_KEY_ID", KEY), ("AWS_ENDPOINT_URL", &*endpoint)];
    let error =
        World::in_environment(&half).await.error("select * from 's3://first/t/x.csv'").await;
    assert!(error.contains("no secret access key"), "{error}");

    let wrong = [
        ("AWS_ACCESS_KEY_ID", KEY),
        ("AWS_SECRET_ACCESS_KEY", "guessed"),
        ("AWS_ENDPOINT_URL", &*endpoint),
    ];
    let error =
        World::in_environment(&wrong).await.error("select * from 's3://first/t/x.csv'").await;
    assert!(error.contains("the secret key for bucket \"first\""), "{error}");

    let anonymous = [("AWS_SKIP_SIGNATURE", "true"), ("AWS_ENDPOINT_URL", &*endpoint)];
    let world = World::in_environment(&anonymous).await;
    let error = world.error("select * from 's3://first/t/x.csv'").await;
    assert!(error.contains("denied") && error.contains("not signed"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let endpoint = format!("http://{address}");
    let world = World::in_environment(&[
        ("AWS_ACCESS_KEY_ID", KEY),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
        ("AWS_ENDPOINT_URL", &endpoint),
    ])
    .await;
    let error = world.error("select * from 's3://first/x.csv'").await;
    assert!(
        error.contains(&format!("cannot reach \"{endpoint}\" for bucket \"first\"")),
        "{error}"
    );
    let error = world.error(&format!("select * from '{endpoint}/x.csv'")).await;
    assert!(error.contains("cannot reach"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_region_is_named() {
    let server = Server::of(|_| {
        let body = "<?xml version=\"1.0\"?><Error><Code>AuthorizationHeaderMalformed</Code>\
                    <Message>the region 'us-east-1' is wrong; expecting 'eu-west-3'</Message>\
                    <Region>eu-west-3</Region></Error>";
        answer("400 Bad Request", "", body)
    })
    .await;
    let error = world(&server).await.error("select * from 's3://first/t/'").await;
    assert!(error.contains("is in region \"eu-west-3\", not in \"us-east-1\""), "{error}");
    assert!(error.contains("AWS_REGION=eu-west-3"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_result_leaves_no_upload() {
    let server = Server::of_buckets().await;
    let world = world(&server).await;
    world.text("copy (select 1 as a) to 's3://first/warm.csv'").await;
    let before = server.files();
    // 30 MB of text before the failure: more than one part.
    let rows = "(select 1 / (1000000 - value) as a, repeat('x', 30) as b from range(0, 1100000))";
    for target in
        ["'s3://second/x.csv'", "'s3://second/y.parquet'", "'s3://second/out/' stored as csv"]
    {
        world.error(&format!("copy {rows} to {target}")).await;
        assert_eq!(server.files(), before, "{target}");
    }
    let rows = "(select value as a, repeat('x', 30) as b from range(0, 1100000))";
    assert_eq!(world.text(&format!("copy {rows} to 's3://second/x.csv'")).await, "1100000");
    assert_eq!(world.text("select count(*) from 's3://second/x.csv'").await, "1100000");
    let error = world.error("copy (select 1 as a) to 's3://no-such-bucket/x/' stored as csv").await;
    assert!(error.contains("there is no bucket \"no-such-bucket\""), "{error}");
}

/// A slice to write: 40 MB of text, several parts in each upload; or an error near the end.
#[bigslice::func]
fn long_lines(to: String, bad: i64) -> bigslice::Slice<bigslice::WrittenFile> {
    let rows = bigslice::Slice::reader(3, move |shard| {
        (0..400_000i64).map(move |n| {
            let n = n * 3 + shard as i64;
            if n == bad { Err("a bad row") } else { Ok((n, "0123456789".repeat(2))) }
        })
    });
    rows.write_csv(to)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slice_is_written_to_a_bucket_by_machines_or_not_at_all() {
    let server = Server::of_buckets().await;
    let world = world_of(&server, bigslice::SystemSpec::InProcess { machines: 2 }).await;
    let before = server.files();
    let work = long_lines("s3://second/bad".to_owned(), 1_199_990);
    let error = world.session.run(work).await.unwrap_err();
    assert!(error.to_string().contains("a bad row"), "{error}");
    assert_eq!(server.files(), before);

    let run = world.session.run(long_lines("s3://second/good/".to_owned(), -1)).await.unwrap();
    let files = run.collect().await.unwrap();
    assert_eq!(files[2].path, "s3://second/good/part-00002-of-00003.csv");
    let folder = server.folder.path().join("second/good");
    for file in &files {
        let name = file.path.rsplit('/').next().unwrap();
        assert_eq!(std::fs::metadata(folder.join(name)).unwrap().len(), file.bytes);
        assert!(file.bytes > 10 << 20 && file.rows == 400_000, "{file:?}");
    }
    let sql = "select count(*), sum(_0), max(_1) from 's3://second/good/*.csv'";
    assert_eq!(world.text(sql).await, "1200000|719999400000|01234567890123456789");
    let after = server.files();
    let work = long_lines("s3://second/good/".to_owned(), -1);
    let error = world.session.run(work).await.unwrap_err().to_string();
    assert!(error.contains("is not empty: it has \"s3://second/good/part-00000"), "{error}");
    let work = long_lines("s3://no-such-bucket/x".to_owned(), -1);
    let error = world.session.run(work).await.unwrap_err().to_string();
    assert!(error.contains("there is no bucket \"no-such-bucket\""), "{error}");
    assert_eq!(server.files(), after);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_formats_from_a_bucket() {
    let server = Server::of_buckets().await;
    let world = world(&server).await;
    let rows = "(select value as a, concat('t', value) as b from range(0, 100))";
    for name in ["x.parquet", "x.csv", "x.csv.gz", "x.json", "x.json.zst", "x.arrow"] {
        world.text(&format!("copy {rows} to 's3://first/{name}'")).await;
    }
    let rows: Vec<(i64, String)> = (0..100).map(|a| (a, format!("t{a}"))).collect();
    let rows: Vec<(i64, &str)> = rows.iter().map(|(a, b)| (*a, b.as_str())).collect();
    std::fs::write(server.folder.path().join("first/x.avro"), avro::file(&rows)).unwrap();
    for name in ["x.parquet", "x.csv", "x.csv.gz", "x.json", "x.json.zst", "x.arrow", "x.avro"] {
        let sql = format!("select count(*), sum(a), max(b) from 's3://first/{name}'");
        assert_eq!(world.text(&sql).await, "100|4950|t99", "{name}");
    }
}

/// A file as written by parallel compressors, or `cat`: several compressed streams in sequence.
#[tokio::test(flavor = "multi_thread")]
async fn all_streams_of_a_compressed_file() {
    let server = Server::of_buckets().await;
    for world in [
        world(&server).await,
        world_of(&server, bigslice::SystemSpec::InProcess { machines: 2 }).await,
    ] {
        for end in ["csv.gz", "csv.bz2", "csv.xz", "csv.zst", "json.bz2", "json.xz", "json.zst"] {
            let mut whole = Vec::new();
            for part in 0..3 {
                let rows = format!("(select value as a from range({part}00, {part}00 + 100))");
                let header = if part == 0 { "true" } else { "false" };
                let options = if end.starts_with("csv") {
                    format!("options ('format.has_header' '{header}')")
                } else {
                    String::new()
                };
                world.text(&format!("copy {rows} to 's3://first/part.{end}' {options}")).await;
                let path = server.folder.path().join(format!("first/part.{end}"));
                whole.extend(std::fs::read(&path).unwrap());
                std::fs::remove_file(path).unwrap();
            }
            let name = format!("whole.{end}");
            std::fs::write(server.folder.path().join("first").join(&name), &whole).unwrap();
            world.write(&name, &whole);
            for path in [format!("s3://first/{name}"), world.at(&name)] {
                let sql = format!("select count(*), sum(a), max(a) from '{path}'");
                assert_eq!(world.text(&sql).await, "300|44850|299", "{path}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_a_web_server() {
    let server = Server::of(|head| {
        let mut words = head.split_whitespace();
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let body = match path {
            "/a%20b/x.csv" => "a,b\n1,x\n2,y\n",
            "/secret.csv" => return answer("403 Forbidden", "", ""),
            _ => return answer("404 Not Found", "", ""),
        };
        if method == "HEAD" {
            return answer("200 OK", "", body).trim_end_matches(body).to_owned();
        }
        let length = body.len();
        let range = head.to_lowercase();
        let range = range.split_once("range: bytes=").map(|(_, rest)| rest.lines().next().unwrap());
        match range.and_then(|range| range.split_once('-')) {
            Some((from, to)) => {
                let from: usize = from.parse().unwrap();
                let to = to.parse().map_or(length, |to: usize| to + 1).min(length);
                let range = format!("content-range: bytes {from}-{}/{length}\r\n", to - 1);
                answer("206 Partial Content", &range, &body[from..to])
            }
            None => answer("200 OK", "", body),
        }
    })
    .await;
    let world = World::here().await;
    let at = server.endpoint();
    assert_eq!(world.text(&format!("select sum(a) from '{at}/a%20b/x.csv'")).await, "3");
    let error = world.error(&format!("select * from '{at}/no.csv'")).await;
    assert!(error.contains("there is no file at"), "{error}");
    let error = world.error(&format!("select * from '{at}/secret.csv'")).await;
    assert!(error.contains("is denied"), "{error}");
    let error = world.error(&format!("copy (select 1 as a) to '{at}/x.csv'")).await;
    assert!(error.contains("cannot be written to"), "{error}");
}

pub(crate) fn answer(status: &str, header: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{header}\r\n{body}"
    )
}
