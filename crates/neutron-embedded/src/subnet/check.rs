//! What a subnet must be like.

use std::fmt::Display;

use neutron_api::{AllocationPool, HostRoute, IpVersion};

use super::Subnet;
use crate::address::{contains, is_within, overlap, version, width};
use crate::cloud::Cloud;
use crate::refusal::Refusal;

/// Neutron's own `max_dns_nameservers`.
const MOST_SERVERS: usize = 5;

impl Subnet {
    pub(super) fn checked(self) -> Result<Self, Refusal> {
        self.check_dhcp()?;
        self.check_gateway()?;
        self.check_pools()?;
        self.check_modes()?;
        self.check_routes()?;
        self.check_servers()?;
        Ok(self)
    }

    fn check_routes(&self) -> Result<(), Refusal> {
        let ip_version = u8::from(self.ip_version);
        let mismatch = |what: &str, value: &dyn Display| {
            Err(Refusal::input(format_args!(
                "{what} '{value}' does not match the ip_version '{ip_version}'"
            )))
        };
        for (index, route) in self.host_routes.iter().enumerate() {
            let HostRoute {
                destination,
                nexthop,
            } = route;
            if self
                .host_routes
                .iter()
                .take(index)
                .any(|other| other == route)
            {
                return Err(Refusal::bad_request(format!(
                    "Invalid input for host_routes. Reason: Duplicate hostroute '{{'destination': \
                     '{destination}', 'nexthop': '{nexthop}'}}'."
                )));
            }
            if version(*destination) != self.ip_version {
                return mismatch("destination", destination);
            }
            if IpVersion::of(*nexthop) != self.ip_version {
                return mismatch("nexthop", nexthop);
            }
        }
        Ok(())
    }

    fn check_servers(&self) -> Result<(), Refusal> {
        let ip_version = u8::from(self.ip_version);
        for (index, server) in self.dns_nameservers.iter().enumerate() {
            if self
                .dns_nameservers
                .iter()
                .take(index)
                .any(|other| other == server)
            {
                return Err(Refusal::bad_request(format!(
                    "Invalid input for dns_nameservers. Reason: Duplicate nameserver '{server}'."
                )));
            }
            if IpVersion::of(*server) != self.ip_version {
                return Err(Refusal::input(format_args!(
                    "dns_nameserver '{server}' does not match the ip_version '{ip_version}'"
                )));
            }
        }
        if self.dns_nameservers.len() <= MOST_SERVERS {
            return Ok(());
        }
        let message = format!(
            "Unable to complete operation for {}. The number of DNS nameservers exceeds the limit \
             {MOST_SERVERS}.",
            self.common.id
        );
        Err(Refusal::invalid("DNSNameServersExhausted", message))
    }

    fn check_modes(&self) -> Result<(), Refusal> {
        let modes = [&self.ipv6_ra_mode, &self.ipv6_address_mode];
        if modes == [&None, &None] {
            return Ok(());
        }
        if !self.enable_dhcp {
            return Err(Refusal::input(
                "ipv6_ra_mode or ipv6_address_mode cannot be set when enable_dhcp is set to False",
            ));
        }
        if let [Some(ra), Some(address)] = modes
            && ra != address
        {
            return Err(Refusal::input(format_args!(
                "ipv6_ra_mode set to '{ra}' with ipv6_address_mode set to '{address}' is not \
                 valid. If both attributes are set, they must be the same value"
            )));
        }
        if self.is_self_assigned() && self.cidr.prefix_len() != 64 {
            return Err(Refusal::input(format_args!(
                "Invalid CIDR {} for IPv6 address mode. OpenStack uses the EUI-64 address format, \
                 which requires the prefix to be /64",
                self.cidr
            )));
        }
        Ok(())
    }

    fn check_gateway(&self) -> Result<(), Refusal> {
        let Some(gateway) = self.gateway_ip else {
            return Ok(());
        };
        let version = u8::from(self.ip_version);
        if IpVersion::of(gateway) != self.ip_version {
            return Err(Refusal::input(format_args!(
                "gateway_ip '{gateway}' does not match the ip_version '{version}'"
            )));
        }
        let ends = [self.cidr.network(), self.cidr.broadcast()];
        if self.ip_version == IpVersion::V4 && ends.contains(&gateway) {
            return Err(Refusal::input("Gateway is not valid on subnet"));
        }
        let mut pools = self.allocation_pools.iter();
        match pools.find(|pool| contains(**pool, gateway)) {
            // A subnet of one address has it as its pool, gateway or not.
            Some(pool) if self.cidr.prefix_len() < width(self.ip_version) => {
                let message = format!(
                    "Gateway ip {gateway} conflicts with allocation pool {}-{}.",
                    pool.start, pool.end
                );
                Err(Refusal::conflict(
                    "GatewayConflictWithAllocationPools",
                    message,
                ))
            }
            _ => Ok(()),
        }
    }

    fn check_dhcp(&self) -> Result<(), Refusal> {
        if self.cidr.prefix_len() == 0 {
            return Err(Refusal::input("0 is not allowed as CIDR prefix length"));
        }
        let kind = match self.cidr.network() {
            address if address.is_multicast() => Some("Multicast"),
            address if address.is_loopback() => Some("Loopback"),
            _ => None,
        };
        if let Some(kind) = kind.filter(|_| self.enable_dhcp) {
            return Err(Refusal::input(format_args!(
                "{kind} IP subnet is not supported if enable_dhcp is True"
            )));
        }
        // A DHCP server and a client need an address each.
        if self.enable_dhcp && self.cidr.prefix_len() > width(self.ip_version) - 2 {
            return Err(Refusal::input(
                "Subnet has a prefix length that is incompatible with DHCP service enabled",
            ));
        }
        Ok(())
    }

    fn check_pools(&self) -> Result<(), Refusal> {
        let text = |pool: &AllocationPool| format!("{}-{}", pool.start, pool.end);
        for (index, pool) in self.allocation_pools.iter().enumerate() {
            let versions = [IpVersion::of(pool.start), IpVersion::of(pool.end)];
            if versions != [self.ip_version; 2] || pool.start > pool.end {
                let message = format!(
                    "The allocation pool {{'start': '{}', 'end': '{}'}} is not valid.",
                    pool.start, pool.end
                );
                return Err(Refusal::invalid("InvalidAllocationPool", message));
            }
            if !is_within(*pool, self.cidr) {
                let message = format!(
                    "The allocation pool {} spans beyond the subnet cidr {}.",
                    text(pool),
                    self.cidr
                );
                return Err(Refusal::invalid("OutOfBoundsAllocationPool", message));
            }
            let mut earlier = self.allocation_pools.iter().take(index);
            let meets =
                |other: &&AllocationPool| other.start <= pool.end && pool.start <= other.end;
            if let Some(other) = earlier.find(meets) {
                let message = format!(
                    "Found overlapping allocation pools: {} {} for subnet {}.",
                    text(other),
                    text(pool),
                    self.cidr
                );
                return Err(Refusal::conflict("OverlappingAllocationPools", message));
            }
        }
        Ok(())
    }

    /// The other subnets of the network must be elsewhere, and of the same pool.
    pub(super) fn check_neighbours(&self, cloud: &Cloud) -> Result<(), Refusal> {
        for other in cloud.store.subnets_on(self.network_id) {
            if overlap(other.cidr, self.cidr) {
                return Err(Refusal::input(format_args!(
                    "Requested subnet with cidr: {} for network: {} overlaps with another subnet",
                    self.cidr, self.network_id
                )));
            }
            if other.ip_version == self.ip_version && other.subnetpool_id != self.subnetpool_id {
                let message = "Subnets hosted on the same network must be allocated from the same subnet pool.";
                return Err(Refusal::invalid("NetworkSubnetPoolAffinityError", message));
            }
        }
        Ok(())
    }
}
