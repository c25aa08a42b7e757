//! Observability of the program and its machines: `--debug`, `.dump`, `.profile`.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;

use tempfile::TempDir;
use zip::ZipArchive;

use crate::command::bigsql;

/// A secret given to the program, which must not appear anywhere.
const CANARY: &str = "canary-4711";

/// Fetches one page, as a browser does.
fn get(url: &str) -> String {
    let (host, path) = url["http://".len()..].split_once('/').expect("a path");
    let mut stream = TcpStream::connect(host).expect("the server");
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
        .expect("it is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer
}

#[test]
fn pages_show_the_session_and_its_machines() {
    for workers in ["0", "2"] {
        let folder = TempDir::new().expect("a folder");
        let arguments = ["--debug", "--workers", workers, "--format", "csv"];
        let mut child = bigsql(folder.path(), &arguments)
            .env("AWS_SECRET_ACCESS_KEY", CANARY)
            .arg("-f")
            .arg("-")
            .stdin(Stdio::piped())
            .spawn()
            .expect("the program");
        let mut errors = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let said = errors.next().expect("a line").expect("text");
        let (_, url) = said.split_once("debug pages: ").expect("the address");
        let (index, queries) = (get(url), get(&format!("{url}/queries")));
        assert!(index.contains("/debug/queries") && index.contains("driver"), "{index}");
        assert_eq!(index.contains(">m1<"), workers == "2", "{index}");
        assert!(queries.contains("0 running"), "{queries}");
        let metrics = get(&format!("{url}/metrics"));
        assert!(metrics.contains("bigslice_resident_bytes{machine=\"driver\"}"), "{metrics}");
        assert!(!get(&format!("{url}/settings")).contains(CANARY));

        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(b"select 6 * 7 as answer;\n").expect("a script");
        drop(stdin);
        let output = child.wait_with_output().expect("its end");
        assert_eq!((output.status.code(), &*output.stdout), (Some(0), &b"answer\n42\n"[..]));
    }
}

#[test]
fn a_dump_has_what_was_run_and_no_secret() {
    for workers in ["0", "2"] {
        let folder = TempDir::new().expect("a folder");
        let script = "select 6 * 7 as answer;\n\
                      copy (select 1 as a) to 'a.parquet';\n\
                      create external table t stored as csv location 's3://b/k.csv' options \
                      ('aws.secret_access_key' 'canary-4711', 'aws.access_key_id' 'canary-4711', \
                      'aws.endpoint' 'http://127.0.0.1:9', 'aws.allow_http' 'true');\n\
                      .dump seen.zip\n";
        let mut child = bigsql(folder.path(), &["--workers", workers, "--keep-going"])
            .env("AWS_SECRET_ACCESS_KEY", CANARY)
            .env("AWS_ACCESS_KEY_ID", CANARY)
            .stdin(Stdio::piped())
            .spawn()
            .expect("the program");
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(script.as_bytes()).expect("it is read");
        drop(stdin);
        let output = child.wait_with_output().expect("its output");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let file = File::open(folder.path().join("seen.zip")).expect(&said);
        let mut archive = ZipArchive::new(file).expect("an archive");
        let names: Vec<String> = archive.file_names().map(str::to_owned).collect();
        for name in ["about.json", "machines.json", "metrics.txt", "queries.txt", "settings.txt"] {
            assert!(names.iter().any(|n| n == name), "no {name} among {names:?}");
        }
        for name in names {
            let mut text = String::new();
            archive.by_name(&name).expect("it is there").read_to_string(&mut text).expect("text");
            assert!(!text.contains(CANARY), "{name}: {text}");
            if name == "queries.txt" {
                assert!(text.contains("done: select 6 * 7 as answer"), "{text}");
            }
            if name == "metrics.txt" {
                let ended =
                    "bigslice_ended_total{machine=\"driver\",kind=\"query\",outcome=\"done\"} 2";
                assert!(text.contains(ended), "{text}");
                assert_eq!(text.contains("machine=\"m1\""), workers == "2");
            }
        }
    }
}

#[test]
fn a_profile_is_taken_of_one_statement() {
    let folder = TempDir::new().expect("a folder");
    let script = ".profile p.svg select sum(value % 7) as s from generate_series(1, 30000000);\n\
                  .profile p.pb.gz select 1;\n";
    let mut child = bigsql(folder.path(), &["--format", "csv"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("the program");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(script.as_bytes()).expect("it is read");
    drop(stdin);
    let output = child.wait_with_output().expect("its output");
    let (out, said) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(out.starts_with("s\n"), "{out}{said}");
    let svg = std::fs::read_to_string(folder.path().join("p.svg")).expect("a flame graph");
    assert!(svg.contains("datafusion"), "no function of the engine in {svg}");
    let pprof = std::fs::read(folder.path().join("p.pb.gz")).expect("a profile");
    assert!(pprof.starts_with(&[0x1f, 0x8b]), "it is compressed");
}
