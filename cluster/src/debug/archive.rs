//! All pages in one zip archive, to attach to a bug report. It holds no arguments, environment or
//! settings of services, which may be secret.

use std::fmt::Write as _;
use std::io::{self, Seek, Write};

use serde::Serialize;
use time::OffsetDateTime;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::error::{Error, Result};
use crate::fleet::inspector::Inspector;
use crate::identity::MachineName;
use crate::observe::profile::Grouping;
use crate::observe::usage::now_ms;

/// The sources of the archive.
#[derive(Debug, Serialize)]
struct About {
    version: &'static str,
    os: &'static str,
    arch: &'static str,
    at: String,
    session: Option<String>,
    system: Option<&'static str>,
    machines_max: Option<usize>,
    lease_seconds: Option<f64>,
}

impl About {
    fn of(inspector: &Inspector) -> Self {
        let state = inspector.state();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            os: std::env::consts::OS,
            arch: std::env::consts::ARCH,
            at: clock(now_ms()),
            session: state.map(|state| state.enroler.authority.session().to_string()),
            system: state.map(|state| state.system.name()),
            machines_max: state.map(|state| state.sizing.max()),
            lease_seconds: state.map(|state| state.enroler.lease.as_secs_f64()),
        }
    }
}

/// Writes the archive.
pub(crate) async fn dump<W: Write + Seek>(inspector: &Inspector, to: W) -> Result<()> {
    let metrics = match inspector.metrics().await {
        Ok(metrics) => metrics,
        Err(err) => format!("# {err}\n"),
    };
    let mut archive = Archive(ZipWriter::new(to));
    archive.json("about.json", &About::of(inspector))?;
    archive.json("machines.json", &inspector.machines())?;
    archive.json("series.json", &inspector.series())?;
    archive.file("metrics.txt", metrics.as_bytes())?;
    for machine in inspector.logged() {
        let text = log_text(inspector, &machine);
        archive.file(&format!("logs/{machine}.log"), text.as_bytes())?;
    }
    for page in inspector.pages() {
        let name = format!("{}.{}", page.name(), page.kind().extension());
        archive.file(&name, page.content().as_bytes())?;
    }
    if let Some(profile) = inspector.last_profile() {
        archive.file("profile.pb.gz", &profile.to_pprof())?;
        archive.file("profile.svg", profile.to_flame_graph(Grouping::Together).as_bytes())?;
    }
    archive.0.finish().map_err(failed)?;
    Ok(())
}

struct Archive<W: Write + Seek>(ZipWriter<W>);

impl<W: Write + Seek> Archive<W> {
    fn file(&mut self, name: &str, content: &[u8]) -> Result<()> {
        self.0.start_file(name, SimpleFileOptions::default()).map_err(failed)?;
        self.0.write_all(content).map_err(|err| failed(err.into()))
    }

    fn json(&mut self, name: &str, value: &impl Serialize) -> Result<()> {
        let json =
            serde_json::to_vec_pretty(value).map_err(|err| failed(io::Error::from(err).into()))?;
        self.file(name, &json)
    }
}

fn failed(err: zip::result::ZipError) -> Error {
    Error::io("write the dump")(io::Error::other(err))
}

/// The last lines of a machine, each with its time and source.
pub(crate) fn log_text(inspector: &Inspector, machine: &MachineName) -> String {
    let mut text = String::new();
    for line in inspector.log(machine) {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{} {machine} {}: {}", clock(line.at_ms), line.source, line.text);
    }
    text
}

/// A time for people, in UTC to the millisecond.
fn clock(at_ms: u64) -> String {
    let nanos = i128::from(at_ms) * 1_000_000;
    let Ok(at) = OffsetDateTime::from_unix_timestamp_nanos(nanos) else { return String::new() };
    let (date, time) = (at.date(), at.time());
    format!(
        "{date}T{:02}:{:02}:{:02}.{:03}Z",
        time.hour(),
        time.minute(),
        time.second(),
        time.millisecond()
    )
}
