//! Machines that are EC2 instances (feature `ec2`), in the account of the environment's
//! credentials. No resident service and no image of our own: an instance boots Amazon Linux,
//! receives this program from the driver and is a worker like any other.
//!
//! ```text
//!   Ec2Spec -> plan (types, image, subnets) -> one call per machine                  order
//!                                                   |  on demand: RunInstances       request
//!                                                   |  spot: CreateFleet             spot
//!                                                   |  user data                     boot
//!   DescribeInstances, for all together  <- watch   |
//!                                                   v
//!   program, enrolment, output, notices  <- link -> instance                         machine
//! ```
//!
//! An instance ends by any of these, independently: the fleet (TerminateInstances); the end of the
//! link or the lease, whichever the worker notices first; the end of the worker; a timer for a
//! failed boot; a timer for its whole life. Switching off is terminating, including the volumes. A
//! security group and launch templates, which cost nothing, are removed by [`Ec2::finish`], by the
//! caretaker of a killed driver, or by [`Clusters::gc`] from any other process.

mod api;
mod boot;
mod bootstrap;
mod caretaker;
mod cidr;
mod clusters;
mod dial;
mod group;
mod kinds;
mod link;
mod machine;
mod order;
mod payload;
mod peer_transfer;
mod peers;
mod plan;
mod program;
mod request;
mod setup;
mod spec;
mod spot;
mod template;
mod value;
mod watch;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::SdkConfig;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Mutex as AsyncMutex, OnceCell, Semaphore};
use tokio::task::JoinSet;

use self::api::failed;
use self::boot::Secret;
use self::caretaker::Caretaker;
use self::order::Resources;
use self::peers::Peers;
use self::watch::Watcher;
use crate::error::{Error, Result, chain};
use crate::identity::SessionId;
use crate::machine::system::{Launch, Launched, System};

pub(crate) use self::caretaker::{is_caretaker, take_care};
pub(crate) use self::peer_transfer::serve_program;

pub use self::cidr::Cidr;
pub use self::clusters::{Cleared, Cluster, Clusters, Console};
pub use self::plan::Plan;
pub use self::setup::{Check, setup};
pub use self::spec::Ec2Spec;
pub use self::value::{Market, Reach, Rebalance};

/// A machine that is not ready by then is given up, a minute before it gives up itself.
const START_TIMEOUT: Duration = Duration::from_secs(14 * 60);
/// How long the end of a fleet waits for its instances to end, so that their security group can be
/// removed.
const FINISH_TIMEOUT: Duration = Duration::from_secs(2 * 60);
/// The most launches at once. EC2 allows an account a handful of these calls, and two more each
/// second.
const LAUNCHES_MAX: usize = 4;

/// The IAM policy (JSON) that the user of a driver needs: to describe, to launch resources with our
/// tag, and to end only those. [`Ec2Spec::iam_profile`] also needs `iam:PassRole` for that
/// profile's role, which the account's owner adds for this role.
pub fn policy() -> &'static str {
    include_str!("policy.json")
}

/// Starts machines as EC2 instances, for one fleet. Clones share their state.
#[derive(Clone)]
pub struct Ec2 {
    inner: Arc<Inner>,
}

struct Inner {
    spec: Ec2Spec,
    region: String,
    ec2: aws_sdk_ec2::Client,
    ssm: aws_sdk_ssm::Client,
    plan: OnceCell<Plan>,
    /// The session for which something may have been made, known here or not: the future may have
    /// been dropped before AWS answered.
    session: Mutex<Option<SessionId>>,
    resources: AsyncMutex<Option<Resources>>,
    /// True if another process finds the credentials of this one.
    inheritable: bool,
    /// Waits for the end of this process, from before something is made until nothing is left.
    caretaker: AsyncMutex<Option<Caretaker>>,
    watcher: Watcher,
    peers: Arc<Peers>,
    background_calls: BackgroundCalls,
    /// Held by the launch that decides on the zone.
    deciding: AsyncMutex<()>,
    launches: Semaphore,
    zone: Mutex<Zone>,
}

/// The one zone of all machines. It may change when there are none.
#[derive(Debug, Default)]
struct Zone {
    name: String,
    machines: usize,
}

impl Zone {
    fn taken(&self) -> Option<String> {
        (self.machines > 0).then(|| self.name.clone())
    }

    fn join(&mut self, name: &str) {
        name.clone_into(&mut self.name);
        self.machines += 1;
    }

    fn leave(&mut self) {
        self.machines = self.machines.saturating_sub(1);
    }
}

/// Calls that must be made although their caller does not wait.
#[derive(Debug, Default)]
struct BackgroundCalls {
    tasks: Mutex<JoinSet<()>>,
}

impl BackgroundCalls {
    fn run(&self, runtime: &Handle, call: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn_on(call, runtime);
    }
}

impl Ec2 {
    /// With credentials and region like all AWS tools.
    ///
    /// A second process of this program then waits for the end of this one, and removes what it
    /// leaves if it is killed.
    pub async fn new(spec: Ec2Spec) -> Result<Self> {
        let config = api::load(&spec).await;
        Self::with(spec, &config, true)
    }

    /// With the caller's configuration: for example, his own credentials, or an endpoint that is
    /// not AWS's. A region of `spec` takes precedence.
    ///
    /// No other process has this configuration, so none waits for the end of this one. If this
    /// process is killed, [`Clusters::gc`] removes the free resources that remain.
    pub fn with_config(spec: Ec2Spec, config: &SdkConfig) -> Result<Self> {
        Self::with(spec, config, false)
    }

    fn with(spec: Ec2Spec, config: &SdkConfig, inheritable: bool) -> Result<Self> {
        spec.check()?;
        let config = api::bounded(config);
        let region = api::region(&spec, &config)?;
        let config = config.to_builder().region(aws_config::Region::new(region.clone())).build();
        let ec2 = aws_sdk_ec2::Client::new(&config);
        let inner = Inner {
            watcher: Watcher::new(ec2.clone()),
            ssm: aws_sdk_ssm::Client::new(&config),
            ec2,
            spec,
            region,
            plan: OnceCell::new(),
            session: Mutex::default(),
            resources: AsyncMutex::default(),
            inheritable,
            caretaker: AsyncMutex::default(),
            peers: Arc::default(),
            background_calls: BackgroundCalls::default(),
            deciding: AsyncMutex::new(()),
            launches: Semaphore::new(LAUNCHES_MAX),
            zone: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The plan of what will be started, to show it before. Asks AWS once, and checks that types,
    /// image, network and programs fit together.
    pub async fn plan(&self) -> Result<&Plan> {
        self.inner.plan().await
    }

    /// Clusters of this account and region, this one and others.
    pub fn clusters(&self) -> Clusters {
        self.inner.clusters()
    }

    /// Removes what a closed fleet leaves: instances that could not be told, the security group
    /// once no instance is in it, for which EC2 needs up to a minute or two, and launch templates.
    /// The fleet does this itself when it is shut down, but not when it is only dropped.
    pub async fn finish(&self, patience: Duration) -> Result<()> {
        let mut resources = self.inner.resources.lock().await;
        let session = self.inner.session.lock().clone();
        if let Some(session) = session {
            self.clusters().stop_session(&session, patience).await?;
            *resources = None;
            *self.inner.session.lock() = None;
            if let Some(caretaker) = self.inner.caretaker.lock().await.take() {
                caretaker.dismiss().await;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Ec2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ec2").field("spec", &self.inner.spec).finish_non_exhaustive()
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("spec", &self.spec).finish_non_exhaustive()
    }
}

#[async_trait]
impl System for Ec2 {
    fn name(&self) -> &'static str {
        "ec2"
    }

    async fn launch(&self, launch: Launch) -> Result<Launched> {
        let secret = Secret::new(&launch.machine)?;
        let (machine, arch) = self.inner.order(&launch, &secret).await?;
        let plan = self.inner.plan().await?;
        let enrolled = machine.enrol(&launch, &secret, plan, arch);
        let refused = match tokio::time::timeout(START_TIMEOUT, enrolled).await {
            Ok(Ok(enrolled)) => return Ok(Launched { enrolled, instance: Arc::new(machine) }),
            Ok(Err(Error::Start { reason, .. })) => reason,
            Ok(Err(err)) => chain(&err),
            Err(_) => format!("not ready within {} s", START_TIMEOUT.as_secs()),
        };
        let words = self.inner.last_words(&launch, machine.id()).await;
        let reason = format!("instance {}: {refused}{words}", machine.id());
        Err(Error::Start { machine: launch.machine, reason })
    }

    async fn end_session(&self, _session: &SessionId) -> Result<()> {
        self.finish(FINISH_TIMEOUT).await
    }
}

impl Inner {
    fn clusters(&self) -> Clusters {
        Clusters::new(self.ec2.clone())
    }

    /// Starts a caretaker for this process, if there is none.
    async fn have_caretaker(&self, session: &SessionId) -> Result<()> {
        if is_caretaker() {
            return Err(Error::Options(
                "this program does not ask is_worker() first in its main, as one must that starts \
                 machines"
                    .to_owned(),
            ));
        }
        let mut caretaker = self.caretaker.lock().await;
        if caretaker.is_none() && self.inheritable {
            let profile = self.spec.profile.as_deref();
            *caretaker = Caretaker::start(session, &self.region, profile).await;
        }
        Ok(())
    }

    async fn plan(&self) -> Result<&Plan> {
        self.plan
            .get_or_try_init(|| plan::resolve(&self.spec, &self.ec2, &self.ssm, &self.region))
            .await
    }

    async fn terminate(&self, id: &str) -> Result<()> {
        let attempt = format!("terminate {id}");
        let ended = self.ec2.terminate_instances().instance_ids(id).send().await;
        match ended.map_err(failed(attempt)) {
            Err(Error::Cloud { code, .. }) if code == "InvalidInstanceID.NotFound" => Ok(()),
            ended => ended.map(drop),
        }
    }

    /// The output of a machine that did not start: its worker's errors, or else its console.
    async fn last_words(&self, launch: &Launch, id: &str) -> String {
        const CONSOLE_LINES: usize = 20;
        let mut words = launch.log.tail();
        if words.is_empty() {
            let text = api::console(&self.ec2, id).await.unwrap_or_default();
            let skipped = text.lines().count().saturating_sub(CONSOLE_LINES);
            words = text.lines().skip(skipped).map(str::to_owned).collect();
        }
        if words.is_empty() {
            String::new()
        } else {
            format!("; its last lines:\n{}", words.join("\n"))
        }
    }
}
