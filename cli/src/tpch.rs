//! `bigsql tpch`: writes the benchmark's data, and prints its queries.

use std::io::Write;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bigslice::tpch::{GenerateOptions, generate_until};

use crate::args::Tpch;
use crate::cell;
use crate::console::Console;
use crate::error::{Error, Result};
use crate::signals::Signals;

/// Update interval of the elapsed time.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// Runs a TPC-H command.
pub(crate) async fn run(task: Tpch, console: &Console, signals: &Signals) -> Result<()> {
    match task {
        Tpch::Query { number } => query(number),
        Tpch::Generate { sf, out, parts } => generate(sf, out, parts, console, signals).await,
    }
}

fn query(number: u8) -> Result<()> {
    let text = bigslice::tpch::query(usize::from(number))
        .ok_or_else(|| Error::command(format!("there is no query {number}: choose 1 to 22")))?;
    let text = text.trim().trim_end_matches(';');
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{text};")
        .and_then(|()| stdout.flush())
        .map_err(|e| Error::io("cannot write to standard output", e))
}

async fn generate(
    scale: f64,
    out: PathBuf,
    parts: usize,
    console: &Console,
    signals: &Signals,
) -> Result<()> {
    let started = Instant::now();
    let options = GenerateOptions { scale, out, parts };
    let stop = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&stop);
    let mut work = tokio::task::spawn_blocking(move || generate_until(&options, &seen));
    let mut progress = tokio::time::interval(PROGRESS_EVERY);
    let mut signal = pin!(signals.next());
    let mut stopped = None;
    let outcome = loop {
        tokio::select! {
            outcome = &mut work => break outcome,
            signal = &mut signal, if stopped.is_none() => {
                // The generator removes what it has written before it ends.
                stop.store(true, Ordering::Relaxed);
                stopped = Some(signal);
            }
            _ = progress.tick() => {
                console.progress(&format!("{:.1} s", started.elapsed().as_secs_f64()));
            }
        }
    };
    console.end_progress();
    if let Some(signal) = stopped {
        return Err(Error::Interrupted(signal));
    }
    let generated =
        outcome.map_err(|e| Error::command(format!("the generation failed: {e}")))??;
    let rows = usize::try_from(generated.rows).unwrap_or(usize::MAX);
    console.say(&format!(
        "{} in {}, {:.1} MB, in {:.3} s",
        cell::counted(rows, "row"),
        cell::counted(generated.files, "file"),
        generated.bytes as f64 / 1e6,
        started.elapsed().as_secs_f64()
    ));
    Ok(())
}
