//! bigsql on EC2 instances, end to end on this computer: moto emulates AWS, and a test harness of
//! the crate `cluster` its hardware. Each instance runs its real user data, and in the end this
//! very program. See `.ci/ec2`.

#![expect(clippy::panic, clippy::unwrap_used, reason = "tests fail by panics")]
#![expect(clippy::disallowed_methods, reason = "programs under test, and the cloud, are processes")]

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_bigsql");
/// Instance types of this host's architecture.
const KIND: &str = if cfg!(target_arch = "aarch64") { "c6g.large" } else { "c5.large" };
/// Many statements, so that a loss happens among them.
const QUERIES: usize = 40;
/// Far above the time that anything takes; reaching it is a failure.
const DEADLINE: Duration = Duration::from_secs(120);

/// The emulated cloud, which ends with this value.
struct Cloud {
    process: Child,
    asked: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    endpoint: String,
    subnet: String,
    folder: TempDir,
    _alone: MutexGuard<'static, ()>,
}

/// Each emulated cloud needs the whole computer.
static ALONE: Mutex<()> = Mutex::new(());

impl Cloud {
    fn start() -> Self {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let program = std::env::var_os("BIGSLICE_CLOUD")
            .expect("BIGSLICE_CLOUD is the harness, cluster's test ec2_moto: see .ci/ec2");
        let mut process = Command::new(program)
            .arg("cloud")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let asked = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().unwrap());
        let folder = TempDir::new().unwrap();
        let (endpoint, subnet) = (String::new(), String::new());
        let mut cloud = Self { process, asked, answers, endpoint, subnet, folder, _alone };
        let line = cloud.answer();
        let (endpoint, subnet) = line.split_once(' ').expect("where it is");
        cloud.endpoint = endpoint.to_owned();
        cloud.subnet = subnet.to_owned();
        cloud
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn ask(&mut self, what: &str) -> String {
        writeln!(self.asked.as_ref().unwrap(), "{what}").unwrap();
        self.answer()
    }

    /// bigsql in the environment of a user of this cloud.
    fn bigsql(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.folder.path())
            .env("TMPDIR", self.folder.path())
            .env("USER", "ada")
            .env("AWS_ENDPOINT_URL", &self.endpoint)
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "canary-5f1c0de")
            .env("AWS_REGION", "eu-west-1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn cluster(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let output = self.bigsql(&[&["cluster"], arguments].concat()).output().unwrap();
        parts(output)
    }

    fn spec(&self, more: &str) -> String {
        format!("ec2:instance={KIND},subnet={},{more}", self.subnet)
    }

    fn until_empty(&mut self) {
        let began = Instant::now();
        while self.ask("count") != "0" {
            assert!(began.elapsed() < DEADLINE, "instances are left");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        // The end of its input is its own.
        drop(self.asked.take());
        let _ = self.process.wait();
    }
}

fn parts(output: Output) -> (Option<i32>, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// The statement, and the answer of one process.
fn third_query(cloud: &Cloud) -> (String, String) {
    let (_, sql, _) = parts(cloud.bigsql(&["tpch", "query", "3"]).output().unwrap());
    let alone = ["--tpch", "0.01", "--format", "csv", "-q", "-c", &sql];
    let (code, rows, said) = parts(cloud.bigsql(&alone).output().unwrap());
    assert_eq!((code, rows.lines().count()), (Some(0), 11), "{said}");
    (sql, rows)
}

#[test]
fn a_query_on_instances_survives_the_loss_of_one() {
    let mut cloud = Cloud::start();
    let (sql, right) = third_query(&cloud);
    let spec = cloud.spec("n=3,name=nightly");
    let mut arguments = vec!["--system", &spec, "--tpch", "0.01", "--format", "csv"];
    // The tables are small: without this, one task would make all rows of one.
    arguments.extend(["--set", "distributed.file_scan_config_bytes_per_partition=1"]);
    (0..QUERIES).for_each(|_| arguments.extend(["-c", &sql]));
    // Local files are only on this computer.
    let file = cloud.folder.path().join("few.csv");
    std::fs::write(&file, "n\n1\n2\n").unwrap();
    let sum = format!("select sum(n) as s from '{}'", file.display());
    arguments.extend(["-c", &sum]);
    let mut driver = cloud.bigsql(&arguments).spawn().unwrap();
    let mut stderr = driver.stderr.take().unwrap();
    let errors = std::thread::spawn(move || {
        let mut text = String::new();
        stderr.read_to_string(&mut text).map(|_| text)
    });
    let mut results = BufReader::new(driver.stdout.take().unwrap());
    let lines = right.lines().count();
    let mut next = || {
        let mut result = String::new();
        for _ in 0..lines {
            results.read_line(&mut result).unwrap();
        }
        result
    };
    let first = next();
    if first != right {
        let _ = driver.kill();
        panic!("{first}\n{}", errors.join().unwrap().unwrap());
    }

    // Observed from another shell meanwhile.
    let (code, listed, _) = cloud.cluster(&["ls"]);
    assert_eq!(code, Some(0));
    let line = listed.lines().nth(1).unwrap_or_else(|| panic!("{listed}"));
    let cells: Vec<_> = line.split_whitespace().collect();
    assert_eq!(cells[..4], ["nightly", "3", KIND, "ada"], "{listed}");
    let (code, shown, said) = cloud.cluster(&["logs", "nightly"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(["m0: ", "m1: ", "m2: "].iter().all(|name| shown.contains(name)), "{shown}");

    let lost = cloud.ask("lose");
    assert!(lost.starts_with("i-"), "{lost}");
    for n in 1..QUERIES {
        assert_eq!(next(), right, "query {n}");
    }
    let mut sum = String::new();
    results.read_to_string(&mut sum).unwrap();
    assert_eq!(sum, "s\n3\n");
    let code = driver.wait().unwrap().code();
    let said = errors.join().unwrap().unwrap();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("starting 3 machines in eu-west-1: "), "{said}");
    assert!(said.contains("lost: "), "the fault did not fire: {said}");
    assert_eq!(said.matches("it reads files of this computer").count(), 1, "{said}");
    assert!(!said.contains("canary"), "{said}");
    cloud.until_empty();
    assert_eq!(cloud.cluster(&["ls"]).1, "");
}

#[test]
fn instances_come_when_the_work_asks_for_them() {
    let mut cloud = Cloud::start();
    let (sql, right) = third_query(&cloud);
    let system = cloud.spec("name=nightly");
    let flags = ["--system", &system, "--max", "2", "--tpch", "0.01", "--format", "csv"];
    let (code, rows, said) = parts(
        cloud.bigsql(&[&flags[..], &["-c", "select 6 * 7 as answer"]].concat()).output().unwrap(),
    );
    assert_eq!((code, rows.as_str()), (Some(0), "answer\n42\n"), "{said}");
    assert!(said.contains("will start, as the work asks for them, at most 2 machines"), "{said}");
    // Local files are only on this computer.
    let file = cloud.folder.path().join("few.csv");
    std::fs::write(&file, "n\n1\n2\n").unwrap();
    let sum = format!("select sum(n) as s from '{}'", file.display());
    let (code, rows, said) =
        parts(cloud.bigsql(&[&flags[..], &["-c", &sum]].concat()).output().unwrap());
    assert_eq!((code, rows.as_str()), (Some(0), "s\n3\n"), "{said}");
    assert_eq!(cloud.ask("count"), "0");
    let small = ["--set", "distributed.file_scan_config_bytes_per_partition=1", "-c", &sql];
    let (code, rows, said) = parts(cloud.bigsql(&[&flags[..], &small].concat()).output().unwrap());
    assert_eq!((code, rows), (Some(0), right), "{said}");
    assert!(said.contains("waiting for machines 0/"), "{said}");
    cloud.until_empty();
}

#[test]
fn an_account_is_looked_at_before_anything_is_started() {
    let mut cloud = Cloud::start();
    let (code, checks, said) = cloud.cluster(&["setup"]);
    assert_eq!(code, Some(0), "{checks}{said}");
    let looked_at = [
        "region: eu-west-1",
        "credentials: ",
        "network: vpc-",
        "image: ami-",
        "launch: ",
        "spot: ",
    ];
    for what in looked_at {
        assert!(checks.contains(&format!("ok      {what}")), "{checks}");
    }
    let (code, policy, _) = cloud.cluster(&["setup", "--print-policy"]);
    assert_eq!(code, Some(0));
    assert!(policy.contains("\"ec2:RunInstances\"") && policy.ends_with("}\n"), "{policy}");
    let (code, _, said) = cloud.cluster(&["stop", "nightly"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("there is no cluster \"nightly\""), "{said}");
    let (code, _, said) = cloud.cluster(&["logs", "nightly"]);
    assert_eq!(code, Some(1), "{said}");
    let (code, _, said) = cloud.cluster(&["gc"]);
    assert_eq!((code, said.as_str()), (Some(0), "stopped 0 instances\n"));
    let wrong = cloud.spec("nn=3");
    let (code, _, said) =
        parts(cloud.bigsql(&["--system", &wrong, "-c", "select 1"]).output().unwrap());
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("ec2 has no option \"nn\"; did you mean \"n\"?"), "{said}");
    assert_eq!(cloud.ask("count"), "0");
}
