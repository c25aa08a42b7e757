//! The driver's eyes on all of its machines: what they print, count, use and compute, as if they were
//! one process. Nothing here costs anything before it is asked for, but the samples of what machines
//! use, which come with the renewals of their leases.

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
use crate::fleet::keeper::Post;
use crate::identity::MachineName;
use crate::machine::{Machine, State};
use crate::observe::logbook::{LogBook, LoggedLine};
use crate::observe::metrics::{self, Family, Gathered};
use crate::observe::profile::{Hertz, Profile};
use crate::observe::vitals::{Annals, Series, Usage};

pub use self::page::{Page, PageKind};
use self::profiling::LastProfile;
pub use self::profiling::{PROFILE_MAX, Profiling};

/// Machines that are asked at a time. Each may take a handshake, and an answer takes memory.
const ASKED_MAX: usize = 64;
/// A machine that lives answers far faster, however busy its cores are.
const METRICS_TIMEOUT: Duration = Duration::from_secs(3);
/// Pages that others may add.
const PAGES_MAX: usize = 64;

/// Looks at a driver and all of its machines as at one process. Clones are the same.
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

/// What is looked at.
enum Of {
    /// A fleet and its driver.
    Fleet(Arc<Post>),
    /// A driver without machines, whose temporary files are there.
    Alone { annals: Annals, logs: LogBook, scratch: PathBuf },
}

/// A machine, the driver included, as it is now.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct MachineReport {
    /// Its name; `driver` is this process.
    pub name: MachineName,
    /// Where it is in its life: as [`State`] is shown, or `lost`.
    pub state: String,
    /// Whether it is given work.
    pub trusted: bool,
    /// Where it serves.
    pub url: Option<String>,
    /// Its process, if it is one of its own on this computer.
    pub pid: Option<u32>,
    /// Whether it is part of the driver's process, so that what that uses is its own as well.
    pub within_driver: bool,
    /// Why it is lost.
    pub reason: Option<String>,
    /// What it used when it last said so.
    pub usage: Option<Usage>,
}

impl Inspector {
    pub(crate) fn of(post: Arc<Post>) -> Self {
        Self::new(Of::Fleet(post))
    }

    /// Looks at this process, which has no machines; its temporary files are in `scratch`.
    pub fn alone(scratch: PathBuf) -> Self {
        Self::new(Of::Alone { annals: Annals::default(), logs: LogBook::default(), scratch })
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

    pub(crate) fn post(&self) -> Option<&Arc<Post>> {
        match &self.inner.of {
            Of::Fleet(post) => Some(post),
            Of::Alone { .. } => None,
        }
    }

    fn annals(&self) -> &Annals {
        match &self.inner.of {
            Of::Fleet(post) => &post.annals,
            Of::Alone { annals, .. } => annals,
        }
    }

    fn logs(&self) -> &LogBook {
        match &self.inner.of {
            Of::Fleet(post) => post.log.book(),
            Of::Alone { logs, .. } => logs,
        }
    }

    /// Writes down what the driver uses, which is otherwise done now and then.
    pub(crate) fn sample(&self) {
        match &self.inner.of {
            Of::Fleet(post) => post.sample(),
            Of::Alone { annals, scratch, .. } => {
                annals.record(&MachineName::driver(), Usage::gather(scratch));
            }
        }
    }

    /// What the driver counts: what is registered here stands on the page of metrics under its name.
    pub fn registry(&self) -> &prometheus::Registry {
        &self.inner.registry
    }

    /// Adds a page to those that are served, and a file to the dump. One of the same name is replaced;
    /// there are at most 64.
    pub fn add_page(&self, page: Page) {
        let mut pages = self.inner.pages.lock();
        pages.retain(|other| other.name() != page.name());
        if pages.len() < PAGES_MAX {
            pages.push(page);
        }
    }

    /// The pages that were added.
    pub(crate) fn pages(&self) -> Vec<Page> {
        self.inner.pages.lock().clone()
    }

    /// The last profile that was taken.
    pub(crate) fn last_profile(&self) -> Option<Profile> {
        self.inner.last_profile.lock().clone()
    }

    /// The driver, its machines in the order in which they were named, and those that were lost, of
    /// which the last thousand are known.
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
            usage: self.annals().last(name),
        };
        let driver = MachineReport { pid: Some(std::process::id()), ..of(&MachineName::driver()) };
        let mut reports = vec![driver];
        let Some(post) = self.post() else { return reports };
        let within_driver = post.system.is_within_driver();
        reports.extend(post.roster.all().iter().map(|machine| MachineReport {
            state: machine.state().to_string(),
            trusted: machine.is_trusted(),
            url: machine.url().map(ToString::to_string),
            pid: machine.pid(),
            within_driver,
            ..of(machine.name())
        }));
        reports.extend(post.roster.lost().into_iter().map(|loss| MachineReport {
            state: "lost".to_owned(),
            trusted: false,
            reason: Some(loss.reason),
            within_driver,
            ..of(&loss.machine)
        }));
        reports
    }

    /// What the driver and each machine have used since they began, those included that are gone.
    /// Machines that are part of the driver's process have none of their own.
    ///
    /// Of a driver without machines, what it uses is written down while it is
    /// [served](Inspector::serve), and now.
    pub fn series(&self) -> Vec<Series> {
        self.sample();
        self.annals().all()
    }

    /// The machines that have printed something, or of which something was said; those included that
    /// are gone.
    pub fn logged(&self) -> Vec<MachineName> {
        self.logs().machines()
    }

    /// The last lines of a machine, oldest first: at most a thousand, and 256 KiB.
    pub fn log(&self, machine: &MachineName) -> Vec<LoggedLine> {
        self.logs().lines(machine)
    }

    /// What the driver and all machines count, as one page in the text format of Prometheus; each
    /// metric has the label `machine`. Machines that do not answer in 3 s are missing, and
    /// `bigslice_up` is 0 for them.
    ///
    /// # Errors
    /// If a service has registered a metric whose name is none.
    pub async fn metrics(&self) -> Result<String> {
        self.sample();
        let driver = MachineName::driver();
        let mut families = Family::gather(&self.inner.registry);
        if let Some(post) = self.post() {
            families.extend(metrics::fleet_families(&post.roster.census(post.target())));
        }
        families.extend(self.own_families(&driver, true));
        let mut gathered = vec![Gathered { machine: driver, families }];
        if let Some(post) = self.post() {
            let asked = stream::iter(post.roster.running());
            let answers = asked.map(|machine| self.metrics_of(post, machine));
            let mut answers: Vec<Gathered> = answers.buffer_unordered(ASKED_MAX).collect().await;
            answers.sort_by(|a, b| a.machine.rank().cmp(&b.machine.rank()));
            gathered.extend(answers);
        }
        metrics::page(gathered)
    }

    async fn metrics_of(&self, post: &Post, machine: Machine) -> Gathered {
        let answer = async {
            let url = machine.url().ok_or(Error::Closed)?;
            post.control(&machine, url).await?.metrics(METRICS_TIMEOUT).await
        };
        let answer = match tokio::time::timeout(METRICS_TIMEOUT, answer).await {
            Ok(answer) => answer.map_err(|err| chain(&err)),
            Err(_) => Err("it is silent".to_owned()),
        };
        let name = machine.name().clone();
        let mut families = self.own_families(&name, answer.is_ok());
        match answer {
            Ok(counted) => families.extend(counted),
            Err(reason) => tracing::warn!(machine = %name, reason, "its metrics are missing"),
        }
        Gathered { machine: name, families }
    }

    /// What is known here of what a machine uses.
    fn own_families(&self, machine: &MachineName, up: bool) -> Vec<Family> {
        let mut families = vec![metrics::up_family(up)];
        families.extend(self.annals().last(machine).iter().flat_map(metrics::usage_families));
        families
    }

    /// Takes a CPU profile of the driver and all machines for so long, at most an hour, at 99 samples a second of each
    /// core.
    ///
    /// # Errors
    /// If a profile is being taken already.
    pub async fn profile(&self, lasting: Duration) -> Result<Profile> {
        let profiling = self.start_profile(Hertz::default()).await?;
        tokio::time::sleep(lasting.min(PROFILE_MAX)).await;
        profiling.finish().await
    }

    /// Begins to take a CPU profile of the driver and all machines, those included that come later,
    /// until it is [finished](Profiling::finish): for whoever has something that begins and ends.
    /// Returns when all machines that run take samples, the first time after a second or so.
    ///
    /// # Errors
    /// If a profile is being taken already.
    pub async fn start_profile(&self, hertz: Hertz) -> Result<Profiling> {
        profiling::begin(self.post().cloned(), hertz, &self.inner.last_profile).await
    }
}

impl fmt::Debug for Inspector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspector").finish_non_exhaustive()
    }
}
