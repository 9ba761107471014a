//! Why Kuryr could not do what it was asked.

mod kind;
mod port;

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use kuryr_vif::PublishError;
use neutron_api::{IpVersion, NetworkId as NeutronNetworkId, PortId, SubnetId, SubnetPoolId};

use crate::ask::{EndpointId, NetworkId, PoolId};
use crate::driver::Driver;
use crate::journal::JournalError;

pub use kind::Kind;
pub use port::{PortError, Whose};

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
        "the range was taken from subnet pool {taken}, not from {asked}: give --subnet, or the pool as --ipam-opt too, where ranges are asked for"
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
    /// An object that the user names does not exist.
    #[error("Neutron has no {what} {named}, or not for this project")]
    NoSuchObject {
        /// What kind of object.
        what: &'static str,
        /// How the user names it.
        named: String,
    },
    /// Neutron can't do what an option asks for.
    #[error(
        "option {option} can't be used with this Neutron: its extension {extension} is not there (openstack extension list --network)"
    )]
    NoExtension {
        /// The option.
        option: String,
        /// What it needs.
        extension: &'static str,
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
    /// What a crash would leave in Neutron can't be noted, so it is not made.
    #[error("could not note what is about to be made in Neutron, and so does not make it")]
    Unnoted(#[source] JournalError),
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
    /// A port that there is can't be an endpoint's, or not as the user wants it.
    #[error(transparent)]
    Port(Box<PortError>),
    /// The part of a range that containers are to have addresses from has none left.
    #[error("no address is left in {part}: all are in use by ports in Neutron, or reserved")]
    PartFull {
        /// The part.
        part: IpNet,
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
    /// A network asks for a driver that this host does not use.
    #[error(
        "kuryr.driver={driver} is not enabled on this host: name one of {}, or enable it in kuryr.conf (enabled_drivers, enabled_port_drivers)",
        enabled.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    )]
    DriverNotEnabled {
        /// What was asked for.
        driver: Driver,
        /// What there is.
        enabled: Vec<Driver>,
    },
    /// No card of this host is on a network's physical network.
    #[error(
        "network {network} is on physical network {on:?}, on which this host has no card: physical_device_mappings in \
         [sriov] of kuryr.conf has {mappings}"
    )]
    NoCard {
        /// The network.
        network: NeutronNetworkId,
        /// What it is on.
        on: String,
        /// What cards there are, on which.
        mappings: String,
    },
    /// Which physical network a network is on is hidden from us, and it may be one of several.
    #[error(
        "Neutron does not show Kuryr's user which physical network network {network} is on, and physical_device_mappings \
         in [sriov] of kuryr.conf names several ({mappings}): have Neutron's policy show it \
         (get_network:provider:physical_network and get_network:provider:network_type), or name cards of one only"
    )]
    HiddenPhysicalNetwork {
        /// The network.
        network: NeutronNetworkId,
        /// What cards there are, on which.
        mappings: String,
    },
    /// A network is on no physical network.
    #[error(
        "network {network} is of type {kind}, and virtual functions reach networks of type vlan and flat only: take \
         such a network (openstack network create --provider-network-type vlan --provider-physical-network …)"
    )]
    NoPhysicalNetwork {
        /// The network.
        network: NeutronNetworkId,
        /// Its type.
        kind: String,
    },
    /// All virtual functions of this host are in use.
    #[error(
        "no virtual function of {cards} is free on host {host}: each is a port's (openstack port list --host {host}), \
         in use by the host or by a virtual machine, or was not made (sriov_numvfs)"
    )]
    NoFunction {
        /// This host.
        host: String,
        /// The cards that were looked at.
        cards: String,
    },
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
    /// A port of this host can't be made to lead to a container.
    #[error("could not publish the ports of endpoint {endpoint}")]
    Publish {
        /// The endpoint, shortened.
        endpoint: String,
        /// Why.
        source: Box<PublishError>,
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

impl From<PortError> for Error {
    fn from(error: PortError) -> Self {
        Self::Port(Box::new(error))
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
