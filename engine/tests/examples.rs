//! The examples as their users have them: programs, run in one process and on two workers, with
//! what they print and what they leave behind.
//!
//! `cargo test` builds them before this; `cargo test --test examples` alone does not.

#![expect(clippy::panic, clippy::unwrap_used, reason = "tests fail by panics")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bigslice::prelude::*;
use bigslice::testing::TestHooks;
use tempfile::TempDir;

/// Where each of them runs.
const WORKERS: [&str; 2] = ["--workers=0", "--workers=2"];

/// What a program came to.
#[derive(Debug)]
struct Outcome {
    code: Option<i32>,
    out: String,
    err: String,
}

/// A folder to run in, and one for temporary files that must be empty in the end.
struct Place {
    folder: TempDir,
    temp: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap(), temp: TempDir::new().unwrap() }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).unwrap();
    }

    /// An example, to be started in the folder.
    fn command(&self, example: &str, arguments: &[&str]) -> Command {
        #[expect(clippy::disallowed_methods, reason = "the program under test is a process")]
        let mut command = Command::new(program(example));
        command
            .args(arguments)
            .current_dir(self.path())
            .env_clear()
            .env("TMPDIR", self.temp.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs an example to its end.
    fn run(&self, example: &str, arguments: &[&str]) -> Outcome {
        let program = program(example);
        let output = self
            .command(example, arguments)
            .output()
            .unwrap_or_else(|e| panic!("{}: {e}; build the examples first", program.display()));
        let left: Vec<_> = fs::read_dir(self.temp.path()).unwrap().collect();
        assert!(left.is_empty(), "{example} left behind {left:?}");
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Outcome { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// What an example that ends well prints.
    fn prints(&self, example: &str, arguments: &[&str]) -> String {
        let outcome = self.run(example, arguments);
        assert_eq!((outcome.code, outcome.err.as_str()), (Some(0), ""), "{outcome:?}");
        outcome.out
    }
}

/// Tests lie in `deps`, examples in the folder beside it.
fn program(example: &str) -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let built = this.parent().and_then(Path::parent).unwrap();
    built.join("examples").join(example).with_extension(std::env::consts::EXE_EXTENSION)
}

#[test]
fn wordcount_prints_the_most_frequent_words() {
    let place = Place::new();
    place.write("a.txt", "the cat and the dog\n\n  the   end");
    place.write("b.txt", "and the\tcat\r\nand\n");
    for workers in WORKERS {
        let arguments = [workers, "--top", "3", "a.txt", "b.txt"];
        let right = "       4 the\n       3 and\n       2 cat\n";
        assert_eq!(place.prints("wordcount", &arguments), right);
        // There are no more than five.
        assert_eq!(place.prints("wordcount", &[workers, "a.txt", "b.txt"]).lines().count(), 5);
    }
}

#[test]
fn max_prints_the_largest_of_each_key() {
    let place = Place::new();
    for workers in WORKERS {
        let arguments = [workers, "pear=5", "apple=3", "apple=-7", "fig=0", "pear=50"];
        assert_eq!(place.prints("max", &arguments), "apple=3\nfig=0\npear=50\n");
    }
    let outcome = place.run("max", &["pear"]);
    assert_eq!((outcome.code, outcome.out.as_str()), (Some(2), ""));
    assert!(outcome.err.contains("write KEY=VALUE"), "{outcome:?}");
}

#[bigslice::func]
fn elsewhere() -> Slice<i64> {
    Slice::const_(2, 0..10i64)
}

/// The driver is this program, its workers are another.
#[test]
fn a_worker_with_other_funcs_shows_which() {
    let temp = TempDir::new().unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let builder = Session::builder().workers(1).program(program("wordcount"));
        let session = builder.temp_root(temp.path()).build().await.unwrap();
        let error = session.run(elsewhere()).await.unwrap_err();
        assert!(error.is_user_error(), "{error:?}");
        let text = error.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("the funcs of this program (-) are not those of"), "{text}");
        assert!(
            lines[1].starts_with("- examples::elsewhere at engine/tests/examples.rs:"),
            "{text}"
        );
        assert!(lines[2].starts_with("+ wordcount::"), "{text}");
        assert!(lines[2].contains(" at engine/examples/wordcount.rs:"), "{text}");
        session.shutdown().await;
    });
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let place = Place::new();
    place.write("a.txt", "a");
    for workers in WORKERS {
        let outcome = place.run("wordcount", &[workers, "a.txt", "b.txt"]);
        assert_eq!((outcome.code, outcome.out.as_str()), (Some(1), ""));
        let (begin, rest) = outcome.err.split_once(", shard 1: ").unwrap();
        assert!(begin.starts_with("error: reader at engine/examples/wordcount.rs:"), "{begin}");
        assert_eq!(rest, "b.txt: No such file or directory (os error 2)\n");
    }
}

#[test]
fn urls_counts_domains_and_writes_each_shard() {
    let place = Place::new();
    fs::create_dir(place.path().join("events")).unwrap();
    place.write(
        "events/1.export.CSV",
        "1\tx\thttps://www.a.org/1\n2\ty\thttp://b.org:8080\n3\tno address\n\n",
    );
    place.write("events/2.tsv", "4\thttp://a.org?at=http://c.org\r\n5\thttps://me@a.org#end");
    for workers in WORKERS {
        let out = format!("out{workers}");
        let printed = place.prints("urls", &[workers, "--out", &out, "events"]);
        assert_eq!(printed, "       3 a.org\n       1 b.org\n");
        let parts = fs::read_dir(place.path().join(&out)).unwrap().map(|part| part.unwrap().path());
        let parts: Vec<PathBuf> = parts.collect();
        let all = format!("-of-{:05}.tsv", parts.len());
        assert!(parts.iter().all(|part| part.to_str().unwrap().ends_with(&all)), "{parts:?}");
        let texts: Vec<String> =
            parts.iter().map(|part| fs::read_to_string(part).unwrap()).collect();
        let mut lines: Vec<&str> = texts.iter().flat_map(|text| text.lines()).collect();
        lines.sort_unstable();
        assert_eq!(lines, ["a.org\t3", "b.org\t1"]);
        // One file and a pattern are places as well.
        let two = place.prints("urls", &[workers, "--top", "1", "events/2.tsv", "events/*.CSV"]);
        assert_eq!(two, "       3 a.org\n");
    }
}

#[test]
fn urls_says_what_is_not_there() {
    let place = Place::new();
    let outcome = place.run("urls", &["none.tsv"]);
    assert!(outcome.err.starts_with("error: no file or folder \"none.tsv\"\n"), "{outcome:?}");
    assert_eq!(outcome.code, Some(1));
}

#[test]
fn mandelbrot_draws_every_tile_in_its_place() {
    let place = Place::new();
    let mut drawn = Vec::new();
    for workers in WORKERS {
        let printed = place.prints("mandelbrot", &[workers, "--width", "40", "--steps", "200"]);
        let lines: Vec<&str> = printed.lines().collect();
        assert_eq!(lines.len(), 20);
        // It is the same upside down, but for the line that has no twin, and its middle is solid.
        for n in 1..10 {
            assert_eq!(lines[10 - n], lines[10 + n], "{printed}");
        }
        assert!(lines[10].contains("@@@@@@@@@@"), "{printed}");
        drawn.push(printed);
    }
    assert_eq!(drawn[0], drawn[1]);
}

#[test]
fn slicer_checks_its_shuffles() {
    let place = Place::new();
    for workers in WORKERS {
        for (work, shards, keys, rows) in [
            ("reduce", "3", "1000", 3000),
            ("reduce", "1", "1", 1),
            ("cogroup", "3", "1001", 4506),
            ("cogroup", "5", "2", 15),
        ] {
            let arguments = [work, workers, "--shards", shards, "--keys", keys, "--times", "2"];
            let printed = place.prints("slicer", &arguments);
            let begin = format!("ok {work}: {rows} rows in ");
            assert_eq!(printed.lines().filter(|line| line.starts_with(&begin)).count(), 2);
            assert_eq!(printed.lines().count(), 2, "{printed}");
        }
        let arguments = ["memiter", workers, "--iterations", "12", "--bytes", "16K"];
        let printed = place.prints("slicer", &arguments);
        assert!(printed.starts_with("ok memiter: 6656 rows in "), "{printed}");
        let printed = place.prints("slicer", &[&arguments[..], &["--chain"]].concat());
        assert!(printed.starts_with("ok memiter: 6656 rows in "), "{printed}");
    }
}

#[test]
fn slicer_reduces_within_a_limit() {
    let place = Place::new();
    let arguments = ["reduce", "--workers=2", "--shards=4", "--keys=200000", "--memory-limit=320M"];
    let printed = place.prints("slicer", &arguments);
    assert!(printed.starts_with("ok reduce: 800000 rows in "), "{printed}");
    let outcome = place.run("slicer", &["reduce", "--memory-limit", "1K"]);
    assert_eq!((outcome.code, outcome.out.as_str()), (Some(2), ""));
    assert!(outcome.err.starts_with("error: a memory limit of 0 MiB is too small"), "{outcome:?}");
}

#[test]
fn of_a_killed_program_nothing_is_left() {
    let place = Place::new();
    for workers in WORKERS {
        // It would run for hours.
        let arguments = ["reduce", workers, "--shards=8", "--keys=100000", "--times=1000000"];
        let mut running = Running(place.command("slicer", &arguments).spawn().unwrap());
        let files = |under: &Path| walk(under).iter().filter(|path| path.is_file()).count();
        running.until("stored shards", || files(place.temp.path()) > 8);
        running.0.kill().unwrap();
        running.until("an empty folder", || fs::read_dir(place.temp.path()).unwrap().count() == 0);
    }
}

/// A program that is killed at the end of the test.
struct Running(Child);

impl Running {
    fn until(&mut self, what: &str, mut reached: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !reached() {
            assert!(Instant::now() < deadline, "{what}: {:?}", self.0.try_wait());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// All that is below a folder, which may change meanwhile.
fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| [vec![path.clone()], walk(&path)].concat()).collect()
}
