//! From the ports that a container exposes to the rules of a security group: a pure function.

use ipnet::IpNet;
use neutron_api::{
    Direction, IpVersion, NewSecurityGroupRule, Protocol, SecurityGroup, SecurityGroupId,
    SecurityGroupRule,
};

use crate::ask::ExposedPort;

/// The rules that `group` lacks to let in what is for these ports, and to let everything out.
///
/// What is allowed out is what Neutron allows in each new group, unless its administrator has taken
/// that away.
pub(super) fn missing(
    group: &SecurityGroup,
    ports: &[ExposedPort],
    versions: &[IpVersion],
) -> Vec<NewSecurityGroupRule> {
    let wanted = versions.iter().flat_map(|version| {
        let inwards = merged(ports)
            .into_iter()
            .map(|range| inward(group.id, *version, range));
        inwards.chain([outward(group.id, *version)])
    });
    wanted
        .filter(|rule| !group.rules.iter().any(|has| says(has, rule)))
        .collect()
}

/// Ports of one protocol, from the first to the last.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Range {
    protocol: u8,
    first: u16,
    last: u16,
}

/// The fewest ranges with just these ports.
fn merged(ports: &[ExposedPort]) -> Vec<Range> {
    let mut ports: Vec<(u8, u16)> = ports
        .iter()
        .map(|port| (port.protocol, port.port))
        .collect();
    ports.sort_unstable();
    let mut ranges: Vec<Range> = Vec::new();
    for (protocol, port) in ports {
        match ranges.last_mut() {
            Some(range) if range.protocol == protocol && port.saturating_sub(1) <= range.last => {
                range.last = range.last.max(port);
            }
            _ => ranges.push(Range {
                protocol,
                first: port,
                last: port,
            }),
        }
    }
    ranges
}

fn inward(group: SecurityGroupId, version: IpVersion, range: Range) -> NewSecurityGroupRule {
    let has_ports = matches!(
        range.protocol,
        Protocol::TCP | Protocol::UDP | Protocol::SCTP
    );
    let name = match (range.protocol, version) {
        (Protocol::TCP, _) => "tcp".to_owned(),
        (Protocol::UDP, _) => "udp".to_owned(),
        (Protocol::SCTP, _) => "sctp".to_owned(),
        (Protocol::ICMP | Protocol::ICMP_V6, IpVersion::V4) => "icmp".to_owned(),
        (Protocol::ICMP | Protocol::ICMP_V6, IpVersion::V6) => "ipv6-icmp".to_owned(),
        (number, _) => number.to_string(),
    };
    NewSecurityGroupRule {
        direction: Direction::Ingress,
        protocol: name.parse().ok(),
        port_range_min: has_ports.then_some(range.first),
        port_range_max: has_ports.then_some(range.last),
        ..outward(group, version)
    }
}

fn outward(group: SecurityGroupId, version: IpVersion) -> NewSecurityGroupRule {
    NewSecurityGroupRule {
        security_group_id: group,
        direction: Direction::Egress,
        ethertype: version,
        protocol: None,
        port_range_min: None,
        port_range_max: None,
        remote_ip_prefix: None,
        remote_group_id: None,
        description: String::new(),
    }
}

fn says(has: &SecurityGroupRule, wanted: &NewSecurityGroupRule) -> bool {
    let anywhere = |prefix: Option<IpNet>| prefix.is_none_or(|prefix| prefix.prefix_len() == 0);
    has.direction == wanted.direction
        && has.ethertype == wanted.ethertype
        && has.protocol.as_ref().map(Protocol::number)
            == wanted.protocol.as_ref().map(Protocol::number)
        && (has.port_range_min, has.port_range_max)
            == (wanted.port_range_min, wanted.port_range_max)
        && anywhere(has.remote_ip_prefix)
        && has.remote_group_id.is_none()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn group(rules: &serde_json::Value) -> SecurityGroup {
        let id = "00000000-0000-0000-0000-000000000001";
        serde_json::from_value(json!({"id": id, "security_group_rules": rules})).unwrap()
    }

    fn exposed(protocol: u8, port: u16) -> ExposedPort {
        ExposedPort { protocol, port }
    }

    fn told(rules: &[NewSecurityGroupRule]) -> Vec<String> {
        let told = |rule: &NewSecurityGroupRule| {
            let protocol = rule.protocol.as_ref().map_or("any", Protocol::as_str);
            let ports = match (rule.port_range_min, rule.port_range_max) {
                (Some(min), Some(max)) => format!(" {min}-{max}"),
                _ => String::new(),
            };
            format!("{} {} {protocol}{ports}", rule.direction, rule.ethertype)
        };
        rules.iter().map(told).collect()
    }

    #[test]
    fn each_protocol_gets_its_ranges_in_each_family() {
        let ports = [
            exposed(6, 443),
            exposed(6, 80),
            exposed(6, 81),
            exposed(17, 53),
            exposed(132, 132),
            exposed(1, 0),
            exposed(6, 81),
        ];
        let rules = missing(&group(&json!([])), &ports, &[IpVersion::V4, IpVersion::V6]);
        assert_eq!(
            told(&rules),
            [
                "ingress IPv4 icmp",
                "ingress IPv4 tcp 80-81",
                "ingress IPv4 tcp 443-443",
                "ingress IPv4 udp 53-53",
                "ingress IPv4 sctp 132-132",
                "egress IPv4 any",
                "ingress IPv6 ipv6-icmp",
                "ingress IPv6 tcp 80-81",
                "ingress IPv6 tcp 443-443",
                "ingress IPv6 udp 53-53",
                "ingress IPv6 sctp 132-132",
                "egress IPv6 any",
            ]
        );
    }

    #[test]
    fn what_the_group_has_already_is_not_asked_for() {
        let rule = |direction: &str, more: serde_json::Value| {
            let mut rule = json!({
                "id": "00000000-0000-0000-0000-000000000002",
                "security_group_id": "00000000-0000-0000-0000-000000000001",
                "direction": direction, "ethertype": "IPv4",
            });
            rule.as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            rule
        };
        let tcp = json!({"protocol": "6", "port_range_min": 80, "port_range_max": 80,
            "remote_ip_prefix": "0.0.0.0/0"});
        let has = group(&json!([rule("egress", json!({})), rule("ingress", tcp)]));
        assert_eq!(missing(&has, &[exposed(6, 80)], &[IpVersion::V4]), []);
        let narrow = json!({"protocol": "tcp", "port_range_min": 80, "port_range_max": 80,
            "remote_ip_prefix": "10.0.0.0/8"});
        let has = group(&json!([rule("egress", json!({})), rule("ingress", narrow)]));
        assert_eq!(missing(&has, &[exposed(6, 80)], &[IpVersion::V4]).len(), 1);
    }

    proptest! {
        #[test]
        fn ranges_have_just_the_ports_that_are_exposed(
            ports in prop::collection::btree_set((6u8..8, 65_500u16..=65_535), 0..40)
        ) {
            let exposed: Vec<_> = ports.iter().map(|(a, b)| exposed(*a, *b)).collect();
            let ranges = merged(&exposed);
            let all = ranges.iter().flat_map(|r| (r.first..=r.last).map(|port| (r.protocol, port)));
            prop_assert_eq!(all.collect::<Vec<_>>(), ports.into_iter().collect::<Vec<_>>());
            for pair in ranges.windows(2) {
                let apart = pair[0].protocol != pair[1].protocol || pair[1].first > pair[0].last + 1;
                prop_assert!(apart);
            }
        }
    }
}
