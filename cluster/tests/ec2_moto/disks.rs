//! The place of temporary files: the disks of the instance type, striped if there are several, else
//! the data volume, else the root volume; and the error if that fails.

use bigslice_cluster::Fleet;
use bigslice_cluster::ec2::Ec2;

use super::cloud::{Cloud, config, eventually};
use super::life::{Place, instance, run, spec};

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("temporary_files_go_to_the_disks_that_there_are", temporary_files_go_to_the_disks),
    ("disks_that_cannot_be_used_are_told_of", bad_disks_are_told_of),
];

/// As a type with two disks lists them.
const TWO: &str = "/dev/nvme0n1 Amazon Elastic Block Store
/dev/nvme1n1 Amazon EC2 NVMe Instance Storage
/dev/nvme2n1 Amazon EC2 NVMe Instance Storage
";
const ONE: &str = "/dev/nvme0n1 Amazon Elastic Block Store
/dev/nvme1n1 Amazon EC2 NVMe Instance Storage
";
const NONE: &str = "/dev/nvme0n1 Amazon Elastic Block Store\n";

/// A machine that has booted, with the recorded commands of its host and of the disks alone.
struct Booted {
    fleet: Fleet,
    place: Place,
    id: String,
    asked: Vec<String>,
}

async fn boot(cloud: &Cloud, data: Option<u32>) -> Booted {
    let place = Place::new();
    let mut spec = spec(&cloud.subnet);
    spec.data_gib = data;
    let ec2 = Ec2::with_config(spec, &config(&cloud.endpoint)).expect("good");
    let fleet = place.start(&ec2, 1, "").await.expect("the fleet starts");
    let id = instance(cloud, &fleet.machines()[0]).await;
    let asked = cloud.hardware.bodies.lock()[&id].asked();
    let of_disks =
        |line: &&str| ["mdadm ", "mkfs.xfs ", "mount "].iter().any(|c| line.starts_with(c));
    let asked = asked.lines().filter(of_disks).map(str::to_owned).collect();
    Booted { fleet, place, id, asked }
}

/// The variable of the worker's environment with the folder for temporary files, and its arguments.
fn told_to_worker(cloud: &Cloud, id: &str) -> (String, Vec<String>) {
    let worker = cloud.hardware.bodies.lock()[id].workers()[0];
    let words = |file: &str| -> Vec<String> {
        let bytes = std::fs::read(format!("/proc/{worker}/{file}")).expect("it runs");
        bytes.split(|b| *b == 0).map(|w| String::from_utf8_lossy(w).into_owned()).collect()
    };
    let folder =
        words("environ").iter().find_map(|word| word.strip_prefix("TMPDIR=").map(Into::into));
    (folder.expect("it is told"), words("cmdline"))
}

fn temporary_files_go_to_the_disks() {
    run(async {
        let cloud = Cloud::start().await;
        let stripe =
            "mdadm --create /dev/md0 --run --level=0 --raid-devices=2 /dev/nvme1n1 /dev/nvme2n1";
        let rows = [
            (TWO, None, Some((Some(stripe), "/dev/md0"))),
            (ONE, None, Some((None, "/dev/nvme1n1"))),
            (NONE, Some(100), Some((None, "/dev/sdb"))),
            (NONE, None, None),
        ];
        for (disks, data, expected) in rows {
            cloud.hardware.give_disks(disks, &[]);
            let Booted { fleet, place, id, asked } = boot(&cloud, data).await;
            let (folder, arguments) = told_to_worker(&cloud, &id);
            assert!(folder.contains("/bigslice-boot-"), "{folder}");
            let scratch = arguments.last().filter(|last| !last.is_empty());
            let scratch = scratch.or(arguments.iter().rev().nth(1)).expect("its folder");
            assert!(scratch.starts_with(&format!("{folder}/m")), "{arguments:?}");
            let expected: Vec<String> = match expected {
                Some((stripe, disk)) => {
                    let last = [
                        format!("mkfs.xfs -qfK {disk}"),
                        format!("mount -o noatime {disk} {folder}"),
                    ];
                    stripe.map(str::to_owned).into_iter().chain(last).collect()
                }
                None => Vec::new(),
            };
            assert_eq!(asked, expected, "{disks}");
            assert!(!place.text().contains("could not be"), "{}", place.text());
            fleet.shutdown().await;
        }
        cloud.assert_empty().await;
    });
}

fn bad_disks_are_told_of() {
    run(async {
        let cloud = Cloud::start().await;
        let rows = [
            (
                NONE,
                "mkfs",
                "/dev/sdb could not be used: temporary files go to the root volume",
                false,
            ),
            (TWO, "mdadm", "its disks could not be striped: only one is used", true),
        ];
        for (disks, failing, said, mounted) in rows {
            cloud.hardware.give_disks(disks, &[failing]);
            let Booted { fleet, place, id, asked } = boot(&cloud, Some(100)).await;
            assert!(
                asked.iter().any(|line| line.starts_with(failing)),
                "it did not fail: {asked:?}"
            );
            assert_eq!(asked.iter().any(|line| line.starts_with("mount")), mounted, "{asked:?}");
            // The output of the driver's machines, and the console.
            eventually("the driver to say so", async || place.text().contains(said).then_some(()))
                .await;
            let console = cloud.hardware.bodies.lock()[&id].console();
            assert!(console.contains(said), "{console}");
            fleet.shutdown().await;
        }
        cloud.assert_empty().await;
    });
}
