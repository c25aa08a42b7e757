//! User settings, and the session that results from them.

use super::*;
use crate::SystemSpec;

/// The flags `arguments` with a settings file that contains `file`.
fn builder(file: &str, arguments: &[&str]) -> Result<SessionBuilder> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    std::fs::write(&path, file).unwrap();
    let args = SessionArgs::take([&["program"], arguments].concat())?.0;
    args.builder_in(Surroundings { config_file: Some(path), ..Surroundings::default() })
}

fn refusal(file: &str, arguments: &[&str]) -> (String, Option<String>) {
    let error = builder(file, arguments).expect_err("no error");
    let text = error.to_string();
    // The folder has another name each time.
    let text = text.rsplit_once("/config.toml").map_or(text.clone(), |(_, rest)| rest.to_owned());
    (text, error.hint())
}

#[test]
fn later_words_prevail() {
    let file = "workers = 1\npartitions = 3\nmemory-limit = \"4G\"\n[datafusion.execution]\nbatch_size = 7\n";
    let found = |arguments: &[&str]| {
        let config = builder(file, arguments).unwrap().config;
        let batch_size = config.settings.last().unwrap().clone();
        (config.system, config.partitions, config.memory_limit, batch_size.1)
    };
    let local = |machines| SystemSpec::Local { machines };
    let (partitions, memory) = (Some(3), Some(4 << 30));
    assert_eq!(found(&[]), (local(1), partitions, memory, "7".into()));
    assert_eq!(found(&["--workers", "2"]), (local(2), partitions, memory, "7".into()));
    let flags = ["--set", "workers=3", "--workers=2", "-set", "memory-limit = 1G"];
    assert_eq!(found(&flags), (local(3), partitions, Some(1 << 30), "7".into()));
    let flags = ["--system=here", "--set=datafusion.execution.batch_size=9"];
    assert_eq!(found(&flags), (SystemSpec::Here, partitions, memory, "9".into()));
}

#[test]
fn machines_come_and_go_if_a_limit_is_said_last() {
    let found = |file: &str, arguments: &[&str]| {
        let mut config = builder(file, arguments).unwrap().config;
        config.settle().unwrap();
        let idle = config.idle.map(|idle| idle.as_secs());
        (config.system.clone(), config.is_elastic(), idle)
    };
    let local = |machines| SystemSpec::Local { machines };
    assert_eq!(found("", &["--max", "3"]), (local(3), true, None));
    let tasks = SystemSpec::InProcess { machines: 4 };
    let flags = ["--system", "in-process", "--max=4", "--idle", "90s"];
    assert_eq!(found("", &flags), (tasks, true, Some(90)));
    assert_eq!(found("max = 5\nidle = \"2m\"", &[]), (local(5), true, Some(120)));
    assert_eq!(found("max = 5", &["--workers=2"]), (local(2), false, None));
    assert_eq!(found("max = 5", &["--system=here"]), (SystemSpec::Here, false, None));
    assert_eq!(found("workers = 2", &["--max=5"]), (local(5), true, None));
    for (file, flags, said) in [
        ("", &["--max", "0"][..], "\"0\" must be a number from 1 to 64"),
        ("", &["--idle", "5"], "\"5\" is not a duration such as 30s, 10m or 2h"),
        ("workers = 1\nmax = 2", &[], "keep one of them"),
        ("", &["--workers=1", "--max=2"], "cannot be used with"),
    ] {
        let (text, _) = refusal(file, flags);
        assert!(text.contains(said), "{text}");
    }
}

#[cfg(not(feature = "ec2"))]
#[test]
fn a_program_without_ec2_says_how_to_get_it_and_minds_no_table_of_it() {
    let (text, _) = refusal("", &["--system", "ec2:instance=m7g.2xlarge"]);
    assert!(text.contains("--features ec2"), "{text}");
    let (text, _) = refusal("system = \"ec2\"", &[]);
    assert!(text.contains("built without EC2"), "{text}");
    let file = "[ec2]\ninstance = [\"m7g.2xlarge\", \"m6g.2xlarge\"]";
    assert_eq!(builder(file, &[]).unwrap().config.system, SystemSpec::Here);
}

#[cfg(feature = "ec2")]
#[test]
fn what_is_said_of_ec2_comes_together() {
    let file = "[ec2]\ninstance = [\"m7g.2xlarge\", \"m6g.2xlarge\"]\nspot = true\nn = 2\n\
                [ec2.tag]\nteam = \"genes\"";
    let found = |arguments: &[&str]| match builder(file, arguments).unwrap().config.system {
        SystemSpec::Ec2(spec) => *spec,
        other => panic!("{other}"),
    };
    assert_eq!(builder(file, &[]).unwrap().config.system, SystemSpec::Here);
    let spec = found(&["--system", "ec2"]);
    assert_eq!(spec.instance, ["m7g.2xlarge", "m6g.2xlarge"]);
    assert_eq!((spec.n, spec.tags["team"].as_str()), (2, "genes"));
    let flags = ["--system=ec2:instance=c7g.large,n=8", "--set", "ec2.region=eu-west-1"];
    let spec = found(&flags);
    assert_eq!((spec.instance, spec.n), (vec!["c7g.large".to_owned()], 8));
    assert_eq!(spec.region.as_deref(), Some("eu-west-1"));
    let spec = found(&["--system=ec2:n=8", "--set=ec2.instance=c7g.large", "--set=ec2.n=3"]);
    assert_eq!((spec.instance, spec.n), (vec!["c7g.large".to_owned()], 3));
    let spec = found(&["--system=ec2:cores=8", "--set=ec2.memory=32G"]);
    assert_eq!((spec.instance.len(), spec.cores, spec.memory_gib), (0, Some(8), Some(32)));
    let spec = found(&["--system=ec2:cores=8", "--set=ec2.instance=c7g.large"]);
    assert_eq!((spec.instance.len(), spec.cores), (1, None));
    let (text, _) = refusal(file, &["--system=ec2", "--set=ec2.regoin=x"]);
    assert!(text.contains("did you mean \"region\"?"), "{text}");
    let (text, _) = refusal("", &["--system=ec2:n=3"]);
    assert!(text.contains("ec2 needs an instance type"), "{text}");
    let args = SessionArgs::take(["program", "--system=ec2:instance=c7g.large"]).unwrap().0;
    let user = Surroundings { user: Some("ada".to_owned()), ..Surroundings::default() };
    let SystemSpec::Ec2(spec) = args.builder_in(user).unwrap().config.system else { panic!() };
    assert_eq!(spec.owner, "ada");
}

#[test]
fn what_is_not_of_the_session_is_left() {
    let given =
        ["program", "--top", "3", "--workers", "2", "a", "--worker=4", "-x", "--", "--set", "b"];
    let (args, rest) = SessionArgs::take(given).unwrap();
    assert_eq!(args.workers, Some(2));
    assert_eq!(rest, ["program", "--top", "3", "a", "--worker=4", "-x", "--", "--set", "b"]);
    assert!(SessionArgs::take(Vec::<OsString>::new()).unwrap().1.is_empty());
}

#[test]
fn a_wrong_flag_is_named() {
    for (flags, message, hint) in [
        (&["--workers"][..], "a value is required for '--workers <N>' but none was supplied", None),
        (
            &["--workers", "65"],
            "invalid value '65' for '--workers <N>': \"65\" must be a number from 0 to 64",
            None,
        ),
        (
            &["--workers=1", "--system=local:2"],
            "the argument '--workers <N>' cannot be used with '--system <SPEC>'",
            Some("both say on which machines the work is done: give one of them"),
        ),
        (&["--set", "x"], "invalid value 'x' for '--set <KEY=VALUE>': write KEY=VALUE", None),
        (
            &["--set", "temp-root=x"],
            "--set: the setting \"temp-root\": \"x\" must be an absolute path such as /var/tmp",
            None,
        ),
        (
            &["-set", "memory_limit=1G"],
            "--set: there is no setting \"memory_limit\"",
            Some("did you mean \"memory-limit\"?"),
        ),
    ] {
        assert_eq!(refusal("", flags), (message.to_owned(), hint.map(str::to_owned)));
    }
}

#[test]
fn a_wrong_file_is_named_with_its_line() {
    for (file, message) in [
        ("\nworkers = -1", ":2: the setting \"workers\": \"-1\" must be a number from 0 to 64"),
        (
            "memory-limit = \"4X\"",
            ":1: the setting \"memory-limit\": \"4X\" is not a size such as 512M, 4G or 1.5GiB",
        ),
        (
            "workers = [1]",
            ":1: the setting \"workers\": the value has type array; it must be a string, a number, true or false",
        ),
        (
            "workers = 1\nsystem = \"local:2\"",
            ":2: the setting \"system\": \"workers\" already sets the machines: keep one of them",
        ),
        ("workers = 1\n\nworkers = 2", ":3: duplicate key"),
        (
            "[distributed]\nmax_tasks_per_stage = \"x\"",
            ":2: the setting \"distributed.max_tasks_per_stage\": \"x\" is not valid: invalid digit found in string",
        ),
    ] {
        let (text, hint) = refusal(file, &[]);
        assert!(text.starts_with(message), "{text}");
        assert_eq!(hint, None);
    }
    let (text, hint) = refusal("[datafusion.execution]\n# rows\nbatchsize = 1\n", &[]);
    assert_eq!(text, ":3: there is no setting \"datafusion.execution.batchsize\"");
    assert!(hint.unwrap().starts_with("did you mean \"datafusion.execution.batch_size\""));
    let (_, hint) = refusal("[datafusion.execution]\nmemory_limit = 1", &[]);
    assert_eq!(hint.unwrap(), "did you mean \"memory-limit\"?");
    let (_, hint) = refusal("zzz = 1", &[]);
    assert!(hint.unwrap().contains("workers; those of DataFusion"));
    let missing = SessionArgs::take(["program", "--config", "/none/at all.toml"]).unwrap().0;
    let error = missing.builder_in(Surroundings::default()).unwrap_err().to_string();
    assert!(error.starts_with("cannot read \"/none/at all.toml\": "), "{error}");
}

#[test]
fn no_file_is_no_error() {
    let none = Surroundings { config_file: Some("/none/config.toml".into()), ..Default::default() };
    let config = SessionArgs::default().builder_in(none).unwrap().config;
    assert_eq!(config.system, SystemSpec::Here);
}

#[test]
fn the_flags_are_well_formed_and_described() {
    Alone::command().debug_assert();
    let help = SessionArgs::help();
    for flag in ["--workers <N>", "--system", "--memory-limit", "--partitions", "--set", "--config"]
    {
        assert!(help.contains(flag), "{help}");
    }
}
