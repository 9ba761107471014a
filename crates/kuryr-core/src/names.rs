//! How Kuryr names and tags what is its own in Neutron.
//!
//! These are the names and tags of the Python kuryr-libnetwork, so either can take over from the
//! other.

use ipnet::IpNet;

use crate::ask::NetworkId;
use crate::error::Error;

/// The `device_owner` of every port that we make, and a tag of it.
pub(crate) const DEVICE_OWNER: &str = "compute:kuryr";
/// What Neutron makes the `device_owner` of a subport.
pub(crate) const SUBPORT_OWNER: &str = "trunk:subport";
/// The name of a port that no endpoint has yet.
pub(crate) const UNBOUND_PORT: &str = "kuryr-unbound-port";
/// The tag of a network that was there before us.
const EXISTING_NETWORK: &str = "kuryr.net.existing";

/// The tag of a port that was there before the Python daemon, which has put it to use.
pub(crate) const EXISTING_PORT: &str = "kuryr.port.existing";

/// The tag of a subnet pool that was there before the Python daemon, which has put it to use.
pub(crate) const EXISTING_POOL: &str = "kuryr.subnetpool.existing";

/// The name of a port that holds an address for a container on whichever node of a swarm.
pub(crate) const SWARM_PORT: &str = "kuryr-swarm-port";

/// The manager's network beside its nodes', whose identifier the runtime has given.
pub(crate) fn of_manager(id: &NetworkId) -> Result<NetworkId, Error> {
    let named = format!("{OF_MANAGER}{id}").parse();
    named.map_err(|_| Error::UnknownNetwork(id.clone()))
}

/// Whether a network is a manager's: its addresses are for the nodes.
pub(crate) fn is_of_manager(id: &NetworkId) -> bool {
    id.as_str().starts_with(OF_MANAGER)
}

const OF_MANAGER: &str = "swarm-";

/// The name of the network that we make for a container network.
pub(crate) fn network(id: &NetworkId) -> String {
    format!("kuryr-net-{}", head(id.as_str(), 8))
}

/// The name of a network that waits for the container network that it is going to be.
pub(crate) fn waiting_network(lease: &uuid::Uuid) -> String {
    format!("kuryr-net-waiting-{lease}")
}

/// What is said of a network that we make, for people, and to find it again before it is tagged.
pub(crate) fn network_description(id: &NetworkId) -> String {
    format!("container network {id}")
}

/// The name of a subnet that we make.
pub(crate) fn subnet(cidr: IpNet) -> String {
    format!("kuryr-subnet-{cidr}")
}

/// The name of a subnet pool that we make.
pub(crate) fn subnet_pool(prefix: &str, cidr: IpNet) -> String {
    format!("{prefix}-{cidr}")
}

/// The name of a port that we make, once an endpoint has it.
pub(crate) fn port(endpoint: impl std::fmt::Display) -> String {
    format!("{endpoint}-port")
}

/// Whether a port of ours may have this `device_owner`: Neutron changes that of subports, and takes it
/// away from what is none any more.
pub(crate) fn may_own(owner: &str) -> bool {
    matches!(owner, DEVICE_OWNER | SUBPORT_OWNER | "")
}

/// What is said of a port that is bound to no host: by it the ports of this one are found.
pub(crate) fn port_description(host: &str) -> String {
    format!("{ON_HOST}{host}")
}

/// The host that `port_description` names.
pub(crate) fn host_in(description: &str) -> Option<&str> {
    description.strip_prefix(ON_HOST)
}

const ON_HOST: &str = "kuryr on host ";

/// The name of a warm port, and whom its interface is plugged for: this host's pool for a network.
pub(crate) fn pool_port(host: &str, network: &NetworkId) -> String {
    // Neutron takes 255 characters.
    format!("{POOL_PORT}{}-{network}", head(host, 128))
}

/// Whether a port is a warm one, of whichever host.
pub(crate) fn is_pool_port(name: &str) -> bool {
    name.starts_with(POOL_PORT)
}

const POOL_PORT: &str = "kuryr-pool-port-";

/// The name of the security group for what a port's container exposes.
pub(crate) fn exposed_group(port: neutron_api::PortId) -> String {
    format!("{port}{EXPOSED}")
}

/// What is said of the security group for what a port's container exposes.
pub(crate) fn exposed_description(port: neutron_api::PortId) -> String {
    format!("what container port {port} exposes")
}

/// The port that a security group was made for, if we made it, or the Python daemon.
pub(crate) fn exposing_port(name: &str, description: &str) -> Option<neutron_api::PortId> {
    let port = name.strip_suffix(EXPOSED)?.parse().ok()?;
    let is_ours = description == exposed_description(port) || description == PYTHONS_EXPOSED;
    is_ours.then_some(port)
}

/// Whether it was the Python daemon that made such a group.
pub(crate) fn is_of_python(description: &str) -> bool {
    description == PYTHONS_EXPOSED
}

const EXPOSED: &str = "-exposed_ports";
/// What the Python daemon says of such a group.
const PYTHONS_EXPOSED: &str = "Docker exposed ports created by Kuryr.";

/// The tags that tie a network to a container network.
pub(crate) fn network_tags(id: &NetworkId) -> Vec<String> {
    halves(id.as_str())
}

/// The tags that tie a port to an endpoint.
pub(crate) fn port_tags(endpoint: &str) -> Vec<String> {
    let mut tags = vec![DEVICE_OWNER.to_owned()];
    tags.extend(halves(endpoint));
    tags
}

/// Whether a network's tags tie it to a container network.
///
/// Python's daemon puts the tags of several container networks on one network.
pub(crate) fn is_of(tags: &[String], id: &NetworkId) -> bool {
    network_tags(id).iter().all(|tag| tags.contains(tag))
}

/// The container network that a network's tags tie it to; of several, one.
pub(crate) fn network_of(tags: &[String]) -> Option<NetworkId> {
    let half = |label: &str| {
        tags.iter()
            .find_map(|tag| tag.strip_prefix(label)?.strip_prefix(':'))
    };
    format!("{}{}", half(LOWER)?, half(UPPER).unwrap_or_default())
        .parse()
        .ok()
}

/// Whether a network's tags say that it was there before us.
pub(crate) fn is_existing(tags: &[String]) -> bool {
    tags.iter().any(|tag| tag.starts_with(EXISTING_NETWORK))
}

/// The tags by which the Python daemon marks a network that it has adopted for a container network.
pub(crate) fn adoption_marks(id: &NetworkId) -> Vec<String> {
    let mut marks = network_tags(id);
    marks.push(format!("{EXISTING_NETWORK}:{}", head(id.as_str(), 12)));
    marks
}

/// Whether tags tie a network to any container network.
pub(crate) fn is_of_any(tags: &[impl AsRef<str>]) -> bool {
    tags.iter().any(|tag| tag.as_ref().starts_with(LOWER))
}

/// Names of interfaces and the like are made of the first characters of longer ones.
pub(crate) fn head(text: &str, length: usize) -> &str {
    text.char_indices()
        .nth(length)
        .map_or(text, |(end, _)| &text[..end])
}

/// An old Neutron takes tags of 60 characters and Docker's identifiers have 64, hence two halves.
fn halves(id: &str) -> Vec<String> {
    let lower = head(id, HALF);
    let upper = &id[lower.len()..];
    let mut tags = vec![format!("{LOWER}:{lower}")];
    if !upper.is_empty() {
        tags.push(format!("{UPPER}:{}", head(upper, HALF)));
    }
    tags
}

const HALF: usize = 32;
const LOWER: &str = "kuryr.net.uuid.lh";
const UPPER: &str = "kuryr.net.uuid.uh";

/// Whether this is an endpoint's identifier, as libnetwork gives them.
pub(crate) fn is_endpoint(id: &str) -> bool {
    const DIGITS: usize = 64;
    id.len() == DIGITS && id.bytes().all(|digit| digit.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_docker_identifier_becomes_two_tags() {
        let id: NetworkId = "0123456789abcdef".repeat(4).parse().unwrap();
        let want = [
            "kuryr.net.uuid.lh:0123456789abcdef0123456789abcdef",
            "kuryr.net.uuid.uh:0123456789abcdef0123456789abcdef",
        ];
        assert_eq!(network_tags(&id), want);
        assert_eq!(network(&id), "kuryr-net-01234567");
    }

    #[test]
    fn a_swarm_identifier_becomes_one_tag() {
        let id: NetworkId = "abcdefghijklmnopqrstuvwxy".parse().unwrap();
        assert_eq!(
            network_tags(&id),
            ["kuryr.net.uuid.lh:abcdefghijklmnopqrstuvwxy"]
        );
    }

    proptest! {
        #[test]
        fn a_network_is_found_again_by_its_tags(id in "[0-9a-z]{1,64}") {
            let id: NetworkId = id.parse().unwrap();
            let tags = network_tags(&id);
            prop_assert!(tags.iter().all(|tag| tag.len() <= 60));
            prop_assert_eq!(network_of(&tags), Some(id));
        }

        #[test]
        fn no_two_identifiers_share_their_tags(a in "[0-9a-z]{1,64}", b in "[0-9a-z]{1,64}") {
            prop_assert_eq!(a == b, halves(&a) == halves(&b));
        }
    }
}
