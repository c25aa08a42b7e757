//! Launches one instance: as spot, where EC2 chooses type and zone, or on demand, by trying them in
//! turn. Resources that the machines of a session share are made for the first of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_sdk_ec2::types::Tag;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::api::{elsewhere, failed, groupless, templateless};
use super::boot::{self, Secret};
use super::machine::Ec2Machine;
use super::plan::{Place, Plan};
use super::request::{self, Choice};
use super::spot::{self, Given, Wanted};
use super::value::Market;
use super::{Inner, group, template};
use crate::error::{Error, Result, chain};
use crate::identity::{Peer, SessionId};
use crate::machine::system::Launch;

/// How often shared resources are made again for one machine: a template and a group may both be
/// gone.
const REMADE_MAX: usize = 2;

/// The resources in the account that the machines of a session share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resources {
    /// The security group.
    group: String,
    /// The launch templates by architecture, for spot machines.
    templates: BTreeMap<&'static str, String>,
}

/// The parts that belong to one machine.
struct Own {
    tags: Vec<Tag>,
    /// User data by architecture.
    data: BTreeMap<&'static str, String>,
}

impl Inner {
    /// Launches an instance and returns it with its architecture. The calls are made by a task of
    /// its own: if the caller goes away meanwhile, the instance is ended again.
    pub(super) async fn order(
        self: &Arc<Self>,
        launch: &Launch,
        secret: &Secret,
    ) -> Result<(Ec2Machine, &'static str)> {
        let session = launch.enroler.authority.session().clone();
        let plan = self.plan().await?;
        let root = launch.enroler.authority.root();
        let driver = Peer::driver(session.clone());
        let mut data = BTreeMap::new();
        for (arch, boot) in &plan.boots {
            let (spec, program) = (&self.spec, &boot.program);
            let text = boot::user_data(spec, program, secret, &launch.machine, &driver, root)?;
            data.insert(*arch, text);
        }
        let own = Own { tags: request::tags(&self.spec, &session, Some(&launch.machine)), data };
        self.have_caretaker(&session).await?;
        *self.session.lock() = Some(session.clone());
        let (answer, answered) = oneshot::channel();
        let inner = Arc::clone(self);
        let call = async move {
            let placed = inner.provide(&session, &own, &|| !answer.is_closed()).await;
            // If the machine is not needed any more, it is dropped and so terminated.
            drop(answer.send(placed));
        };
        self.background_calls.run(&Handle::current(), call);
        answered.await.unwrap_or(Err(Error::Closed))
    }

    /// Gets a machine and, before, the shared resources; both again if the resources turn out to be
    /// gone. While there are no machines, another user's cleanup may take them for leftovers.
    async fn provide(
        self: &Arc<Self>,
        session: &SessionId,
        own: &Own,
        wanted: &(impl Fn() -> bool + Sync),
    ) -> Result<(Ec2Machine, &'static str)> {
        let ours = self.spec.security_group.is_none();
        let mut resources = self.resources(session, None, wanted).await?;
        let mut remade = 0;
        loop {
            match self.place(&resources, own, wanted).await {
                // EC2 reports one missing resource at a time.
                Err(err)
                    if remade < REMADE_MAX && (templateless(&err) || groupless(&err) && ours) =>
                {
                    resources = self.resources(session, Some((&resources, &err)), wanted).await?;
                    remade += 1;
                }
                placed => return placed,
            }
        }
    }

    /// The resources of the session, made for the first machine. Those in `lost` are made again.
    async fn resources(
        self: &Arc<Self>,
        session: &SessionId,
        lost: Option<(&Resources, &Error)>,
        wanted: &(impl Fn() -> bool + Sync),
    ) -> Result<Resources> {
        let mut kept = self.resources.lock().await;
        // The session may have ended meanwhile, and they would not be removed.
        if !wanted() {
            return Err(Error::Closed);
        }
        let lost = lost.filter(|(lost, _)| kept.as_ref() == Some(*lost)).map(|(_, why)| why);
        let group = match kept.as_ref().filter(|_| !lost.is_some_and(groupless)) {
            Some(kept) => kept.group.clone(),
            None => self.group(session).await?,
        };
        // A template names the group.
        let templates = kept.take().filter(|_| lost.is_none()).map(|kept| kept.templates);
        let templates = templates.unwrap_or_default();
        let made = kept.insert(Resources { group, templates });
        if self.spec.market != Market::OnDemand {
            let tags = request::tags(&self.spec, session, None);
            for (arch, boot) in &self.plan().await?.boots {
                if !made.templates.contains_key(arch) {
                    let (ec2, spec) = (&self.ec2, &self.spec);
                    let template = template::create(ec2, spec, boot, &made.group, &tags).await?;
                    made.templates.insert(*arch, template);
                }
            }
        }
        Ok(made.clone())
    }

    async fn group(self: &Arc<Self>, session: &SessionId) -> Result<String> {
        if let Some(group) = &self.spec.security_group {
            return group::check(&self.ec2, group).await;
        }
        self.sweep();
        let tags = request::tags(&self.spec, session, None);
        group::create(&self.ec2, &self.spec, self.plan().await?, session, &tags).await
    }

    /// Removes what killed drivers have left: no machine can.
    fn sweep(&self) {
        let clusters = self.clusters();
        self.background_calls.run(&Handle::current(), async move {
            match clusters.gc().await {
                Ok(cleared) => tracing::info!(?cleared, "removed resources of other drivers"),
                Err(err) => tracing::info!(error = %chain(&err), "could not remove resources of other drivers"),
            }
        });
    }

    /// As spot where there is any, then on demand, as far as either is allowed.
    async fn place(
        self: &Arc<Self>,
        resources: &Resources,
        own: &Own,
        wanted: &(impl Fn() -> bool + Sync),
    ) -> Result<(Ec2Machine, &'static str)> {
        let deciding = self.deciding.lock().await;
        let zone = self.zone.lock().taken();
        // The first decides on the zone for all. Those after it need not wait for one another.
        let _deciding = if zone.is_none() { Some(deciding) } else { None };
        let _launching = self.launches.acquire().await.map_err(|_| Error::Closed)?;
        if !wanted() {
            return Err(Error::Closed);
        }
        let plan = self.plan().await?;
        let places = plan.places.iter().filter(|p| zone.as_ref().is_none_or(|z| p.zone == *z));
        let places: Vec<&Place> = places.collect();
        let mut refused = Error::Closed;
        if self.spec.market != Market::OnDemand {
            for places in spot::rounds(&places) {
                let Resources { templates, .. } = resources;
                let Own { data, tags } = own;
                let wanted = Wanted { plan, places, templates, data, tags };
                match wanted.launch(&self.ec2).await {
                    Ok(given) => return Ok(self.taken(given)),
                    Err(err) => refused = passed(err)?,
                }
            }
        }
        if self.spec.market != Market::Spot {
            for choice in choices(plan, &places) {
                match self.run(choice, resources, own).await {
                    Ok(given) => return Ok(self.taken(given)),
                    Err(err) => refused = passed(err)?,
                }
            }
        }
        Err(refused)
    }

    /// Requests one machine on demand.
    async fn run<'a>(
        &self,
        choice: Choice<'a>,
        resources: &Resources,
        own: &Own,
    ) -> Result<Given<'a>> {
        let Choice { kind, place, .. } = choice;
        let token = uuid::Uuid::new_v4().simple().to_string();
        let call = self.ec2.run_instances();
        let call = request::run(call, &self.spec, choice, &resources.group, &own.tags, &token);
        let launched = call.user_data(&own.data[kind.arch]).send().await;
        let attempt = format!("launch a {} in {}", kind.name, place.zone);
        let launched = launched.map_err(failed(attempt))?;
        let id = launched.instances().first().and_then(|i| i.instance_id());
        Ok(Given { id: id.ok_or(Error::Closed)?.to_owned(), kind, place })
    }

    fn taken(self: &Arc<Self>, given: Given<'_>) -> (Ec2Machine, &'static str) {
        self.zone.lock().join(&given.place.zone);
        (Ec2Machine::new(Arc::clone(self), given.id), given.kind.arch)
    }
}

/// Accepts a failure after which another attempt may do better.
fn passed(err: Error) -> Result<Error> {
    if !elsewhere(&err) {
        return Err(err);
    }
    tracing::info!(error = %chain(&err), "could not launch; trying the next");
    Ok(err)
}

/// The attempts on demand, in order: all types in all zones.
fn choices<'a>(plan: &'a Plan, places: &[&'a Place]) -> impl Iterator<Item = Choice<'a>> {
    plan.kinds.iter().flat_map(move |kind| {
        let boot = &plan.boots[kind.arch];
        places.iter().map(move |place| Choice { kind, boot, place })
    })
}
