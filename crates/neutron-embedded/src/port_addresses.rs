//! Which addresses a port gets.

use std::net::IpAddr;

use neutron_api::{AllocationPool, FixedIp, IpVersion, MacAddress, NetworkId, PortId, SubnetId};
use serde::Deserialize;

use crate::address::{first_free, self_assigned};
use crate::refusal::Refusal;
use crate::resource::Resource;
use crate::store::Store;
use crate::subnet::Subnet;

/// What is asked for: an address, any of a subnet, or a certain one of a certain subnet.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Wish {
    subnet_id: Option<SubnetId>,
    ip_address: Option<IpAddr>,
}

/// Who asks.
pub(crate) struct Place<'a> {
    pub(crate) port: PortId,
    pub(crate) network: NetworkId,
    pub(crate) mac: MacAddress,
    pub(crate) owner: &'a str,
}

impl Place<'_> {
    /// One address of each IP version that the network has, and all self-assigned ones.
    pub(crate) fn any_addresses(&self, store: &Store) -> Result<Vec<FixedIp>, Refusal> {
        let mut chosen = Vec::new();
        for version in [IpVersion::V4, IpVersion::V6] {
            let subnets: Vec<&Subnet> = self
                .subnets(store)
                .filter(|subnet| subnet.version() == version && !subnet.is_self_assigned())
                .collect();
            if subnets.is_empty() {
                continue;
            }
            let free = subnets
                .iter()
                .find_map(|subnet| self.any_of(store, subnet, &[]).ok());
            chosen.push(free.ok_or_else(|| {
                let message = format!(
                    "No more IP addresses available on network {}.",
                    self.network
                );
                Refusal::conflict("IpAddressGenerationFailure", message)
            })?);
        }
        chosen.extend(self.self_assigned(store));
        Ok(chosen)
    }

    /// The addresses wished for; what the port has already is kept where it fulfils a wish.
    pub(crate) fn addresses(
        &self,
        store: &Store,
        before: &[FixedIp],
        wishes: &[Wish],
    ) -> Result<Vec<FixedIp>, Refusal> {
        let mut unclaimed = before.to_vec();
        let mut chosen: Vec<FixedIp> = Vec::new();
        let (certain, any): (Vec<&Wish>, Vec<&Wish>) =
            wishes.iter().partition(|wish| wish.ip_address.is_some());
        for wish in certain {
            let ip = self.certain(store, wish, before)?;
            if chosen.contains(&ip) {
                let address = ip.ip_address;
                return Err(Refusal::bad_request(format!(
                    "Invalid input for fixed_ips. Reason: Duplicate IP address '{address}'."
                )));
            }
            unclaimed.retain(|kept| *kept != ip);
            chosen.push(ip);
        }
        for wish in any {
            let subnet = self.subnet(store, wish)?;
            let kept = unclaimed.iter().position(|ip| ip.subnet_id == subnet.id());
            chosen.push(match kept {
                _ if subnet.is_self_assigned() => self.self_assigned_in(subnet),
                Some(kept) => unclaimed.swap_remove(kept),
                None => self.any_of(store, subnet, &chosen)?,
            });
        }
        let missing = self.self_assigned(store);
        let missing: Vec<FixedIp> = missing.filter(|ip| !chosen.contains(ip)).collect();
        // None at all is a wish, too.
        if !wishes.is_empty() {
            chosen.extend(missing);
        }
        Ok(chosen)
    }

    fn subnets<'s>(&self, store: &'s Store) -> impl Iterator<Item = &'s Subnet> + use<'s> {
        store.subnets_on(self.network)
    }

    fn subnet<'s>(&self, store: &'s Store, wish: &Wish) -> Result<&'s Subnet, Refusal> {
        if self.subnets(store).next().is_none() {
            return Err(Refusal::input("IP allocation requires subnets for network"));
        }
        match (wish.subnet_id, wish.ip_address) {
            (None, None) => Err(Refusal::input(
                "IP allocation requires subnet_id or ip_address",
            )),
            (Some(id), address) => {
                let subnet: &Subnet = store
                    .find(id)
                    .ok_or_else(|| Subnet::missing(&id.to_string()))?;
                if subnet.network_id != self.network {
                    return Err(Refusal::input(format_args!(
                        "Failed to create port on network {}, because fixed_ips included invalid subnet {id}",
                        self.network
                    )));
                }
                match address.filter(|address| !self.fits(subnet, *address)) {
                    None => Ok(subnet),
                    Some(address) => {
                        let message = format!(
                            "IP address {address} is not a valid IP for the specified subnet."
                        );
                        Err(Refusal::invalid("InvalidIpForSubnet", message))
                    }
                }
            }
            (None, Some(address)) => self
                .subnets(store)
                .find(|subnet| self.fits(subnet, address))
                .ok_or_else(|| {
                    let message = format!(
                        "IP address {address} is not a valid IP for any of the subnets on the specified network."
                    );
                    Refusal::invalid("InvalidIpForNetwork", message)
                }),
        }
    }

    /// A port whose owner is not known may be a router's, which has the anycast address.
    fn fits(&self, subnet: &Subnet, address: IpAddr) -> bool {
        let is_anycast = subnet.version() == IpVersion::V6 && subnet.cidr.network() == address;
        subnet.takes(address) || (is_anycast && self.owner.is_empty())
    }

    fn certain(&self, store: &Store, wish: &Wish, before: &[FixedIp]) -> Result<FixedIp, Refusal> {
        let subnet = self.subnet(store, wish)?;
        let address = wish.ip_address.unwrap_or(subnet.cidr.addr());
        let ip = self.ip(subnet, address);
        if before.contains(&ip) {
            return Ok(ip);
        }
        if subnet.is_self_assigned() && ip != self.self_assigned_in(subnet) {
            let message = format!(
                "IPv6 address {address} cannot be directly assigned to a port on subnet {} as the \
                 subnet is configured for automatic addresses",
                subnet.id()
            );
            return Err(Refusal::invalid("AllocationOnAutoAddressSubnet", message));
        }
        let only = AllocationPool {
            start: address,
            end: address,
        };
        if self.taken(store, subnet, only).next().is_some() {
            let message = format!(
                "IP address {address} already allocated in subnet {}",
                subnet.id()
            );
            return Err(Refusal::conflict("IpAddressAlreadyAllocated", message));
        }
        Ok(ip)
    }

    fn any_of(
        &self,
        store: &Store,
        subnet: &Subnet,
        chosen: &[FixedIp],
    ) -> Result<FixedIp, Refusal> {
        let chosen: Vec<IpAddr> = chosen.iter().map(|ip| ip.ip_address).collect();
        let taken = |part| self.taken(store, subnet, part);
        first_free(&subnet.allocation_pools, taken, &chosen)
            .map(|address| self.ip(subnet, address))
            .ok_or_else(|| {
                let message = format!(
                    "No more IP addresses available on network {}.",
                    self.network
                );
                Refusal::conflict("IpAddressGenerationFailure", message)
            })
    }

    /// The addresses of a part of a subnet that other ports have, in order.
    fn taken<'s>(
        &self,
        store: &'s Store,
        subnet: &Subnet,
        part: AllocationPool,
    ) -> impl Iterator<Item = IpAddr> + use<'s> {
        let own = self.port;
        store
            .allocations(subnet.id(), part)
            .filter(move |(_, port)| *port != own)
            .map(|(address, _)| address)
    }

    fn self_assigned<'s>(&'s self, store: &'s Store) -> impl Iterator<Item = FixedIp> + 's {
        self.subnets(store)
            .filter(|subnet| subnet.is_self_assigned())
            .map(|subnet| self.self_assigned_in(subnet))
    }

    fn self_assigned_in(&self, subnet: &Subnet) -> FixedIp {
        self.ip(subnet, self_assigned(subnet.cidr, self.mac))
    }

    fn ip(&self, subnet: &Subnet, ip_address: IpAddr) -> FixedIp {
        FixedIp {
            subnet_id: subnet.id(),
            ip_address,
        }
    }
}
