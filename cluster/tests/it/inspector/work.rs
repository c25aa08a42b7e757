//! A service with visible work: it computes, counts, and prints.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bigslice_cluster::{Fleet, FleetConfig, ServiceContext, Services, System, prometheus, service};
use serde::{Deserialize, Serialize};

use super::super::harness::Place;

/// Computes for the requested time.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Work {
    #[serde(skip)]
    rounds: Option<prometheus::IntCounter>,
}

#[service]
impl Work {
    async fn init(&mut self, context: &ServiceContext) -> Result<(), prometheus::Error> {
        let rounds = prometheus::IntCounter::new("work_rounds_total", "Rounds of \"work\".\nAll.")?;
        context.metrics().register(Box::new(rounds.clone()))?;
        self.rounds = Some(rounds);
        Ok(())
    }

    /// Computes, without ever awaiting.
    pub(crate) async fn compute(&self, millis: u64) -> u64 {
        self.rounds.iter().for_each(prometheus::IntCounter::inc);
        let until = Instant::now() + Duration::from_millis(millis);
        let mut sum = 0;
        while Instant::now() < until {
            sum = grind_the_numbers(sum);
        }
        sum
    }

    /// Prints a line.
    pub(crate) async fn print(&self, text: String) {
        eprintln!("{text}");
    }
}

/// The function that a profile finds.
#[inline(never)]
fn grind_the_numbers(seed: u64) -> u64 {
    (0..100_000).fold(seed, |sum: u64, n| std::hint::black_box(sum.rotate_left(5) ^ n))
}

/// Machines that work.
pub(crate) async fn start(place: &Place, system: Arc<dyn System>, machines: usize) -> Fleet {
    let services = Services::new().with(&Work::default()).expect("it can be encoded");
    let config = FleetConfig {
        services,
        // Samples come with renewals.
        lease: Duration::from_secs(2),
        ..place.config(machines, "")
    };
    Fleet::start(system, config).await.expect("the fleet starts")
}
