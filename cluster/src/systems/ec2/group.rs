//! The security group of the machines: one port, for the machines among themselves and for the
//! driver. Never open to everybody; a user's own group that is open to everybody is rejected.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{IpPermission, IpRange, ResourceType, Tag, UserIdGroupPair};

use super::api::failed;
use super::cidr::Cidr;
use super::plan::Plan;
use super::request::tagged;
use super::spec::Ec2Spec;
use crate::error::{Error, Result};
use crate::identity::SessionId;

/// The prefix of the names of our groups.
const NAME: &str = "bigslice-";
const EVERYBODY: [&str; 2] = ["0.0.0.0/0", "::/0"];

/// The id of a user's group, if it is suitable.
pub(super) async fn check(ec2: &Client, group: &str) -> Result<String> {
    let attempt = format!("look up the security group {group}");
    let found = ec2.describe_security_groups().group_ids(group).send().await;
    let found = found.map_err(failed(attempt))?;
    for rule in found.security_groups().iter().flat_map(|group| group.ip_permissions()) {
        let v4 = rule.ip_ranges().iter().filter_map(IpRange::cidr_ip);
        let v6 = rule.ipv6_ranges().iter().filter_map(|range| range.cidr_ipv6());
        if let Some(open) = v4.chain(v6).find(|range| EVERYBODY.contains(range)) {
            return Err(Error::Options(format!(
                "the security group {group} lets {open} in, which is everybody: narrow it to the \
                 driver's address, or leave it out for one that is made for the session"
            )));
        }
    }
    Ok(group.to_owned())
}

/// Makes a group for the session. Returns its id.
pub(super) async fn create(
    ec2: &Client,
    spec: &Ec2Spec,
    plan: &Plan,
    session: &SessionId,
    tags: &[Tag],
) -> Result<String> {
    let allow = match spec.allow {
        Some(allow) => allow,
        None => own_address(plan)?,
    };
    let attempt = "make a security group";
    let made = ec2
        .create_security_group()
        .group_name(format!("{NAME}{session}"))
        .description("machines of one bigslice session, and its driver")
        .vpc_id(&plan.vpc)
        .tag_specifications(tagged(ResourceType::SecurityGroup, tags))
        .send()
        .await
        .map_err(failed(attempt))?;
    let group = made.group_id().unwrap_or_default().to_owned();
    let rule = IpPermission::builder()
        .ip_protocol("tcp")
        .from_port(i32::from(spec.port))
        .to_port(i32::from(spec.port))
        .user_id_group_pairs(UserIdGroupPair::builder().group_id(&group).build())
        .ip_ranges(IpRange::builder().cidr_ip(allow.to_string()).description("the driver").build())
        .build();
    let opened = ec2
        .authorize_security_group_ingress()
        .group_id(&group)
        .ip_permissions(rule)
        .send()
        .await
        .map_err(failed("open the machines' port to the driver"));
    if let Err(err) = opened {
        if let Err(left) = delete(ec2, &group).await {
            tracing::warn!(error = %left, group, "could not remove a security group; `gc` removes it");
        }
        return Err(err);
    }
    Ok(group)
}

/// Removes a group without running instances.
pub(super) async fn delete(ec2: &Client, group: &str) -> Result<()> {
    let attempt = format!("remove the security group {group}");
    match ec2.delete_security_group().group_id(group).send().await.map_err(failed(attempt)) {
        Err(Error::Cloud { code, .. }) if code == "InvalidGroup.NotFound" => Ok(()),
        deleted => deleted.map(drop),
    }
}

/// The address from which this host would reach the machines. Nothing is sent.
fn own_address(plan: &Plan) -> Result<Cidr> {
    let unknown = || {
        Error::Options(
            "this host's own address is not known: give it as allow=ADDRESS/32".to_owned(),
        )
    };
    let subnet = plan.places.first().ok_or_else(unknown)?;
    let address: Cidr = subnet.cidr.parse()?;
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).map_err(|_| unknown())?;
    // Any port: connecting a datagram socket only chooses its route.
    socket.connect((address.address, 9)).map_err(|_| unknown())?;
    match socket.local_addr() {
        Ok(SocketAddr::V4(own)) => Ok(Cidr { address: *own.ip(), prefix: 32 }),
        _ => Err(unknown()),
    }
}
