//! Systems like clouds: they have fewer machines than wanted, announce that they will take one
//! away, and keep resources of a session that must be removed when it is over.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bigslice_cluster::{
    Elastic, Error, Fleet, FleetConfig, Instance, Launch, Launched, LogSource, Result, SessionId,
    State, System,
};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::harness::{DEADLINE, Place, eventually, in_process, local, run, stop};

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("scarce::a_fleet_goes_on_with_those_that_came", a_fleet_goes_on_with_those_that_came),
    ("scarce::one_failure_of_many_is_tried_again", one_failure_of_many_is_tried_again),
    ("scarce::too_few_are_no_fleet", too_few_are_no_fleet),
    ("scarce::a_machine_that_leaves_is_replaced_before_it_goes", a_leaving_machine_is_replaced),
    ("scarce::a_free_machine_that_leaves_is_released", a_free_leaving_machine_is_released),
    ("scarce::what_a_system_keeps_is_removed_at_the_end", what_a_system_keeps_is_removed),
    ("scarce::patience_with_silent_machines_can_be_chosen", patience_can_be_chosen),
];

/// A system with a limited number of machines.
#[derive(Debug)]
struct Scarce {
    inner: Arc<dyn System>,
    left: AtomicUsize,
    refused: AtomicUsize,
    /// The machines that it will take back.
    back: watch::Sender<Vec<String>>,
    /// The sessions that it has cleaned up, and whether it could.
    ended: Mutex<Vec<SessionId>>,
    untidy: bool,
}

impl Scarce {
    fn with(machines: usize) -> Arc<Self> {
        Self::tidying(machines, false)
    }

    fn tidying(machines: usize, untidy: bool) -> Arc<Self> {
        Arc::new(Self {
            inner: in_process(),
            left: AtomicUsize::new(machines),
            refused: AtomicUsize::new(0),
            back: watch::Sender::new(Vec::new()),
            ended: Mutex::default(),
            untidy,
        })
    }
}

#[async_trait]
impl System for Scarce {
    fn name(&self) -> &'static str {
        "scarce"
    }

    async fn launch(&self, launch: Launch) -> Result<Launched> {
        let take = |left: usize| left.checked_sub(1);
        if self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_err() {
            self.refused.fetch_add(1, Ordering::SeqCst);
            let reason = "there are no more".to_owned();
            return Err(Error::Start { machine: launch.machine, reason });
        }
        let name = launch.machine.to_string();
        let Launched { enrolled, instance } = self.inner.launch(launch).await?;
        let lent = Lent { instance, name, back: self.back.subscribe() };
        Ok(Launched { enrolled, instance: Arc::new(lent) })
    }

    async fn end_session(&self, session: &SessionId) -> Result<()> {
        self.ended.lock().push(session.clone());
        if self.untidy {
            return Err(Error::Options("the drawer does not open".to_owned()));
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Lent {
    instance: Arc<dyn Instance>,
    name: String,
    back: watch::Receiver<Vec<String>>,
}

#[async_trait]
impl Instance for Lent {
    fn kill(&self) {
        self.instance.kill();
    }

    async fn ended(&self) -> String {
        self.instance.ended().await
    }

    async fn leaving(&self) -> String {
        let mut back = self.back.clone();
        drop(back.wait_for(|names| names.contains(&self.name)).await.expect("the system is there"));
        "its owner wants it back".to_owned()
    }

    async fn close(&self) {
        self.instance.close().await;
    }
}

fn a_fleet_goes_on_with_those_that_came() {
    run(async {
        let (place, system) = (Place::new(), Scarce::with(2));
        let config = FleetConfig { enough: Some(1), ..place.config(4, "") };
        let fleet = Fleet::start(Arc::clone(&system) as _, config).await.expect("two are enough");
        assert_eq!((fleet.machines().len(), fleet.size()), (2, 4));
        // Far more often than a fleet without a minimum would try.
        eventually("many tries", || (system.refused.load(Ordering::SeqCst) > 8).then_some(()))
            .await;
        system.left.store(usize::MAX, Ordering::SeqCst);
        fleet.wait_for(4, DEADLINE).await.expect("now there are more");
        fleet.shutdown().await;
        let said = place.logged(LogSource::Fleet, None);
        let expected =
            "could not start: there are no more; going on with 2 of 4, retrying periodically";
        // It may fail before the first has started, and is then logged again.
        assert!(said.iter().all(|line| line.starts_with("could not start: there")), "{said:?}");
        assert!(said.len() <= 2 && said.iter().any(|line| line == expected) || said.len() == 1);
    });
}

fn one_failure_of_many_is_tried_again() {
    run(async {
        let (place, system) = (Place::new(), Scarce::with(2));
        let config = FleetConfig { enough: Some(3), ..place.config(3, "") };
        let mended = Arc::clone(&system);
        let mending = async move {
            eventually("a failure", || (mended.refused.load(Ordering::SeqCst) > 0).then_some(()))
                .await;
            mended.left.store(9, Ordering::SeqCst);
        };
        let (fleet, ()) = tokio::join!(Fleet::start(Arc::clone(&system) as _, config), mending);
        let fleet = fleet.expect("the third comes with the next try");
        assert_eq!(fleet.machines().len(), 3);
        fleet.shutdown().await;
    });
}

fn too_few_are_no_fleet() {
    run(async {
        let (place, system) = (Place::new(), Scarce::with(1));
        let began = Instant::now();
        let config = FleetConfig { enough: Some(2), ..place.config(3, "") };
        let err = Fleet::start(system, config).await.expect_err("one is not enough");
        assert!(err.to_string().contains("there are no more"), "{err}");
        assert!(began.elapsed() < DEADLINE / 2, "it was given up, not waited for");
        assert!(place.sessions().is_empty());
    });
}

fn a_leaving_machine_is_replaced() {
    run(async {
        let (place, system) = (Place::new(), Scarce::with(9));
        let fleet = Fleet::start(Arc::clone(&system) as _, place.config(2, "")).await;
        let fleet = fleet.expect("it starts");
        let leaving = fleet.machines().remove(0);
        system.back.send_replace(vec![leaving.name().to_string()]);
        eventually("the notice", || leaving.leaving()).await;
        assert!(!leaving.is_trusted());
        fleet.wait_for(2, DEADLINE).await.expect("another comes before it goes");
        let names = |machines: Vec<bigslice_cluster::Machine>| {
            machines.iter().map(|m| m.name().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(names(fleet.ready()), ["m1", "m2"]);
        // Its data is still there, and it answers.
        assert_eq!(names(fleet.machines()), ["m0", "m1", "m2"]);
        fleet.info(&leaving).await.expect("it answers");
        assert_eq!(fleet.lost_total(), 0);
        let stats = fleet.stats();
        assert_eq!((stats.running, stats.leaving, stats.on_probation), (2, 1, 0));
        leaving.kill();
        leaving.wait(State::Stopped).await;
        assert_eq!(fleet.lost()[0].reason, "killed; its owner wants it back");
        fleet.info(&fleet.machines()[1]).await.expect("the others go on");
        fleet.shutdown().await;
        let said = place.logged(LogSource::Fleet, Some(leaving.name()));
        assert_eq!(
            said,
            [
                "gets no new work: its owner wants it back; starting another",
                "lost: killed; its owner wants it back",
            ]
        );
        assert_eq!(system.left.load(Ordering::SeqCst), 6);
    });
}

fn a_free_leaving_machine_is_released() {
    run(async {
        let (place, system) = (Place::new(), Scarce::with(9));
        let config = FleetConfig { lease: Duration::from_secs(600), ..place.config(2, "") };
        let elastic = Elastic { idle: Duration::from_secs(600), ..Elastic::default() };
        let fleet = Fleet::elastic(Arc::clone(&system) as _, config, &elastic).expect("a fleet");
        let _demand = fleet.demand(2);
        fleet.wait_for(2, DEADLINE).await.expect("they start");
        let machines = fleet.machines();
        let hold = machines[0].hold().expect("it runs");
        system.back.send_replace(vec!["m0".to_owned(), "m1".to_owned()]);
        machines[1].wait(State::Stopped).await;
        assert_eq!(machines[1].err(), None);
        fleet.wait_for(2, DEADLINE).await.expect("others come");
        assert_eq!(machines[0].state(), State::Running, "somebody works there");
        drop(hold);
        machines[0].wait(State::Stopped).await;
        assert_eq!((fleet.lost_total(), fleet.stats().released_total), (0, 2));
        fleet.shutdown().await;
    });
}

fn what_a_system_keeps_is_removed() {
    run(async {
        for untidy in [false, true] {
            let (place, system) = (Place::new(), Scarce::tidying(9, untidy));
            let fleet = Fleet::start(Arc::clone(&system) as _, place.config(2, "")).await;
            let fleet = fleet.expect("it starts");
            let machines = fleet.machines();
            fleet.shutdown().await;
            fleet.shutdown().await;
            assert_eq!(*system.ended.lock(), [fleet.session().clone()]);
            assert!(machines.iter().all(|machine| machine.state() == State::Stopped));
            let said = place.logged(LogSource::Fleet, None);
            let expected: &[&str] = &["could not remove everything: the drawer does not open"];
            assert_eq!(said, if untidy { expected } else { &[] });
        }
    });
}

fn patience_can_be_chosen() {
    run(async {
        let place = Place::new();
        let silence = Duration::from_secs(5);
        let lease = Duration::from_secs(600);
        let config = FleetConfig { lease, silence, ..place.config(1, "") };
        let fleet = Fleet::start(local(), config).await.expect("it starts");
        let machine = fleet.machines().remove(0);
        stop(machine.pid().expect("a process")).await;
        let began = Instant::now();
        let lost = fleet.verify().await;
        assert!(began.elapsed() >= silence, "{:?}", began.elapsed());
        assert_eq!(lost[0].machine, *machine.name());
        fleet.shutdown().await;
    });
}
