//! Failing calls of each kind, and the messages of their errors.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use bigslice_cluster::{
    Blob, CallError, Fleet, FleetConfig, MESSAGE_SIZE_MAX, Method, NoInput, One, Services,
};
use futures::stream;

use super::super::harness::{Place, in_process, run, systems};
use super::probe::{Fussy, Probe, ProbeError};
use super::start;

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("service::errors::of_methods_keep_their_type", of_methods_keep_their_type),
    ("service::errors::of_any_type_keep_their_chain", of_any_type_keep_their_chain),
    ("service::errors::of_a_machine_behind_keep_the_way", of_a_machine_behind_keep_the_way),
    ("service::errors::panics_kill_nobody", panics_kill_nobody),
    ("service::errors::unknown_methods_are_refused", unknown_methods_are_refused),
    ("service::errors::large_messages_are_refused", large_messages_are_refused),
    ("service::errors::wrong_arguments_are_refused", wrong_arguments_are_refused),
    ("service::errors::time_is_up", time_is_up),
    ("service::errors::init_reaches_who_starts", init_reaches_who_starts),
];

/// The messages of an error, outermost first.
fn chain(err: &dyn std::error::Error) -> Vec<String> {
    let mut texts = vec![err.to_string()];
    let mut next = err.source();
    while let Some(err) = next {
        texts.push(err.to_string());
        next = err.source();
    }
    texts
}

fn of_methods_keep_their_type() {
    run(async {
        for system in systems() {
            let place = Place::new();
            let fleet = start(&place, system, 1).await;
            let machine = fleet.machines().remove(0);
            let err = machine.call(Probe::halve, 7).await.expect_err("seven is odd");
            assert_eq!(err.failed(), Some(&ProbeError::Odd(7)));
            assert_eq!((err.machine(), err.is_retryable()), (machine.name(), false));
            assert_eq!(err.method(), "it::service::probe::Probe::halve");
            assert_eq!(
                chain(&err),
                ["machine \"m0\": \"it::service::probe::Probe::halve\" failed", "7 is odd"]
            );
            fleet.shutdown().await;
        }
    });
}

fn of_any_type_keep_their_chain() {
    run(async {
        let place = Place::new();
        let fleet = start(&place, in_process(), 1).await;
        let machine = fleet.machines().remove(0);
        let err = machine.call(Probe::open, "/nowhere".to_owned()).await.expect_err("it is not");
        let texts = chain(&err);
        assert_eq!(texts[1], "could not open \"/nowhere\"");
        assert!(texts[2].starts_with("No such file"), "{texts:?}");
        assert_eq!(texts.len(), 3);
        let failure = err.failed().expect("the method failed");
        assert_eq!(failure.cause().source().map(ToString::to_string), texts.get(2).cloned());
        fleet.shutdown().await;
    });
}

fn of_a_machine_behind_keep_the_way() {
    run(async {
        let place = Place::new();
        let fleet = start(&place, in_process(), 2).await;
        let machines = fleet.machines();
        let behind = machines[1].address().expect("it runs");

        let call = machines[0].call(Probe::halve_at, (vec![behind.clone()], 7));
        let err = call.await.expect_err("seven is odd");
        let Some(ProbeError::Next(next)) = err.failed() else { panic!("{err:?}") };
        assert_eq!(next.failed(), Some(&ProbeError::Odd(7)));
        assert_eq!(next.machine(), machines[1].name());
        assert_eq!(
            chain(&err),
            [
                "machine \"m0\": \"it::service::probe::Probe::halve_at\" failed",
                "could not ask the next machine",
                "machine \"m1\": \"it::service::probe::Probe::halve_at\" failed",
                "7 is odd",
            ]
        );

        let call = machines[0].call(Probe::open_at, (behind.clone(), "/nowhere".to_owned()));
        let texts = chain(&call.await.expect_err("it is not there"));
        assert_eq!(texts[1], "machine \"m1\": \"it::service::probe::Probe::open\" failed");
        assert_eq!(texts.len(), 4, "{texts:?}");

        // If a machine loses another one, that is an error of its method, not of ours.
        machines[1].kill();
        let err = machines[0].call(Probe::halve_at, (vec![behind], 8)).await.expect_err("lost");
        let Some(ProbeError::Next(next)) = err.failed() else { panic!("{err:?}") };
        assert!(matches!(**next, CallError::Transport(_)), "{next:?}");
        assert!(next.is_retryable() && !err.is_retryable());
        assert_eq!(next.machine(), machines[1].name());
        fleet.shutdown().await;
    });
}

fn panics_kill_nobody() {
    run(async {
        for system in systems() {
            let place = Place::new();
            let fleet = start(&place, system, 1).await;
            let machine = fleet.machines().remove(0);
            for n in 0..20 {
                let err = machine.call(Probe::panic, format!("no {n}")).await.expect_err("it does");
                let CallError::Panicked(panicked) = &err else { panic!("{err:?}") };
                assert_eq!(panicked.text, format!("no {n}"));
                assert_eq!(panicked.machine, *machine.name());
                assert!(!err.is_retryable());
            }
            assert_eq!(machine.call(Probe::add, (1, 2)).await, Ok(3));
            assert!(fleet.verify().await.is_empty());
            fleet.shutdown().await;
        }
    });
}

fn unknown_methods_are_refused() {
    /// The name in another version of the program.
    const LOST: Method<Probe, u64, One<u64>, NoInput> = Method::__new("subtract");

    run(async {
        let place = Place::new();
        let fleet = start(&place, in_process(), 1).await;
        let err = fleet.machines()[0].call(LOST, 1).await.expect_err("there is none");
        let CallError::Refused(refused) = err else { panic!("{err:?}") };
        let named = "service \"it::service::probe::Probe\" has no method \"subtract\"; it has \
                     \"greet\", \"caller\", \"add\", \"halve\"";
        assert!(refused.reason.starts_with(named), "{}", refused.reason);
        fleet.shutdown().await;
    });
}

fn large_messages_are_refused() {
    run(async {
        let place = Place::new();
        let fleet = start(&place, in_process(), 1).await;
        let machine = fleet.machines().remove(0);
        // The largest that fits, there and back.
        let blob = Blob::from(vec![1; MESSAGE_SIZE_MAX]);
        assert_eq!(machine.call(Probe::echo, blob.clone()).await, Ok(blob));

        let over = MESSAGE_SIZE_MAX + 100;
        let argument = machine.call(Probe::echo, Blob::from(vec![1; over])).await;
        let reply = machine.call(Probe::zeros, over).await;
        let item = stream::iter([Blob::from(vec![1; over])]);
        let input = machine.call_with_input(Probe::take, 1, item).await.map(|()| Blob::default());
        let input = input.map_err(|err| match err {
            CallError::Refused(refused) => CallError::Refused(refused),
            other => panic!("{other:?}"),
        });
        for refused in [argument, reply, input] {
            let text = refused.expect_err("it is too large").to_string();
            assert!(text.contains("and a message at most 16777216"), "{text}");
        }
        assert_eq!(machine.call(Probe::add, (1, 2)).await, Ok(3));
        fleet.shutdown().await;
    });
}

fn wrong_arguments_are_refused() {
    /// A message of another version of the program.
    const WRONG: Method<Probe, u64, One<String>, NoInput> = Method::__new("greet");

    run(async {
        let place = Place::new();
        let fleet = start(&place, in_process(), 1).await;
        let err = fleet.machines()[0].call(WRONG, 7_000).await.expect_err("it is no text");
        let CallError::Refused(refused) = err else { panic!("{err:?}") };
        assert!(refused.reason.starts_with("the arguments cannot be read"), "{}", refused.reason);
        fleet.shutdown().await;
    });
}

fn time_is_up() {
    run(async {
        for system in systems() {
            let place = Place::new();
            let fleet = start(&place, system, 1).await;
            let machine = fleet.machines().remove(0);
            let after = Duration::from_millis(50);
            let err = machine.call(Probe::hang, ()).timeout(after).await.expect_err("it hangs");
            let CallError::TimedOut(late) = &err else { panic!("{err:?}") };
            assert_eq!((late.after, &late.machine), (after, machine.name()));
            assert!(err.to_string().ends_with("did not answer within 50 ms"), "{err}");
            fleet.shutdown().await;
        }
    });
}

fn init_reaches_who_starts() {
    run(async {
        for system in systems() {
            let refuses =
                Fussy { refuses: Some("the stove is out".to_owned()), ..Fussy::default() };
            let panics = Fussy { panics: true, ..Fussy::default() };
            let rows = [
                (refuses, "Fussy\": could not warm up: the stove is out"),
                (panics, "Fussy\": init panicked: at the disco on m"),
            ];
            for (fussy, reason) in rows {
                let place = Place::new();
                let services = Services::new().with(&fussy).expect("it can be encoded");
                let config = FleetConfig { services, ..place.config(2, "") };
                let err =
                    Fleet::start(Arc::clone(&system), config).await.expect_err("it cannot start");
                let text = err.to_string();
                assert!(text.contains(reason), "{text}");
                assert!(text.starts_with("machine \"m"), "{text}");
                assert!(place.sessions().is_empty());
            }
        }
    });
}
