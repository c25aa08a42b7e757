//! The driver's cost per machine: starts many machines, calls each, leaves them idle for a while,
//! pings all at once, collects their metrics on one page, profiles all of them, stops them.
//!
//! ```text
//! cargo run --release -p bigslice-cluster --example many -- in-process 50 100 200
//! cargo run --release -p bigslice-cluster --example many -- local 200
//! ```
//!
//! `local` shows the cost of the driver itself, because the machines are processes of their own;
//! `in-process` shows the driver and the machines together.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "what it prints is what it is for")]

use std::fs;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bigslice_cluster::{
    BoxError, Error, Fleet, FleetConfig, InProcess, LocalProcesses, ServiceFactory, System,
    WorkerMain,
};
use futures::{StreamExt, stream};
use tonic::service::Routes;

/// How long the machines are idle: two leases.
const REST: Duration = Duration::from_secs(20);
/// Calls at a time.
const CALLS: usize = 16;
/// The unit in which Linux counts the time of processes, whatever its clock does.
const TICKS_PER_SECOND: f64 = 100.0;

fn services() -> ServiceFactory {
    Arc::new(|_| Box::pin(async { Ok(Routes::default()) }))
}

fn main() -> ExitCode {
    if bigslice_cluster::is_worker() {
        return bigslice_cluster::run_worker(WorkerMain { services: services() });
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("many: {err}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), BoxError> {
    let mut args = std::env::args().skip(1);
    let place = args.next().unwrap_or_else(|| "in-process".to_owned());
    let mut sizes: Vec<usize> = args.map(|size| size.parse()).collect::<Result<_, _>>()?;
    if sizes.is_empty() {
        sizes = vec![50, 100, 200];
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    println!(
        "machines   start ms  each ms   KiB each   calls ms   verify ms   idle cpu %   metrics ms   \
         KiB page   profile ms   stop ms"
    );
    for size in sizes {
        let system: Arc<dyn System> = match place.as_str() {
            "in-process" => Arc::new(InProcess::new(services())),
            "local" => Arc::new(LocalProcesses::new(None)),
            _ => return Err(format!("\"{place}\" is neither \"in-process\" nor \"local\"").into()),
        };
        runtime.block_on(measure(system, size))?;
    }
    Ok(())
}

async fn measure(system: Arc<dyn System>, size: usize) -> Result<(), BoxError> {
    let before = resident_kib()?;
    let began = Instant::now();
    let config = FleetConfig { machines: size, ..FleetConfig::default() };
    let fleet = Fleet::start(system, config).await?;
    let started = began.elapsed();

    let began = Instant::now();
    let machines = stream::iter(fleet.machines());
    let calls = machines.map(|machine| {
        let fleet = fleet.clone();
        async move { fleet.info(&machine).await }
    });
    let infos: Vec<Result<_, Error>> = calls.buffer_unordered(CALLS).collect().await;
    let called = began.elapsed();
    for info in infos {
        info?;
    }

    let (rest, cpu) = (Instant::now(), cpu_seconds()?);
    tokio::time::sleep(REST).await;
    let idle = (cpu_seconds()? - cpu) / rest.elapsed().as_secs_f64();
    let each = resident_kib()?.saturating_sub(before) / size.max(1);

    let began = Instant::now();
    let lost = fleet.verify().await.len();
    let verified = began.elapsed();

    let began = Instant::now();
    let page = fleet.inspector().metrics().await?;
    let gathered = began.elapsed();
    let answers =
        page.lines().filter(|line| line.starts_with("bigslice_up{") && line.ends_with(" 1"));
    if answers.count() != size + 1 {
        return Err("machines are missing on the page of metrics".into());
    }
    let profiled = profile(&fleet).await?;

    let began = Instant::now();
    fleet.shutdown().await;
    let stopped = began.elapsed();
    println!(
        "{size:8} {:10} {:8.2} {each:10} {:10} {:11} {:12.1} {:12} {:10} {:>12} {:9}",
        started.as_millis(),
        started.as_secs_f64() * 1000.0 / size.max(1) as f64,
        called.as_millis(),
        verified.as_millis(),
        idle * 100.0,
        gathered.as_millis(),
        page.len() >> 10,
        profiled,
        stopped.as_millis(),
    );
    if lost > 0 {
        return Err(format!("{lost} machines were lost: {:?}", fleet.lost()).into());
    }
    Ok(())
}

/// Profiles all machines for a second. Returns the additional time, and the time until the profile
/// is one file.
async fn profile(fleet: &Fleet) -> Result<String, BoxError> {
    const LASTING: Duration = Duration::from_secs(1);
    let began = Instant::now();
    let profile = fleet.inspector().profile(LASTING).await?;
    let file = profile.to_pprof();
    if !profile.missing().is_empty() || file.is_empty() {
        return Err(format!("the profile is not whole: {}", profile.summary()).into());
    }
    Ok((began.elapsed() - LASTING).as_millis().to_string())
}

/// The resident memory of this process.
fn resident_kib() -> Result<usize, BoxError> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("");
    Ok(line.split_whitespace().next().ok_or("no VmRSS")?.parse()?)
}

/// The processor time of this process.
fn cpu_seconds() -> Result<f64, BoxError> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    let ticks: Vec<f64> = fields.split(' ').skip(11).take(2).flat_map(str::parse).collect();
    Ok(ticks.iter().sum::<f64>() / TICKS_PER_SECOND)
}
