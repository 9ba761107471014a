//! Addresses of subnets that were there before, of which Docker wants only a part: Neutron gives
//! from its own allocation pools, so the address is chosen here, and Neutron says whether it is free.

use std::collections::HashSet;
use std::net::IpAddr;

use ipnet::IpNet;
use neutron_api::{AllocationPool, Port, Subnet, SubnetId, WantedIp};
use neutron_client::Filter;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use uuid::Uuid;

use crate::ask::AddressRequest;
use crate::error::{Error, told};
use crate::kuryr::Kuryr;
use crate::range;
use crate::view::Net;

/// Which addresses of a subnet containers are to have that ask for none.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Restriction {
    pub(crate) subnet: SubnetId,
    /// `--ip-range`.
    pub(crate) part: Option<IpNet>,
    /// `--aux-address`.
    pub(crate) reserved: Vec<IpAddr>,
}

impl Restriction {
    fn pools(&self, subnet: &Subnet) -> Vec<AllocationPool> {
        let taken: Vec<IpAddr> = subnet
            .gateway_ip
            .into_iter()
            .chain(self.reserved.iter().copied())
            .collect();
        match self.part {
            Some(part) => range::allocation_pools(subnet.cidr, part, &taken),
            None => {
                let pools = subnet.allocation_pools.iter();
                let free = pools.flat_map(|pool| range::without(subnet.cidr, pool, &taken));
                free.collect()
            }
        }
    }
}

impl Kuryr {
    /// Makes a port for these addresses; where only a part of a subnet is to be used, of that part.
    pub(crate) async fn make_chosen_port(
        &self,
        net: &Net,
        fixed_ips: &[WantedIp],
        ask: AddressRequest,
        by: Instant,
    ) -> Result<Port, Error> {
        let is_ours_to_choose = |wanted: &WantedIp| {
            wanted.ip_address.is_none() && net.restriction(wanted.subnet_id).is_some()
        };
        if !fixed_ips.iter().any(is_ours_to_choose) {
            return self.make_port(net, fixed_ips, ask, by).await;
        }
        let mut used = HashSet::new();
        let mut attempt = 0;
        loop {
            let choose = |wanted: &WantedIp| match is_ours_to_choose(wanted) {
                true => chosen(net, *wanted, &used),
                false => Ok(*wanted),
            };
            let chosen: Vec<WantedIp> = fixed_ips.iter().map(choose).collect::<Result<_, _>>()?;
            match self.make_port(net, &chosen, ask, by).await {
                Err(error) if error.is_taken() && attempt < ATTEMPTS => {}
                other => return other,
            }
            attempt += 1;
            used.extend(chosen.iter().filter_map(|wanted| wanted.ip_address));
            if attempt >= BLIND {
                used.extend(self.addresses_of(net, by).await?);
            }
        }
    }

    async fn addresses_of(&self, net: &Net, by: Instant) -> Result<Vec<IpAddr>, Error> {
        let filter = Filter::new().with("network_id", net.id);
        let ports = self.neutron.by(by).list::<Port>(&filter).await;
        let act = told(format!(
            "look up which addresses of network {} are free",
            net.id
        ));
        let ports = ports.map_err(act)?;
        let ips = ports.iter().flat_map(|port| &port.fixed_ips);
        Ok(ips.map(|ip| ip.ip_address).collect())
    }
}

/// Any address, so that hosts that share a subnet seldom choose the same.
pub(crate) fn chosen(
    net: &Net,
    wanted: WantedIp,
    used: &HashSet<IpAddr>,
) -> Result<WantedIp, Error> {
    let unknown = || Error::Bug("an address is chosen of a subnet that is not there");
    let subnet = net.subnet(wanted.subnet_id).ok_or_else(unknown)?;
    let restriction = net.restriction(subnet.id).ok_or_else(unknown)?;
    let pools = restriction.pools(subnet);
    let start = Uuid::new_v4().as_u128();
    let address = range::pick(subnet.cidr, &pools, start, |address| {
        used.contains(&address)
    });
    let ip_address = address.ok_or(Error::PartFull {
        part: restriction.part.unwrap_or(subnet.cidr),
    })?;
    Ok(WantedIp {
        ip_address: Some(ip_address),
        ..wanted
    })
}

/// After this many addresses that were taken it is looked which are not.
const BLIND: u32 = 2;
const ATTEMPTS: u32 = 8;
