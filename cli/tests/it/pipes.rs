//! Standard input and named pipes as tables.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use tempfile::TempDir;

use crate::command::bigsql;

/// In one process, and on workers.
const MODES: [&[&str]; 2] = [&[], &["--workers", "2"]];

/// The program's output for a query, with bytes on its standard input.
fn asked(folder: &Path, mode: &[&str], sql: &str, input: &[u8]) -> (String, String) {
    let arguments = [mode, &["--quiet", "--format", "csv", "-c", sql]].concat();
    let mut child = bigsql(folder, &arguments).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // The program may end without reading its input.
    let _ = stdin.write_all(input);
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr))
}

/// Asserts that no copy of a pipe is left.
fn nothing_is_left(folder: &Path) {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = names.filter(|name| name.to_string_lossy().contains("pipes")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn standard_input_is_a_table() {
    for mode in MODES {
        let folder = TempDir::new().unwrap();
        let check = |sql: &str, input: &[u8], right: &str| {
            let (out, err) = asked(folder.path(), mode, sql, input);
            assert_eq!((out.as_str(), err.as_str()), (right, ""), "{sql}");
        };
        check("select sum(n) as s from '/dev/stdin'", b"n,t\n1,a\n2,b\n", "s\n3\n");
        check("select sum(n) as s from '-'", b"{\"n\":1}{\"n\":2}", "s\n3\n");
        let twice = "select count(*) as c from '/dev/stdin' x join '/dev/stdin' y using (n)";
        check(twice, b"n,t\n1,a\n2,b\n", "c\n2\n");
        let declared = "create external table t (n int, t varchar) stored as csv \
                        location '/dev/stdin' options ('format.has_header' 'false'); \
                        select sum(n) as s from t";
        check(declared, b"1,a\n2,b\n", "s\n3\n");
        let (_, err) = asked(folder.path(), mode, "select * from '/dev/stdin'", b"");
        assert!(err.contains("empty"), "{err}");
        let (_, err) = asked(folder.path(), mode, "select * from '/dev/stdin'", b"a,b\n1\n");
        assert!(err.contains("stdin") && err.contains("line 2"), "{err}");
        let (out, _) = asked(
            folder.path(),
            mode,
            "copy (select 7 as n) to 'x.parquet'; select n from 'x.parquet'",
            b"",
        );
        assert!(out.contains('7'), "{out}");
        let parquet = std::fs::read(folder.path().join("x.parquet")).unwrap();
        check("select n from '/dev/stdin'", &parquet, "n\n7\n");
        nothing_is_left(folder.path());
    }
}

#[test]
fn named_pipes_are_tables() {
    for mode in MODES {
        let folder = TempDir::new().unwrap();
        let pipe = folder.path().join("p.csv");
        let mode_of_pipe = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, mode_of_pipe).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| std::fs::write(&pipe, "n,t\n1,a\n2,b\n").unwrap());
            let (out, err) = asked(folder.path(), mode, "select sum(n) as s from 'p.csv'", b"");
            assert_eq!((out.as_str(), err.as_str()), ("s\n3\n", ""));
        });
        nothing_is_left(folder.path());
    }
}
