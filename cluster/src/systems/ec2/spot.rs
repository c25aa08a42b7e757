//! Spot machines, by CreateFleet: a fleet of one, at once or not at all. EC2 chooses the pool (type
//! and zone) among all that are allowed: the cheapest of those with the least expected
//! interruptions. Trying pools in turn by price, as for on demand, would find those about to run
//! out.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::operation::create_fleet::CreateFleetOutput;
use aws_sdk_ec2::types::{
    CreateFleetError, CreateFleetInstance, DefaultTargetCapacityType,
    FleetLaunchTemplateConfigRequest, FleetLaunchTemplateOverridesRequest,
    FleetLaunchTemplateSpecificationRequest, FleetType, InstanceType, ResourceType,
    SpotAllocationStrategy, SpotInstanceInterruptionBehavior, SpotOptionsRequest, Tag,
    TargetCapacitySpecificationRequest,
};

use super::api::{elsewhere, failed, refused};
use super::kinds::Kind;
use super::plan::{Place, Plan};
use super::request::tagged;
use crate::error::{Error, Result, chain};

/// The most pools that EC2 takes for a fleet.
const POOLS_MAX: usize = 300;
/// Our templates are never changed.
const VERSION: &str = "1";
/// EC2's code when none of the requested pools has capacity.
const NOTHING: &str = "UnfulfillableCapacity";

/// A machine that was launched.
#[derive(Debug)]
pub(super) struct Given<'a> {
    pub(super) id: String,
    pub(super) kind: &'a Kind,
    pub(super) place: &'a Place,
}

/// The request, by architecture where it differs. It holds the secret of a machine.
pub(super) struct Wanted<'a> {
    pub(super) plan: &'a Plan,
    /// At most one in each zone.
    pub(super) places: Vec<&'a Place>,
    pub(super) templates: &'a BTreeMap<&'static str, String>,
    pub(super) data: &'a BTreeMap<&'static str, String>,
    /// Those of the instance.
    pub(super) tags: &'a [Tag],
}

/// The subnets in groups with at most one in each zone: a fleet cannot have two of one zone.
pub(super) fn rounds<'a>(places: &[&'a Place]) -> Vec<Vec<&'a Place>> {
    let mut rounds: Vec<Vec<&Place>> = Vec::new();
    for place in places {
        let free = |round: &&mut Vec<&Place>| round.iter().all(|other| other.zone != place.zone);
        match rounds.iter_mut().find(free) {
            Some(round) => round.push(place),
            None => rounds.push(vec![place]),
        }
    }
    rounds
}

impl<'a> Wanted<'a> {
    /// Requests one machine.
    pub(super) async fn launch(self, ec2: &Client) -> Result<Given<'a>> {
        let attempt = self.attempt();
        // No maximum price: it would only make the machine be taken away more often.
        let spot = SpotOptionsRequest::builder()
            .allocation_strategy(SpotAllocationStrategy::PriceCapacityOptimized)
            .instance_interruption_behavior(SpotInstanceInterruptionBehavior::Terminate)
            .single_availability_zone(true)
            .build();
        let one = TargetCapacitySpecificationRequest::builder()
            .total_target_capacity(1)
            .default_target_capacity_type(DefaultTargetCapacityType::Spot)
            .build();
        let answer = ec2
            .create_fleet()
            .r#type(FleetType::Instant)
            // Makes a repeated call find the machine of the first.
            .client_token(uuid::Uuid::new_v4().simple().to_string())
            .target_capacity_specification(one)
            .spot_options(spot)
            .set_launch_template_configs(Some(self.configs()))
            .tag_specifications(tagged(ResourceType::Fleet, self.tags))
            .tag_specifications(tagged(ResourceType::Instance, self.tags))
            .tag_specifications(tagged(ResourceType::Volume, self.tags))
            .send()
            .await
            .map_err(failed(attempt.clone()))?;
        let Some((instance, id)) = launched(&answer) else {
            return Err(refusal(answer.errors(), &attempt));
        };
        match self.pool(instance) {
            Some((kind, place)) => Ok(Given { id: id.to_owned(), kind, place }),
            None => {
                let ended = ec2.terminate_instances().instance_ids(id).send().await;
                if let Err(err) = ended.map_err(failed(format!("terminate {id}"))) {
                    tracing::error!(instance = id, error = %chain(&err), "could not terminate an instance");
                }
                let reason = format!("EC2 has launched {id} and does not say as what and where");
                Err(Error::Cloud { attempt, code: String::new(), reason })
            }
        }
    }

    fn attempt(&self) -> String {
        let kinds: Vec<&str> = self.plan.kinds.iter().map(|kind| &*kind.name).collect();
        let zones: Vec<&str> = self.places.iter().map(|place| &*place.zone).collect();
        format!("launch a {} as spot in {}", kinds.join(" or "), zones.join(" or "))
    }

    /// All pools, with the template of their architecture.
    fn configs(&self) -> Vec<FleetLaunchTemplateConfigRequest> {
        let mut pools: BTreeMap<&str, Vec<FleetLaunchTemplateOverridesRequest>> = BTreeMap::new();
        let all = self.plan.kinds.iter();
        let all = all.flat_map(|kind| self.places.iter().map(move |place| (kind, place)));
        for (kind, place) in all.take(POOLS_MAX) {
            let pool = FleetLaunchTemplateOverridesRequest::builder()
                .instance_type(InstanceType::from(&*kind.name))
                .subnet_id(&place.subnet);
            pools.entry(kind.arch).or_default().push(pool.build());
        }
        let config = |(arch, pools)| {
            let template = FleetLaunchTemplateSpecificationRequest::builder()
                .launch_template_id(&self.templates[arch])
                .version(VERSION)
                .launch_template_specification_user_data(&self.data[arch]);
            FleetLaunchTemplateConfigRequest::builder()
                .launch_template_specification(template.build())
                .set_overrides(Some(pools))
                .build()
        };
        pools.into_iter().map(config).collect()
    }

    /// The pool of an instance.
    fn pool(&self, instance: &CreateFleetInstance) -> Option<(&'a Kind, &'a Place)> {
        // EC2 names the subnet in either of two fields.
        let asked = instance.launch_template_and_overrides().and_then(|asked| asked.overrides());
        let subnet = instance.subnet_id().or_else(|| asked?.subnet_id())?;
        let kind = instance.instance_type().or_else(|| asked?.instance_type())?.as_str();
        let kind = self.plan.kinds.iter().find(|other| other.name == kind)?;
        let place = self.places.iter().find(|place| place.subnet == subnet)?;
        Some((kind, place))
    }
}

fn launched(answer: &CreateFleetOutput) -> Option<(&CreateFleetInstance, &str)> {
    answer
        .instances()
        .iter()
        .find_map(|given| Some((given, given.instance_ids().first()?.as_str())))
}

/// Why nothing was launched: EC2 reports it for each pool. An error that no other pool would change
/// counts first, then a quota.
fn refusal(errors: &[CreateFleetError], attempt: &str) -> Error {
    let code = |error: &CreateFleetError| error.error_code().unwrap_or_default().to_owned();
    let error = |error: &CreateFleetError| {
        let said = error.error_message().unwrap_or("EC2 gave no reason");
        refused(attempt.to_owned(), code(error), said)
    };
    let weight = |err: &Error| {
        let Error::Cloud { code, .. } = err else { return (false, 0) };
        (
            !elsewhere(err),
            match code.as_str() {
                "MaxSpotInstanceCountExceeded" => 2,
                NOTHING => 0,
                _ => 1,
            },
        )
    };
    let why = errors.iter().map(error).min_by_key(|err| Reverse(weight(err)));
    why.unwrap_or_else(|| {
        refused(attempt.to_owned(), NOTHING.to_owned(), "EC2 launched nothing and gave no reason")
    })
}
