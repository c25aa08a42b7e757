//! bigsql within another program: the example `repl`, as its users run it.
//!
//! `cargo test` builds examples before this; `cargo test --test it` alone does not.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// The example's program: examples are beside the folder of tests.
fn program() -> PathBuf {
    let this = std::env::current_exe().expect("this program");
    let built = this.parent().and_then(Path::parent).expect("the folder of the build");
    built.join("examples/repl")
}

fn run(arguments: &[&str], input: &str) -> Output {
    let folder = TempDir::new().expect("a temporary folder");
    let program = program();
    #[expect(clippy::disallowed_methods, reason = "the program under test is a process")]
    let mut child = Command::new(&program)
        .args(arguments)
        .env_clear()
        .env("TMPDIR", folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{}: {e}; build the examples first", program.display()));
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(input.as_bytes()).expect("its input is read");
    drop(stdin);
    let output = child.wait_with_output().expect("its output");
    let left = std::fs::read_dir(folder.path()).expect("a folder").count();
    assert_eq!(left, 0, "files are left behind");
    output
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("UTF-8")
}

#[test]
fn a_tool_has_its_own_tables_and_functions_in_a_script() {
    let script = ".tables\n.mode csv\nselect gene, round(gc(bases), 2) as gc from genes\n\
                  order by gene;\nselect gc('GATC') as half;\n";
    for workers in ["0", "2"] {
        let output = run(&["--workers", workers], script);
        assert_eq!((output.status.code(), text(output.stderr)), (Some(0), String::new()));
        let out = text(output.stdout);
        assert!(out.contains("| public | genes | table |"), "{out}");
        let results = out.split_once("gene,gc\n").expect("the result").1;
        assert_eq!(results, "BRCA1,0.33\nINS,0.67\nTP53,0.61\nhalf\n0.5\n");
    }
}

#[test]
fn a_tool_has_the_flags_of_bigsql_under_its_own_name() {
    let output = run(&["--format", "jsonl", "-c", "select count(*) as n from genes"], "");
    assert_eq!(text(output.stdout), "{\"n\":3}\n");
    let help = text(run(&["--help"], "").stdout);
    assert!(help.contains("Usage: genes") && help.contains("--memory-limit <SIZE>"), "{help}");
    assert!(!help.contains("bigsql"), "{help}");
    let output = run(&["-c", "select gc(1, 2)"], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(output.stderr).starts_with("error: "));
}
