//! Why Kuryr could not do what it was asked.

use std::net::IpAddr;
use std::time::Duration;

use http::StatusCode;
use ipnet::IpNet;
use neutron_api::{IpVersion, NetworkId as NeutronNetworkId, Port, PortId, SubnetId, SubnetPoolId};

use crate::ask::{EndpointId, NetworkId, PoolId};
use crate::journal::JournalError;

/// What kind of failure it is, for a front end's status code.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// The request can't be carried out as it stands: the user must change it.
    Invalid,
    /// Something else has what was asked for.
    Conflict,
    /// What the request is about does not exist.
    Absent,
    /// Neutron or the host can't be reached now.
    Unavailable,
    /// It should have worked.
    Failed,
}

/// Why Kuryr could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No Neutron network belongs to the container network.
    #[error(
        "no Neutron network belongs to network {0}: it was deleted in Neutron, or this Kuryr works for another project"
    )]
    UnknownNetwork(NetworkId),
    /// No Neutron port belongs to the endpoint.
    #[error("no Neutron port belongs to endpoint {0}")]
    UnknownEndpoint(EndpointId),
    /// No subnet or subnet pool has the identifier.
    #[error("address pool {0} is not known: Neutron has no subnet pool and no subnet of that id")]
    UnknownPool(PoolId),
    /// An address is outside of its range.
    #[error("address {address} is not in {range}")]
    OutsideRange {
        /// The address.
        address: IpAddr,
        /// The range.
        range: IpNet,
    },
    /// An address is reserved twice.
    #[error(
        "address {address} of {range} is reserved already: is it both the gateway and an --aux-address?"
    )]
    ReservedTwice {
        /// The address.
        address: IpAddr,
        /// The range.
        range: IpNet,
    },
    /// The network has another gateway.
    #[error("{wanted} is not the gateway of {range}: that is {gateway}")]
    OtherGateway {
        /// What was asked for.
        wanted: IpAddr,
        /// What there is.
        gateway: IpAddr,
        /// The range.
        range: IpNet,
    },
    /// A range of one IP version was asked for as one of the other.
    #[error("range {range} is not {version}")]
    RangeVersion {
        /// The range.
        range: IpNet,
        /// What it should have been.
        version: IpVersion,
    },
    /// A part of a range is not in it.
    #[error("--ip-range {part} is not within --subnet {range}")]
    PartOutside {
        /// The part.
        part: IpNet,
        /// The range.
        range: IpNet,
    },
    /// The subnet pool for ranges that the user leaves to us does not exist.
    #[error(
        "no subnet was given, and the default {version} subnet pool {name:?} does not exist: give --subnet, \
         make it (openstack subnet pool create {name} --pool-prefix ... --default-prefix-length ...), \
         or name another one in kuryr.conf ([neutron] default_subnetpool_v{})", u8::from(*version)
    )]
    NoDefaultPool {
        /// Its name.
        name: String,
        /// The IP version.
        version: IpVersion,
    },
    /// The subnet pool for ranges that the user leaves to us is of the other IP version.
    #[error("the default {version} subnet pool {name:?} is not {version}")]
    DefaultPoolVersion {
        /// Its name.
        name: String,
        /// The IP version.
        version: IpVersion,
    },
    /// There are several of what there should be one of.
    #[error("there are several of {what}: {}", .candidates.join(", "))]
    Ambiguous {
        /// What.
        what: String,
        /// Their identifiers.
        candidates: Vec<String>,
    },
    /// The network exists already, otherwise.
    #[error("network {network} exists in Neutron already, with {}, not {}", listed(.has), listed(.asked))]
    OtherRanges {
        /// The network.
        network: NetworkId,
        /// Its ranges.
        has: Vec<IpNet>,
        /// The ranges that were asked for.
        asked: Vec<IpNet>,
    },
    /// The Neutron network that the user names does not exist.
    #[error("Neutron has no network {0}, or not for this project: look at openstack network list")]
    NoSuchNetwork(String),
    /// A network that was there before has no such subnet.
    #[error("Neutron network {network} has no subnet {range}, but {}: give one of these as --subnet", listed(.has))]
    NoSuchRange {
        /// The network.
        network: NeutronNetworkId,
        /// What was asked for.
        range: IpNet,
        /// What there is.
        has: Vec<IpNet>,
    },
    /// A network that was there before can't be used without saying with which subnets.
    #[error(
        "to use Neutron network {network}, give the range of one of its subnets as --subnet, or the subnet as --ipam-opt neutron.subnet.uuid=…, and --ipam-driver with Kuryr's name"
    )]
    AdoptionNeedsSubnet {
        /// The network.
        network: NeutronNetworkId,
    },
    /// The subnet that the user names does not exist.
    #[error("Neutron has no subnet {0}, or not for this project: look at openstack subnet list")]
    NoSuchSubnet(String),
    /// The subnet pool that the user names does not exist.
    #[error(
        "Neutron has no subnet pool {0}, or not for this project: look at openstack subnet pool list"
    )]
    NoSuchPool(String),
    /// The subnet that the user names has another range.
    #[error("subnet {subnet} has the range {has}, not {asked}: give --subnet {has}, or none")]
    OtherRange {
        /// The subnet.
        subnet: SubnetId,
        /// Its range.
        has: IpNet,
        /// What was asked for.
        asked: IpNet,
    },
    /// The subnet that the user names is on another network than the one that the user names.
    #[error("subnet {subnet} is on Neutron network {on}, not on {asked}")]
    SubnetElsewhere {
        /// The subnet.
        subnet: SubnetId,
        /// Its network.
        on: NeutronNetworkId,
        /// The network that was asked for.
        asked: NeutronNetworkId,
    },
    /// A gateway was asked for where there is none.
    #[error("{wanted} is not the gateway of {range}: that subnet has none")]
    NoGateway {
        /// What was asked for.
        wanted: IpAddr,
        /// The range.
        range: IpNet,
    },
    /// The network is shared, or is not, and the user says otherwise.
    #[error("neutron.net.shared says {asked}, and of Neutron network {network} it is {}", !*asked)]
    OtherSharing {
        /// The network.
        network: NeutronNetworkId,
        /// What the user says.
        asked: bool,
    },
    /// The range was taken from another subnet pool than the one that the user names.
    #[error(
        "the range was taken from subnet pool {taken}, not from {asked}: give the pool as --ipam-opt too, where ranges are asked for"
    )]
    OtherPool {
        /// The pool that it was taken from.
        taken: SubnetPoolId,
        /// The pool that was asked for.
        asked: SubnetPoolId,
    },
    /// A network is not removed, because other container networks are on it.
    #[error("Neutron network {network} is left, as other container networks use its subnets; their subnet pools: {}", .pools.join(", "))]
    NetworkShared {
        /// The network.
        network: NeutronNetworkId,
        /// The pools by which the others know the subnets.
        pools: Vec<String>,
    },
    /// An option belongs elsewhere.
    #[error("option {option} belongs in -o, not in --ipam-opt")]
    MisplacedOption {
        /// The option.
        option: &'static str,
    },
    /// An option is not one that we know.
    #[error("option {option} is not supported (supported: {})", .known.join(", "))]
    UnknownOption {
        /// The option.
        option: String,
        /// Those that there are.
        known: Vec<&'static str>,
    },
    /// An option's value is no such value.
    #[error("option {option}: {value:?} is not {expected}")]
    BadOption {
        /// The option.
        option: &'static str,
        /// Its value.
        value: String,
        /// What it should have been.
        expected: &'static str,
    },
    /// What must not be forgotten can't be noted.
    #[error("could not note which Neutron network network {network} is")]
    Journal {
        /// The network.
        network: NetworkId,
        /// Why not.
        source: JournalError,
    },
    /// A network is not removed, because others use it.
    #[error("Neutron network {network} is left, as it has ports that are not Kuryr's to remove: {}", .ports.join(", "))]
    NetworkInUse {
        /// The network.
        network: NeutronNetworkId,
        /// Its ports.
        ports: Vec<String>,
        /// Neutron's word.
        source: Box<neutron_client::Error>,
    },
    /// Somebody else has the address.
    #[error(
        "address {address} is in use by port {port} (device owner {owner:?}, device {device:?})"
    )]
    AddressInUse {
        /// The address.
        address: IpAddr,
        /// The port that has it.
        port: PortId,
        /// What uses that port.
        owner: String,
        /// Who uses that port.
        device: String,
    },
    /// A port came without an address.
    #[error("Neutron gave port {port} no address of {range}")]
    NoAddress {
        /// The port.
        port: PortId,
        /// The range.
        range: IpNet,
    },
    /// No subnet of the network has the address.
    #[error("address {address} is in no subnet of Neutron network {network}")]
    NoSubnet {
        /// The address.
        address: IpAddr,
        /// The network.
        network: NeutronNetworkId,
    },
    /// An endpoint is to have no address at all.
    #[error(
        "endpoint {0} has no address: its network needs an IPAM driver that gives it one, such as Kuryr's (--ipam-driver)"
    )]
    NoAddressGiven(EndpointId),
    /// A port can't be plugged on this host as Neutron has bound it.
    #[error("can't plug port {port} on host {host}: {hint}")]
    Binding {
        /// The port.
        port: PortId,
        /// The host, as Neutron knows it.
        host: String,
        /// Why not, and what to do.
        hint: String,
    },
    /// The switch does not forward for a port.
    #[error(
        "port {port} did not become active on host {host} within {waited:.0?}: look at the log of ovn-controller \
         (or the Open vSwitch agent) there, and at openstack port show {port}"
    )]
    NotWired {
        /// The port.
        port: PortId,
        /// The host, as Neutron knows it.
        host: String,
        /// For how long it was waited for.
        waited: Duration,
    },
    /// Something that can't be; a fault of this program.
    #[error("{0}; this is a bug of Kuryr, please report it")]
    Bug(&'static str),
    /// Neutron would not, or could not.
    #[error("could not {act}")]
    Neutron {
        /// What was being done.
        act: String,
        /// Neutron's word.
        source: Box<neutron_client::Error>,
    },
    /// The host would not, or could not.
    #[error("could not {act}")]
    Host {
        /// What was being done.
        act: String,
        /// The host's word.
        source: Box<kuryr_vif::Error>,
    },
    /// The same is being done already.
    #[error("{what} was still being worked on by an earlier request after {waited:.0?}; try again")]
    Busy {
        /// What.
        what: String,
        /// For how long it was waited for.
        waited: Duration,
    },
}

fn listed(ranges: &[IpNet]) -> String {
    let ranges: Vec<String> = ranges.iter().map(ToString::to_string).collect();
    if ranges.is_empty() {
        "no range".to_owned()
    } else {
        ranges.join(" and ")
    }
}

/// Says what was being done when Neutron would not, or could not.
pub(crate) fn told(act: String) -> impl FnOnce(neutron_client::Error) -> Error {
    move |source| Error::Neutron {
        act,
        source: Box::new(source),
    }
}

/// Says what was being done when the host would not, or could not.
pub(crate) fn plugging(act: String) -> impl FnOnce(kuryr_vif::Error) -> Error {
    move |source| Error::Host {
        act,
        source: Box::new(source),
    }
}

impl Error {
    /// What kind of failure it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::UnknownNetwork(_) | Self::UnknownEndpoint(_) | Self::UnknownPool(_) => {
                Kind::Absent
            }
            Self::OutsideRange { .. }
            | Self::ReservedTwice { .. }
            | Self::OtherGateway { .. }
            | Self::RangeVersion { .. }
            | Self::PartOutside { .. }
            | Self::NoDefaultPool { .. }
            | Self::DefaultPoolVersion { .. }
            | Self::NoSubnet { .. }
            | Self::NoSuchNetwork(_)
            | Self::NoSuchRange { .. }
            | Self::AdoptionNeedsSubnet { .. }
            | Self::NoSuchSubnet(_)
            | Self::NoSuchPool(_)
            | Self::OtherRange { .. }
            | Self::SubnetElsewhere { .. }
            | Self::NoGateway { .. }
            | Self::OtherSharing { .. }
            | Self::OtherPool { .. }
            | Self::MisplacedOption { .. }
            | Self::UnknownOption { .. }
            | Self::BadOption { .. }
            | Self::NoAddressGiven(_) => Kind::Invalid,
            Self::Ambiguous { .. }
            | Self::OtherRanges { .. }
            | Self::NetworkInUse { .. }
            | Self::NetworkShared { .. }
            | Self::AddressInUse { .. } => Kind::Conflict,
            Self::Busy { .. } | Self::NotWired { .. } => Kind::Unavailable,
            Self::Neutron { source, .. } if source.is_passing() => Kind::Unavailable,
            Self::Neutron { source, .. } if source.status() == Some(StatusCode::CONFLICT) => {
                Kind::Conflict
            }
            Self::Neutron { .. }
            | Self::Host { .. }
            | Self::NoAddress { .. }
            | Self::Journal { .. }
            | Self::Binding { .. }
            | Self::Bug(_) => Kind::Failed,
        }
    }

    pub(crate) fn address_in_use(address: IpAddr, port: &Port) -> Self {
        Self::AddressInUse {
            address,
            port: port.id,
            owner: port.device_owner.clone(),
            device: port.device_id.clone(),
        }
    }

    /// Whether Neutron does not know what we take for granted: what we know of it is old.
    pub(crate) fn is_absence(&self) -> bool {
        matches!(self, Self::Neutron { source, .. } if source.is_absence())
    }

    /// Whether Neutron has no address left, or not the one that was asked for.
    pub(crate) fn is_shortage(&self) -> bool {
        let Self::Neutron { source, .. } = self else {
            return false;
        };
        matches!(
            source.fault(),
            Some("IpAddressAlreadyAllocated" | "IpAddressInUse" | "IpAddressGenerationFailure")
        )
    }
}
