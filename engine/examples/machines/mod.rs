//! The flags that all examples share: where the work is done, and how much memory it may use.

use bigslice::{Result, Session, SessionBuilder};
use clap::Args;

/// Where the work is done.
#[derive(Args, Debug)]
pub(crate) struct Machines {
    /// Work on N processes of this computer; 0 works in this process, on all cores.
    #[arg(long, value_name = "N", default_value_t = 0)]
    workers: usize,

    /// The memory for all of it, such as 4G or 512M; what needs more spills to disk.
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    memory_limit: Option<u64>,
}

impl Machines {
    /// A session on these machines.
    pub(crate) async fn session(&self) -> Result<Session> {
        self.builder().build().await
    }

    /// What such a session is built from, for whoever has more to say about it.
    pub(crate) fn builder(&self) -> SessionBuilder {
        let builder = Session::builder().workers(self.workers);
        match self.memory_limit {
            Some(bytes) => builder.memory_limit(bytes),
            None => builder,
        }
    }
}

/// A number of bytes with a unit or without: `4G`, `512M`, `64K`, `1000`.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match &text[digits.len()..] {
        "" => 1,
        "K" | "KiB" => 1 << 10,
        "M" | "MiB" => 1 << 20,
        "G" | "GiB" => 1 << 30,
        unit => return Err(format!("\"{unit}\" is no unit: write K, M or G")),
    };
    let number: u64 = digits.parse().map_err(|e| format!("{e}"))?;
    number.checked_mul(unit).ok_or_else(|| "that is more than there is".to_owned())
}
