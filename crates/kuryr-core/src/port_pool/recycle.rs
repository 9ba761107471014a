//! Ports that go from one endpoint to the next: what the last owner has set goes, or the port does.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use neutron_api::{
    AddressPair, FixedIp, FloatingIp, MacAddress, Port, PortChange, PortId, QosPolicyId,
    SecurityGroupId,
};
use neutron_client::{Filter, Neutron};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{PortPool, Returning, Stage, State};
use crate::address::has_address;
use crate::debt::Debt;
use crate::exposed;
use crate::kuryr::Kuryr;
use crate::names;
use crate::nested::Guest;
use crate::view::Net;

/// The runtime releases an endpoint's addresses right after the endpoint.
const RELEASE: Duration = Duration::from_secs(60);

/// What a warm port is like, beyond its name and its marks.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct AsMade {
    fixed_ips: Vec<FixedIp>,
    mac_address: MacAddress,
    security_groups: Vec<SecurityGroupId>,
    address_pairs: Vec<AddressPair>,
    port_security: Option<bool>,
    qos_policy: Option<QosPolicyId>,
    dns_name: Option<String>,
    host: Option<String>,
    device_owner: String,
    description: String,
    admin_state_up: bool,
}

impl From<&Port> for AsMade {
    fn from(port: &Port) -> Self {
        let mut fixed_ips = port.fixed_ips.clone();
        fixed_ips.sort_unstable_by_key(|ip| ip.ip_address);
        let mut security_groups = port.security_groups.clone();
        security_groups.sort_unstable();
        Self {
            fixed_ips,
            mac_address: port.mac_address,
            security_groups,
            address_pairs: port.allowed_address_pairs.clone(),
            port_security: port.port_security_enabled,
            qos_policy: port.qos_policy_id,
            dns_name: port.dns_name.clone(),
            // Neutron says otherwise of both while a port is a subport.
            host: Kuryr::host_of(port).map(str::to_owned),
            device_owner: match names::may_own(&port.device_owner) {
                true => names::DEVICE_OWNER.to_owned(),
                false => port.device_owner.clone(),
            },
            description: port.description.clone(),
            admin_state_up: port.admin_state_up,
        }
    }
}

impl Kuryr {
    /// Gives an endpoint's port to the pool of its network, if there is room; whether it did.
    ///
    /// Noted durably: should the program end, the port goes. Where that can't be noted nobody would know
    /// after a kill that its interface is kept for the next owner: then it does not come back.
    pub(crate) async fn recycle(&self, net: &Arc<Net>, port: &Port, released: &[IpAddr]) -> bool {
        if !self.has_port_pool(net) || !self.may_wait(net, port).unwrap_or(false) {
            return false;
        }
        let pool = self.port_pool(net);
        {
            let mut state = pool.state();
            let limit = self.port_pools.settings.max.min(share(net, &state.shape));
            let target = state.demand.target(&self.port_pools.settings, limit);
            // Twice as many may come back as are made: what is there costs nothing for a while.
            if state.closed || state.count() >= (target * 2).min(limit) {
                return false;
            }
            let returning = Returning {
                port: port.clone(),
                unreleased: released.to_vec(),
                since: Instant::now(),
                stage: Stage::Used,
            };
            state.returning.insert(port.id, returning);
        }
        let has_group = self.exposures.have(port.id);
        let debt = Debt::Recycle {
            port: port.id,
            network: port.network_id,
            addresses: port.fixed_ips.iter().map(|ip| ip.ip_address).collect(),
            has_group,
            name: names::pool_port(&self.settings.host, &net.of),
            made: AsMade::from(port),
        };
        let noted = self.debts.owe(debt).await;
        if noted {
            self.exposures.remove(port.id);
        } else {
            pool.state().returning.remove(&port.id);
        }
        noted
    }

    /// Takes back the interfaces of the ports that Neutron has cleaned; those whose addresses are
    /// released may be used again.
    pub(super) async fn park_returned(&self, net: &Arc<Net>, pool: &Arc<PortPool>, by: Instant) {
        let mut parking = JoinSet::new();
        for port in pool.state().start_parking() {
            let (kuryr, net, pool) = (self.clone(), Arc::clone(net), Arc::clone(pool));
            parking.spawn(async move {
                let parked = kuryr.take_back(&net, &port, by).await;
                let stage = match parked {
                    Ok(()) => Stage::Parked,
                    Err(error) => {
                        tracing::warn!(error = &error as &dyn std::error::Error, port = %port.id, "a used port goes");
                        Stage::Lost
                    }
                };
                let is_awaited = pool.state().reach(port.id, stage);
                if !is_awaited {
                    // Somebody needed its addresses meanwhile.
                    kuryr.retire(&port).await;
                }
            });
        }
        while parking.join_next().await.is_some() {}
        let (ready, lost) = pool.state().returned();
        for port in ready {
            self.put_in(pool, port, Instant::now()).await;
        }
        for port in lost {
            self.retire(&port).await;
        }
    }
}

impl State {
    /// Cleaned ports whose interfaces nobody has taken back yet; someone does now.
    fn start_parking(&mut self) -> Vec<Port> {
        let clean = self.returning.values_mut();
        let clean = clean.filter(|returning| returning.stage == Stage::Clean);
        clean
            .map(|returning| {
                returning.stage = Stage::Parking;
                returning.port.clone()
            })
            .collect()
    }

    /// Notes how far a port is; false if it is not to come back any more.
    fn reach(&mut self, port: PortId, stage: Stage) -> bool {
        let returning = self.returning.get_mut(&port);
        returning.map(|returning| returning.stage = stage).is_some()
    }

    /// Takes out the ports that are as new, and those that are to go.
    fn returned(&mut self) -> (Vec<Port>, Vec<Port>) {
        let (mut ready, mut lost) = (Vec::new(), Vec::new());
        self.returning.retain(|_, returning| {
            let released = returning.unreleased.is_empty();
            match returning.stage {
                Stage::Parked if released => ready.push(returning.port.clone()),
                Stage::Parked if returning.since.elapsed() > RELEASE => {
                    lost.push(returning.port.clone());
                }
                Stage::Lost => lost.push(returning.port.clone()),
                Stage::Used | Stage::Clean | Stage::Parking | Stage::Parked => return true,
            }
            false
        });
        (ready, lost)
    }
}

/// A small part of a network's addresses: others need some, too.
pub(super) fn share(net: &Net, shape: &[neutron_api::SubnetId]) -> usize {
    const SHARE: u128 = 8;
    let size = |pool: &neutron_api::AllocationPool| match (pool.start, pool.end) {
        (IpAddr::V4(start), IpAddr::V4(end)) => {
            u128::from(u32::from(end).saturating_sub(start.into())) + 1
        }
        (IpAddr::V6(start), IpAddr::V6(end)) => u128::from(end).saturating_sub(start.into()) + 1,
        _ => 0,
    };
    let of_shape = net
        .subnets
        .iter()
        .filter(|subnet| shape.contains(&subnet.id));
    let least = of_shape
        .map(|subnet| {
            let whole = subnet
                .allocation_pools
                .iter()
                .map(size)
                .fold(0, u128::saturating_add);
            let part = net
                .restriction(subnet.id)
                .and_then(|restriction| restriction.part);
            let part = part.map_or(u128::MAX, |part| {
                1_u128
                    .checked_shl(u32::from(part.max_prefix_len() - part.prefix_len()))
                    .unwrap_or(u128::MAX)
            });
            whole.min(part) / SHARE
        })
        .min();
    least.map_or(0, |least| usize::try_from(least).unwrap_or(usize::MAX))
}

/// A port that an endpoint has used.
#[derive(Clone, Copy)]
pub(crate) struct Used {
    pub(crate) port: PortId,
    /// It may have a security group of its own.
    pub(crate) has_group: bool,
    /// It may bear the endpoint's name, and its marks.
    pub(crate) is_named: bool,
}

/// Makes a used port what it was when it was made; none if that can't be, and the port is gone.
pub(crate) async fn clean(
    neutron: &Neutron,
    guest: &Guest,
    used: Used,
    name: &str,
    made: &AsMade,
) -> Result<Option<Port>, neutron_client::Error> {
    let port = used.port;
    if used.has_group {
        exposed::close(neutron, port).await?;
    }
    let Some(mut cleaned) = renamed(neutron, used, name).await? else {
        return Ok(None);
    };
    if AsMade::from(&cleaned).security_groups != made.security_groups {
        exposed::close(neutron, port).await?;
        match neutron.find::<Port>(port).await? {
            Some(found) => cleaned = found,
            None => return Ok(None),
        }
    }
    let is_led_to = !led_to(neutron, std::slice::from_ref(&cleaned))
        .await?
        .is_empty();
    if AsMade::from(&cleaned) != *made || is_led_to {
        tracing::info!(%port, "somebody has changed a port: it is of use for nobody else");
        guest.delete_port(neutron, port).await?;
        exposed::delete_groups(neutron, port, None).await?;
        return Ok(None);
    }
    if !cleaned.tags.is_empty() {
        neutron.replace_tags::<Port>(port, &[]).await?;
        cleaned.tags.clear();
    }
    Ok(Some(cleaned))
}

/// The port with this name; none if it is gone. Asking is cheaper for Neutron than changing.
async fn renamed(
    neutron: &Neutron,
    used: Used,
    name: &str,
) -> Result<Option<Port>, neutron_client::Error> {
    if !used.is_named {
        match neutron.find::<Port>(used.port).await? {
            Some(port) if port.name == name => return Ok(Some(port)),
            Some(_) => {}
            None => return Ok(None),
        }
    }
    let change = PortChange {
        name: Some(name.to_owned()),
        device_id: Some(name.to_owned()),
        ..PortChange::default()
    };
    match neutron.update(used.port, &change).await {
        Err(error) if error.is_absence() => Ok(None),
        other => other.map(Some),
    }
}

/// Those of some ports that floating IPs lead to: to their next owners they must not.
pub(super) async fn led_to(
    neutron: &Neutron,
    ports: &[Port],
) -> Result<HashSet<PortId>, neutron_client::Error> {
    if ports.is_empty() || !neutron.has_extension("router").await? {
        return Ok(HashSet::new());
    }
    // Which forward single ports can't be asked for.
    let filter = if neutron
        .has_extension("expose-port-forwarding-in-fip")
        .await?
    {
        Filter::new()
    } else {
        let filter = Filter::new();
        ports
            .iter()
            .fold(filter, |filter, port| filter.with("port_id", port.id))
    };
    let floating = neutron.list::<FloatingIp>(&filter).await?;
    let leads_to = |port: &Port| {
        floating.iter().any(|ip| {
            let mut forwardings = ip.port_forwardings.iter();
            ip.port_id == Some(port.id)
                || forwardings.any(|to| has_address(port, to.internal_ip_address))
        })
    };
    let led_to = ports.iter().filter(|port| leads_to(port));
    Ok(led_to.map(|port| port.id).collect())
}
