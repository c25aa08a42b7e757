//! Real-life addresses: URLs with a query, servers without HEAD or ranges, names with special
//! characters.

use crate::bucket::{KEY, SECRET, Server};
use crate::world::World;

const CSV: &str = "n\n1\n2\n3\n";

/// A response with a body, or the requested range of it.
fn answer(head: &str, body: &str, ranges: bool) -> String {
    let asked = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("range")
            .then(|| value.trim().trim_start_matches("bytes=").to_owned())
    });
    let (status, extra, part) = match asked.filter(|_| ranges) {
        Some(range) => {
            let (start, end) = range.split_once('-').unwrap();
            let last = body.len() - 1;
            let (start, end) = match start {
                "" => (body.len() - end.parse::<usize>().unwrap(), last),
                start => (start.parse().unwrap(), end.parse().unwrap_or(last).min(last)),
            };
            let extra = format!("content-range: bytes {start}-{end}/{}\r\n", body.len());
            ("206 Partial Content", extra, &body[start..=end])
        }
        None => ("200 OK", String::new(), body),
    };
    let content = if head.starts_with("HEAD") { "" } else { part };
    let length = part.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{extra}connection: close\r\n\r\n{content}"
    )
}

fn refusal(status: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_sent_as_it_was_written() {
    let server = Server::of(|head| {
        let path = head.split(' ').nth(1).unwrap();
        match path {
            "/a%20b/rows.csv?sig=a%2Fb%3D&next=/x//y" | "/download?file=rows.csv" | "/p//q.csv" => {
                answer(head, CSV, true)
            }
            _ => refusal("403 Forbidden"),
        }
    })
    .await;
    for world in [World::here().await, World::on_machines().await] {
        for path in ["a%20b/rows.csv?sig=a%2Fb%3D&next=/x//y", "download?file=rows.csv", "p//q.csv"]
        {
            let sql = format!("select sum(n) from '{}/{path}'", server.endpoint());
            assert_eq!(world.text(&sql).await, "6", "{path}");
        }
        let sql = format!("select * from '{}/rows.csv?sig=a/b='", server.endpoint());
        let error = world.error(&sql).await;
        assert!(error.contains("denied"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_without_head_or_ranges_are_read() {
    let server = Server::of(|head| {
        let path = head.split(' ').nth(1).unwrap();
        let is_head = head.starts_with("HEAD");
        match path.split('/').nth(1).unwrap() {
            "noranges" => answer(head, CSV, false),
            "head405" if is_head => refusal("405 Method Not Allowed"),
            "head404" if is_head => refusal("404 Not Found"),
            "head401" if is_head => refusal("401 Unauthorized"),
            "neither" if is_head => refusal("501 Not Implemented"),
            "neither" | "unmeasured" => {
                let content = if is_head { "" } else { CSV };
                let length = if is_head { "" } else { "content-type: text/csv\r\n" };
                match path.split('/').nth(1).unwrap() {
                    "neither" => answer(head, CSV, false),
                    _ => format!("HTTP/1.1 200 OK\r\n{length}connection: close\r\n\r\n{content}"),
                }
            }
            "missing" => refusal("404 Not Found"),
            _ => answer(head, CSV, true),
        }
    })
    .await;
    for world in [World::here().await, World::on_machines().await] {
        for kind in ["all", "noranges", "head405", "head404", "head401", "neither", "unmeasured"] {
            let sql =
                format!("select sum(n), count(*) from '{}/{kind}/rows.csv'", server.endpoint());
            assert_eq!(world.text(&sql).await, "6|3", "{kind}");
        }
        let sql = format!("select * from '{}/missing/rows.csv'", server.endpoint());
        let error = world.error(&sql).await;
        assert!(error.contains("there is no file at"), "{error}");
    }
}

/// File names that are patterns elsewhere, or are percent-encoded there.
const NAMES: &[&str] = &[
    "[x] y/z.csv",
    "a+b=c.csv",
    "trip data/a+b=c.csv",
    "what?/file_?.csv",
    "ü/ñ&m.csv",
    "%3A/data.csv",
    "c=a%20b/x.csv",
    "d=2022-11-26/2022-11-26T13:51:14+00:00.csv",
    "hash#tag/50%.csv",
    "curly{1}/~tilde^.csv",
];

#[tokio::test(flavor = "multi_thread")]
async fn local_names_are_what_they_are() {
    for world in [World::here().await, World::on_machines().await] {
        for (number, name) in NAMES.iter().enumerate() {
            world.write(name, format!("n\n{number}\n"));
        }
        for (number, name) in NAMES.iter().enumerate() {
            let sql = format!("select n from '@{name}'");
            assert_eq!(world.text(&sql).await, number.to_string(), "{name}");
        }
        // A folder with a bracket, and a pattern in it; a bracket as a pattern; an escaped bracket.
        assert_eq!(world.text("select n from '@[x] y/*.csv'").await, "0");
        world.write("y1.csv", "n\n11\n");
        world.write("y2.csv", "n\n12\n");
        world.write("y[1].csv", "n\n13\n");
        assert_eq!(world.text("select sum(n) from '@y[12].csv'").await, "23");
        assert_eq!(world.text("select n from '@y[1].csv'").await, "13");
        assert_eq!(world.text("select n from '@y[[]1].csv'").await, "13");
        world.rows("copy (select 5 as n) to '@new [1]?.csv'").await;
        assert_eq!(world.text("select n from '@new [1]?.csv'").await, "5");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_buckets_are_what_they_are() {
    let server = Server::of_buckets().await;
    let endpoint = server.endpoint();
    let variables = [
        ("AWS_ACCESS_KEY_ID", KEY),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
        ("AWS_ENDPOINT_URL", endpoint.as_str()),
        ("AWS_REGION", "us-east-1"),
    ];
    let bucket = server.folder.path().join("first");
    for (number, name) in NAMES.iter().enumerate() {
        let path = bucket.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, format!("n\n{number}\n")).unwrap();
    }
    for system in [bigslice::SystemSpec::Here, bigslice::SystemSpec::InProcess { machines: 2 }] {
        let world = World::on_system(system, &variables).await;
        for (number, name) in NAMES.iter().enumerate() {
            let sql = format!("select n from 's3://first/{name}'");
            assert_eq!(world.text(&sql).await, number.to_string(), "{name}");
        }
        assert_eq!(world.text("select n from 's3://first/[x] y/*.csv'").await, "0");
        assert_eq!(world.text("select n from 's3://first/trip data/*.csv'").await, "2");
        assert_eq!(world.text("select n from 's3://first/%3A/*.csv'").await, "5");
    }
}
