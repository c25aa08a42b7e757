//! Estimates pi on many machines: each throws darts at a square and counts those that hit the circle
//! in it. After the walkthrough of Go's Bigmachine.
//!
//! ```text
//! bigpi [--samples N] [--workers M | --system in-process:M | --system local:M]
//! ```
//!
//! The estimate is the last line. Each machine's darts come from a seed of its own, so that the same
//! numbers of samples and machines always give the same estimate.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use bigslice_cluster::{
    BoxError, CallError, Fleet, FleetConfig, InProcess, LocalProcesses, LogSource, Services,
    System, WorkerMain, is_worker, run_worker, service,
};
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};

/// Samples between two looks at whether anybody still waits for them: some milliseconds of work.
const BATCH: u64 = 1 << 20;

/// A circle in a square.
#[derive(Serialize, Deserialize)]
struct Circle {
    /// Sets this run's darts apart from those of another.
    seed: u64,
}

#[service]
impl Circle {
    /// Throws `samples` darts, the `stream`th sequence of them; how many hit.
    async fn sample(&self, stream: u64, samples: u64) -> u64 {
        let mut darts = Darts::new(self.seed, stream);
        let mut hits = 0;
        for begin in (0..samples).step_by(BATCH as usize) {
            let batch = BATCH.min(samples - begin);
            hits += (0..batch).filter(|_| darts.hit()).count() as u64;
            tokio::task::yield_now().await;
        }
        hits
    }
}

/// Pseudo-random points of the unit square: SplitMix64, which needs no more state than a counter.
struct Darts {
    state: u64,
}

impl Darts {
    fn new(seed: u64, stream: u64) -> Self {
        let mut darts = Self { state: seed };
        // Streams begin at places that have nothing to do with each other.
        darts.state = darts.next() ^ stream.wrapping_mul(0xd134_2543_de82_ef95);
        darts.state = darts.next();
        darts
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number of [0, 1): the upper 53 bits.
    fn coordinate(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn hit(&mut self) -> bool {
        let (x, y) = (self.coordinate() - 0.5, self.coordinate() - 0.5);
        x * x + y * y <= 0.25
    }
}

/// What the command line says.
struct Arguments {
    samples: u64,
    machines: usize,
    in_process: bool,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut arguments = Self { samples: 100_000_000, machines: 2, in_process: false };
        while let Some(word) = words.next() {
            let (flag, value) = match word.split_once('=') {
                Some((flag, value)) => (flag.to_owned(), Some(value.to_owned())),
                None => (word, words.next()),
            };
            let value = value.ok_or_else(|| format!("\"{flag}\" needs a value"))?;
            let number = |text: &str| {
                let n = text.parse::<u64>().ok().filter(|n| *n > 0);
                n.ok_or_else(|| format!("\"{text}\" is not a number above 0"))
            };
            let machines = |text: &str| match number(text)? {
                n if n <= 1000 => Ok(n as usize),
                n => Err(format!("{n} machines are more than this example starts (1000)")),
            };
            match (flag.as_str(), value.split_once(':')) {
                ("--samples", _) => arguments.samples = number(&value)?,
                ("--workers", _) => arguments.machines = machines(&value)?,
                ("--system", Some((system @ ("in-process" | "local"), n))) => {
                    arguments.machines = machines(n)?;
                    arguments.in_process = system == "in-process";
                }
                ("--system", _) => {
                    return Err(format!("\"{value}\" is not \"in-process:N\" or \"local:N\""));
                }
                (other, _) => {
                    return Err(format!(
                        "\"{other}\" is not one of --samples N, --workers M, --system SYSTEM:M"
                    ));
                }
            }
        }
        Ok(arguments)
    }

    fn system(&self) -> Arc<dyn System> {
        if self.in_process {
            Arc::new(InProcess::default())
        } else {
            Arc::new(LocalProcesses::new(None))
        }
    }
}

fn main() -> ExitCode {
    // The machines of `--system local` are this program too.
    if is_worker() {
        return run_worker(WorkerMain::default());
    }
    let ended: Result<f64, BoxError> = Arguments::parse(std::env::args().skip(1))
        .map_err(Into::into)
        .and_then(|arguments| tokio::runtime::Runtime::new()?.block_on(estimate(&arguments)));
    match ended {
        Ok(pi) => {
            drop(writeln!(std::io::stdout(), "{pi}"));
            ExitCode::SUCCESS
        }
        Err(err) => {
            let mut text = format!("bigpi: {err}");
            let mut next = err.source();
            while let Some(cause) = next {
                text = format!("{text}: {cause}");
                next = cause.source();
            }
            drop(writeln!(std::io::stderr(), "{text}"));
            ExitCode::FAILURE
        }
    }
}

async fn estimate(arguments: &Arguments) -> Result<f64, BoxError> {
    let began = Instant::now();
    let config = FleetConfig {
        machines: arguments.machines,
        services: Services::new().with(&Circle { seed: 1 })?,
        log: Arc::new(|line| {
            let machine = line.machine.as_ref().map_or("fleet", |machine| machine.as_str());
            let mark = if line.source == LogSource::Fleet { "! " } else { "" };
            drop(writeln!(std::io::stderr(), "{mark}{machine}: {}", line.text));
        }),
        ..FleetConfig::default()
    };
    let fleet = Fleet::start(arguments.system(), config).await?;
    let machines = fleet.machines();
    drop(writeln!(std::io::stderr(), "{} machines after {:.1?}", machines.len(), began.elapsed()));

    let n = machines.len() as u64;
    let calls = machines.iter().zip(0..).map(|(machine, stream)| async move {
        // The first machines take one more each of what does not divide.
        let samples = arguments.samples / n + u64::from(stream < arguments.samples % n);
        let hits = machine.call(Circle::sample, (stream, samples)).await?;
        drop(writeln!(std::io::stderr(), "{}: {hits} of {samples}", machine.name()));
        Ok::<u64, CallError>(hits)
    });
    let hits: u64 = try_join_all(calls).await?.into_iter().sum();
    fleet.shutdown().await;
    Ok(4.0 * hits as f64 / arguments.samples as f64)
}
