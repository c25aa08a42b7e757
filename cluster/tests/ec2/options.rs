//! The options of `ec2:`, and the errors of invalid ones.

use std::time::Duration;

use bigslice_cluster::ec2::{Ec2Spec, Market, Reach, Rebalance};

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("options_are_read", options_are_read),
    ("options_that_cannot_be_are_refused_in_words", bad_options_are_refused),
];

fn options_are_read() {
    let text = "ec2:instance=m7g.2xlarge,instance=m6g.2xlarge,n=8,spot=fallback,region=eu-west-1,\
                subnet=subnet-a,root=1T,data=100G,address=public,allow=203.0.113.7,lifetime=90m,\
                tag.team=genomes,env.MODE=fast,worker-binary.arm64=/tmp/p,iam-profile=reader";
    let spec: Ec2Spec = text.parse().expect("good options");
    assert_eq!(spec.instance, ["m7g.2xlarge", "m6g.2xlarge"]);
    assert_eq!((spec.n, spec.market, spec.reach), (8, Market::SpotOrOnDemand, Reach::Public));
    assert_eq!((spec.root_gib, spec.data_gib), (1024, Some(100)));
    assert_eq!(spec.lifetime, Duration::from_secs(90 * 60));
    assert_eq!(spec.allow.expect("a range").to_string(), "203.0.113.7/32");
    assert_eq!(spec.tags["team"], "genomes");
    let shown = format!("{spec:?}");
    assert!(shown.contains("MODE") && !shown.contains("fast"), "{shown}");
    let text = "cores=64,memory=256G,n=9,min=6,spot,rebalance=replace,unit=/etc/a.service,\
                file=/tmp/a:b:/data/c";
    let spec: Ec2Spec = text.parse().expect("good options");
    assert_eq!((spec.cores, spec.memory_gib, spec.n_min), (Some(64), Some(256), Some(6)));
    assert_eq!(spec.rebalance, Rebalance::Replace);
    assert_eq!(spec.files["/data/c"].to_str(), Some("/tmp/a:b"));
    assert_eq!(spec.units, [std::path::PathBuf::from("/etc/a.service")]);
    let fleet = spec.fleet();
    assert_eq!((fleet.machines, fleet.enough, fleet.lease.as_secs()), (9, Some(6), 60));
    let spec: Ec2Spec = "instance=c5.large,spot".parse().expect("good options");
    assert_eq!((spec.n, spec.market), (1, Market::Spot));
    // All are wanted, and each is retried.
    assert_eq!(spec.fleet().enough, Some(1));
}

fn bad_options_are_refused() {
    let rows = [
        (
            "ec2:n=8",
            "needs an instance type, such as instance=m7g.2xlarge, or what a machine must have",
        ),
        ("ec2:instance=m7g.large,cores=8", "instance and cores exclude each other"),
        ("ec2:core=8", "did you mean \"cores\"?"),
        ("ec2:cores=8,memroy=8G", "did you mean \"memory\"?"),
        ("ec2:memory=8", "must be a size such as 100G"),
        ("ec2:cores=0", "cores=0 is not between 1 and"),
        ("ec2:memory=100T", "memory=102400G is not between 1G and"),
        ("ec2:cores=2,n=3,min=4", "min=4 is not between 1 and n=3"),
        ("ec2:cores=2,rebalance=yes", "must be log or replace"),
        ("ec2:cores=2,file=/tmp/a", "as in file=genes.fa:/data/genes.fa"),
        ("ec2:cores=2,file=/tmp/a:/data/", "\"/data/\" is not the name of a file"),
        ("ec2:cores=2,file=/tmp/a:../a", "\"../a\" is not the name of a file"),
        ("ec2:cores=2,unit=/tmp/a.sh", "not have a name of a systemd unit"),
        ("ec2:instnce=m7g.large", "did you mean \"instance\"?"),
        ("ec2:instance=m7g.large,regoin=x", "did you mean \"region\"?"),
        ("ec2:instance=m7g.large,spott", "did you mean \"spot\"?"),
        ("ec2:instance=m7g.large,zzz=1", "only address, allow"),
        ("ec2:instance=m7g.large,region", "\"region\" of ec2 has no value"),
        ("ec2:instance=m7g.large,n=many", "\"many\" is not a whole number"),
        ("ec2:instance=m7g.large,n=0", "between 1 and"),
        ("ec2:instance=large", "not an instance type such as"),
        ("ec2:instance=m7g.large,root=100", "must be a size such as 100G"),
        ("ec2:instance=m7g.large,root=2G", "between 8G and"),
        ("ec2:instance=m7g.large,lifetime=1", "must be a time such as 90m"),
        ("ec2:instance=m7g.large,lifetime=1m", "between 10m and 30d"),
        ("ec2:instance=m7g.large,spot=maybe", "say spot, spot=fallback"),
        ("ec2:instance=m7g.large,allow=0.0.0.0/0", "nearly everybody"),
        ("ec2:instance=m7g.large,allow=home", "not a range of addresses"),
        ("ec2:instance=m7g.large,address=public", "needs allow="),
        ("ec2:instance=m7g.large,tag.bigslice:owner=x", "is reserved"),
        ("ec2:instance=m7g.large,worker-binary.mips=/p", "not an architecture of EC2"),
        ("ec2:instance=m7g.large,port=22", "below 1024"),
    ];
    let long = format!("ec2:instance=m7g.large,name={}", "x".repeat(200));
    for (text, expected) in rows.into_iter().chain([(&*long, "name is not 1 to 128 letters")]) {
        let err = text.parse::<Ec2Spec>().expect_err(text).to_string();
        assert!(err.contains(expected), "{text}: {err}");
    }
}
