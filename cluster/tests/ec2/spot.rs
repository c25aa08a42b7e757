//! Spot machines: the contents of the template and of the fleet, EC2's choices, and the handling of
//! its refusals.

use std::time::Duration;

use aws_smithy_types::base64;
use bigslice_cluster::System;
use bigslice_cluster::ec2::{Ec2, Ec2Spec};

use super::endpoint::{ARCH, Call, Endpoint, Fleet, OTHER_ARCH, Script};
use super::requests::{TYPES, eventually, launch, order, run, tags};

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("a_template_says_what_spot_machines_have_in_common", a_template_says_what_is_common),
    ("a_fleet_asks_for_one_machine_from_any_pool", a_fleet_asks_for_one_machine),
    ("the_pools_of_later_machines_are_of_the_first_ones_zone", later_pools_are_of_one_zone),
    ("each_architecture_has_its_template_and_its_user_data", each_architecture_has_its_own),
    ("subnets_of_one_zone_are_not_asked_for_together", subnets_of_a_zone_come_in_turn),
    ("what_a_fleet_says_of_its_pools_is_told", what_a_fleet_says_is_told),
    ("on_demand_comes_after_spot_and_only_if_wanted", on_demand_comes_after_spot),
    ("a_throttled_fleet_is_asked_for_again_as_the_same", a_throttled_fleet_is_repeated),
    ("a_template_that_is_gone_is_made_again", a_template_that_is_gone_is_made_again),
    ("a_fleet_that_nobody_waits_for_is_ended", a_dropped_fleet_is_ended),
    ("what_is_not_allowed_is_said", what_is_not_allowed_is_said),
    ("a_template_that_nobody_uses_goes_by_gc", an_unused_template_goes),
    ("the_policy_holds_every_change_to_what_is_tagged", the_policy_is_narrow),
];

const CONFIG: &str = "LaunchTemplateConfigs.1";

fn ec2(endpoint: &Endpoint, options: &str) -> Ec2 {
    let spec: Ec2Spec = format!("ec2:instance=c5.large,{options}").parse().expect("good options");
    Ec2::with_config(spec, &endpoint.config()).expect("good options")
}

/// The type and subnet of each pool of a fleet.
fn pools(call: &Call) -> Vec<(String, String)> {
    let part = |i: i32, part: &str| call.get(&format!("{CONFIG}.Overrides.{i}.{part}")).to_owned();
    let pools = (1..20).map(|i| (part(i, "InstanceType"), part(i, "SubnetId")));
    pools.take_while(|(kind, _)| !kind.is_empty()).collect()
}

fn pool(kind: &str, subnet: &str) -> (String, String) {
    (kind.to_owned(), subnet.to_owned())
}

fn a_template_says_what_is_common() {
    run(async {
        let endpoint = Endpoint::start(Script::default()).await;
        let options = "spot,root=40G,data=1T,iam-profile=reader,owner=ada,name=night";
        launch(&endpoint, options).await;
        let calls = endpoint.calls("CreateLaunchTemplate");
        let [call] = &calls[..] else { panic!("{calls:?}") };
        for (name, value) in [
            ("ImageId", "ami-newest"),
            ("SecurityGroupId.1", "sg-made"),
            ("InstanceInitiatedShutdownBehavior", "terminate"),
            ("MetadataOptions.HttpTokens", "required"),
            ("MetadataOptions.HttpEndpoint", "enabled"),
            ("MetadataOptions.HttpPutResponseHopLimit", "1"),
            ("IamInstanceProfile.Name", "reader"),
            ("BlockDeviceMapping.1.DeviceName", "/dev/root-of-it"),
            ("BlockDeviceMapping.1.Ebs.VolumeSize", "40"),
            ("BlockDeviceMapping.1.Ebs.VolumeType", "gp3"),
            ("BlockDeviceMapping.1.Ebs.DeleteOnTermination", "true"),
            ("BlockDeviceMapping.2.DeviceName", "/dev/sdb"),
            ("BlockDeviceMapping.2.Ebs.VolumeSize", "1024"),
            ("BlockDeviceMapping.2.Ebs.DeleteOnTermination", "true"),
            ("TagSpecification.1.ResourceType", "spot-instances-request"),
            ("TagSpecification.1.Tag.2.Key", "bigslice:cluster"),
            ("TagSpecification.1.Tag.2.Value", "night"),
            // The parts of one machine, above all its secret, are not in the template for others to
            // read.
            ("UserData", ""),
            ("InstanceType", ""),
            ("InstanceMarketOptions.MarketType", ""),
        ] {
            assert_eq!(call.get(&format!("LaunchTemplateData.{name}")), value, "{name}");
        }
        assert!(!call.get("ClientToken").is_empty());
        assert!(call.get("LaunchTemplateName").starts_with("bigslice-"));
        let tagged = tags(call, "launch-template");
        assert_eq!((&*tagged["bigslice:cluster"], &*tagged["bigslice:owner"]), ("night", "ada"));
        assert!(tagged["bigslice:created"] < tagged["bigslice:deadline"], "{tagged:?}");
        assert!(!tagged.contains_key("bigslice:machine"), "it is for all machines");
    });
}

fn a_fleet_asks_for_one_machine() {
    run(async {
        let endpoint = Endpoint::start(Script::default()).await;
        // A type that is named twice counts once.
        let options = "instance=m5.large,instance=c5.large,spot,name=night,env.TOKEN=canary";
        let reason = launch(&endpoint, options).await;
        assert!(reason.contains("i-1: the instance is terminated (Server.Spot"), "{reason}");
        let calls = endpoint.calls("CreateFleet");
        let [call] = &calls[..] else { panic!("{calls:?}") };
        let template = format!("{CONFIG}.LaunchTemplateSpecification");
        for (name, value) in [
            ("Type", "instant"),
            ("TargetCapacitySpecification.TotalTargetCapacity", "1"),
            ("TargetCapacitySpecification.DefaultTargetCapacityType", "spot"),
            ("SpotOptions.AllocationStrategy", "price-capacity-optimized"),
            ("SpotOptions.InstanceInterruptionBehavior", "terminate"),
            ("SpotOptions.SingleAvailabilityZone", "true"),
            (&format!("{template}.LaunchTemplateId"), "lt-1"),
            (&format!("{template}.Version"), "1"),
            ("LaunchTemplateConfigs.2.LaunchTemplateSpecification.LaunchTemplateId", ""),
        ] {
            assert_eq!(call.get(name), value, "{name}");
        }
        assert_eq!(call.get("ClientToken").len(), 32);
        assert!(!call.parameters.keys().any(|name| name.contains("Price")), "{call:?}");
        let all = [("c5.large", "a"), ("c5.large", "b"), ("m5.large", "a"), ("m5.large", "b")];
        assert_eq!(pools(call), all.map(|(kind, at)| pool(kind, &format!("subnet-{at}"))));
        let instance = tags(call, "instance");
        assert_eq!(instance["Name"], "bigslice night m7");
        assert_eq!(instance["bigslice:machine"], "m7");
        assert!(instance == tags(call, "volume") && instance == tags(call, "fleet"));
        let data = call.get(&format!("{template}.LaunchTemplateSpecificationUserData"));
        let text = String::from_utf8(base64::decode(data).expect("base64")).expect("text");
        assert!(text.starts_with("#!/bin/bash\n") && text.contains("\"spot\":true"), "{text}");
        assert_eq!(text.matches("BEGIN PRIVATE KEY").count(), 1, "the one-time key and no other");
        assert!(!text.contains("canary"));
        assert!(endpoint.calls("RunInstances").is_empty());
        eventually("it to be ended", || !endpoint.calls("TerminateInstances").is_empty()).await;
        assert_eq!(endpoint.calls("TerminateInstances")[0].get("InstanceId.1"), "i-1");
    });
}

fn later_pools_are_of_one_zone() {
    run(async {
        let endpoint = Endpoint::start(Script { pending: true, ..Script::default() }).await;
        let ec2 = ec2(&endpoint, "spot");
        let asked = |n: usize| endpoint.calls("CreateFleet").len() == n;
        let second = async {
            eventually("the first to be there", || {
                asked(1) && !endpoint.calls("DescribeInstances").is_empty()
            })
            .await;
            ec2.launch(order()).await
        };
        tokio::select! {
            _ = ec2.launch(order()) => panic!("it cannot be up"),
            _ = second => panic!("it cannot be up"),
            () = eventually("both", || asked(2)) => {}
        }
        let calls = endpoint.calls("CreateFleet");
        assert_eq!(pools(&calls[0]), [pool("c5.large", "subnet-a"), pool("c5.large", "subnet-b")]);
        // The endpoint gives an instance of the last pool.
        assert_eq!(pools(&calls[1]), [pool("c5.large", "subnet-b")]);
        // One call for the template, for any number of machines; a secret for each.
        assert_eq!(endpoint.calls("CreateLaunchTemplate").len(), 1);
        let data = "LaunchTemplateSpecification.LaunchTemplateSpecificationUserData";
        for name in [&format!("{CONFIG}.{data}"), "ClientToken"] {
            assert_ne!(calls[0].get(name), calls[1].get(name), "{name}");
        }
    });
}

fn each_architecture_has_its_own() {
    run(async {
        // As much of a program for the other architecture as is looked at.
        let mut program = vec![0; 64];
        let machine = if ARCH == "arm64" { 62 } else { 183 };
        program[..4].copy_from_slice(b"\x7fELF");
        program[18] = machine;
        let other = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(other.path(), &program).expect("written");
        let endpoint = Endpoint::start(Script { types: TYPES, ..Script::default() }).await;
        let options = "cores=16,memory=64G,spot,name=both";
        let options = format!("{options},worker-binary.{OTHER_ARCH}={}", other.path().display());
        let spec: Ec2Spec = options.parse().expect("good options");
        let ec2 = Ec2::with_config(spec, &endpoint.config()).expect("good options");
        assert!(ec2.launch(order()).await.is_err(), "no instance comes up");
        let templates = endpoint.calls("CreateLaunchTemplate");
        let images: Vec<_> =
            templates.iter().map(|t| t.get("LaunchTemplateData.ImageId")).collect();
        assert_eq!(images.len(), 2);
        let calls = endpoint.calls("CreateFleet");
        let [call] = &calls[..] else { panic!("{calls:?}") };
        let mut hashes = Vec::new();
        for i in 1..=2 {
            let part = |part: &str| call.get(&format!("LaunchTemplateConfigs.{i}.{part}"));
            let template = part("LaunchTemplateSpecification.LaunchTemplateId");
            let nth: usize = template.trim_start_matches("lt-").parse().expect("its number");
            let is_other = images[nth - 1] != "ami-newest";
            for n in (1..20).take_while(|n| !part(&format!("Overrides.{n}.SubnetId")).is_empty()) {
                let kind = part(&format!("Overrides.{n}.InstanceType"));
                assert_eq!(kind == "a9.big", is_other, "{kind} of {template}");
            }
            let data = part("LaunchTemplateSpecification.LaunchTemplateSpecificationUserData");
            let text = String::from_utf8(base64::decode(data).expect("base64")).expect("text");
            let (_, rest) = text.split_once("\"sha256\":\"").expect("the program");
            hashes.push(rest[..64].to_owned());
        }
        assert_ne!(hashes[0], hashes[1], "each its own program");
    });
}

fn subnets_of_a_zone_come_in_turn() {
    run(async {
        let subnets = &[("subnet-1", "a"), ("subnet-2", "a"), ("subnet-3", "b")];
        let fleets = vec![Fleet::Empty(&["InsufficientFreeAddressesInSubnet"])];
        let endpoint = Endpoint::start(Script { subnets, fleets, ..Script::default() }).await;
        let reason = launch(&endpoint, "spot").await;
        assert!(reason.contains("i-1"), "{reason}");
        let asked: Vec<_> = endpoint.calls("CreateFleet").iter().map(pools).collect();
        let first = vec![pool("c5.large", "subnet-1"), pool("c5.large", "subnet-3")];
        assert_eq!(asked, [first, vec![pool("c5.large", "subnet-2")]]);
    });
}

fn what_a_fleet_says_is_told() {
    run(async {
        const NO_CAPACITY: &str = "InsufficientInstanceCapacity: There is no capacity.";
        const NO_QUOTA: &str = "MaxSpotInstanceCountExceeded: Max spot instance count exceeded.";
        const IN_VAIN: &str = "UnfulfillableCapacity: Unable to fulfill capacity.";
        const NO_ROLE: &str = "AuthFailure.ServiceLinkedRoleCreationNotPermitted: No permission.";
        const NO_TYPE: &str = "InvalidFleetConfiguration: Your requested instance type (c5.large) is \
                               not supported in your requested Availability Zone (eu-west-1a).";
        let rows: [(Fleet, &str); 8] = [
            (
                Fleet::Empty(&[IN_VAIN, NO_CAPACITY]),
                "There is no capacity: give more instance types",
            ),
            (
                Fleet::Empty(&[NO_CAPACITY, NO_QUOTA]),
                "the account's quota of spot cores is used up",
            ),
            (Fleet::Empty(&[NO_TYPE]), "not supported in your requested Availability Zone"),
            (Fleet::Empty(&[IN_VAIN, NO_ROLE]), "aws iam create-service-linked-role"),
            (
                Fleet::Empty(&[NO_CAPACITY, "UnauthorizedOperation: You are not authorized."]),
                "\"cluster setup --print-policy\" prints one that does",
            ),
            (Fleet::Empty(&["SpotMaxPriceTooLow"]), "AWS says so"),
            (Fleet::Empty(&[]), "EC2 launched nothing and gave no reason: give more"),
            (Fleet::Unnamed, "EC2 has launched i-1 and does not say as what and where"),
        ];
        for (fleet, said) in rows {
            let endpoint =
                Endpoint::start(Script { fleets: vec![fleet], ..Script::default() }).await;
            let reason = launch(&endpoint, "instance=m5.large,spot").await;
            assert!(reason.contains(said), "{said}: {reason}");
            let attempt =
                "could not launch a c5.large or m5.large as spot in eu-west-1a or eu-west-1b";
            assert!(reason.contains(attempt), "{reason}");
            assert_eq!(endpoint.calls("CreateFleet").len(), 1, "{said}");
            assert!(endpoint.calls("RunInstances").is_empty(), "{said}");
            let ended = endpoint.calls("TerminateInstances").len();
            assert_eq!(ended, usize::from(matches!(fleet, Fleet::Unnamed)), "{said}");
        }
    });
}

fn on_demand_comes_after_spot() {
    run(async {
        for (code, falls_back) in [
            ("InsufficientInstanceCapacity", true),
            ("MaxSpotInstanceCountExceeded", true),
            ("UnfulfillableCapacity", true),
            ("SpotMaxPriceTooLow", true),
            ("UnauthorizedOperation", false),
            ("AuthFailure.ServiceLinkedRoleCreationNotPermitted", false),
        ] {
            let codes: &'static [&'static str] = Vec::leak(vec![code]);
            for fleet in [Fleet::Empty(codes), Fleet::Refused(code)] {
                let refusals = vec!["InsufficientInstanceCapacity"];
                let script = Script { fleets: vec![fleet], refusals, ..Script::default() };
                let endpoint = Endpoint::start(script).await;
                launch(&endpoint, "spot=fallback").await;
                let calls = endpoint.calls("RunInstances");
                let tried: Vec<&str> = calls.iter().map(|call| call.get("SubnetId")).collect();
                let expected = if falls_back { &["subnet-a", "subnet-b"][..] } else { &[] };
                assert_eq!(tried, expected, "{code}");
                let market = |call: &Call| call.get("InstanceMarketOptions.MarketType").to_owned();
                assert!(calls.iter().all(|call| market(call).is_empty()));
            }
        }
        // If there is spot capacity, nothing is tried on demand.
        let endpoint = Endpoint::start(Script::default()).await;
        launch(&endpoint, "spot=fallback").await;
        assert_eq!(endpoint.calls("CreateFleet").len(), 1);
        assert!(endpoint.calls("RunInstances").is_empty());
    });
}

fn a_throttled_fleet_is_repeated() {
    run(async {
        let fleets = vec![Fleet::Refused("RequestLimitExceeded"); 2];
        let endpoint = Endpoint::start(Script { fleets, ..Script::default() }).await;
        let reason = launch(&endpoint, "spot").await;
        assert!(reason.contains("i-1"), "{reason}");
        let calls = endpoint.calls("CreateFleet");
        assert_eq!(calls.len(), 3);
        assert!(calls.iter().all(|call| call.parameters == calls[0].parameters));
        assert_eq!(endpoint.calls("CreateLaunchTemplate").len(), 1);
    });
}

fn a_template_that_is_gone_is_made_again() {
    run(async {
        for (fleet, options, groups) in [
            (Fleet::Refused("InvalidLaunchTemplateId.NotFound"), "spot", 1),
            (Fleet::Empty(&["InvalidLaunchTemplateId.NotFound"]), "spot", 1),
            // A template names the group, and is removed with it.
            (Fleet::Empty(&["InvalidGroup.NotFound"]), "spot", 2),
            (Fleet::Refused("InvalidLaunchTemplateId.NotFound"), "spot,security-group=sg-users", 0),
        ] {
            let endpoint =
                Endpoint::start(Script { fleets: vec![fleet], ..Script::default() }).await;
            let reason = launch(&endpoint, options).await;
            assert!(reason.contains("i-1"), "{reason}");
            let calls = endpoint.calls("CreateFleet");
            let template = format!("{CONFIG}.LaunchTemplateSpecification.LaunchTemplateId");
            let used: Vec<&str> = calls.iter().map(|call| call.get(&template)).collect();
            assert_eq!(used, ["lt-1", "lt-2"]);
            assert_eq!(endpoint.calls("CreateSecurityGroup").len(), groups);
        }
    });
}

fn a_dropped_fleet_is_ended() {
    run(async {
        let delay = Duration::from_millis(500);
        let endpoint = Endpoint::start(Script { delay, ..Script::default() }).await;
        let ec2 = ec2(&endpoint, "spot");
        // Dropped while its template is made, nothing is launched; the next one uses that template.
        tokio::select! {
            _ = ec2.launch(order()) => panic!("it cannot be up"),
            () = eventually("the template", || {
                !endpoint.calls("CreateLaunchTemplate").is_empty()
            }) => {}
        }
        assert!(ec2.launch(order()).await.is_err(), "no instance comes up");
        assert_eq!(endpoint.calls("CreateFleet").len(), 1);
        assert_eq!(endpoint.calls("CreateLaunchTemplate").len(), 1);
        let ended = |n: usize| endpoint.calls("TerminateInstances").len() == n;
        eventually("its end", || ended(1)).await;
        tokio::select! {
            _ = ec2.launch(order()) => panic!("it cannot be up"),
            () = eventually("the fleet", || endpoint.calls("CreateFleet").len() == 2) => {}
        }
        eventually("its end", || ended(2)).await;
        assert_eq!(endpoint.calls("TerminateInstances")[1].get("InstanceId.1"), "i-1");
    });
}

fn what_is_not_allowed_is_said() {
    run(async {
        for (denied, attempt) in [
            ("CreateLaunchTemplate", "could not make the launch template of spot machines"),
            ("CreateFleet", "could not launch a c5.large as spot"),
        ] {
            let endpoint = Endpoint::start(Script { denied, ..Script::default() }).await;
            let reason = launch(&endpoint, "spot=fallback").await;
            assert!(reason.contains(attempt), "{reason}");
            assert!(reason.contains("cluster setup --print-policy"), "{reason}");
            assert!(endpoint.calls("RunInstances").is_empty());
        }
    });
}

fn an_unused_template_goes() {
    run(async {
        let endpoint = Endpoint::start(Script::default()).await;
        let ec2 = ec2(&endpoint, "spot");
        // The endpoint has one of long ago, whose session has no instance.
        let cleared = ec2.clusters().gc().await.expect("it is cleared");
        assert_eq!(cleared.templates, ["lt-old"]);
        let asked = &endpoint.calls("DescribeLaunchTemplates")[0];
        assert_eq!(asked.get("Filter.1.Name"), "tag-key");
        assert_eq!(asked.get("Filter.1.Value.1"), "bigslice:cluster");
        let deleted = endpoint.calls("DeleteLaunchTemplate");
        assert_eq!(deleted[0].get("LaunchTemplateId"), "lt-old");
    });
}

fn the_policy_is_narrow() {
    let policy: serde_json::Value =
        serde_json::from_str(bigslice_cluster::ec2::policy()).expect("it is JSON");
    let texts = |value: &serde_json::Value| match value.as_array() {
        Some(values) => values.iter().map(|v| v.as_str().expect("text").to_owned()).collect(),
        None => vec![value.as_str().expect("text").to_owned()],
    };
    let statements = policy["Statement"].as_array().expect("statements");
    for statement in statements.iter().filter(|statement| statement["Condition"].is_null()) {
        let looks = texts(&statement["Action"])
            .iter()
            .all(|action| action.starts_with("ec2:Describe") || action == "ssm:GetParameter");
        // No running, costly or new resource can be meant without a tag of ours.
        let made = ["instance", "volume", "fleet", "launch-template", "spot-instances-request"];
        let harmless = texts(&statement["Resource"]).iter().all(|resource| {
            resource != "*" && !made.iter().any(|made| resource.contains(&format!(":{made}/")))
        });
        assert!(looks || harmless, "{statement}");
    }
}
