//! Each promise about a launch, checked in its requests.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_smithy_types::base64;
use bigslice_cluster::ec2::{Ec2, Ec2Spec};
use bigslice_cluster::{
    Authority, Enroler, Launch, MachineLog, Requirements, Services, SessionId, System,
};
use bytes::Bytes;

use super::endpoint::{ARCH, Call, Endpoint, Fleet, OTHER_ARCH, PAUSE_MAX, Script};

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("the_launch_says_everything_at_once", the_launch_says_everything_at_once),
    ("user_data_is_small_and_holds_one_key", user_data_is_small_and_holds_one_key),
    ("the_group_is_open_to_the_driver_and_itself", the_group_is_open_to_few),
    ("a_public_machine_is_dialed_by_its_name", a_public_machine_is_dialed_by_name),
    ("a_group_that_is_open_to_everybody_is_refused", an_open_group_is_refused),
    ("types_and_places_are_tried_in_turn", all_are_tried_in_turn),
    ("the_plan_tells_what_will_be_started", the_plan_tells_what_will_be_started),
    ("types_are_chosen_by_what_a_machine_must_have", the_smallest_or_cheapest_is_chosen),
    ("a_group_that_is_gone_is_made_again", a_group_that_is_gone_is_made_again),
    ("the_policy_allows_what_is_asked_and_no_more", the_policy_allows_what_is_asked),
    ("a_throttled_launch_is_tried_again_as_the_same", a_throttled_launch_is_repeated),
    ("pauses_grow_while_aws_throttles", pauses_grow_while_aws_throttles),
    ("refusals_say_what_to_do", refusals_say_what_to_do),
    ("a_program_of_another_architecture_is_refused_first", a_foreign_program_is_refused),
    ("a_launch_that_nobody_waits_for_is_ended", a_dropped_launch_is_ended),
];

/// Far longer than any test takes; reaching it is a failure.
const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        tokio::time::timeout(DEADLINE, test).await.expect("the test does not hang");
    });
}

pub(crate) fn order() -> Launch {
    let machine: bigslice_cluster::MachineName = "m7".parse().expect("a name");
    let session: SessionId = "s1".parse().expect("an id");
    Launch {
        log: MachineLog::new(machine.clone(), Arc::new(|_| {})).expect("a log"),
        machine,
        scratch: "/nowhere".into(),
        enroler: Arc::new(Enroler {
            authority: Arc::new(Authority::new(session).expect("an authority")),
            certificate_life: DEADLINE,
            lease: DEADLINE,
            settings: Bytes::new(),
            requirements: Requirements::of(&Services::new()),
        }),
    }
}

/// Launches a machine that does not start, and returns the reason.
pub(crate) async fn launch(endpoint: &Endpoint, options: &str) -> String {
    let spec: Ec2Spec = format!("ec2:instance=c5.large,{options}").parse().expect("good options");
    let ec2 = Ec2::with_config(spec, &endpoint.config()).expect("good options");
    let err = ec2.launch(order()).await.expect_err("no instance comes up");
    std::iter::successors(Some(&err as &dyn std::error::Error), |err| err.source())
        .map(|err| format!("{err}; "))
        .collect()
}

/// The tags of a call for a kind of resource.
pub(crate) fn tags(call: &Call, resource: &str) -> BTreeMap<String, String> {
    let prefix = (1..9)
        .map(|i| format!("TagSpecification.{i}."))
        .find(|prefix| call.get(&format!("{prefix}ResourceType")) == resource)
        .expect("its tags");
    let tag = |i: i32, part: &str| call.get(&format!("{prefix}Tag.{i}.{part}")).to_owned();
    (1..20).map(|i| (tag(i, "Key"), tag(i, "Value"))).filter(|(key, _)| !key.is_empty()).collect()
}

pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < DEADLINE, "still waiting for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn the_launch_says_everything_at_once() {
    run(async {
        let endpoint = Endpoint::start(Script::default()).await;
        let options = "root=40G,data=1T,iam-profile=reader,owner=ada,name=night,tag.team=genomes";
        let reason = launch(&endpoint, options).await;
        assert!(reason.contains("i-1: the instance is terminated (Server.Spot"), "{reason}");
        let calls = endpoint.calls("RunInstances");
        let [call] = &calls[..] else { panic!("{calls:?}") };
        for (name, value) in [
            ("MinCount", "1"),
            ("MaxCount", "1"),
            ("ImageId", "ami-newest"),
            ("InstanceType", "c5.large"),
            ("SubnetId", "subnet-a"),
            ("SecurityGroupId.1", "sg-made"),
            ("InstanceInitiatedShutdownBehavior", "terminate"),
            ("MetadataOptions.HttpTokens", "required"),
            ("MetadataOptions.HttpPutResponseHopLimit", "1"),
            ("IamInstanceProfile.Name", "reader"),
            ("BlockDeviceMapping.1.DeviceName", "/dev/root-of-it"),
            ("BlockDeviceMapping.1.Ebs.VolumeSize", "40"),
            ("BlockDeviceMapping.1.Ebs.VolumeType", "gp3"),
            ("BlockDeviceMapping.1.Ebs.DeleteOnTermination", "true"),
            ("BlockDeviceMapping.2.DeviceName", "/dev/sdb"),
            ("BlockDeviceMapping.2.Ebs.VolumeSize", "1024"),
            ("BlockDeviceMapping.2.Ebs.DeleteOnTermination", "true"),
            ("InstanceMarketOptions.MarketType", ""),
        ] {
            assert_eq!(call.get(name), value, "{name}");
        }
        assert_eq!(call.get("ClientToken").len(), 32);
        let instance = tags(call, "instance");
        assert_eq!(instance, tags(call, "volume"));
        assert_eq!(instance["Name"], "bigslice night m7");
        assert_eq!(instance["bigslice:cluster"], "night");
        assert_eq!(instance["bigslice:owner"], "ada");
        assert_eq!(instance["bigslice:machine"], "m7");
        assert_eq!(instance["team"], "genomes");
        assert!(instance["bigslice:created"] < instance["bigslice:deadline"], "{instance:?}");
        eventually("it to be ended", || !endpoint.calls("TerminateInstances").is_empty()).await;
        assert_eq!(endpoint.calls("TerminateInstances")[0].get("InstanceId.1"), "i-1");
    });
}

fn user_data_is_small_and_holds_one_key() {
    run(async {
        let endpoint = Endpoint::start(Script::default()).await;
        launch(&endpoint, "env.TOKEN=canary-5f1c0de").await;
        let calls = endpoint.calls("RunInstances");
        let data = base64::decode(calls[0].get("UserData")).expect("it is base64");
        assert!(data.len() <= 16 << 10, "{} bytes", data.len());
        let text = String::from_utf8(data).expect("it is text");
        assert!(text.starts_with("#!/bin/bash\n"));
        assert_eq!(text.matches("BEGIN PRIVATE KEY").count(), 1, "the one-time key and no other");
        assert!(text.contains("bigslice://s1/driver/driver"));
        assert!(!text.contains("canary-5f1c0de"));
        assert!(!text.contains('@'), "a blank that was not filled in");
        let off = text.find("systemctl set-default poweroff.target").expect("a way to its end");
        let timer = text.find("--on-active=900").expect("a boot timer");
        assert!(off < timer && timer < text.find("python3 ").expect("the rest"));
    });
}

fn the_group_is_open_to_few() {
    run(async {
        let endpoint = Endpoint::start(Script::default()).await;
        launch(&endpoint, "port=9999").await;
        let made = &endpoint.calls("CreateSecurityGroup")[0];
        assert_eq!(made.get("VpcId"), "vpc-1");
        assert_eq!(tags(made, "security-group")["bigslice:cluster"], "s1");
        let calls = endpoint.calls("AuthorizeSecurityGroupIngress");
        let [rule] = &calls[..] else { panic!("{calls:?}") };
        for (name, value) in [
            ("GroupId", "sg-made"),
            ("IpPermissions.1.FromPort", "9999"),
            ("IpPermissions.1.ToPort", "9999"),
            ("IpPermissions.1.IpProtocol", "tcp"),
            ("IpPermissions.1.Groups.1.GroupId", "sg-made"),
            ("IpPermissions.1.IpRanges.2.CidrIp", ""),
            ("IpPermissions.2.FromPort", ""),
        ] {
            assert_eq!(rule.get(name), value, "{name}");
        }
        // The subnet is on loopback, and so is the route to it.
        let driver = rule.get("IpPermissions.1.IpRanges.1.CidrIp");
        assert!(driver.starts_with("127.") && driver.ends_with("/32"), "{driver}");
    });
}

/// By its public name, from the one allowed address.
fn a_public_machine_is_dialed_by_name() {
    run(async {
        let public_name = "localhost";
        let endpoint = Endpoint::start(Script { public_name, ..Script::default() }).await;
        // Only the instance could answer at the private address, and it does not.
        let there = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = there.local_addr().expect("an address").port();
        let options = format!("address=public,allow=203.0.113.7/32,port={port}");
        tokio::select! {
            reason = launch(&endpoint, &options) => panic!("{reason}"),
            called = there.accept() => drop(called.expect("a caller")),
        }
        let calls = endpoint.calls("AuthorizeSecurityGroupIngress");
        let [rule] = &calls[..] else { panic!("{calls:?}") };
        for (name, value) in [
            ("IpPermissions.1.FromPort", &*port.to_string()),
            ("IpPermissions.1.ToPort", &*port.to_string()),
            ("IpPermissions.1.IpRanges.1.CidrIp", "203.0.113.7/32"),
            ("IpPermissions.1.IpRanges.2.CidrIp", ""),
            ("IpPermissions.1.Groups.1.GroupId", "sg-made"),
            ("IpPermissions.2.FromPort", ""),
        ] {
            assert_eq!(rule.get(name), value, "{name}");
        }
        // The launching task also ends it: its caller does not wait any more.
        eventually("its end", || !endpoint.calls("TerminateInstances").is_empty()).await;
    });
}

fn an_open_group_is_refused() {
    run(async {
        let endpoint = Endpoint::start(Script { open_to: "0.0.0.0/0", ..Script::default() }).await;
        let reason = launch(&endpoint, "security-group=sg-users").await;
        assert!(reason.contains("sg-users lets 0.0.0.0/0 in"), "{reason}");
        assert!(endpoint.calls("RunInstances").is_empty());
        let endpoint = Endpoint::start(Script { open_to: "::/0", ..Script::default() }).await;
        let reason = launch(&endpoint, "security-group=sg-users").await;
        assert!(reason.contains("sg-users lets ::/0 in, which is everybody"), "{reason}");
        assert!(endpoint.calls("RunInstances").is_empty());
        let endpoint = Endpoint::start(Script::default()).await;
        launch(&endpoint, "security-group=sg-users").await;
        assert_eq!(endpoint.calls("RunInstances")[0].get("SecurityGroupId.1"), "sg-users");
        assert!(endpoint.calls("CreateSecurityGroup").is_empty());
    });
}

fn all_are_tried_in_turn() {
    run(async {
        let refusals = vec!["InsufficientInstanceCapacity"; 3];
        let endpoint = Endpoint::start(Script { refusals, ..Script::default() }).await;
        launch(&endpoint, "instance=m5.large").await;
        let tried: Vec<[String; 2]> = endpoint
            .calls("RunInstances")
            .iter()
            .map(|call| ["InstanceType", "SubnetId"].map(|name| call.get(name).to_owned()))
            .collect();
        let expected = [
            ["c5.large", "subnet-a"],
            ["c5.large", "subnet-b"],
            ["m5.large", "subnet-a"],
            ["m5.large", "subnet-b"],
        ];
        assert_eq!(tried, expected.map(|row| row.map(str::to_owned)));
        assert!(endpoint.calls("CreateLaunchTemplate").is_empty());
        assert!(endpoint.calls("CreateFleet").is_empty());
    });
}

fn the_plan_tells_what_will_be_started() {
    run(async {
        let endpoint = Endpoint::start(Script::default()).await;
        let spec: Ec2Spec =
            "instance=c5.large,instance=m5.large,n=8,spot,data=100G".parse().expect("good options");
        let ec2 = Ec2::with_config(spec, &endpoint.config()).expect("good options");
        let plan = ec2.plan().await.expect("a plan").to_string();
        let expected = format!(
            "8 machines in eu-west-1: \
             c5.large ({ARCH}, 2 cores, 4 GiB, now from 0.0421 USD per hour as spot) or \
             m5.large ({ARCH}, 2 cores, 4 GiB), spot, \
             one zone of eu-west-1a eu-west-1b, 130 GiB of volumes each, for at most 24 hours, \
             all together from 0.34 USD per hour"
        );
        assert_eq!(plan, expected);
        assert!(endpoint.calls("RunInstances").is_empty());
    });
}

/// Types of two architectures and generations, some of them too small or too expensive.
pub(crate) const TYPES: &[(&str, &str, u32, u32, bool, bool)] = &[
    ("c8.small", ARCH, 8, 65536, false, false),
    ("m8d.big", ARCH, 16, 65536, true, false),
    ("m8.big", ARCH, 16, 65536, false, false),
    ("m7.big", ARCH, 16, 65536, false, false),
    ("m8n.big", ARCH, 16, 65536, false, false),
    ("g8.big", ARCH, 16, 65536, false, true),
    ("c8.big", ARCH, 16, 32768, false, false),
    ("r9.big", ARCH, 16, 131072, false, false),
    ("a9.big", OTHER_ARCH, 16, 65536, false, false),
];

/// The types of a plan and how they were chosen.
async fn choice(options: &str) -> (Endpoint, Result<(Vec<String>, String), String>) {
    let endpoint = Endpoint::start(Script { types: TYPES, ..Script::default() }).await;
    let spec: Ec2Spec = options.parse().expect("good options");
    let ec2 = Ec2::with_config(spec, &endpoint.config()).expect("good options");
    let plan = ec2.plan().await.map(ToString::to_string).map_err(|err| err.to_string());
    let plan = plan.map(|plan| {
        let (names, rest) = plan.split_once(", chosen as ").expect("a choice");
        let names = names.split(": ").nth(1).expect("names").split(" or ");
        let names = names.map(|kind| kind.split(' ').next().expect("a name").to_owned());
        (names.collect(), rest.split(", ").next().expect("a reason").to_owned())
    });
    (endpoint, plan)
}

fn the_smallest_or_cheapest_is_chosen() {
    run(async {
        let (endpoint, plan) = choice("cores=16,memory=64G").await;
        let (names, why) = plan.expect("a plan");
        // New before old, plain before special, small before large.
        assert_eq!(names, ["m8.big", "m7.big", "m8n.big", "m8d.big", "r9.big"]);
        assert_eq!(why, "the smallest of 5 types with 16 cores and 64 GiB or more");
        let asked = &endpoint.calls("DescribeInstanceTypes")[0];
        let filter = |name: &str| {
            (1..9)
                .find(|i| asked.get(&format!("Filter.{i}.Name")) == name)
                .map(|i| asked.get(&format!("Filter.{i}.Value.1")))
        };
        assert_eq!(filter("processor-info.supported-architecture"), Some(ARCH));
        assert_eq!(filter("current-generation"), Some("true"));
        assert_eq!(filter("burstable-performance-supported"), Some("false"));
        assert_eq!(filter("bare-metal"), Some("false"));
        assert_eq!(filter("supported-usage-class"), Some("on-demand"));
        assert!(endpoint.calls("DescribeSpotPriceHistory").is_empty());

        let (endpoint, plan) = choice("cores=16,memory=64G,spot").await;
        let (names, why) = plan.expect("a plan");
        assert_eq!(names, ["r9.big", "m8.big", "m7.big", "m8n.big", "m8d.big"]);
        assert_eq!(why, "the cheapest as spot of 5 types with 16 cores and 64 GiB or more");
        assert!(endpoint.calls("RunInstances").is_empty());

        let (_endpoint, plan) = choice("cores=17").await;
        let refused = plan.expect_err("there is none");
        let advice = format!("give a program for others as worker-binary.{OTHER_ARCH}=PATH");
        assert!(refused.contains("has 17 cores and 1 GiB of memory: ask for less"), "{refused}");
        assert!(refused.contains(&advice), "{refused}");
    });
}

fn a_group_that_is_gone_is_made_again() {
    run(async {
        let refusals = vec!["InvalidGroup.NotFound"];
        let endpoint = Endpoint::start(Script { refusals, ..Script::default() }).await;
        let reason = launch(&endpoint, "").await;
        assert!(reason.contains("i-1"), "{reason}");
        assert_eq!(endpoint.calls("RunInstances").len(), 2);
        assert_eq!(endpoint.calls("CreateSecurityGroup").len(), 2);
        // A user's own group is not removed.
        let refusals = vec!["InvalidGroup.NotFound"];
        let endpoint = Endpoint::start(Script { refusals, ..Script::default() }).await;
        let reason = launch(&endpoint, "security-group=sg-users").await;
        assert!(reason.contains("no such security group in this region"), "{reason}");
    });
}

fn the_policy_allows_what_is_asked() {
    run(async {
        let fleets = vec![Fleet::Empty(&["UnfulfillableCapacity"])];
        let endpoint = Endpoint::start(Script { fleets, ..Script::default() }).await;
        launch(&endpoint, "spot=fallback").await;
        let spec: Ec2Spec = "instance=c5.large".parse().expect("good options");
        let ec2 = Ec2::with_config(spec, &endpoint.config()).expect("good options");
        // Its answers are meaningful for launches only; the requests count.
        let _ = ec2.clusters().gc().await;
        eventually("the end", || !endpoint.calls("TerminateInstances").is_empty()).await;
        let policy = bigslice_cluster::ec2::policy();
        let allowed: BTreeSet<String> = policy
            .split('"')
            .filter_map(|word| word.strip_prefix("ec2:"))
            .filter(|action| {
                !["CreateAction", "CreateTags", "DeleteSecurityGroup"].contains(action)
            })
            .map(str::to_owned)
            .collect();
        assert_eq!(endpoint.actions(), allowed);
    });
}

fn a_throttled_launch_is_repeated() {
    run(async {
        let refusals = vec!["RequestLimitExceeded"; 2];
        let endpoint = Endpoint::start(Script { refusals, ..Script::default() }).await;
        let reason = launch(&endpoint, "").await;
        assert!(reason.contains("i-1"), "{reason}");
        let calls = endpoint.calls("RunInstances");
        assert_eq!(calls.len(), 3);
        assert!(calls.iter().all(|c| c.get("ClientToken") == calls[0].get("ClientToken")));
    });
}

/// Each pause is random, from zero up to a limit that doubles.
fn pauses_grow_while_aws_throttles() {
    run(async {
        let launch = async |refused: usize| {
            let refusals = vec!["RequestLimitExceeded"; refused];
            let endpoint = Endpoint::start(Script { refusals, ..Script::default() }).await;
            let spec: Ec2Spec = "instance=c5.large".parse().expect("good options");
            let ec2 = Ec2::with_config(spec, &endpoint.hasty_config()).expect("good options");
            let failed = ec2.launch(order()).await.expect_err("no instance comes up").to_string();
            (endpoint.calls("RunInstances").len(), endpoint.pauses(), failed)
        };
        // The tenth attempt is the last.
        let (attempts, pauses, failed) = launch(9).await;
        assert_eq!((attempts, pauses.len()), (10, 9), "{failed}");
        let mut bound = Duration::from_secs(1);
        for pause in &pauses {
            assert!(*pause <= bound, "{pauses:?}");
            bound = (bound * 2).min(PAUSE_MAX);
        }
        // That all of them are below the first one's bound happens once in millions of years.
        let longest = pauses.iter().max().expect("some");
        assert!(*longest > Duration::from_secs(1), "they do not grow: {pauses:?}");
        let (attempts, pauses, failed) = launch(10).await;
        assert_eq!((attempts, pauses.len()), (10, 9));
        assert!(failed.contains("the account makes too many requests"), "{failed}");
    });
}

fn refusals_say_what_to_do() {
    run(async {
        for (code, advice) in [
            ("VcpuLimitExceeded", "Service Quotas"),
            ("UnauthorizedOperation", "the policy of who runs the driver must allow it"),
            ("RequestExpired", "sign in again"),
            ("InvalidAMIID.NotFound", "no such image in this region"),
            ("InsufficientInstanceCapacity", "give more instance types"),
        ] {
            // Both subnets refuse.
            let endpoint =
                Endpoint::start(Script { refusals: vec![code; 2], ..Script::default() }).await;
            let reason = launch(&endpoint, "").await;
            assert!(reason.contains(advice), "{code}: {reason}");
            assert!(reason.contains("could not launch a c5.large in eu-west-1"), "{reason}");
            assert!(reason.contains(&format!("AWS says {code}:")), "{reason}");
            assert!(endpoint.calls("TerminateInstances").is_empty());
        }
    });
}

fn a_foreign_program_is_refused() {
    run(async {
        let foreign = if ARCH == "arm64" { "x86_64" } else { "arm64" };
        let endpoint = Endpoint::start(Script { arch: foreign, ..Script::default() }).await;
        let reason = launch(&endpoint, "").await;
        let advice = format!("worker-binary.{foreign}=PATH");
        assert!(reason.contains(&advice), "{reason}");
        let reason = launch(&endpoint, &format!("worker-binary.{foreign}=/dev/null")).await;
        assert!(reason.contains("\"/dev/null\" is not a program for Linux"), "{reason}");
        assert!(endpoint.calls("RunInstances").is_empty());
        assert!(endpoint.calls("CreateSecurityGroup").is_empty());
    });
}

fn a_dropped_launch_is_ended() {
    run(async {
        let delay = Duration::from_millis(500);
        let endpoint = Endpoint::start(Script { delay, ..Script::default() }).await;
        let spec: Ec2Spec = "instance=c5.large".parse().expect("good options");
        let ec2 = Ec2::with_config(spec, &endpoint.config()).expect("good options");
        tokio::select! {
            _ = ec2.launch(order()) => panic!("it cannot be up"),
            () = eventually("the launch", || !endpoint.calls("RunInstances").is_empty()) => {}
        }
        eventually("its end", || !endpoint.calls("TerminateInstances").is_empty()).await;
        assert_eq!(endpoint.calls("TerminateInstances")[0].get("InstanceId.1"), "i-1");
    });
}
