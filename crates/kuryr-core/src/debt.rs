//! What we still owe Neutron: done in the background, tried until it is done, kept across a crash.
//!
//! Docker waits for no change that a container can do without (a port's name, its removal), and it
//! forgets what failed to be removed: so such things are noted, and paid when Neutron can be paid.

mod book;
mod pauses;
mod pay;

use std::net::IpAddr;

use neutron_api::{NetworkId as NeutronNetworkId, Port, PortId, Subnet, SubnetPoolId};
use neutron_client::Filter;
use serde::{Deserialize, Serialize};

use crate::ask::{EndpointId, NetworkId};
use crate::names;

pub(crate) use book::Debts;

/// A thing owed to Neutron.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) enum Debt {
    /// A port is to bear its endpoint's name and tags.
    Label {
        port: PortId,
        network: NeutronNetworkId,
        addresses: Vec<IpAddr>,
        endpoint: EndpointId,
    },
    /// A port that we made is to go.
    DeletePort {
        port: PortId,
        network: NeutronNetworkId,
        addresses: Vec<IpAddr>,
    },
    /// A port is to go if it turns out that we made it.
    DeletePortIfOurs { port: PortId, endpoint: EndpointId },
    /// The ports that we made for an endpoint are to go, whichever they are.
    DeletePortsOf { endpoint: EndpointId },
    /// A network that we made is to go, and then the subnet pools that we made for it.
    DeleteNetwork {
        network: NeutronNetworkId,
        pools: Vec<MadePool>,
    },
    /// The network that we made for a container network is to go, whichever it is, and then its
    /// subnet pools.
    DeleteNetworkOf {
        container_network: NetworkId,
        pool_prefix: String,
    },
    /// A subnet pool is to go if we made it.
    DeletePool(MadePool),
    /// A port that was asked for, whose reply never came, is to go if it exists.
    ///
    /// Not `except` this one: an earlier request's reply was lost, and this is what a later one
    /// has made.
    DeleteStrayPort {
        device_id: String,
        except: Option<PortId>,
    },
    /// Likewise a network.
    DeleteStrayNetwork {
        name: String,
        description: String,
        except: Option<NeutronNetworkId>,
    },
    /// Likewise a subnet pool.
    DeleteStrayPool {
        name: String,
        description: String,
        except: Option<SubnetPoolId>,
    },
}

/// A subnet pool that we made, if it bears this name.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct MadePool {
    pub(crate) id: SubnetPoolId,
    pub(crate) name: String,
}

impl Debt {
    /// Two debts of one key are about one object: the later one replaces the earlier.
    fn key(&self) -> String {
        match self {
            Self::Label { port, .. }
            | Self::DeletePort { port, .. }
            | Self::DeletePortIfOurs { port, .. } => format!("debt-port-{port}"),
            Self::DeleteNetwork { network, .. } => format!("debt-network-{network}"),
            Self::DeletePortsOf { endpoint } => format!("debt-endpoint-{endpoint}"),
            Self::DeleteNetworkOf {
                container_network, ..
            } => format!("debt-container-network-{container_network}"),
            Self::DeletePool(pool) => format!("debt-pool-{}", pool.id),
            Self::DeleteStrayPort { device_id, .. } => format!("debt-stray-port-{device_id}"),
            Self::DeleteStrayNetwork {
                name, description, ..
            }
            | Self::DeleteStrayPool {
                name, description, ..
            } => {
                let key: String = format!("{name}-{description}")
                    .chars()
                    .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
                    .collect();
                format!("debt-stray-{key}")
            }
        }
    }

    fn is_removal(&self) -> bool {
        !matches!(self, Self::Label { .. })
    }

    /// Whether it is about an object that may come into being only after it was looked for.
    fn may_appear_later(&self) -> bool {
        matches!(
            self,
            Self::DeleteStrayPort { .. }
                | Self::DeleteStrayNetwork { .. }
                | Self::DeleteStrayPool { .. }
        )
    }

    /// Whether addresses of a network, or this one, may become free when it is paid.
    fn may_free(&self, asked: NeutronNetworkId, address: Option<IpAddr>) -> bool {
        match self {
            Self::DeletePort {
                network, addresses, ..
            } => *network == asked && address.is_none_or(|address| addresses.contains(&address)),
            Self::DeletePortIfOurs { .. }
            | Self::DeletePortsOf { .. }
            | Self::DeleteStrayPort { .. } => true,
            Self::Label { .. }
            | Self::DeleteNetwork { .. }
            | Self::DeleteNetworkOf { .. }
            | Self::DeletePool(_)
            | Self::DeleteStrayNetwork { .. }
            | Self::DeleteStrayPool { .. } => false,
        }
    }
}

/// The pools that would exist for these subnets alone, if we made them.
pub(crate) fn made_pools(subnets: &[Subnet], prefix: &str) -> Vec<MadePool> {
    let made = |subnet: &Subnet| {
        let name = names::subnet_pool(prefix, subnet.cidr);
        let id = subnet.subnetpool_id?;
        Some(MadePool { id, name })
    };
    subnets.iter().filter_map(made).collect()
}

/// What tells an object that we make from all others, from the moment it exists.
pub(crate) fn named(name: &str, description: &str) -> Filter {
    Filter::new()
        .with("name", name)
        .with("description", description)
}

/// Whether a port is one that we made, for this endpoint or not yet for any.
pub(crate) fn is_ours(port: &Port, endpoint: impl std::fmt::Display) -> bool {
    port.device_owner == names::DEVICE_OWNER
        && (port.name == names::port(endpoint) || port.name == names::UNBOUND_PORT)
}
