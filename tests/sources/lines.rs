//! Lines and archives in buckets and on web servers.

use bigslice::prelude::*;
use bigslice::{Environment, LinesOptions, TarEntry};

use crate::bucket::{KEY, SECRET, Server, answer};

/// A text that takes several requests to read in parts.
const TEXT: &str = "one\r\ntwo\n\nfour: a line that is longer than a shard may be\nfive";

#[bigslice::func]
fn lines(path: String, shard_bytes: u64) -> Result<Slice<String>> {
    Slice::lines_with(path, LinesOptions { shard_bytes, ..LinesOptions::default() })
}

#[bigslice::func]
fn entries(path: String) -> Result<Slice<TarEntry>> {
    Slice::tar(path)
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_and_archives_in_a_bucket_come_here_and_on_machines() {
    let server = Server::of_buckets().await;
    let folder = server.folder.path().join("first/t");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("a.txt"), TEXT).unwrap();
    std::fs::write(folder.join("b.txt"), "six\n").unwrap();
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(TEXT.len() as u64);
    archive.append_data(&mut header, "a", TEXT.as_bytes()).unwrap();
    std::fs::write(folder.join("x.tar"), archive.into_inner().unwrap()).unwrap();

    let endpoint = server.endpoint();
    let variables = [
        ("AWS_ACCESS_KEY_ID", KEY),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
        ("AWS_ENDPOINT_URL", &endpoint),
        ("AWS_REGION", "us-east-1"),
    ];
    let environment: Environment =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let right: Vec<&str> = TEXT.lines().chain(["six"]).collect();
    for system in [SystemSpec::Here, SystemSpec::InProcess { machines: 2 }] {
        let session = Session::builder().system(system).environment(environment.clone());
        let session = session.build().await.unwrap();
        for shard_bytes in [1, 7, 1000] {
            let found = session.run(lines("s3://first/t/*.txt".to_owned(), shard_bytes)).await;
            assert_eq!(found.unwrap().collect().await.unwrap(), right, "{shard_bytes}");
        }
        let found = session.run(entries("s3://first/t/".to_owned())).await.unwrap();
        let found = found.collect().await.unwrap();
        assert_eq!((found.len(), &found[0].bytes[..]), (1, TEXT.as_bytes()));
        assert_eq!(found[0].archive, "s3://first/t/x.tar");
        let error = session.run(lines("s3://first/none.txt".to_owned(), 9)).await.unwrap_err();
        assert!(error.to_string().contains("bucket \"first\" has no object"), "{error}");
        session.shutdown().await;
    }
}

/// A web server of one text, with range requests.
fn in_parts(head: &str) -> String {
    let range = head.lines().find_map(|line| {
        let line = line.to_ascii_lowercase();
        let (begin, last) = line.strip_prefix("range: bytes=")?.trim().split_once('-')?;
        Some(begin.parse::<usize>().ok()?..last.parse::<usize>().ok()? + 1)
    });
    match range {
        Some(range) => {
            let (begin, last, all) = (range.start, range.end - 1, TEXT.len());
            let header = format!("content-range: bytes {begin}-{last}/{all}\r\n");
            answer("206 Partial Content", &header, &TEXT[range])
        }
        None => whole(head),
    }
}

/// A web server without range requests.
fn whole(head: &str) -> String {
    let answered = answer("200 OK", "", TEXT);
    let without = answered.strip_suffix(TEXT).unwrap().to_owned();
    if head.starts_with("HEAD") { without } else { answered }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_server_need_not_give_parts() {
    let session = Session::builder().build().await.unwrap();
    for (server, divided) in [(Server::of(in_parts).await, true), (Server::of(whole).await, false)]
    {
        let url = format!("{}/a.txt", server.endpoint());
        for shard_bytes in [1, 9, 1000] {
            let run = session.run(lines(url.clone(), shard_bytes)).await.unwrap();
            if divided {
                assert_eq!(run.shards() > 1, shard_bytes < 1000, "{shard_bytes}");
            }
            assert!(run.collect().await.unwrap().iter().map(String::as_str).eq(TEXT.lines()));
        }
    }
    session.shutdown().await;
}
