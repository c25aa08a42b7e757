//! The example `bigpi` as its users run it, on instances: three start, one is lost in the middle of
//! the work, another replaces it, the estimate is the same, and all are gone.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use parking_lot::Mutex;
use tempfile::TempDir;

use super::cloud::{AWS_SECRET, Cloud, eventually, instances};
use super::life::{run, spec};

pub(crate) const TESTS: &[(&str, fn())] =
    &[("bigpi_estimates_pi_on_instances_and_survives_a_loss", bigpi_survives_a_loss)];

/// Some seconds of work.
const SAMPLES: u64 = 300_000_000;

/// The example's program: examples lie beside the folder of tests.
fn program() -> PathBuf {
    let this = std::env::current_exe().expect("this program");
    let built = this.parent().and_then(std::path::Path::parent).expect("the folder of the build");
    let program = built.join("examples/bigpi");
    assert!(program.is_file(), "{} is not there; build it first: .ci/ec2", program.display());
    program
}

#[expect(clippy::disallowed_methods, reason = "the program under test is a process")]
fn command(system: &str, temp: &TempDir) -> Command {
    let mut command = Command::new(program());
    command.args(["--samples", &SAMPLES.to_string(), "--system", system]);
    command.env("TMPDIR", temp.path()).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn estimate(output: &[u8]) -> f64 {
    let text = String::from_utf8_lossy(output);
    text.lines().last().and_then(|line| line.parse().ok()).unwrap_or_else(|| panic!("{text}"))
}

fn bigpi_survives_a_loss() {
    run(async {
        let (cloud, temp) = (Cloud::start().await, TempDir::new().expect("a folder"));
        let kind = &spec(&cloud.subnet).instance[0];
        let system = format!("ec2:instance={kind},n=3,subnet={}", cloud.subnet);
        let mut bigpi = command(&system, &temp)
            .env("AWS_ENDPOINT_URL", &cloud.endpoint)
            .env("AWS_REGION", "eu-west-1")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", AWS_SECRET)
            .spawn()
            .expect("it starts");
        let said = Arc::new(Mutex::new(String::new()));
        let (heard, errors) = (Arc::clone(&said), bigpi.stderr.take().expect("its errors"));
        let listening = std::thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                *heard.lock() += &(line + "\n");
            }
        });
        let says = async |what: &str| {
            eventually(what, async || said.lock().contains(what).then_some(())).await;
        };
        says("3 machines in eu-west-1").await;
        says("3 machines after").await;
        let lost = cloud.instances().await[0].instance_id().expect("its id").to_owned();
        cloud.terminate(&lost).await;
        says("its share goes to another").await;
        let output = tokio::task::spawn_blocking(move || bigpi.wait_with_output()).await;
        let output = output.expect("joined").expect("its end");
        listening.join().expect("heard");
        let said = said.lock().clone();
        assert!(output.status.success(), "{said}");
        assert!(said.contains(": lost: "), "{said}");
        assert_eq!(instances(&cloud.client).await.len(), 4, "three and one more: {said}");
        cloud.assert_empty().await;
        assert_eq!(cloud.groups().await, 0);
        assert_eq!(std::fs::read_dir(temp.path()).expect("a folder").count(), 0);

        let here = command("in-process:3", &temp).output().expect("it runs");
        assert_eq!(estimate(&output.stdout), estimate(&here.stdout), "{said}");
    });
}
