//! Machines that are EC2 instances (feature `ec2`), in the account whose credentials the environment has. Nothing
//! resident, no image of our own: an instance boots Amazon Linux, takes this program from the driver
//! and is a worker like any other.
//!
//! ```text
//!   Ec2Spec -> plan (types, image, subnets) -> RunInstances, one call per machine    request
//!                                                   |  user data                     boot
//!   DescribeInstances, for all together  <- watch   |
//!                                                   v
//!   program, enrolment, output, notices  <- link -> instance                         machine
//! ```
//!
//! What ends an instance, each without the help of the others: the fleet (TerminateInstances); the
//! end of the link or the lease, whichever the worker notices first; the end of the worker; a timer
//! for a boot that gets nowhere; a timer for its whole life. Switching off is terminating, and takes
//! the volumes along. What is left without cost, a security group, [`Ec2::finish`] removes, or
//! [`Clusters::gc`] from any other process.

mod api;
mod boot;
mod cidr;
mod clusters;
mod dial;
mod freight;
mod group;
mod hand_on;
mod kinds;
mod link;
mod machine;
mod peers;
mod plan;
mod program;
mod request;
mod setup;
mod spec;
mod supply;
mod value;
mod watch;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::SdkConfig;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Mutex as AsyncMutex, OnceCell, Semaphore, oneshot};
use tokio::task::JoinSet;

use self::api::{elsewhere, failed, groupless};
use self::boot::Secret;
use self::machine::Ec2Machine;
use self::peers::Peers;
use self::request::Choice;
use self::watch::Watcher;
use crate::error::{Error, Result, chain};
use crate::identity::{Peer, SessionId};
use crate::system::{Launch, Launched, System};

pub(crate) use self::hand_on::HandOn;

pub use self::cidr::Cidr;
pub use self::clusters::{Cleared, Cluster, Clusters, Console};
pub use self::plan::Plan;
pub use self::setup::{Check, setup};
pub use self::spec::{Ec2Spec, Market, Reach, Rebalance};

/// A machine that is not ready by then is given up, a minute before it gives itself up.
const START_TIMEOUT: Duration = Duration::from_secs(14 * 60);
/// How long a fleet's end waits for its instances to end, so that their security group can be removed.
const FINISH_TIMEOUT: Duration = Duration::from_secs(2 * 60);
/// Launches under way at once. EC2 lets an account make a handful of these calls, and two more with
/// each second.
const LAUNCHES_MAX: usize = 4;

/// The policy that whoever runs a driver needs, as IAM takes it (JSON): to look, to launch what is
/// tagged as ours, and to end only that. With [`Ec2Spec::iam_profile`] comes `iam:PassRole` for that
/// profile's role, which the account's owner adds for this one role.
pub fn policy() -> &'static str {
    include_str!("policy.json")
}

/// Starts machines as EC2 instances, for one fleet. Clones are the same.
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
    group: AsyncMutex<Option<Group>>,
    watcher: Watcher,
    peers: Arc<Peers>,
    errands: Errands,
    /// Held by the launch that decides on the zone.
    deciding: AsyncMutex<()>,
    launches: Semaphore,
    zone: Mutex<Zone>,
}

#[derive(Debug)]
struct Group {
    id: String,
    /// The session whose machines are in it.
    session: SessionId,
}

/// The one zone of all machines; free to change when there are none.
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

/// Calls that must be made although nobody waits for them.
#[derive(Debug, Default)]
struct Errands {
    tasks: Mutex<JoinSet<()>>,
}

impl Errands {
    fn run(&self, runtime: &Handle, errand: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn_on(errand, runtime);
    }
}

impl Ec2 {
    /// With credentials and region as all AWS tools find them.
    pub async fn new(spec: Ec2Spec) -> Result<Self> {
        let config = api::load(&spec).await;
        Self::with_config(spec, &config)
    }

    /// With a configuration of the caller's: his own credentials, say, or an endpoint that is not
    /// AWS's. A region of `spec` goes before the configuration's.
    pub fn with_config(spec: Ec2Spec, config: &SdkConfig) -> Result<Self> {
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
            group: AsyncMutex::default(),
            peers: Arc::default(),
            errands: Errands::default(),
            deciding: AsyncMutex::new(()),
            launches: Semaphore::new(LAUNCHES_MAX),
            zone: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// What will be started, to show before it is. Asks AWS once; checks on the way that types,
    /// image, network and programs fit together.
    pub async fn plan(&self) -> Result<&Plan> {
        self.inner.plan().await
    }

    /// Clusters of this account and region, this one and others.
    pub fn clusters(&self) -> Clusters {
        self.inner.clusters()
    }

    /// Removes what a fleet leaves that has been shut down: instances that could not be told, and
    /// the security group, once no instance is in it, which EC2 needs up to a minute or two for. The
    /// fleet does that itself when it is shut down, unless it is only dropped.
    pub async fn finish(&self, patience: Duration) -> Result<()> {
        let mut group = self.inner.group.lock().await;
        if let Some(Group { session, .. }) = group.as_ref() {
            self.clusters().stop_session(session, patience).await?;
            *group = None;
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

    async fn plan(&self) -> Result<&Plan> {
        self.plan
            .get_or_try_init(|| plan::resolve(&self.spec, &self.ec2, &self.ssm, &self.region))
            .await
    }

    /// The security group of the session, made for the first machine, and made again if it is `gone`:
    /// while there are no machines, anybody who tidies up may take it for a leftover.
    async fn group(self: &Arc<Self>, session: &SessionId, gone: Option<&str>) -> Result<String> {
        let mut group = self.group.lock().await;
        if let Some(group) = group.as_ref().filter(|group| gone != Some(&group.id)) {
            return Ok(group.id.clone());
        }
        let id = match &self.spec.security_group {
            Some(group) => group::check(&self.ec2, group).await?,
            None => {
                self.sweep();
                let tags = request::tags(&self.spec, session, None);
                group::create(&self.ec2, &self.spec, self.plan().await?, session, &tags).await?
            }
        };
        *group = Some(Group { id: id.clone(), session: session.clone() });
        Ok(id)
    }

    /// Removes meanwhile what drivers have left that were killed: no machine has the means to.
    fn sweep(&self) {
        let clusters = self.clusters();
        self.errands.run(&Handle::current(), async move {
            match clusters.gc().await {
                Ok(cleared) => tracing::info!(?cleared, "what other drivers have left"),
                Err(err) => tracing::info!(error = %chain(&err), "nothing is tidied up"),
            }
        });
    }

    /// Launches an instance where one is to be had; with it, its architecture. The call is made by
    /// a task of its own: if the caller goes away meanwhile, the instance is ended again.
    async fn order(
        self: &Arc<Self>,
        launch: &Launch,
        secret: &Secret,
    ) -> Result<(Ec2Machine, &'static str)> {
        let session = launch.enroler.authority.session();
        let plan = self.plan().await?;
        let group = self.group(session, None).await?;
        let session = session.clone();
        let root = launch.enroler.authority.root();
        let driver = Peer::driver(session.clone());
        let mut data = BTreeMap::new();
        for (arch, boot) in &plan.boots {
            let (spec, program) = (&self.spec, &boot.program);
            let text = boot::user_data(spec, program, secret, &launch.machine, &driver, root)?;
            data.insert(*arch, text);
        }
        let tags = request::tags(&self.spec, &session, Some(&launch.machine));
        let (answer, answered) = oneshot::channel();
        let inner = Arc::clone(self);
        let errand = async move {
            let mut placed = inner.place(&group, &tags, &data).await;
            if placed.as_ref().err().is_some_and(groupless) && inner.spec.security_group.is_none() {
                placed = match inner.group(&session, Some(&group)).await {
                    Ok(group) => inner.place(&group, &tags, &data).await,
                    Err(err) => Err(err),
                };
            }
            // If nobody wants the machine any more it is dropped, and so terminated.
            drop(answer.send(placed));
        };
        self.errands.run(&Handle::current(), errand);
        answered.await.unwrap_or(Err(Error::Closed))
    }

    /// Tries every place, type and price in turn.
    async fn place(
        self: &Arc<Self>,
        group: &str,
        tags: &[aws_sdk_ec2::types::Tag],
        data: &BTreeMap<&'static str, String>,
    ) -> Result<(Ec2Machine, &'static str)> {
        let deciding = self.deciding.lock().await;
        let zone = self.zone.lock().taken();
        // The first decides for all; those after it need not wait for one another.
        let _deciding = if zone.is_none() { Some(deciding) } else { None };
        let _launching = self.launches.acquire().await.map_err(|_| Error::Closed)?;
        let plan = self.plan().await?;
        let mut refused = None;
        for choice in choices(&self.spec, plan, zone.as_deref()) {
            let token = uuid::Uuid::new_v4().simple().to_string();
            let call = self.ec2.run_instances();
            let call = request::run(call, &self.spec, choice, group, tags, &token);
            let Choice { kind, place, .. } = choice;
            let attempt = format!("launch a {} in {}", kind.name, place.zone);
            let launched = call.user_data(&data[kind.arch]).send().await;
            match launched.map_err(failed(attempt)) {
                Ok(launched) => {
                    let id = launched.instances().first().and_then(|i| i.instance_id());
                    let id = id.ok_or(Error::Closed)?.to_owned();
                    self.zone.lock().join(&place.zone);
                    return Ok((Ec2Machine::new(Arc::clone(self), id), kind.arch));
                }
                Err(err) if elsewhere(&err) => {
                    tracing::info!(error = %chain(&err), "trying the next");
                    refused = Some(err);
                }
                Err(err) => return Err(err),
            }
        }
        Err(refused.unwrap_or(Error::Closed))
    }

    async fn terminate(&self, id: &str) -> Result<()> {
        let attempt = format!("terminate {id}");
        let ended = self.ec2.terminate_instances().instance_ids(id).send().await;
        match ended.map_err(failed(attempt)) {
            Err(Error::Cloud { code, .. }) if code == "InvalidInstanceID.NotFound" => Ok(()),
            ended => ended.map(drop),
        }
    }

    /// What a machine that did not come up said: its worker's errors, else its console.
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
            format!("; its last words:\n{}", words.join("\n"))
        }
    }
}

/// What is tried, in order: all types in all places, and for a fallback the same again on demand.
fn choices<'a>(
    spec: &Ec2Spec,
    plan: &'a Plan,
    zone: Option<&'a str>,
) -> impl Iterator<Item = Choice<'a>> {
    let markets: &[bool] = match spec.market {
        Market::OnDemand => &[false],
        Market::Spot => &[true],
        Market::SpotOrOnDemand => &[true, false],
    };
    markets.iter().flat_map(move |&spot| {
        plan.kinds.iter().flat_map(move |kind| {
            let places = plan.places.iter().filter(move |p| zone.is_none_or(|z| p.zone == z));
            places.map(move |place| Choice { kind, boot: &plan.boots[kind.arch], place, spot })
        })
    })
}
