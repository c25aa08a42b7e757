//! The usage of machines is kept as long as the session lives, also of machines that are gone.

use bigslice_cluster::Point;
use tokio::task::JoinSet;

use super::super::harness::{Place, eventually, in_process, local, run};
use super::work::{Work, start};

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("inspector::series::grow_while_a_machine_works", grow_while_a_machine_works),
    ("inspector::series::machines_within_the_driver_are_not_counted_twice", within_the_driver),
];

fn grow_while_a_machine_works() {
    run(async {
        let place = Place::new();
        let fleet = start(&place, local(), 2).await;
        let inspector = fleet.inspector().clone();
        let machine = fleet.machines().remove(0);
        let mut working = JoinSet::new();
        let busy = machine.clone();
        working.spawn(async move { while busy.call(Work::compute, 100).await.is_ok() {} });
        let of = |name: &str| {
            let all = inspector.series();
            all.into_iter().find(|series| series.machine().as_str() == name)
        };
        let seen = eventually("a busy machine in its series", || {
            let series = of("m0")?;
            let computed = |point: &Point| point.usage.cpu_seconds();
            let [first, .., last] = series.points() else { return None };
            (computed(last) - computed(first) > 0.5).then_some(series)
        })
        .await;
        assert!(!seen.is_ended());
        assert!(seen.busy().iter().any(|busy| *busy > 0.01), "{:?}", seen.busy());
        let point = seen.points().last().expect("a point");
        assert!(point.usage.resident_bytes < point.usage.memory_bytes);

        machine.kill();
        let mut losses = fleet.losses();
        losses.wait_for(|n| *n == 1).await.expect("a loss");
        let after = of("m0").expect("it is remembered");
        assert!(after.is_ended());
        assert!(after.points().len() >= seen.points().len());
        let reports = inspector.machines();
        let names: Vec<&str> = reports.iter().map(|report| report.name.as_str()).collect();
        assert_eq!(names[0], "driver");
        let report = reports.iter().find(|report| report.name.as_str() == "m0").expect("a report");
        assert_eq!((report.state.as_str(), report.trusted), ("lost", false));
        assert_eq!(report.reason.as_deref(), Some("killed by signal 9"));
        fleet.shutdown().await;
    });
}

fn within_the_driver() {
    run(async {
        let place = Place::new();
        let fleet = start(&place, in_process(), 3).await;
        let mut renewals = 0;
        eventually("a few renewals", || {
            renewals += 1;
            (renewals > 60).then_some(())
        })
        .await;
        let series = fleet.inspector().series();
        assert_eq!(series.len(), 1, "the driver's alone: {series:?}");
        let reports = fleet.inspector().machines();
        assert_eq!(reports.len(), 4);
        assert!(reports[1..].iter().all(|report| report.within_driver && report.usage.is_none()));
        fleet.shutdown().await;
    });
}
