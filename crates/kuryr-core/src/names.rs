//! How Kuryr names and tags what is its own in Neutron.
//!
//! These are the names and tags of the Python kuryr-libnetwork, so either can take over from the
//! other.

use ipnet::IpNet;

use crate::ask::{EndpointId, NetworkId};

/// The `device_owner` of every port that we make, and a tag of it.
pub(crate) const DEVICE_OWNER: &str = "compute:kuryr";
/// The name of a port that no endpoint has yet.
pub(crate) const UNBOUND_PORT: &str = "kuryr-unbound-port";
/// The tag of a network that was there before us.
const EXISTING_NETWORK: &str = "kuryr.net.existing";

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

/// The tags that tie a network to a container network.
pub(crate) fn network_tags(id: &NetworkId) -> Vec<String> {
    halves(id.as_str())
}

/// The tags that tie a port to an endpoint.
pub(crate) fn port_tags(id: &EndpointId) -> Vec<String> {
    let mut tags = vec![DEVICE_OWNER.to_owned()];
    tags.extend(halves(id.as_str()));
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
