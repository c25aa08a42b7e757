//! The output of machines is kept after they have ended.

use bigslice_cluster::{Fleet, LogSource};
use rustix::process::Signal;

use super::super::harness::{Place, eventually, local, run, signal};
use super::work::{Work, start};

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("inspector::logs::of_a_machine_that_is_gone", of_a_machine_that_is_gone),
    ("inspector::logs::of_one_that_does_not_come_up", of_one_that_does_not_come_up),
];

fn of_a_machine_that_is_gone() {
    run(async {
        let place = Place::new();
        let fleet = start(&place, local(), 2).await;
        let machine = fleet.machines().remove(0);
        machine.call(Work::print, "the last words".to_owned()).await.expect("it prints");
        let log = || fleet.inspector().log(machine.name());
        eventually("the line", || log().iter().any(|l| l.text == "the last words").then_some(()))
            .await;
        signal(machine.pid().expect("a process"), Signal::KILL);
        fleet.losses().wait_for(|n| *n == 1).await.expect("a loss");
        let lines: Vec<_> = log().into_iter().map(|line| (line.source, line.text)).collect();
        let lost = "lost: killed by signal 9; starting another".to_owned();
        assert_eq!(
            lines,
            [(LogSource::Stderr, "the last words".to_owned()), (LogSource::Fleet, lost)]
        );
        assert!(fleet.inspector().logged().contains(machine.name()));
        fleet.shutdown().await;
        // Also after the end, when it is needed most.
        assert_eq!(log().len(), 2);
    });
}

fn of_one_that_does_not_come_up() {
    run(async {
        let place = Place::new();
        let config = place.config(1, "exit 3");
        let err = Fleet::start(local(), config).await.expect_err("it does not come up");
        let text = err.to_string();
        assert!(text.contains("ended with status 3"), "{text}");
        assert!(text.contains("first word of m0\nlast word of m0"), "{text}");
    });
}
