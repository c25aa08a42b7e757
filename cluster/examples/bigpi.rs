//! Estimates pi on many machines: each throws darts at a square and counts the hits in the
//! inscribed circle. After the walkthrough of Go's Bigmachine.
//!
//! ```text
//! bigpi [--samples N] [--workers M | --system in-process:M | --system local:M | --system ec2:OPTIONS]
//! ```
//!
//! With the feature `ec2`, `--system ec2:instance=m7g.large,n=5,spot` prints on standard error what
//! it will start in the account of the environment's credentials, starts it, and leaves nothing
//! behind. The estimate is the last line. Each machine's darts come from a seed of its own, so that
//! the same numbers of samples and machines always give the same estimate, also if machines are
//! lost: another throws the same darts.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bigslice_cluster::{
    BoxError, CallError, Fleet, FleetConfig, InProcess, LocalProcesses, LogSource, Machine,
    Services, System, WorkerMain, is_worker, run_worker, service,
};
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};

/// Samples between two checks that the caller still waits: some milliseconds of work.
const BATCH: u64 = 1 << 20;
/// The most machines on which one share of the work is tried, one after the other.
const TRIES_MAX: u32 = 5;
/// How long a replacement of a machine may take to start.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// A circle in a square.
#[derive(Serialize, Deserialize)]
struct Circle {
    /// Separates this run's darts from those of another.
    seed: u64,
}

#[service]
impl Circle {
    /// Throws `samples` darts, the `stream`th sequence. Returns the number of hits.
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
        // Streams begin at unrelated positions.
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

/// The command line.
struct Arguments {
    samples: u64,
    place: Place,
}

/// The system of the machines.
enum Place {
    InProcess(usize),
    Local(usize),
    #[cfg(feature = "ec2")]
    Ec2(Box<bigslice_cluster::ec2::Ec2Spec>),
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut arguments = Self { samples: 100_000_000, place: Place::Local(2) };
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
                ("--workers", _) => arguments.place = Place::Local(machines(&value)?),
                ("--system", Some(("in-process", n))) => {
                    arguments.place = Place::InProcess(machines(n)?);
                }
                ("--system", Some(("local", n))) => arguments.place = Place::Local(machines(n)?),
                #[cfg(feature = "ec2")]
                ("--system", Some(("ec2", _))) => {
                    let spec = value.parse().map_err(|e: bigslice_cluster::Error| e.to_string())?;
                    arguments.place = Place::Ec2(Box::new(spec));
                }
                ("--system", _) => {
                    return Err(format!(
                        "\"{value}\" is not \"in-process:N\" or \"local:N\", nor \"ec2:OPTIONS\" of a \
                         program that was built with --features ec2"
                    ));
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
}

impl Place {
    /// The system, with the number of machines and timeouts. Prints the plan first if it costs.
    async fn open(&self) -> Result<(Arc<dyn System>, FleetConfig), BoxError> {
        let fixed = |machines| FleetConfig { machines, ..FleetConfig::default() };
        Ok(match self {
            Self::InProcess(n) => (Arc::new(InProcess::default()), fixed(*n)),
            Self::Local(n) => (Arc::new(LocalProcesses::new(None)), fixed(*n)),
            #[cfg(feature = "ec2")]
            Self::Ec2(spec) => {
                let ec2 = bigslice_cluster::ec2::Ec2::new((**spec).clone()).await?;
                drop(writeln!(std::io::stderr(), "{}", ec2.plan().await?));
                (Arc::new(ec2), spec.fleet())
            }
        })
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
    let (system, fixed) = arguments.place.open().await?;
    let config = FleetConfig {
        services: Services::new().with(&Circle { seed: 1 })?,
        log: Arc::new(|line| {
            let machine = line.machine.as_ref().map_or("fleet", |machine| machine.as_str());
            let mark = if line.source == LogSource::Fleet { "! " } else { "" };
            drop(writeln!(std::io::stderr(), "{mark}{machine}: {}", line.text));
        }),
        ..fixed
    };
    let fleet = Fleet::start(system, config).await?;
    let machines = fleet.machines();
    drop(writeln!(std::io::stderr(), "{} machines after {:.1?}", machines.len(), began.elapsed()));

    let n = machines.len() as u64;
    let calls = machines.iter().zip(0..).map(|(machine, stream)| {
        // The first machines take one more each of the remainder.
        let samples = arguments.samples / n + u64::from(stream < arguments.samples % n);
        share(&fleet, machine.clone(), stream, samples)
    });
    let hits: u64 = try_join_all(calls).await?.into_iter().sum();
    fleet.shutdown().await;
    Ok(4.0 * hits as f64 / arguments.samples as f64)
}

/// One share of the darts, thrown by `machine`, or by others if that one is lost.
async fn share(
    fleet: &Fleet,
    mut machine: Machine,
    stream: u64,
    samples: u64,
) -> Result<u64, BoxError> {
    let mut tries = 1;
    loop {
        match machine.call(Circle::sample, (stream, samples)).await {
            Ok(hits) => {
                let name = machine.name();
                drop(writeln!(std::io::stderr(), "{name}: {hits} of {samples}"));
                return Ok(hits);
            }
            Err(CallError::Transport(lost)) if tries < TRIES_MAX => {
                drop(writeln!(std::io::stderr(), "{lost}; its share goes to another"));
                tries += 1;
                fleet.verify().await;
                let whole = fleet.wait_for(fleet.size(), PATIENCE).await;
                // The newest is idle. If there is none, any running one will do.
                machine = match (fleet.ready().pop(), whole) {
                    (Some(newest), _) => newest,
                    (None, Ok(())) => machine,
                    (None, Err(err)) => return Err(err.into()),
                };
            }
            Err(err) => return Err(err.into()),
        }
    }
}
