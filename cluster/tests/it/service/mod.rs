//! Services and their calls, on machines of both systems.

mod bigpi;
mod calls;
mod endings;
mod errors;
mod probe;
mod streams;

use std::sync::Arc;

use bigslice_cluster::{Fleet, FleetConfig, Services, System};

use super::harness::Place;
use probe::Probe;

pub(crate) fn tests() -> Vec<(&'static str, fn())> {
    [bigpi::TESTS, calls::TESTS, errors::TESTS, streams::TESTS, endings::TESTS].concat()
}

/// Services with a [`Probe`] that says "hello".
fn probes() -> Services {
    Services::new().with(&Probe::greeting("hello")).expect("it can be encoded")
}

/// Machines with the services of [`probes`].
async fn start(place: &Place, system: Arc<dyn System>, machines: usize) -> Fleet {
    let config = FleetConfig { services: probes(), ..place.config(machines, "") };
    Fleet::start(system, config).await.expect("the fleet starts")
}
