//! What we still owe Neutron: done in the background, tried until it is done, kept across a crash.
//!
//! Docker waits for no change that a container can do without (a port's name, what is let in for it, its
//! removal), and it forgets what failed to be removed: so such things are noted, and paid when Neutron can
//! be paid.

mod book;
mod make;
mod pauses;
mod pay;

use std::net::IpAddr;
use std::time::Duration;

use neutron_api::{
    NetworkId as NeutronNetworkId, Port, PortId, SecurityGroupId, Subnet, SubnetPool, SubnetPoolId,
};
use neutron_client::Filter;
use serde::{Deserialize, Serialize};

use crate::adopt::port::PortAdoption;
use crate::ask::{EndpointId, ExposedPort, NetworkId};
use crate::names;
use crate::port_pool::AsMade;

pub(crate) use book::Debts;
pub(crate) use pay::delete_made_pool;

/// A thing owed to Neutron.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) enum Debt {
    /// A port is to bear its endpoint's name and tags.
    Label {
        port: PortId,
        network: NeutronNetworkId,
        addresses: Vec<IpAddr>,
        endpoint: EndpointId,
        /// The name that the user wants it to have.
        #[serde(default)]
        name: Option<String>,
    },
    /// A port that we made is to go.
    DeletePort {
        port: PortId,
        network: NeutronNetworkId,
        addresses: Vec<IpAddr>,
        /// It may have a security group of its own, which goes with it.
        #[serde(default)]
        has_group: bool,
    },
    /// A used port is to become a warm one, as it was made; if that can't be, it is to go.
    Recycle {
        port: PortId,
        network: NeutronNetworkId,
        addresses: Vec<IpAddr>,
        /// It may have a security group of its own.
        has_group: bool,
        /// Of its pool.
        name: String,
        made: AsMade,
    },
    /// The warm ports of a network that bear this name are to go.
    DrainPool {
        name: String,
        /// None where it is not known which it is.
        network: Option<NeutronNetworkId>,
    },
    /// The ports that hold addresses of a network for a swarm's containers are to go.
    DeleteSwarmPorts { network: NeutronNetworkId },
    /// What is for these ports of a port's container is to be let in.
    Open {
        port: PortId,
        exposed: Vec<ExposedPort>,
    },
    /// A port is to lose the security group of what its container has exposed.
    Close { port: PortId },
    /// A port that was there before is to be what it was.
    PutBack(PortAdoption),
    /// A port is to go if it turns out that we made it, or to be free again if it turns out that
    /// the Python daemon has adopted it.
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
    /// A network that the Python daemon has adopted is to lose its marks, and the subnet pools that
    /// it has made for it are to go.
    Unmark {
        network: NeutronNetworkId,
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
    /// Likewise the security group of what a port's container exposes.
    DeleteStrayGroup {
        port: PortId,
        except: Option<SecurityGroupId>,
    },
    /// Likewise a network, and then the subnet pools that we made for it.
    DeleteStrayNetwork {
        name: String,
        description: String,
        except: Option<NeutronNetworkId>,
        #[serde(default)]
        pools: Vec<MadePool>,
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

impl From<SubnetPool> for MadePool {
    fn from(pool: SubnetPool) -> Self {
        let SubnetPool { id, name, .. } = pool;
        Self { id, name }
    }
}

impl Debt {
    /// What Neutron is to know of a port that is an endpoint's.
    pub(crate) fn label(port: &Port, endpoint: EndpointId, name: Option<String>) -> Self {
        Self::Label {
            port: port.id,
            network: port.network_id,
            addresses: port.fixed_ips.iter().map(|ip| ip.ip_address).collect(),
            endpoint,
            name,
        }
    }

    /// Two debts of one key are about one object: the later one replaces the earlier.
    fn key(&self) -> String {
        match self {
            Self::Label { port, .. }
            | Self::DeletePort { port, .. }
            | Self::Recycle { port, .. }
            | Self::DeletePortIfOurs { port, .. } => format!("debt-port-{port}"),
            Self::PutBack(adoption) => format!("debt-port-{}", adoption.port),
            Self::DeleteNetwork { network, .. } => format!("debt-network-{network}"),
            Self::DeleteSwarmPorts { network } => format!("debt-swarm-ports-{network}"),
            Self::DeletePortsOf { endpoint } => format!("debt-endpoint-{endpoint}"),
            Self::DeleteNetworkOf {
                container_network, ..
            }
            | Self::Unmark {
                container_network, ..
            } => format!("debt-container-network-{container_network}"),
            Self::DrainPool { name, .. } => format!("debt-{}", plain(name)),
            Self::DeletePool(pool) => format!("debt-pool-{}", pool.id),
            Self::Open { port, .. } | Self::Close { port } => of_group(*port),
            Self::DeleteStrayGroup { port, .. } => format!("debt-stray-group-{port}"),
            Self::DeleteStrayPort { device_id, .. } => format!("debt-stray-port-{device_id}"),
            Self::DeleteStrayNetwork {
                name, description, ..
            }
            | Self::DeleteStrayPool {
                name, description, ..
            } => {
                format!("debt-stray-{}", plain(&format!("{name}-{description}")))
            }
        }
    }

    /// Whether it is about this port, or may be.
    pub(crate) fn is_about(&self, asked: &Port) -> bool {
        match self {
            Self::Label { port, .. }
            | Self::DeletePort { port, .. }
            | Self::Recycle { port, .. }
            | Self::DeletePortIfOurs { port, .. }
            | Self::PutBack(PortAdoption { port, .. }) => *port == asked.id,
            Self::DeletePortsOf { endpoint } => asked.device_id == endpoint.as_str(),
            Self::DeleteStrayPort { device_id, except } => {
                asked.device_id == *device_id && *except != Some(asked.id)
            }
            Self::Open { .. }
            | Self::Close { .. }
            | Self::Unmark { .. }
            | Self::DrainPool { .. }
            | Self::DeleteSwarmPorts { .. }
            | Self::DeleteStrayGroup { .. }
            | Self::DeleteNetwork { .. }
            | Self::DeleteNetworkOf { .. }
            | Self::DeletePool(_)
            | Self::DeleteStrayNetwork { .. }
            | Self::DeleteStrayPool { .. } => false,
        }
    }

    /// Whether a port of this host may be gone, or be somebody else's, when it is paid.
    pub(crate) fn may_free_a_port(&self) -> bool {
        match self {
            Self::DeletePort { .. }
            | Self::Recycle { .. }
            | Self::DrainPool { .. }
            | Self::PutBack(_)
            | Self::DeletePortIfOurs { .. }
            | Self::DeletePortsOf { .. }
            | Self::DeleteStrayPort { .. } => true,
            Self::Label { .. }
            | Self::DeleteSwarmPorts { .. }
            | Self::Open { .. }
            | Self::Close { .. }
            | Self::DeleteNetwork { .. }
            | Self::DeleteNetworkOf { .. }
            | Self::Unmark { .. }
            | Self::DeletePool(_)
            | Self::DeleteStrayGroup { .. }
            | Self::DeleteStrayNetwork { .. }
            | Self::DeleteStrayPool { .. } => false,
        }
    }

    /// Whether a later run would find what it is about by itself, among what nobody uses, or could do without:
    /// where there is little room, such a debt needs no note.
    fn is_found_again(&self) -> bool {
        match self {
            Self::Label { .. }
            | Self::DeletePort { .. }
            | Self::Recycle { .. }
            | Self::Open { .. }
            | Self::Close { .. }
            | Self::DeletePortIfOurs { .. }
            | Self::DeletePortsOf { .. }
            | Self::DeleteStrayPort { .. }
            | Self::DeleteStrayGroup { .. } => true,
            Self::DrainPool { .. }
            | Self::DeleteSwarmPorts { .. }
            | Self::PutBack(_)
            | Self::DeleteNetwork { .. }
            | Self::DeleteNetworkOf { .. }
            | Self::Unmark { .. }
            | Self::DeletePool(_)
            | Self::DeleteStrayNetwork { .. }
            | Self::DeleteStrayPool { .. } => false,
        }
    }

    fn is_removal(&self) -> bool {
        !matches!(self, Self::Label { .. })
    }

    /// The port whose container has gone, or is going to: nothing is to be let in for it any more.
    fn parted_with(&self) -> Option<PortId> {
        if let Self::DeletePort { port, .. }
        | Self::Recycle { port, .. }
        | Self::DeletePortIfOurs { port, .. } = self
        {
            return Some(*port);
        }
        None
    }

    /// Whether an earlier debt about the same object stays in its place.
    fn gives_way_to(&self, earlier: &Self) -> bool {
        match self {
            // Nothing comes after a removal: a late label must not bring a port back.
            Self::Label { .. } => earlier.is_removal(),
            // Nor does anybody get a port that is to go.
            Self::Recycle { .. } => {
                earlier.is_removal() && !matches!(earlier, Self::Recycle { .. })
            }
            // Whose port it is is known already.
            Self::DeletePortIfOurs { .. } => {
                matches!(earlier, Self::DeletePort { .. } | Self::PutBack(_))
            }
            Self::DeletePort { .. }
            | Self::PutBack(_)
            | Self::DrainPool { .. }
            | Self::DeleteSwarmPorts { .. }
            | Self::Open { .. }
            | Self::Close { .. }
            | Self::DeletePortsOf { .. }
            | Self::DeleteNetwork { .. }
            | Self::DeleteNetworkOf { .. }
            | Self::Unmark { .. }
            | Self::DeletePool(_)
            | Self::DeleteStrayPort { .. }
            | Self::DeleteStrayGroup { .. }
            | Self::DeleteStrayNetwork { .. }
            | Self::DeleteStrayPool { .. } => false,
        }
    }

    /// How long it can wait for a moment in which no container starts or stops, if it can.
    fn patience(&self) -> Option<Duration> {
        let is_label = matches!(self, Self::Label { .. });
        // A host that never rests needs its ports back before it has used up the others.
        let is_cleaning = matches!(self, Self::Recycle { .. } | Self::Close { .. });
        let seconds = is_label.then_some(10).or(is_cleaning.then_some(4));
        seconds.map(Duration::from_secs)
    }

    /// The same debt in a new run, which knows nothing of the endpoint any more.
    fn simplified(self) -> Self {
        if let Self::Recycle {
            port,
            network,
            addresses,
            ..
        } = self
        {
            let has_group = true;
            return Self::DeletePort {
                port,
                network,
                addresses,
                has_group,
            };
        }
        self
    }

    /// Whether it is about an object that may come into being only after it was looked for.
    fn may_appear_later(&self) -> bool {
        matches!(
            self,
            Self::DeleteStrayPort { .. }
                | Self::DeleteStrayGroup { .. }
                | Self::DeleteStrayNetwork { .. }
                | Self::DeleteStrayPool { .. }
        )
    }

    /// Whether addresses of a network, or this one, may become free when it is paid.
    fn may_free(&self, asked: NeutronNetworkId, address: Option<IpAddr>) -> bool {
        match self {
            Self::DeletePort {
                network, addresses, ..
            }
            | Self::Recycle {
                network, addresses, ..
            }
            | Self::PutBack(PortAdoption {
                network, addresses, ..
            }) => *network == asked && address.is_none_or(|address| addresses.contains(&address)),
            Self::DeleteSwarmPorts { network } => *network == asked,
            Self::DrainPool { network, .. } => network.is_none_or(|network| network == asked),
            Self::DeletePortIfOurs { .. }
            | Self::DeletePortsOf { .. }
            | Self::DeleteStrayPort { .. } => true,
            Self::Label { .. }
            | Self::Open { .. }
            | Self::Close { .. }
            | Self::DeleteStrayGroup { .. }
            | Self::DeleteNetwork { .. }
            | Self::DeleteNetworkOf { .. }
            | Self::Unmark { .. }
            | Self::DeletePool(_)
            | Self::DeleteStrayNetwork { .. }
            | Self::DeleteStrayPool { .. } => false,
        }
    }
}

fn of_group(port: PortId) -> String {
    format!("debt-group-{port}")
}

fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect()
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
pub(crate) fn is_ours(port: &Port, endpoint: &str) -> bool {
    names::may_own(&port.device_owner)
        && !port.tags.iter().any(|tag| tag == names::EXISTING_PORT)
        && (port.name == names::port(endpoint)
            || port.name == names::UNBOUND_PORT
            || names::is_pool_port(&port.name)
            // The user has named it.
            || names::port_tags(endpoint).iter().all(|tag| port.tags.contains(tag)))
}
