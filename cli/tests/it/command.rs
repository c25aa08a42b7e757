//! The program as a user sees it: output, exit codes, files.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{PROGRAM, testdata};
use bigslice_tests::process::Process;

/// No command of these tests takes this long, so a command that hangs is detected.
const DEADLINE: Duration = Duration::from_secs(120);

/// The program with these arguments, in its own folder, without this environment.
pub(crate) fn bigsql(folder: &Path, arguments: &[&str]) -> Command {
    #[expect(clippy::disallowed_methods, reason = "the program under test is a process")]
    let mut command = Command::new(PROGRAM);
    command
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("HOME", folder)
        .env("TMPDIR", folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// The outcome of a run.
#[derive(Debug)]
struct Outcome {
    code: Option<i32>,
    out: String,
    err: String,
}

impl From<Output> for Outcome {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

/// Runs the program to its end, in `folder`, with `input` on its standard input.
fn run_in(folder: &Path, arguments: &[&str], input: &str) -> Outcome {
    let mut child = bigsql(folder, arguments).stdin(Stdio::piped()).spawn().expect("the program");
    let mut stdin = child.stdin.take().expect("a pipe");
    // The program may end without reading its input.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("its output").into()
}

fn run(arguments: &[&str]) -> Outcome {
    let folder = TempDir::new().expect("a temporary folder");
    run_in(folder.path(), arguments, "")
}

/// Asserts success and an empty standard error; returns the output.
#[track_caller]
fn good(outcome: Outcome) -> String {
    assert_eq!((outcome.code, outcome.err.as_str()), (Some(0), ""), "{}", outcome.out);
    outcome.out
}

/// The names in a folder, except those of a user's state folder.
fn left_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut names: Vec<_> =
        entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| name != ".local");
    names.sort();
    names
}

const TWO_ROWS: &str = "select * from (values (1, 'x', 1.5), (2, null, null)) as t (a, b, \"c d\")";

#[test]
fn results_in_every_format() {
    for (format, expected) in [
        ("csv", "a,b,c d\n1,x,1.5\n2,,\n"),
        ("tsv", "a\tb\tc d\n1\tx\t1.5\n2\t\t\n"),
        ("json", "[{\"a\":1,\"b\":\"x\",\"c d\":1.5},\n{\"a\":2,\"b\":null,\"c d\":null}]\n"),
        ("jsonl", "{\"a\":1,\"b\":\"x\",\"c d\":1.5}\n{\"a\":2,\"b\":null,\"c d\":null}\n"),
    ] {
        let out = good(run(&["--format", format, "-c", TWO_ROWS]));
        assert_eq!(out, expected, "{format}");
    }
    let table = good(run(&["--timer", "off", "-c", TWO_ROWS]));
    for word in ["a", "c d", "1.5", "NULL"] {
        assert!(table.contains(word), "{table}");
    }
    assert_eq!(table.lines().filter(|line| line.contains("1.5")).count(), 1, "{table}");
    let markdown = good(run(&["--timer", "off", "--format", "markdown", "-c", TWO_ROWS]));
    assert!(markdown.starts_with("| a | b | c d |\n"), "{markdown}");
    let line = good(run(&["--timer", "off", "--format", "line", "-c", TWO_ROWS]));
    assert!(line.lines().count() >= 6, "{line}");
}

#[test]
fn statements_without_a_result_print_nothing() {
    let script = "create table t as values (1), (2); set datafusion.execution.batch_size = 100; \
                  create view v as select column1 + 1 as n from t; drop view v; drop table t";
    for format in ["csv", "tsv", "json", "jsonl"] {
        assert_eq!(good(run(&["--format", format, "-c", script])), "", "{format}");
    }
    for format in ["csv", "table"] {
        assert_eq!(good(run(&["--quiet", "--format", format, "-c", script])), "", "{format}");
    }
}

#[test]
fn exit_codes() {
    for (arguments, code) in [
        (&["-c", "select 1"][..], 0),
        (&["--version"], 0),
        (&["--help"], 0),
        (&["-c", "select nosuch"], 1),
        (&["-c", "selec 1"], 1),
        (&["-f", "no-such-file.sql"], 1),
        (&["-c", "select 1; select 1 / (column1 - 1) from (values (1)) t"], 1),
        (&["--keep-going", "-c", "select nosuch; select 1"], 1),
        (&["--no-such-flag"], 2),
        (&["--workers", "many"], 2),
        (&["--format", "xml", "-c", "select 1"], 2),
        (&["tpch", "query", "23"], 2),
        (&["--memory-limit", "lots", "-c", "select 1"], 2),
    ] {
        let outcome = run(arguments);
        assert_eq!(outcome.code, Some(code), "{arguments:?}: {outcome:?}");
        assert_eq!(outcome.err.is_empty(), code == 0, "{arguments:?}: {outcome:?}");
        assert!(!outcome.err.contains("panicked"), "{outcome:?}");
    }
}

#[test]
fn standard_input_is_a_script() {
    let folder = TempDir::new().expect("a temporary folder");
    let script =
        "-- two statements\nselect 1 as a;\n\nselect 'a;b' as b -- no semicolon at the end\n";
    assert_eq!(good(run_in(folder.path(), &["--format", "csv"], script)), "a\n1\nb\na;b\n");
    assert_eq!(
        good(run_in(folder.path(), &["--format", "csv", "-f", "-"], script)),
        "a\n1\nb\na;b\n"
    );
    assert_eq!(good(run_in(folder.path(), &["--format", "csv"], "")), "");
    std::fs::write(folder.path().join("one.sql"), "select 1 as one;").expect("a script");
    let arguments =
        ["--format", "csv", "-c", "select 0 as zero", "-f", "one.sql", "-c", "select 2 as two"];
    assert_eq!(good(run_in(folder.path(), &arguments, "")), "zero\n0\none\n1\ntwo\n2\n");
    assert_eq!(left_in(folder.path()), ["one.sql"]);
}

#[test]
fn a_failed_statement_stops_the_script_and_says_where() {
    let folder = TempDir::new().expect("a temporary folder");
    let script = "select 1 as a;\nselect 2 as b,\n       nosuch\nfrom (values (1)) as t (x);\nselect 3 as c;\n";
    std::fs::write(folder.path().join("s.sql"), script).expect("a script");
    let outcome = run_in(folder.path(), &["--format", "csv", "-f", "s.sql"], "");
    assert_eq!((outcome.code, outcome.out.as_str()), (Some(1), "a\n1\n"));
    assert!(outcome.err.contains("s.sql:3:8"), "{}", outcome.err);
    let lines: Vec<&str> = outcome.err.lines().collect();
    let mark = lines.iter().position(|line| line.contains('^')).expect("a mark");
    let (text, mark) = (lines[mark - 1], lines[mark]);
    assert_eq!(text.find("nosuch"), mark.find('^'), "{}", outcome.err);
    assert_eq!(mark.matches('^').count(), "nosuch".len(), "{}", outcome.err);

    let outcome = run_in(folder.path(), &["--format", "csv", "--keep-going", "-f", "s.sql"], "");
    assert_eq!((outcome.code, outcome.out.as_str()), (Some(1), "a\n1\nc\n3\n"));
    assert!(outcome.err.contains("nosuch"), "{}", outcome.err);
}

#[test]
fn errors_are_in_words_a_user_understands() {
    for (sql, words) in [
        ("select * from nosuch", &["nosuch"][..]),
        ("select * from 'no/such/file.parquet'", &["no/such/file.parquet"]),
        ("select 'a", &["'"]),
        ("select cast('x' as int)", &["x"]),
        ("selec 1", &["selec", "^"]),
        ("select nosuchfunction(1)", &["nosuchfunction"]),
    ] {
        let outcome = run(&["-c", sql]);
        assert_eq!(outcome.code, Some(1), "{sql}: {outcome:?}");
        assert!(outcome.err.starts_with("error: "), "{sql}: {}", outcome.err);
        for word in words {
            assert!(outcome.err.contains(word), "{sql}: no \"{word}\" in {}", outcome.err);
        }
        for foreign in ["DataFusion", "Arrow error", "External error", "panicked", "backtrace"] {
            assert!(!outcome.err.contains(foreign), "{sql}: {}", outcome.err);
        }
    }
}

#[test]
fn an_output_file_appears_when_all_is_well() {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("out.csv");
    let failing = "select v from generate_series(1, 1000) t (v); select 1 / (v - 900) from generate_series(1, 1000) t (v)";
    let arguments = ["--format", "csv", "--output", "out.csv", "-c"];
    let outcome = run_in(folder.path(), &[&arguments[..], &[failing]].concat(), "");
    assert_eq!((outcome.code, outcome.out.as_str()), (Some(1), ""));
    assert_eq!(left_in(folder.path()), Vec::<String>::new());

    let out = good(run_in(folder.path(), &[&arguments[..], &["select 1 as a"]].concat(), ""));
    assert_eq!((out.as_str(), std::fs::read_to_string(&path).unwrap().as_str()), ("", "a\n1\n"));
    let outcome = run_in(folder.path(), &[&arguments[..], &[failing]].concat(), "");
    assert_eq!(outcome.code, Some(1));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a\n1\n", "the old file was touched");
    assert_eq!(left_in(folder.path()), ["out.csv"]);
}

#[test]
fn a_failed_copy_leaves_nothing() {
    let folder = TempDir::new().expect("a temporary folder");
    let rows = "select v, 1 / (v - 99000) as q from generate_series(1, 100000) t (v)";
    for system in ["local:2", "in-process:2", "in-process:0"] {
        for target in ["all.parquet", "all.csv", "all.json", "parts/"] {
            let format = if target == "parts/" { "STORED AS PARQUET" } else { "" };
            let sql = format!("copy ({rows}) to '{target}' {format}");
            let outcome = run_in(folder.path(), &["--system", system, "-c", &sql], "");
            assert_eq!(outcome.code, Some(1), "{sql}: {outcome:?}");
            assert!(outcome.err.to_lowercase().contains("zero"), "{sql}: {}", outcome.err);
            assert_eq!(left_in(folder.path()), Vec::<String>::new(), "{system}: {sql}");
        }
    }
    for format in ["parquet", "csv", "json"] {
        let sql = format!(
            "copy (select v from generate_series(1, 100000) t (v)) to 'good.{format}'; \
             select count(*) as n, sum(v) as s from 'good.{format}'"
        );
        let out = good(run_in(
            folder.path(),
            &["--system", "in-process:2", "--format", "csv", "-c", &sql],
            "",
        ));
        assert_eq!(out, "n,s\n100000,5000050000\n", "{format}");
    }
}

#[test]
fn a_closed_pipe_is_the_end_and_no_fault() {
    let folder = TempDir::new().expect("a temporary folder");
    let sql = "select v from generate_series(1, 1000000000) t (v)";
    let mut child = bigsql(folder.path(), &["--format", "csv", "-c", sql]).spawn().expect("it");
    let mut reader = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    reader.read_line(&mut line).expect("a line");
    assert_eq!(line, "v\n");
    drop(reader);
    let outcome = wait(child);
    assert_eq!(outcome.err, "");
}

/// Waits for a child whose output was closed or taken; it must end in time.
fn wait(mut child: Child) -> Outcome {
    let end = Instant::now() + DEADLINE;
    while child.try_wait().expect("a child").is_none() {
        if Instant::now() > end {
            // It is our child, and the test has failed.
            let _ = child.kill();
            panic!("no end within {DEADLINE:?}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output().expect("its output").into()
}

#[test]
fn a_long_result_flows_through_little_memory() {
    const ROWS: u64 = 100_000_000;
    const RESIDENT_MAX_KIB: u64 = 300 * 1024;
    let folder = TempDir::new().expect("a temporary folder");
    let sql = format!("select v from generate_series(1, {ROWS}) t (v)");
    let mut child = bigsql(folder.path(), &["--format", "csv", "-c", &sql]).spawn().expect("it");
    let process = Process::of(child.id()).expect("a process that runs");
    let mut out = child.stdout.take().expect("a pipe");
    let (mut lines, mut bytes, mut resident) = (0, 0u64, 0);
    let mut buffer = vec![0; 1 << 20];
    loop {
        let n = out.read(&mut buffer).expect("its output");
        if n == 0 {
            break;
        }
        bytes += n as u64;
        lines += buffer[..n].iter().filter(|byte| **byte == b'\n').count() as u64;
        resident = process.resident_max_kib().unwrap_or(resident);
    }
    drop(out);
    let outcome = wait(child);
    assert_eq!((outcome.code, outcome.err.as_str()), (Some(0), ""));
    assert_eq!((lines, bytes), (ROWS + 1, 888_888_900));
    assert!(resident > 0 && resident < RESIDENT_MAX_KIB, "{resident} KiB");
}

#[test]
fn statements_that_would_kill_the_process_are_errors() {
    let folder = TempDir::new().expect("a temporary folder");
    let many = |n: usize, part: &dyn Fn(usize) -> String, between: &str| {
        (0..n).map(part).collect::<Vec<_>>().join(between)
    };
    let chained = |n: usize| match n {
        0 => "c0 as (select 1 as x)".to_owned(),
        n => format!("c{n} as (select x + 1 as x from c{})", n - 1),
    };
    let killers = [
        format!("select * from t where {}", many(20_000, &|n| format!("a = {n}"), " or ")),
        many(5_000, &|_| "select 1".to_owned(), " union all "),
        format!("with {} select * from c4999", many(5_000, &chained, ", ")),
        format!("select {}", many(5_000, &|_| "1".to_owned(), " + ")),
        format!("select {}1{}", "(".repeat(4_000), ")".repeat(4_000)),
        format!("select {}1", "- ".repeat(4_000)),
        format!("select {}true", "not ".repeat(4_000)),
        format!("select {}1{}", "abs(".repeat(2_000), ")".repeat(2_000)),
        format!("select '{}'", "x".repeat(2 << 20)),
        format!("select case {} end", many(4_000, &|n| format!("when {n} = 1 then {n}"), " ")),
    ];
    let mut script = "create table t as values (1);\n".to_owned();
    for killer in &killers {
        script.push_str(killer);
        script.push_str(";\n");
    }
    script.push_str("select 42 as alive;\n");
    std::fs::write(folder.path().join("killers.sql"), script).expect("a script");
    let arguments = ["--format", "csv", "--keep-going", "-f", "killers.sql", "-o", "out.csv"];
    let outcome = wait(bigsql(folder.path(), &arguments).spawn().expect("it"));
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    let out = std::fs::read_to_string(folder.path().join("out.csv")).expect("the output");
    assert!(out.ends_with("alive\n42\n"), "the statement after them did not run");
    let errors = outcome.err.matches("error: ").count();
    assert!(errors >= 6, "only {errors} of them were refused: {}", outcome.err);
    assert!(outcome.err.len() < 64 * 1024, "{} bytes of errors", outcome.err.len());
}

#[test]
fn tpch_queries_and_tables() {
    let folder = TempDir::new().expect("a temporary folder");
    for number in 1..=22 {
        let out = good(run_in(folder.path(), &["tpch", "query", &number.to_string()], ""));
        assert!(out.to_lowercase().contains("select"), "{number}: {out}");
        assert!(out.matches(';').count() <= 1, "{number} is not one statement: {out}");
    }
    good(run_in(
        folder.path(),
        &["--quiet", "--format", "csv", "--tpch", "0.01", "-c", "select count(*) from lineitem"],
        "",
    ));
    let outcome = run_in(
        folder.path(),
        &["tpch", "generate", "--sf", "0.01", "--out", "data", "--parts", "3"],
        "",
    );
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let tables = left_in(&folder.path().join("data"));
    assert_eq!(
        tables,
        ["customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier"]
    );
    let sql = "select count(*) as n, sum(l_quantity) as q from 'data/lineitem'";
    let generated = good(run_in(folder.path(), &["--format", "csv", "-c", sql], ""));
    assert_eq!(generated, "n,q\n60175,1536127.00\n");
    let sql = "select count(*) as n, sum(l_quantity) as q from lineitem";
    let made = run_in(
        folder.path(),
        &["--quiet", "--format", "csv", "--workers", "2", "--tpch", "0.01", "-c", sql],
        "",
    );
    assert_eq!(good(made), generated);
}

#[test]
fn workers_answer_as_this_process_does() {
    let folder = TempDir::new().expect("a temporary folder");
    let flights = testdata().join("flights");
    let sql = format!(
        "select a.name, count(*) as n, avg(f.arr_delay) as late from '{0}/flights/*.parquet' f \
         join '{0}/airlines.parquet' a on a.carrier = f.carrier group by a.name order by n desc",
        flights.display()
    );
    let here = good(run_in(folder.path(), &["--format", "csv", "-c", &sql], ""));
    let workers =
        run_in(folder.path(), &["--quiet", "--workers", "2", "--format", "csv", "-c", &sql], "");
    assert_eq!(good(workers), here);
    assert!(here.contains("United Air Lines Inc.,58665,3.55801"), "{here}");
    let stages = format!("explain stages {sql}");
    let stages =
        run_in(folder.path(), &["--quiet", "--workers", "2", "--format", "csv", "-c", &stages], "");
    let stages = good(stages);
    assert!(stages.starts_with("stage,tasks,partitions,inputs,exchange,machines,operators\n"));
    assert!(stages.contains("shuffle") && stages.contains("m0"), "{stages}");
    assert_eq!(left_in(folder.path()), Vec::<String>::new());
}

#[test]
fn quiet_is_quiet_and_workers_speak_with_their_names() {
    let folder = TempDir::new().expect("a temporary folder");
    let sql = "select count(*) as n from generate_series(1, 10) t (v)";
    let outcome =
        run_in(folder.path(), &["--quiet", "--workers", "2", "-c", sql, "--format", "csv"], "");
    assert_eq!(good(outcome), "n\n10\n");
    let outcome = run_in(folder.path(), &["--system", "local:1", "--timer", "on", "-c", sql], "");
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(outcome.err.contains("1 row in "), "{outcome:?}");
}

#[test]
fn explain_analyze_counts_the_rows_of_all_workers() {
    let folder = TempDir::new().expect("a temporary folder");
    let sql = format!(
        "explain analyze select origin, count(*) from '{}/flights/' group by origin",
        testdata().join("flights").display()
    );
    let outcome = run_in(folder.path(), &["--quiet", "--workers", "2", "-c", &sql], "");
    let out = good(outcome);
    assert!(out.contains("output_rows=336776") || out.contains("336.8 K"), "{out}");
}

#[test]
fn a_script_of_forty_thousand_rows_is_complete_in_a_pipe() {
    let sql = "select v, 'row ' || v as name from generate_series(1, 40000) t (v) order by v";
    let out = good(run(&["--timer", "off", "-c", sql]));
    assert_eq!(out.lines().filter(|line| line.contains("row ")).count(), 40_000);
    assert!(!out.contains('…') && !out.contains('\u{1b}'));
}

#[test]
fn machines_come_when_a_statement_needs_them() {
    let folder = TempDir::new().expect("a temporary folder");
    let flights = testdata().join("flights");
    let sql = format!("select count(distinct origin) as n from '{}/flights/'", flights.display());
    let small = "distributed.file_scan_config_bytes_per_partition=1";
    let script = format!(".workers\nselect 6 * 7 as answer;\n.workers\n{sql};\n.workers\n");
    let flags = ["--max", "2", "--idle", "1h", "--format", "csv", "--set", small];
    let outcome = run_in(folder.path(), &flags, &script);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let (before, after) = outcome.out.split_once("n\n3\n").expect("the result");
    assert_eq!(before, "answer\n42\n", "{outcome:?}");
    assert_eq!(outcome.err.matches("no machines are running: up to 2").count(), 2, "{outcome:?}");
    assert!(after.starts_with("machine,state,pid,address\nm0,running,"), "{outcome:?}");
    assert_eq!(left_in(folder.path()), Vec::<String>::new());
}

#[test]
fn wrong_systems_are_refused_with_what_may_be_meant() {
    for (flags, said) in [
        (&["--system", "locl:2"][..], "did you mean \"local\"?"),
        (&["--system", "local:m=2"], "unknown option \"m\": write n"),
        (&["--max", "2", "--workers", "2"], "cannot be used with"),
        (&["--idle", "5"], "not a duration such as 30s, 10m or 2h"),
    ] {
        let outcome = run(&[flags, &["-c", "select 1"]].concat());
        assert_eq!(outcome.code, Some(2), "{outcome:?}");
        assert!(outcome.err.contains(said), "{outcome:?}");
    }
}

#[cfg(not(feature = "ec2"))]
#[test]
fn a_program_without_ec2_says_how_to_get_it() {
    let tasks = [&["ls"][..], &["gc"], &["stop", "x"], &["logs", "x"], &["setup"]];
    let tasks = tasks.map(|task| [&["cluster"], task].concat());
    let system = ["--system", "ec2:instance=m7g.2xlarge", "-c", "select 1"].to_vec();
    for arguments in tasks.into_iter().chain([system]) {
        let outcome = run(&arguments);
        assert_eq!((outcome.code, outcome.out.as_str()), (Some(2), ""), "{outcome:?}");
        assert!(outcome.err.contains("built without EC2"), "{outcome:?}");
        assert!(
            outcome.err.contains("cargo build --release -p bigsql --features ec2"),
            "{outcome:?}"
        );
    }
}
