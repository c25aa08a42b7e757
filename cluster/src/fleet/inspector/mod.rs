//! The driver's view of all of its machines as one process: their output, metrics, resource usage
//! and CPU profiles. Nothing is collected before it is requested, except the samples of resource
//! usage, which come with the renewals of the leases.

mod page;
mod profiling;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use parking_lot::Mutex;
use serde::Serialize;

use crate::error::{Error, Result, chain};
use crate::fleet::keeper::FleetState;
use crate::identity::MachineName;
use crate::machine::{Machine, State};
use crate::observe::logbook::{LogBook, LoggedLine};
use crate::observe::metrics::{self, Family, Gathered};
use crate::observe::profile::{Hertz, Profile};
use crate::observe::usage::{Series, Usage, UsageHistory};

pub use self::page::{Page, PageKind};
use self::profiling::LastProfile;
use self::profiling::PROFILE_MAX;
pub use self::profiling::Profiling;

/// The most machines asked at a time. Each may take a handshake, and an answer takes memory.
const ASKED_MAX: usize = 64;
/// A live machine answers far faster, however busy its cores are.
const METRICS_TIMEOUT: Duration = Duration::from_secs(3);
/// The most pages that may be added.
const PAGES_MAX: usize = 64;

/// Inspects a driver and all of its machines as one process. Clones share their state.
#[derive(Clone)]
pub struct Inspector {
    inner: Arc<Inner>,
}

struct Inner {
    of: Of,
    registry: prometheus::Registry,
    pages: Mutex<Vec<Page>>,
    last_profile: LastProfile,
}

/// What is inspected.
enum Of {
    /// A fleet and its driver.
    Fleet(Arc<FleetState>),
    /// A driver without machines, with its temporary files in this folder.
    Alone { usage_history: UsageHistory, logs: LogBook, scratch: PathBuf },
}

/// The current state of a machine or of the driver.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct MachineReport {
    /// The name; `driver` is this process.
    pub name: MachineName,
    /// The [`State`] as text, or `lost`.
    pub state: String,
    /// True if it is given work.
    pub trusted: bool,
    /// The URL of its port.
    pub url: Option<String>,
    /// Its process id, if it is a process of its own on this computer.
    pub pid: Option<u32>,
    /// True if it is part of the driver's process, so that the driver's usage includes its own.
    pub within_driver: bool,
    /// Why it was lost.
    pub reason: Option<String>,
    /// Its last reported usage.
    pub usage: Option<Usage>,
}

impl Inspector {
    pub(crate) fn of(state: Arc<FleetState>) -> Self {
        Self::new(Of::Fleet(state))
    }

    /// Inspects this process, which has no machines; its temporary files are in `scratch`.
    pub fn alone(scratch: PathBuf) -> Self {
        Self::new(Of::Alone {
            usage_history: UsageHistory::default(),
            logs: LogBook::default(),
            scratch,
        })
    }

    fn new(of: Of) -> Self {
        let inner = Inner {
            of,
            registry: prometheus::Registry::new(),
            pages: Mutex::default(),
            last_profile: LastProfile::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    pub(crate) fn state(&self) -> Option<&Arc<FleetState>> {
        match &self.inner.of {
            Of::Fleet(state) => Some(state),
            Of::Alone { .. } => None,
        }
    }

    fn usage_history(&self) -> &UsageHistory {
        match &self.inner.of {
            Of::Fleet(state) => &state.usage_history,
            Of::Alone { usage_history, .. } => usage_history,
        }
    }

    fn logs(&self) -> &LogBook {
        match &self.inner.of {
            Of::Fleet(state) => state.log.book(),
            Of::Alone { logs, .. } => logs,
        }
    }

    /// Records the driver's current usage, which is otherwise done periodically.
    pub(crate) fn sample(&self) {
        match &self.inner.of {
            Of::Fleet(state) => state.sample(),
            Of::Alone { usage_history, scratch, .. } => {
                usage_history.record(&MachineName::driver(), Usage::gather(scratch));
            }
        }
    }

    /// The driver's metrics registry. Metrics registered here are on the page of metrics under the
    /// driver's name.
    pub fn registry(&self) -> &prometheus::Registry {
        &self.inner.registry
    }

    /// Adds a page to the served pages, and a file to the dump. A page of the same name is
    /// replaced. There are at most 64.
    pub fn add_page(&self, page: Page) {
        let mut pages = self.inner.pages.lock();
        pages.retain(|other| other.name() != page.name());
        if pages.len() < PAGES_MAX {
            pages.push(page);
        }
    }

    /// The added pages.
    pub(crate) fn pages(&self) -> Vec<Page> {
        self.inner.pages.lock().clone()
    }

    /// The last profile that was taken.
    pub(crate) fn last_profile(&self) -> Option<Profile> {
        self.inner.last_profile.lock().clone()
    }

    /// The driver, its machines in the order of their names, and the lost machines, of which the
    /// last thousand are kept.
    pub fn machines(&self) -> Vec<MachineReport> {
        self.sample();
        let of = |name: &MachineName| MachineReport {
            name: name.clone(),
            state: State::Running.to_string(),
            trusted: true,
            url: None,
            pid: None,
            within_driver: false,
            reason: None,
            usage: self.usage_history().last(name),
        };
        let driver = MachineReport { pid: Some(std::process::id()), ..of(&MachineName::driver()) };
        let mut reports = vec![driver];
        let Some(state) = self.state() else { return reports };
        let within_driver = state.system.is_within_driver();
        reports.extend(state.registry.all().iter().map(|machine| MachineReport {
            state: machine.state().to_string(),
            trusted: machine.is_trusted(),
            url: machine.url().map(ToString::to_string),
            pid: machine.pid(),
            within_driver,
            ..of(machine.name())
        }));
        reports.extend(state.registry.lost().into_iter().map(|loss| MachineReport {
            state: "lost".to_owned(),
            trusted: false,
            reason: Some(loss.reason),
            within_driver,
            ..of(&loss.machine)
        }));
        reports
    }

    /// The usage of the driver and each machine since they started, including machines that are
    /// gone. Machines in the driver's process have no series of their own.
    ///
    /// A driver without machines is sampled while it is [served](Inspector::serve), and now.
    pub fn series(&self) -> Vec<Series> {
        self.sample();
        self.usage_history().all()
    }

    /// The machines with log lines, including those that are gone.
    pub fn logged(&self) -> Vec<MachineName> {
        self.logs().machines()
    }

    /// The last lines of a machine, oldest first: at most a thousand, and 256 KiB.
    pub fn log(&self, machine: &MachineName) -> Vec<LoggedLine> {
        self.logs().lines(machine)
    }

    /// The metrics of the driver and all machines as one page in the text format of Prometheus;
    /// each metric has the label `machine`. Machines that do not answer within 3 s are missing, and
    /// `bigslice_up` is 0 for them.
    ///
    /// # Errors
    /// If a service has registered a metric with an invalid name.
    pub async fn metrics(&self) -> Result<String> {
        self.sample();
        let driver = MachineName::driver();
        let mut families = Family::gather(&self.inner.registry);
        if let Some(state) = self.state() {
            families.extend(metrics::fleet_families(&state.registry.stats(state.target())));
        }
        families.extend(self.own_families(&driver, true));
        let mut gathered = vec![Gathered { machine: driver, families }];
        if let Some(state) = self.state() {
            let asked = stream::iter(state.registry.running());
            let answers = asked.map(|machine| self.metrics_of(state, machine));
            let mut answers: Vec<Gathered> = answers.buffer_unordered(ASKED_MAX).collect().await;
            answers.sort_by(|a, b| a.machine.rank().cmp(&b.machine.rank()));
            gathered.extend(answers);
        }
        metrics::page(gathered)
    }

    async fn metrics_of(&self, state: &FleetState, machine: Machine) -> Gathered {
        let answer = async {
            let url = machine.url().ok_or(Error::Closed)?;
            state.control(&machine, url).await?.metrics(METRICS_TIMEOUT).await
        };
        let answer = match tokio::time::timeout(METRICS_TIMEOUT, answer).await {
            Ok(answer) => answer.map_err(|err| chain(&err)),
            Err(_) => Err("no answer".to_owned()),
        };
        let name = machine.name().clone();
        let mut families = self.own_families(&name, answer.is_ok());
        match answer {
            Ok(counted) => families.extend(counted),
            Err(reason) => tracing::warn!(machine = %name, reason, "could not read the metrics"),
        }
        Gathered { machine: name, families }
    }

    /// The last known usage of a machine.
    fn own_families(&self, machine: &MachineName, up: bool) -> Vec<Family> {
        let mut families = vec![metrics::up_family(up)];
        families
            .extend(self.usage_history().last(machine).iter().flat_map(metrics::usage_families));
        families
    }

    /// Takes a CPU profile of the driver and all machines for this long, at most an hour, at 99
    /// samples a second of each core.
    ///
    /// # Errors
    /// If a profile is already being taken.
    pub async fn profile(&self, lasting: Duration) -> Result<Profile> {
        let profiling = self.start_profile(Hertz::default()).await?;
        tokio::time::sleep(lasting.min(PROFILE_MAX)).await;
        profiling.finish().await
    }

    /// Starts a CPU profile of the driver and all machines, including those that start later, until
    /// it is [finished](Profiling::finish). Returns when all running machines take samples, the
    /// first time after about a second.
    ///
    /// # Errors
    /// If a profile is already being taken.
    pub async fn start_profile(&self, hertz: Hertz) -> Result<Profiling> {
        profiling::begin(self.state().cloned(), hertz, &self.inner.last_profile).await
    }
}

impl fmt::Debug for Inspector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspector").finish_non_exhaustive()
    }
}
