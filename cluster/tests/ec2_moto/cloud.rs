//! A cloud on loopback: moto for the API, and a task that follows moto's state for the hardware. A
//! running instance gets a process group that runs its user data like cloud-init, with a metadata
//! service of its own. A terminated instance loses it. An instance that switches itself off is
//! terminated or stopped, according to its launch.
//!
//! The commands that would change the host (switching off, timers, disks) are replaced by scripts
//! that record their arguments.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::{Duration, Instant};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::config::{Credentials, SharedCredentialsProvider};
use aws_sdk_ec2::types::{Instance, InstanceAttributeName, InstanceStateName};
use aws_smithy_types::base64;
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;
use tokio_util::task::AbortOnDropHandle;

use super::metadata::Metadata;

/// Far longer than any test takes; reaching it is a failure.
pub(crate) const DEADLINE: Duration = Duration::from_secs(90);
/// The pause between two checks of moto's state.
const PAUSE: Duration = Duration::from_millis(100);
/// Each cloud has a network of its own among the loopback addresses: 127.<this>.0.0/16.
pub(crate) static NETWORKS: AtomicU8 = AtomicU8::new(8);

/// Replaces commands that would change the host. `poweroff` leaves a message for the hardware.
/// Timers run thirty times as fast, so that the one for a failed boot takes half a minute.
const COMMANDS: [(&str, &str); 6] = [
    (
        "systemctl",
        r#"echo "systemctl $*" >>"$HARDWARE/asked"
[ "$1" = poweroff ] && touch "$HARDWARE/off"
[ "$1 $2" = "start bad.service" ] && { echo it is bad >&2; exit 1; }
[ "$1" = stop ] && kill "$(cat "$HARDWARE/${2%.timer}")"
true"#,
    ),
    (
        "systemd-run",
        r#"echo "systemd-run $*" >>"$HARDWARE/asked"
unit=${1#--unit=} after=${2#--on-active=}
shift 2
(sleep $((after / 30)) && "$@") & echo $! >"$HARDWARE/$unit""#,
    ),
    ("lsblk", r#"cat "${HARDWARE%/*}/disks"; true"#),
    ("mdadm", r#"echo "mdadm $*" >>"$HARDWARE/asked"; [ ! -e "${HARDWARE%/*}/bad-mdadm" ]"#),
    ("mkfs.xfs", r#"echo "mkfs.xfs $*" >>"$HARDWARE/asked"; [ ! -e "${HARDWARE%/*}/bad-mkfs" ]"#),
    ("mount", r#"echo "mount $*" >>"$HARDWARE/asked""#),
];

/// The API and hardware of a region.
pub(crate) struct Cloud {
    pub(crate) endpoint: String,
    pub(crate) client: Client,
    pub(crate) subnet: String,
    pub(crate) hardware: Arc<Hardware>,
    _running: AbortOnDropHandle<()>,
    _moto: Moto,
}

struct Moto(Child);

impl Drop for Moto {
    fn drop(&mut self) {
        // It may have ended before.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The secret half of the account's key, which must not be visible anywhere either.
pub(crate) const AWS_SECRET: &str = "canary-aws-9d0b3";

/// A configuration that leads to `endpoint`.
pub(crate) fn config(endpoint: &str) -> SdkConfig {
    let credentials = Credentials::new("test", AWS_SECRET, None, None, "test");
    let http = aws_smithy_http_client::Builder::new().build_http();
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .endpoint_url(endpoint)
        .region(Region::new("eu-west-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(http)
        .sleep_impl(aws_smithy_async_sleep())
        .build()
}

fn aws_smithy_async_sleep() -> aws_sdk_ec2::config::SharedAsyncSleep {
    aws_sdk_ec2::config::SharedAsyncSleep::new(Sleep)
}

#[derive(Debug)]
struct Sleep;

impl aws_sdk_ec2::config::AsyncSleep for Sleep {
    fn sleep(&self, duration: Duration) -> aws_sdk_ec2::config::Sleep {
        aws_sdk_ec2::config::Sleep::new(tokio::time::sleep(duration))
    }
}

impl Cloud {
    pub(crate) async fn start() -> Self {
        let program = std::env::var_os("MOTO_SERVER").unwrap_or_else(|| "moto_server".into());
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a port")
            .port();
        #[expect(clippy::disallowed_methods, reason = "the API that stands in for AWS")]
        let moto = Command::new(&program)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("moto_server starts; set MOTO_SERVER to where it is");
        let moto = Moto(moto);
        let endpoint = format!("http://127.0.0.1:{port}");
        eventually("moto to answer", async || {
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok().map(drop)
        })
        .await;
        let client = Client::new(&config(&endpoint));
        let network = NETWORKS.fetch_add(1, Ordering::Relaxed);
        let vpc = client.create_vpc().cidr_block(format!("127.{network}.0.0/16")).send().await;
        let vpc =
            vpc.expect("a network").vpc().and_then(|v| v.vpc_id()).expect("its id").to_owned();
        let subnet = client
            .create_subnet()
            .vpc_id(vpc)
            .cidr_block(format!("127.{network}.1.0/24"))
            .send()
            .await
            .expect("a subnet");
        let subnet = subnet.subnet().and_then(|s| s.subnet_id()).expect("its id").to_owned();
        let hardware = Arc::new(Hardware::new(client.clone(), network));
        let running = Arc::clone(&hardware);
        let running = tokio::runtime::Handle::current().spawn(async move { running.run().await });
        let _running = AbortOnDropHandle::new(running);
        Self { endpoint, client, subnet, hardware, _running, _moto: moto }
    }

    /// The instances that are not terminated.
    pub(crate) async fn instances(&self) -> Vec<Instance> {
        let all = instances(&self.client).await;
        all.into_iter().filter(|i| state(i) != Some(InstanceStateName::Terminated)).collect()
    }

    pub(crate) async fn terminate(&self, id: &str) {
        self.client.terminate_instances().instance_ids(id).send().await.expect("terminated");
    }

    /// The groups with our tag.
    pub(crate) async fn groups(&self) -> usize {
        self.group_ids().await.len()
    }

    /// The same, by id.
    pub(crate) async fn group_ids(&self) -> Vec<String> {
        let found = self.client.describe_security_groups().send().await.expect("the groups");
        let ours = |tags: &[aws_sdk_ec2::types::Tag]| {
            tags.iter().any(|tag| tag.key() == Some("bigslice:cluster"))
        };
        let ours = found.security_groups().iter().filter(|group| ours(group.tags()));
        ours.filter_map(|group| group.group_id().map(str::to_owned)).collect()
    }

    /// Nothing is left that costs or runs.
    pub(crate) async fn assert_empty(&self) {
        assert_eq!(self.instances().await.len(), 0, "instances are left");
        let volumes = self.client.describe_volumes().send().await.expect("the volumes");
        assert_eq!(volumes.volumes().len(), 0, "volumes are left");
        let keys = self.client.describe_key_pairs().send().await.expect("the keys");
        assert_eq!(keys.key_pairs().len(), 0, "keys are left");
        eventually("the hardware to be empty", async || {
            self.hardware.bodies.lock().is_empty().then_some(())
        })
        .await;
    }
}

/// All instances, including those that have ended.
pub(crate) async fn instances(client: &Client) -> Vec<Instance> {
    let found = client.describe_instances().send().await.expect("the instances");
    found.reservations().iter().flat_map(|r| r.instances()).cloned().collect()
}

pub(crate) fn state(instance: &Instance) -> Option<InstanceStateName> {
    instance.state()?.name().cloned()
}

/// The running instances.
pub(crate) struct Hardware {
    client: Client,
    network: u8,
    root: TempDir,
    pub(crate) bodies: Mutex<BTreeMap<String, Body>>,
    held: AtomicBool,
}

/// One instance's process group and disk.
pub(crate) struct Body {
    process: Child,
    disk: PathBuf,
    pub(crate) metadata: Metadata,
}

impl Body {
    /// The recorded commands of the host.
    pub(crate) fn asked(&self) -> String {
        std::fs::read_to_string(self.disk.join("asked")).unwrap_or_default()
    }

    /// The output of its user data.
    pub(crate) fn console(&self) -> String {
        std::fs::read_to_string(self.disk.join("console")).unwrap_or_default()
    }

    /// The files on its disk, except those that the driver has sent.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.disk.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                    Ok(kind) if kind.is_file() && entry.file_name() != "program" => {
                        found.push(entry.path());
                    }
                    _ => {}
                }
            }
        }
        found
    }

    /// How much of its program it has.
    pub(crate) fn program_size(&self) -> u64 {
        let homes = std::fs::read_dir(&self.disk).into_iter().flatten().flatten();
        let sizes =
            homes.filter_map(|home| Some(home.path().join("program").metadata().ok()?.len()));
        sizes.max().unwrap_or(0)
    }

    /// The process ids of its workers.
    pub(crate) fn workers(&self) -> Vec<u32> {
        let ids = std::fs::read_dir("/proc").expect("processes").filter_map(|entry| {
            let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let text = String::from_utf8_lossy(&arguments).into_owned();
            let own = text.contains(self.disk.to_str()?) && text.contains("--bigslice-worker");
            own.then_some(pid)
        });
        ids.collect()
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let group = Pid::from_child(&self.process);
        // No process may remain in it.
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.process.wait();
    }
}

impl Hardware {
    fn new(client: Client, network: u8) -> Self {
        let root = tempfile::tempdir().expect("a folder");
        let commands = root.path().join("commands");
        std::fs::create_dir(&commands).expect("a folder");
        std::fs::write(root.path().join("disks"), "").expect("written");
        for (name, script) in COMMANDS {
            let path = commands.join(name);
            std::fs::write(&path, format!("#!/bin/bash\n{script}\n")).expect("a script");
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("a mode");
        }
        Self { client, network, root, bodies: Mutex::default(), held: AtomicBool::new(false) }
    }

    /// Gives the instances that boot from now on these disks, as `lsblk` lists them, and makes the
    /// given commands fail.
    pub(crate) fn give_disks(&self, disks: &str, failing: &[&str]) {
        std::fs::write(self.root.path().join("disks"), disks).expect("written");
        for command in ["mdadm", "mkfs"] {
            let mark = self.root.path().join(format!("bad-{command}"));
            if failing.contains(&command) {
                std::fs::write(mark, "").expect("written");
            } else if mark.exists() {
                std::fs::remove_file(mark).expect("removed");
            }
        }
    }

    /// Boots no more instances.
    pub(crate) fn hold(&self) {
        self.held.store(true, Ordering::Relaxed);
    }

    async fn run(&self) {
        loop {
            for instance in instances(&self.client).await {
                let id = instance.instance_id().expect("an id").to_owned();
                let held = self.held.load(Ordering::Relaxed);
                let known = held || self.bodies.lock().contains_key(&id);
                match state(&instance) {
                    Some(InstanceStateName::Running) if !known => {
                        let address = instance.private_ip_address().expect("an address");
                        let data = self.user_data(&id).await;
                        super::spot::complete(&self.client, &instance).await;
                        let body = self.boot(&id, address, &data).await;
                        self.bodies.lock().insert(id, body);
                    }
                    Some(InstanceStateName::Running) => {
                        if self.is_off(&id) {
                            self.switch_off(&id).await;
                        }
                    }
                    Some(InstanceStateName::Pending) => {}
                    _ => drop(self.bodies.lock().remove(&id)),
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    pub(crate) async fn user_data(&self, id: &str) -> Vec<u8> {
        let call = self.client.describe_instance_attribute().instance_id(id);
        let found = call.attribute(InstanceAttributeName::UserData).send().await;
        let found = found.expect("the user data");
        let encoded = found.user_data().and_then(|data| data.value()).expect("some");
        base64::decode(encoded).expect("it is base64")
    }

    /// Runs user data as a machine with the address `address`.
    pub(crate) async fn boot(&self, id: &str, address: &str, data: &[u8]) -> Body {
        assert!(data.len() <= 16 << 10, "EC2 would refuse the user data");
        assert!(address.starts_with(&format!("127.{}.", self.network)), "{address}");
        let disk = self.root.path().join(id);
        std::fs::create_dir_all(&disk).expect("a folder");
        let script = disk.join("user-data");
        std::fs::write(&script, data).expect("the script");
        let metadata = Metadata::start(address.to_owned()).await;
        let process = Self::spawn(&self.root.path().join("commands"), &disk, &script, &metadata);
        Body { process, disk, metadata }
    }

    #[expect(clippy::disallowed_methods, reason = "the machine that runs the user data")]
    fn spawn(commands: &Path, disk: &Path, script: &Path, metadata: &Metadata) -> Child {
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", commands.display());
        let console = std::fs::File::create(disk.join("console")).expect("a file");
        Command::new("bash")
            .arg(script)
            .env_clear()
            .env("PATH", path)
            .env("HARDWARE", disk)
            .env("TMPDIR", disk)
            .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", &metadata.endpoint)
            .stdin(Stdio::null())
            .stdout(console.try_clone().expect("a file"))
            .stderr(console)
            .process_group(0)
            .spawn()
            .expect("the user data runs")
    }

    fn is_off(&self, id: &str) -> bool {
        let mut bodies = self.bodies.lock();
        let Some(body) = bodies.get_mut(id) else { return false };
        body.disk.join("off").exists()
    }

    /// EC2's reaction to an instance that shut itself down.
    async fn switch_off(&self, id: &str) {
        drop(self.bodies.lock().remove(id));
        let call = self.client.describe_instance_attribute().instance_id(id);
        let attribute = InstanceAttributeName::InstanceInitiatedShutdownBehavior;
        let found = call.attribute(attribute).send().await.expect("the behaviour");
        let behaviour = found.instance_initiated_shutdown_behavior().and_then(|b| b.value());
        if behaviour == Some("terminate") {
            self.client.terminate_instances().instance_ids(id).send().await.expect("terminated");
        } else {
            self.client.stop_instances().instance_ids(id).send().await.expect("stopped");
        }
    }
}

/// Waits until `condition` gives something.
pub(crate) async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(began.elapsed() < DEADLINE, "still waiting for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
