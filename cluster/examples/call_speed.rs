//! The cost of a call: latency of one at a time, calls per second of many at a time, bytes per
//! second of a stream each way. On one machine in a process of its own, over its one connection.
//!
//! ```text
//! call_speed [SECONDS]
//! ```

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bigslice_cluster::{
    Blob, BoxError, Failure, Fleet, FleetConfig, Input, LocalProcesses, Machine, Services,
    WorkerMain, is_worker, run_worker, service,
};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use serde::{Deserialize, Serialize};

/// The number of calls open at a time when there are many.
const AT_A_TIME: usize = 64;
/// The size of a stream's items.
const BLOCK: usize = 256 << 10;

#[derive(Serialize, Deserialize)]
struct Mirror;

#[service]
impl Mirror {
    async fn next(&self, n: u64) -> u64 {
        n + 1
    }

    async fn blocks(&self, n: usize) -> impl Stream<Item = Blob> + Send {
        let block = Bytes::from(vec![7; BLOCK]);
        stream::repeat(Blob(block)).take(n)
    }

    async fn take(&self, mut blocks: Input<Blob>) -> Result<usize, Failure> {
        let mut size = 0;
        while let Some(block) = blocks.next().await {
            size += block?.len();
        }
        Ok(size)
    }
}

fn main() -> ExitCode {
    if is_worker() {
        return run_worker(WorkerMain::default());
    }
    let seconds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(3);
    let measured = tokio::runtime::Runtime::new()
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(measure(Duration::from_secs(seconds))));
    match measured {
        Ok(text) => {
            drop(writeln!(std::io::stdout(), "{text}"));
            ExitCode::SUCCESS
        }
        Err(err) => {
            drop(writeln!(std::io::stderr(), "call_speed: {err}"));
            ExitCode::FAILURE
        }
    }
}

async fn measure(each: Duration) -> Result<String, BoxError> {
    let services = Services::new().with(&Mirror)?;
    let config = FleetConfig { machines: 1, services, ..FleetConfig::default() };
    let fleet = Fleet::start(Arc::new(LocalProcesses::new(None)), config).await?;
    let machine = fleet.machines().remove(0);
    let text = [
        one_at_a_time(&machine, each).await?,
        many_at_a_time(&machine, each).await?,
        replies(&machine, each).await?,
        input(&machine, each).await?,
    ];
    fleet.shutdown().await;
    Ok(text.join("\n"))
}

async fn one_at_a_time(machine: &Machine, each: Duration) -> Result<String, BoxError> {
    let (began, mut times) = (Instant::now(), Vec::new());
    while began.elapsed() < each {
        let called = Instant::now();
        machine.call(Mirror::next, 1).await?;
        times.push(called.elapsed());
    }
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    Ok(format!("one at a time: median {:.0?}, 99th percentile {:.0?}", at(50), at(99)))
}

async fn many_at_a_time(machine: &Machine, each: Duration) -> Result<String, BoxError> {
    let began = Instant::now();
    let mut calls = stream::iter(0..)
        .take_while(|_| std::future::ready(began.elapsed() < each))
        .map(|n| machine.call(Mirror::next, n))
        .buffer_unordered(AT_A_TIME);
    let mut count = 0_u64;
    while let Some(reply) = calls.next().await {
        reply?;
        count += 1;
    }
    let rate = count as f64 / began.elapsed().as_secs_f64();
    Ok(format!("{AT_A_TIME} at a time: {rate:.0} calls/s"))
}

async fn replies(machine: &Machine, each: Duration) -> Result<String, BoxError> {
    let (began, mut size) = (Instant::now(), 0);
    let mut blocks = machine.call(Mirror::blocks, usize::MAX).await?;
    while began.elapsed() < each {
        let Some(block) = blocks.next().await else { break };
        size += block?.len();
    }
    Ok(format!("stream of replies: {}", rate(size, began)))
}

async fn input(machine: &Machine, each: Duration) -> Result<String, BoxError> {
    let began = Instant::now();
    let block = Bytes::from(vec![7; BLOCK]);
    let blocks =
        stream::repeat(Blob(block)).take_while(move |_| std::future::ready(began.elapsed() < each));
    let size = machine.call_with_input(Mirror::take, (), blocks).await?;
    Ok(format!("stream of arguments: {}", rate(size, began)))
}

fn rate(size: usize, began: Instant) -> String {
    format!("{:.0} MB/s", size as f64 / 1e6 / began.elapsed().as_secs_f64())
}
