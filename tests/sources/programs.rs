//! An example run by a user, on a bucket: it reads from there, including compressed files, and
//! writes to there.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::bucket::{KEY, SECRET, Server};

#[tokio::test(flavor = "multi_thread")]
async fn urls_of_a_bucket_are_counted_into_a_bucket() {
    let server = Server::of_buckets().await;
    let events = server.folder.path().join("first/events");
    std::fs::create_dir(&events).unwrap();
    std::fs::write(events.join("1.tsv"), "1\thttp://a.org/\n2\thttp://b.org/\n").unwrap();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(b"3\thttp://a.org/x\n").unwrap();
    std::fs::write(events.join("2.tsv.gz"), packed.finish().unwrap()).unwrap();
    // Tests are in `deps`, examples in the folder beside it.
    let this = std::env::current_exe().unwrap();
    let program = this.ancestors().nth(2).unwrap().join("examples/urls");
    for workers in ["--workers=0", "--workers=2"] {
        let out = format!("s3://second/out{workers}");
        let (printed, said, left) =
            run(&server, &program, &[workers, "--out", &out, "s3://first/events/"]);
        assert_eq!(printed, "       2 a.org\n       1 b.org\n", "{said}");
        assert!(left.is_empty(), "{left:?}");
        let parts =
            std::fs::read_dir(server.folder.path().join(format!("second/out{workers}"))).unwrap();
        let texts = parts.map(|part| std::fs::read_to_string(part.unwrap().path()).unwrap());
        let mut lines: Vec<String> = texts.collect::<String>().lines().map(str::to_owned).collect();
        lines.sort();
        assert_eq!(lines, ["a.org\t2", "b.org\t1"]);
    }
}

/// The program's output and errors, and the files left in its temporary folder.
fn run(server: &Server, program: &Path, arguments: &[&str]) -> (String, String, Vec<String>) {
    let temp = TempDir::new().unwrap();
    #[expect(clippy::disallowed_methods, reason = "the program under test is a process")]
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("TMPDIR", temp.path())
        .env("AWS_ACCESS_KEY_ID", KEY)
        .env("AWS_SECRET_ACCESS_KEY", SECRET)
        .env("AWS_ENDPOINT_URL", server.endpoint())
        .env("AWS_REGION", "us-east-1");
    // The server runs meanwhile.
    let output = tokio::task::block_in_place(|| command.output());
    let output = output
        .unwrap_or_else(|error| panic!("{}: {error}; build the examples first", program.display()));
    let left = std::fs::read_dir(temp.path()).unwrap();
    let left = left.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), left.collect())
}
