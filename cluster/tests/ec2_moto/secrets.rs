//! Secrets stay secret, and credentials stay fresh, over the whole life of instances.

use std::fmt::Write as _;
use std::io::{Cursor, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bigslice_cluster::ec2::Ec2;
use bigslice_cluster::{Control, Fleet, FleetConfig};
use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::cloud::{AWS_SECRET, Cloud, DEADLINE, config, eventually};
use super::life::{CANARY, Place, instance, run, spec};

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("certificates_are_renewed_in_a_life_longer_than_theirs", certificates_are_renewed),
    ("secrets_show_up_nowhere", secrets_show_up_nowhere),
];

/// Passed in the settings, like the key of a store.
const S3_KEY: &str = "canary-s3-77c1e";
/// In a file for the machines.
const LICENCE: &str = "canary-file-0b5a1";
/// How long a certificate lives here.
const LIFE: Duration = Duration::from_secs(4);

fn certificates_are_renewed() {
    run(async {
        let (cloud, place) = (Cloud::start().await, Place::new());
        let ec2 = Ec2::with_config(spec(&cloud.subnet), &config(&cloud.endpoint)).expect("good");
        let config = FleetConfig { certificate_life: LIFE, lease: LIFE, ..place.config(2, "") };
        let fleet = Fleet::start(Arc::new(ec2), config).await.expect("the fleet starts");
        let machines = fleet.machines();
        let began = Instant::now();
        let mut connections = 0;
        while began.elapsed() < LIFE * 3 {
            for machine in &machines {
                // Each connection verifies both certificates again.
                let url = machine.url().expect("it runs");
                let channel = fleet.connector().connect(url).await.expect("valid certificates");
                let control = Control::new(machine.name().clone(), channel);
                control.info(DEADLINE).await.expect("it answers");
                connections += 1;
            }
            tokio::time::sleep(LIFE / 20).await;
        }
        assert!(connections > 20, "{connections}");
        assert!(fleet.lost().is_empty(), "{:?}", fleet.lost());
        fleet.shutdown().await;
        cloud.assert_empty().await;
    });
}

/// Keeps those of this project's messages, of any level, that contain a secret.
#[derive(Default)]
struct Listener {
    heard: Mutex<Vec<String>>,
    messages: std::sync::atomic::AtomicUsize,
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = write!(self.0, "{field}={value:?} ");
    }
}

/// The listener that the process has; a subscriber must be owned by the process.
struct Ear(Arc<Listener>);

impl Subscriber for Ear {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("bigslice")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        self.0.messages.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if holds_secret(&text.0) {
            self.0.heard.lock().push(text.0);
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

fn holds_secret(text: &str) -> bool {
    [CANARY, S3_KEY, LICENCE, AWS_SECRET].iter().any(|secret| text.contains(secret))
}

/// The process information that any user of this host can see.
fn process_list() -> String {
    let processes = std::fs::read_dir("/proc").expect("processes").flatten();
    let lines = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.map(|line| String::from_utf8_lossy(&line).into_owned() + "\n").collect()
}

/// The files of a dump, unpacked, with their names.
async fn dump(fleet: &Fleet) -> String {
    let mut archive = Cursor::new(Vec::new());
    fleet.inspector().dump(&mut archive).await.expect("a dump");
    let mut archive = zip::ZipArchive::new(archive).expect("an archive");
    let mut text = String::new();
    for i in 0..archive.len() {
        let mut file = archive.by_index(i).expect("a file");
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).expect("its bytes");
        let _ = writeln!(text, "{}:\n{}", file.name(), String::from_utf8_lossy(&bytes));
    }
    text
}

fn secrets_show_up_nowhere() {
    let listener = Arc::new(Listener::default());
    tracing::subscriber::set_global_default(Ear(Arc::clone(&listener))).expect("the first");
    run(async {
        let (cloud, place) = (Cloud::start().await, Place::new());
        let licence = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(licence.path(), LICENCE).expect("written");
        let mut spec = spec(&cloud.subnet);
        spec.files.insert("licence".to_owned(), licence.path().to_owned());
        let ec2 = Ec2::with_config(spec.clone(), &config(&cloud.endpoint)).expect("good");
        let plan = ec2.plan().await.expect("a plan");
        let shown = format!("{spec:?} {ec2:?} {plan} {plan:?} {:?}", place.config(1, S3_KEY));
        assert!(!holds_secret(&shown), "{shown}");
        let fleet = place.start(&ec2, 1, S3_KEY).await.expect("the fleet starts");
        eventually("it to have what is secret", async || {
            place.text().contains("with secret true").then_some(())
        })
        .await;
        let machine = fleet.machines()[0].clone();
        let id = instance(&cloud, &machine).await;
        let data = cloud.hardware.user_data(&id).await;
        assert!(!holds_secret(&String::from_utf8_lossy(&data)));
        let processes = process_list();
        assert!(processes.contains("--bigslice-worker") && !holds_secret(&processes));
        let described = format!("{:?}", cloud.instances().await);
        assert!(!holds_secret(&described), "{described}");
        let (files, console) = {
            let bodies = cloud.hardware.bodies.lock();
            (bodies[&id].files(), bodies[&id].console())
        };
        assert!(!holds_secret(&console), "{console}");
        let mut found = files.iter().filter(|path| {
            let bytes = std::fs::read(path).unwrap_or_default();
            holds_secret(&String::from_utf8_lossy(&bytes))
        });
        // A file that was sent is a file.
        assert!(found.next().is_some_and(|path| path.ends_with("licence")), "{files:?}");
        assert_eq!(found.next(), None);
        let dumped = dump(&fleet).await;
        assert!(dumped.contains("with secret true"), "what it prints is there: {dumped}");
        assert!(!holds_secret(&dumped), "{dumped}");
        machine.kill();
        fleet.wait_for(1, DEADLINE).await.expect("it is replaced");
        fleet.shutdown().await;
        cloud.assert_empty().await;
        // A failed start does not print them either.
        let failed = place.start(&ec2, 1, "refuse").await.expect_err("it cannot start");
        assert!(!holds_secret(&format!("{failed} {failed:?}")));
        assert!(!holds_secret(&place.text()), "{}", place.text());
    });
    assert!(listener.messages.load(std::sync::atomic::Ordering::Relaxed) > 0, "nobody listened");
    assert_eq!(*listener.heard.lock(), [""; 0]);
}
